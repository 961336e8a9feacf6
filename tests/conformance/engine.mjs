// One run of the suite: its origin and its client, both from the package, in a worker thread of their own. The
// package keeps its results in module variables, so each run needs fresh modules; and a worker can be ended at once.

import http from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'
import fetch from 'node-fetch'
import { runTests, getResults } from 'http-cache-tests/client/runner.mjs'
import handleConfig from 'http-cache-tests/server/handle-config.mjs'
import handleState from 'http-cache-tests/server/handle-state.mjs'
import handleTest from 'http-cache-tests/server/handle-test.mjs'
import { suites } from './suites.mjs'

const CHUNK = 100 // tests at once, as the package's own command has it
const PATIENCE = 20_000 // no exchange in the suite needs more than its origin's 5 s keep-alive

const handlers = { config: handleConfig, state: handleState, test: handleTest }

// The package's server.mjs listens on every interface and serves files; here it is loopback and the three handlers.
const origin = http.createServer((request, response) => {
  const [, name, ...rest] = new URL(request.url, 'http://origin').pathname.split('/')
  if (name in handlers) return handlers[name](rest, request, response)
  response.writeHead(404, { 'Content-Type': 'text/plain' }).end('no such page\n')
})

origin.listen(0, '127.0.0.1', () => parentPort.postMessage({ origin: origin.address().port }))

parentPort.once('message', async ({ base }) => {
  const chosen = suites.map(suite => ({ ...suite, tests: suite.tests.filter(wanted) }))
  await runTests(chosen, (url, init) => fetch(url, { ...init, timeout: PATIENCE }), false, base, CHUNK)
  parentPort.postMessage({ results: getResults() })
})

function wanted (test) {
  if (!workerData.only) return true
  test.dump = workerData.dump
  return workerData.only.includes(test.id)
}
