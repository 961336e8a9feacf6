// What is in the suite, and what a raw result means in its own words.

import tests from 'http-cache-tests/tests/index.mjs'
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs'
import { determineTestResult } from 'http-cache-tests/lib/display.mjs'

// The package's command adds Surrogate-Control to the others when it talks to a proxy.
export const suites = [...tests, surrogate]

// Every test that runs against a proxy: id -> { suite, kind, name }.
export const catalogue = new Map()
for (const suite of suites) {
  for (const test of suite.tests) {
    if (test.browser_only) continue
    catalogue.set(test.id, { suite: suite.id, kind: test.kind ?? 'required', name: test.name })
  }
}

// The suite shows a result as a symbol; these are the words for them.
const words = {
  '✅': 'pass',
  '⛔️': 'fail',
  '⚠️': 'fail',
  Y: 'yes',
  N: 'no',
  '🔹': 'setup', // something the test takes for granted did not hold
  '↻': 'retry', // the origin saw one request twice
  '⚪️': 'dependency', // a test it builds upon did not pass
  '⁉️': 'harness',
  '-': 'untested'
}

// `alone`: only some tests were run, so those they depend on have no result.
export function classify (id, raw, alone = false) {
  return words[determineTestResult(suites, id, raw, !alone)[2]]
}

export const good = result => result === 'pass' || result === 'yes'
