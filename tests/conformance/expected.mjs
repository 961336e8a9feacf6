// expected.json: what each run of the edge server is meant to answer, and why where it is not a pass.
//
//   { "runs": [ { "name", "why"?, "args": [...], "tests"?: [...] } ],
//     "results": { run: { id: "pass" | "yes" | { "result", "clause"?, "reason" } } } }
//
// A run with "tests" runs only those, whatever they depend on. `--update` keeps a reason as long as the test is not
// passed; one without a reason counts as a difference.

import fs from 'node:fs'

const file = new URL('./expected.json', import.meta.url)

export const load = () => JSON.parse(fs.readFileSync(file, 'utf8'))
export const save = expected => fs.writeFileSync(file, JSON.stringify(expected, null, 2) + '\n')

const resultOf = entry => entry?.result ?? entry

// The differences, both ways, as lines to print: worse, better, unexplained, unknown.
export function compare (expected, plan, results) {
  const wanted = expected.results[plan.name] ?? {}
  const lines = []
  for (const [id, { result, detail }] of Object.entries(results)) {
    const entry = wanted[id]
    if (entry === undefined) lines.push(`not in expected.json: ${id} is ${result}`)
    else if (resultOf(entry) !== result) lines.push(`${id}: expected ${resultOf(entry)}, got ${result}${detail ? ` (${detail})` : ''}`)
    else if (needsReason(result) && !entry.reason) lines.push(`${id}: ${result} without a reason in expected.json`)
  }
  for (const id of Object.keys(wanted)) {
    if (!(id in results)) lines.push(`in expected.json but not in the suite: ${id}`)
  }
  return lines
}

export function update (expected, plan, results) {
  const before = expected.results[plan.name] ?? {}
  expected.results[plan.name] = Object.fromEntries(Object.entries(results).map(([id, { result }]) => {
    const entry = before[id]
    if (resultOf(entry) === result) return [id, entry]
    return [id, needsReason(result) ? { reason: '', ...entry?.result && entry, result } : result]
  }))
}

const needsReason = result => result !== 'pass' && result !== 'yes'
