// What it costs to be watched: Express over HTTP, with sessions in memory and on Redis, watched in several ways (observers.mjs). Each way has a
// process of its own, whose CPU profile tells what part of its work is the watching. Times of two processes would have to be compared
// otherwise, and those of the same code differ by more than what is to be measured.
//
//   npm run build && node --import tsx bench/observe.mjs [--seconds 10] [--backings memory,redis] [--node path/of/another/node]
//
// prints JSON: by backing, scenario and observer { channels, otel, sdk, watching, collector }, percentages of all time that is not idle: what
// the core tells, what holdfast/otel makes of it, what the SDK does with that beyond what it does for the one whom it is compared with, the
// sum of these, and the garbage collector, which is not in it. And of the questions whether somebody listens, with nobody listening, the
// nanoseconds a request.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { commitTracing, isHeard, isTraced, openTracing } from '../dist/channels.js'
import { eventChannel } from '../dist/events.js'
import { startRedis } from '../test/servers/redis.ts'
import { ask, load } from './load.mjs'
import { observers } from './observers.mjs'
import { median } from './statistics.mjs'

const CONNECTIONS = 16
/** For the compiler. */
const WARM_UP_SECONDS = 5
/** How often a request asks whether somebody listens: to a tracing channel, and to events. */
const QUESTIONS = { read: { tracings: 2, events: 0 }, write: { tracings: 4, events: 0 } }

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    backings: { type: 'string', default: 'memory,redis' },
    node: { type: 'string', default: process.execPath },
  },
})

/** Milliseconds of one process by what it did, after the warm-up. */
async function profile(observer, scenario, backing, url) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-observe-'))
  try {
    const child = fork(new URL('./observed-server.mjs', import.meta.url), [observer, backing, url], {
      execPath: options.node,
      execArgv: ['--cpu-prof', '--cpu-prof-dir', folder, '--cpu-prof-interval', '200'],
    })
    const [port] = await once(child, 'message')
    const visits = Array.from({ length: CONNECTIONS }, async () => (await ask(port, '/write')).cookie)
    const cookies = await Promise.all(visits)
    const milliseconds = (WARM_UP_SECONDS + Number(options.seconds)) * 1_000
    const { bodies } = await load({ port, path: `/${scenario}`, cookies, milliseconds })
    assert(bodies.every((body) => (scenario === 'read' ? body === '1' : Number(body) > 10)))
    child.disconnect()
    await once(child, 'exit')
    const [file] = await readdir(folder)
    return sum(JSON.parse(await readFile(join(folder, file), 'utf8')))
  } finally {
    await rm(folder, { recursive: true })
  }
}

function sum({ nodes, samples, timeDeltas, startTime, endTime }) {
  const kinds = new Map(nodes.map(({ id, callFrame }) => [id, kindOf(callFrame)]))
  const sums = {}
  const from = endTime - Number(options.seconds) * 1e6
  let at = startTime
  for (const [i, id] of samples.entries()) {
    at += timeDeltas[i]
    if (at < from) continue
    const kind = kinds.get(id)
    sums[kind] = (sums[kind] ?? 0) + timeDeltas[i]
  }
  return sums
}

function kindOf({ functionName, url }) {
  if (functionName === '(idle)') return 'idle'
  if (functionName === '(garbage collector)') return 'collector'
  if (/\/dist\/otel\//.test(url)) return 'otel'
  if (/\/dist\/(channels|tracing)\.js|diagnostics_channel/.test(url)) return 'channels'
  return url.includes('/@opentelemetry/') ? 'sdk' : 'work'
}

async function measure(backing, url) {
  const results = {}
  for (const scenario of Object.keys(QUESTIONS)) {
    const ofScenario = (results[scenario] = {})
    const sdkOf = {}
    for (const [observer, { than }] of Object.entries(observers)) {
      const { idle = 0, ...busy } = await profile(observer, scenario, backing, url)
      const all = Object.values(busy).reduce((total, one) => total + one, 0)
      const percent = (kind) => (100 * (busy[kind] ?? 0)) / all
      sdkOf[observer] = percent('sdk')
      const [channels, otel] = [percent('channels'), percent('otel')]
      const sdk = sdkOf[observer] - sdkOf[than ?? observer]
      ofScenario[observer] = {
        channels,
        otel,
        sdk,
        watching: channels + otel + sdk,
        collector: percent('collector'),
      }
    }
  }
  return results
}

/** Nanoseconds of one question, with nobody listening, as the core asks it. */
function question(asks) {
  const times = 1_000_000
  const samples = []
  for (let round = 0; round < 15; round++) {
    let heard = 0
    const start = performance.now()
    for (let i = 0; i < times; i++) if (asks()) heard++
    samples.push(((performance.now() - start) * 1e6) / times)
    assert.equal(heard, 0)
  }
  return median(samples)
}

const results = {}
if (options.backings.includes('memory')) results.memory = await measure('memory', '')
if (options.backings.includes('redis')) {
  const redis = await startRedis()
  try {
    results.redis = await measure('redis', `redis://127.0.0.1:${redis.port}`)
  } finally {
    await redis.stop()
  }
}
const tracing = question(() => isTraced(openTracing) || isTraced(commitTracing)) / 2
const event = question(() => isHeard(eventChannel))
results.questions = Object.fromEntries(
  Object.entries(QUESTIONS).map(([scenario, { tracings, events }]) => [
    scenario,
    { nanoseconds: tracings * tracing + events * event },
  ]),
)
console.log(JSON.stringify(results, undefined, 2))
