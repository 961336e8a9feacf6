#!/usr/bin/env node
// Runs the public HTTP caching suite against the edge server (or a peer) and compares with expected.json.

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { compare, load, save, update } from './expected.mjs'
import { edgePath, proxies, start } from './proxies.mjs'
import { catalogue, classify, good } from './suites.mjs'

const usage = `usage: node run.mjs [options]
  --edge PATH    the edge server (default: target/release/edge-server)
  --run NAME     only this run of expected.json (default: all; with --only: default)
  --only ID      one test, with its requests and answers shown; may be repeated; nothing is compared
  --update       write what was seen to expected.json, keeping the reasons
  --proxy NAME   measure a peer instead: ${Object.keys(proxies).filter(name => name !== 'edge').join(', ')},
                 or none (no cache at all); nothing is compared
  --json FILE    write the results
Exit status: 0 as expected, 1 different, 2 could not run.`

const LIMIT = 240_000 // a whole run takes about 30 s

// Leaving by `exit` lets proxies.mjs end what it started.
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => process.exit(2))

try {
  process.exitCode = await main(parseArgs({
    options: {
      edge: { type: 'string' },
      run: { type: 'string' },
      only: { type: 'string', multiple: true },
      update: { type: 'boolean' },
      proxy: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean' }
    }
  }).values)
} catch (error) {
  console.error(error.message)
  process.exitCode = 2
}

async function main (options) {
  if (options.help) {
    console.log(usage)
    return 0
  }
  const name = options.proxy ?? 'edge'
  if (name !== 'none' && !(name in proxies)) throw new Error(`${usage}\n\nno such proxy: ${name}`)
  for (const id of options.only ?? []) {
    if (!catalogue.has(id)) throw new Error(`no such test: ${id}`)
  }
  const edge = options.edge && path.resolve(options.edge)
  if (name === 'edge' && !fs.existsSync(edge ?? edgePath)) {
    throw new Error(`${edge ?? edgePath} is missing: cargo build --release -p edge-server`)
  }

  const expected = load()
  const plans = name === 'edge' ? expected.runs.filter(run => chosen(run, options)) : [{ name: 'default', args: [] }]
  if (plans.length === 0) throw new Error(`no such run: ${options.run}`)

  const report = {
    server: proxies[name]?.title ?? 'no cache',
    version: proxies[name]?.version() ?? '',
    date: new Date().toISOString().slice(0, 10),
    runs: {}
  }
  let different = 0
  let broken = false
  for (const plan of plans) {
    let results
    try {
      results = await measure(name, { ...plan, edge, only: options.only ?? plan.tests, dump: Boolean(options.only) })
    } catch (error) {
      console.error(`run ${plan.name}: ${error.message}`)
      broken = true
      continue
    }
    report.runs[plan.name] = Object.fromEntries(Object.entries(results).map(([id, { result }]) => [id, result]))
    print(report, plan, results)
    if (options.only) {
      for (const [id, { result, detail }] of Object.entries(results)) console.log(`  ${id}: ${result}${detail ? ` (${detail})` : ''}`)
    } else if (name === 'edge' && options.update) {
      update(expected, plan, results)
    } else if (name === 'edge') {
      const lines = compare(expected, plan, results)
      lines.forEach(line => console.log(`  ${line}`))
      different += lines.length
    }
  }
  if (options.update && name === 'edge' && !options.only) save(expected)
  if (options.json && !broken) fs.writeFileSync(options.json, JSON.stringify(report, null, 1) + '\n')
  if (broken) return 2
  return different > 0 ? 1 : 0
}

function chosen ({ name }, { run, only }) {
  if (run) return name === run
  return !only || name === 'default'
}

// One run: id -> { result, detail? } for every test in it.
async function measure (name, { edge, args, only, dump }) {
  // The origin remarks on requests it has no script for, which some tests provoke: shown only with --only.
  const worker = new Worker(new URL('./engine.mjs', import.meta.url), { workerData: { only, dump }, stdout: !dump })
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the suite did not end within ${LIMIT / 1000} s`)), LIMIT)
  })
  let proxy
  try {
    const { origin } = await Promise.race([message(worker), late])
    proxy = await start(name, origin, { edge, args })
    const answer = message(worker)
    worker.postMessage({ base: proxy.base })
    const { results } = await Promise.race([answer, late])
    return Object.fromEntries([...catalogue.keys()].filter(id => !only || only.includes(id)).map(id => {
      const detail = Array.isArray(results[id]) ? results[id].join(': ') : undefined
      return [id, { result: classify(id, results, Boolean(only)), detail }]
    }))
  } finally {
    clearTimeout(timer)
    await proxy?.stop()
    await worker.terminate()
  }
}

function message (worker) {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

function print (report, plan, results) {
  const count = kind => {
    const of = Object.entries(results).filter(([id]) => catalogue.get(id).kind === kind)
    return `${kind} ${of.filter(([, { result }]) => good(result)).length}/${of.length}`
  }
  console.log(`${report.server}${report.version && ' '}${report.version}, run ${plan.name}: ${['required', 'optimal', 'check'].map(count).join(', ')}`)
}
