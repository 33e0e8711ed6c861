// What it costs to be watched: Express over HTTP, with sessions in memory and on Redis, watched in several ways (observers.mjs) and not at
// all. Servers are processes of their own that take turns, each compared with the one that nobody watches in the same round; two processes
// of the same code differ for as long as they live, so all of it is done with several. And what it costs that somebody could listen: the
// questions that a request asks, against the request.
//
//   npm run build && node --import tsx bench/observe.mjs [--rounds 8] [--processes 3] [--ms 250] [--backings memory,redis]
//
// prints JSON: by backing, scenario and observer { cpu, added, ratio }: microseconds of CPU time a request, how many of them are added, and
// how many times it is what it would be unwatched; and of the questions { nanoseconds, share }, share being that of the CPU time of a
// request that nobody watches.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { commitTracing, isHeard, isTraced, openTracing } from '../dist/channels.js'
import { eventChannel } from '../dist/events.js'
import { startRedis } from '../test/servers/redis.ts'
import { ask, load } from './load.mjs'
import { observers } from './observers.mjs'
import { median } from './statistics.mjs'

const CONNECTIONS = 16
/** Milliseconds for the compiler. */
const WARM_UP = 6_000
/** How often a request asks whether somebody listens: to a tracing channel, and to events. */
const QUESTIONS = { read: { tracings: 2, events: 0 }, write: { tracings: 4, events: 0 } }

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '8' },
    processes: { type: 'string', default: '3' },
    ms: { type: 'string', default: '250' },
    backings: { type: 'string', default: 'memory,redis' },
  },
})
const rounds = Number(options.rounds)
const milliseconds = Number(options.ms)

async function start(observer, backing, url) {
  const child = fork(new URL('./observed-server.mjs', import.meta.url), [observer, backing, url])
  const [port] = await once(child, 'message')
  const visits = Array.from({ length: CONNECTIONS }, async () => (await ask(port, '/write')).cookie)
  const cookies = await Promise.all(visits)
  const cpu = async () => {
    child.send('cpu')
    return (await once(child, 'message'))[0]
  }
  return {
    observer,
    async measure(scenario, duration) {
      const before = await cpu()
      const { latencies } = await load({ port, path: `/${scenario}`, cookies, milliseconds: duration })
      return ((await cpu()) - before) / latencies.length
    },
    async stop() {
      const counted = await Promise.all(cookies.map((cookie) => ask(port, '/read', cookie)))
      assert(counted.every(({ body }) => Number(body) > 1))
      child.disconnect()
      await once(child, 'exit')
    },
  }
}

async function measure(backing, url) {
  const samples = []
  for (let i = 0; i < Number(options.processes); i++) {
    const servers = []
    for (const observer of Object.keys(observers)) servers.push(await start(observer, backing, url))
    for (const scenario of Object.keys(QUESTIONS)) {
      for (const server of servers) await server.measure(scenario, WARM_UP)
      for (let round = 0; round < rounds; round++) {
        const cpu = {}
        for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
          cpu[server.observer] = await server.measure(scenario, milliseconds)
        }
        for (const [observer, { than = observer }] of Object.entries(observers)) {
          const [own, other] = [cpu[observer], cpu[than]]
          samples.push({ scenario, observer, cpu: own, added: own - other, ratio: own / other })
        }
      }
    }
    for (const server of servers) await server.stop()
  }
  const results = {}
  for (const scenario of Object.keys(QUESTIONS)) {
    results[scenario] = {}
    for (const observer of Object.keys(observers)) {
      const own = samples.filter((one) => one.scenario === scenario && one.observer === observer)
      const middle = (what) => median(own.map((one) => one[what]))
      results[scenario][observer] = { cpu: middle('cpu'), added: middle('added'), ratio: middle('ratio') }
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
const unwatched = Object.values(results)[0]
results.questions = Object.fromEntries(
  Object.entries(QUESTIONS).map(([scenario, { tracings, events }]) => {
    const nanoseconds = tracings * tracing + events * event
    return [scenario, { nanoseconds, share: nanoseconds / 1_000 / unwatched[scenario].nobody.cpu }]
  }),
)
console.log(JSON.stringify(results, undefined, 2))
