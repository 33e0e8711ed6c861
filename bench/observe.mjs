// What it costs to be watched: Express over HTTP, one process whose observers change from round to round (observed-server.mjs), with sessions in
// memory and on Redis. Each observer's rounds are compared with rounds before and after them in which nobody watches, in the same process, so
// neither the machine nor the compiler's mood counts. Where there are spans, the request has one of its own either way. And what it costs that
// somebody could listen: the questions that a request asks, against the request.
//
//   npm run build && node --import tsx bench/observe.mjs [--rounds 12] [--ms 300]
//
// prints JSON: by backing, scenario and observer { cpu, ratio, added }: microseconds of CPU time a request, times what it takes unwatched, and
// microseconds more than that; and of the questions { nanoseconds, share }, share being that of the CPU time of an unwatched request.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { commitTracing, isHeard, isTraced, openTracing } from '../dist/channels.js'
import { eventChannel } from '../dist/events.js'
import { startRedis } from '../test/servers/redis.ts'
import { ask, load } from './load.mjs'
import { median } from './statistics.mjs'

const CONNECTIONS = 16
/** How often a request asks whether somebody listens: to a tracing channel, and to events. */
const QUESTIONS = { read: { tracings: 2, events: 0 }, write: { tracings: 4, events: 0 } }

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '12' }, ms: { type: 'string', default: '300' } },
})
const rounds = Number(options.rounds)
const milliseconds = Number(options.ms)

async function measure(backing, url) {
  const child = fork(new URL('./observed-server.mjs', import.meta.url), [backing, url])
  const send = async (message) => {
    child.send(message)
    return (await once(child, 'message'))[0]
  }
  const [{ port, observers }] = await once(child, 'message')
  const cookies = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => (await ask(port, '/write')).cookie),
  )
  const results = {}
  for (const scenario of Object.keys(QUESTIONS)) {
    const time = async (observer, watched, duration = milliseconds) => {
      await send({ observer, watched })
      const before = await send({})
      const { latencies } = await load({ port, path: `/${scenario}`, cookies, milliseconds: duration })
      return ((await send({})) - before) / latencies.length
    }
    for (const observer of observers) await time(observer, true, 1_500) // for the compiler
    const samples = Object.fromEntries(observers.map((observer) => [observer, []]))
    const unwatched = []
    for (let round = 0; round < rounds; round++) {
      for (const observer of round % 2 === 0 ? observers : observers.toReversed()) {
        const before = await time(observer, false)
        const cpu = await time(observer, true)
        const alone = (before + (await time(observer, false))) / 2
        samples[observer].push({ cpu, ratio: cpu / alone, added: cpu - alone })
        if (observer === 'channels') unwatched.push(alone)
      }
    }
    const middle = (list, key) => median(list.map((one) => one[key]))
    results[scenario] = { unwatched: { cpu: median(unwatched) } }
    for (const [observer, list] of Object.entries(samples)) {
      results[scenario][observer] = Object.fromEntries(
        ['cpu', 'ratio', 'added'].map((key) => [key, middle(list, key)]),
      )
    }
  }
  const counted = await Promise.all(cookies.map((cookie) => ask(port, '/read', cookie)))
  assert(counted.every(({ body }) => Number(body) > 1))
  child.disconnect()
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

const results = { memory: await measure('memory', '') }
const redis = await startRedis()
try {
  results.redis = await measure('redis', `redis://127.0.0.1:${redis.port}`)
} finally {
  await redis.stop()
}
const [tracing, event] = [
  question(() => isTraced(openTracing) || isTraced(commitTracing)) / 2,
  question(() => isHeard(eventChannel)),
]
results.questions = Object.fromEntries(
  Object.entries(QUESTIONS).map(([scenario, { tracings, events }]) => {
    const nanoseconds = tracings * tracing + events * event
    return [scenario, { nanoseconds, share: nanoseconds / 1_000 / results.memory[scenario].unwatched.cpu }]
  }),
)
console.log(JSON.stringify(results, undefined, 2))
