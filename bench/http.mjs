// The visit counter over HTTP: each framework bare, with the floor (floor.mjs), with Holdfast and with its usual library. Servers are
// processes of their own, the load comes from this one. First each is checked to answer correctly. Then come rounds in which all take
// turns, scenario by scenario, so that whatever slows the machine down slows all of them; results are medians of the rounds. Two
// processes of the same code differ by some microseconds a request for as long as they live, so all of it is done with several.
//
//   node bench/http.mjs [--rounds 4] [--processes 3] [--ms 150] [--frameworks fastify,hono] [--layers bare,floor,holdfast]
//                       [--scenarios read,write] [--backing redis --url redis://127.0.0.1:6379]
//
// prints JSON: by framework, layer and scenario { perSecond, cpu, added, overFloor, p99 }: microseconds of CPU time a request, what the
// session layer adds to that of the bare framework and of the floor in the same round (null without a floor), and milliseconds. The layers
// of flask and django (gunicorn.mjs) must be named: they differ by backing.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { isOnGunicorn, startGunicorn } from './gunicorn.mjs'
import { ask, load } from './load.mjs'
import { median, percentile } from './statistics.mjs'

const CONNECTIONS = 32
/** Milliseconds for the compiler. */
const WARM_UP = 2_000

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    processes: { type: 'string', default: '3' },
    ms: { type: 'string', default: '150' },
    frameworks: { type: 'string', default: 'express,fastify,koa,hono' },
    layers: { type: 'string' },
    scenarios: { type: 'string', default: 'none,read,write,create' },
    backing: { type: 'string', default: 'memory' },
    url: { type: 'string', default: '' },
  },
})
const rounds = Number(options.rounds)
const milliseconds = Number(options.ms)
const scenarios = options.scenarios.split(',')

/** `create` is a write without a cookie. */
const paths = { none: '/none', read: '/read', write: '/write', create: '/write' }

async function start(framework, layer) {
  const server = isOnGunicorn(framework)
    ? await startGunicorn(framework, layer, options.url)
    : await startNode(framework, layer)
  return { layer, ...server }
}

async function startNode(framework, layer) {
  const child = fork(new URL('./server.mjs', import.meta.url), [
    ...[framework, layer, options.backing, options.url],
  ])
  const [port] = await Promise.race([once(child, 'message'), failure(child, `${framework} ${layer}`)])
  return {
    port,
    async cpu() {
      child.send('cpu')
      return (await once(child, 'message'))[0]
    },
    async stop() {
      child.disconnect()
      await once(child, 'exit')
    },
  }
}

async function failure(child, what) {
  const [code] = await once(child, 'exit')
  throw new Error(`the server of ${what} ended with ${code}`)
}

async function checkThatItCounts({ layer, port }) {
  assert.equal((await ask(port, '/none')).body, 'none')
  if (layer === 'bare') return
  const { body, cookie } = await ask(port, '/write')
  assert.equal(body, '1')
  assert.ok(cookie, `${layer}: a first visit must set a cookie`)
  assert.equal((await ask(port, '/write', cookie)).body, '2')
  assert.equal((await ask(port, '/write', cookie)).body, '3')
  assert.equal((await ask(port, '/read', cookie)).body, '3')
  assert.equal((await ask(port, '/read')).body, '0')
  assert.equal((await ask(port, '/read', forge(cookie))).body, '0')
}

/** With another character in the middle of each cookie's value. */
function forge(cookies) {
  return cookies.replace(/=([^;]+)/g, (_, value) => {
    const at = value.length >> 1
    return `=${value.slice(0, at)}${value[at] === 'A' ? 'B' : 'A'}${value.slice(at + 1)}`
  })
}

async function sessionsOf({ port, layer }) {
  if (layer === 'bare') return Array(CONNECTIONS).fill('id=someone')
  return Promise.all(Array.from({ length: CONNECTIONS }, async () => (await ask(port, '/write')).cookie))
}

async function measure(server, scenario, milliseconds) {
  const before = await server.cpu()
  const { latencies, bodies } = await load({
    port: server.port,
    path: paths[scenario],
    cookies:
      scenario === 'read' || scenario === 'write' ? server.cookies : Array(CONNECTIONS).fill(undefined),
    milliseconds,
  })
  const cpu = ((await server.cpu()) - before) / latencies.length
  if (scenario === 'write' && server.layer !== 'bare') {
    const counted = bodies.reduce((sum, body) => sum + Number(body), 0)
    server.written = (server.written ?? CONNECTIONS) + latencies.length
    assert.equal(counted, server.written, `${server.layer} lost a visit`)
  }
  const perSecond = (latencies.length / milliseconds) * 1000
  return { perSecond, cpu, p99: percentile(latencies, 0.99) }
}

/** Nobody is always the one who comes after a certain other. */
function rotated(list, by) {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

/** One process of each layer, taking turns for some rounds. */
async function sample(framework, names) {
  const servers = await Promise.all(names.map((layer) => start(framework, layer)))
  for (const server of servers) await checkThatItCounts(server)
  for (const server of servers) server.cookies = await sessionsOf(server)

  const samples = []
  for (let round = -1; round < rounds; round++) {
    const isWarmUp = round < 0 // for the compiler
    for (const scenario of scenarios) {
      const bySameRound = []
      for (const server of rotated(servers, round + 1)) {
        const measured = await measure(server, scenario, isWarmUp ? WARM_UP : milliseconds)
        bySameRound.push({ layer: server.layer, scenario, ...measured })
      }
      const cpuOf = (wanted) => bySameRound.find(({ layer }) => layer === wanted)?.cpu
      const compared = (one) => ({
        ...one,
        added: one.cpu - cpuOf('bare'),
        overFloor: one.cpu - cpuOf('floor'),
      })
      if (!isWarmUp) samples.push(...bySameRound.map(compared))
    }
  }
  await Promise.all(servers.map((server) => server.stop()))
  return samples
}

async function compare(framework) {
  const names = options.layers?.split(',') ?? Object.keys((await import(`./apps/${framework}.mjs`)).layers)
  const samples = []
  for (let i = 0; i < Number(options.processes); i++) samples.push(...(await sample(framework, names)))

  const result = {}
  for (const layer of names) {
    result[layer] = {}
    for (const scenario of scenarios) {
      const own = samples.filter((one) => one.layer === layer && one.scenario === scenario)
      const medianOf = (what) => median(own.map((one) => one[what]))
      result[layer][scenario] = {
        perSecond: medianOf('perSecond'),
        cpu: medianOf('cpu'),
        added: medianOf('added'),
        overFloor: medianOf('overFloor'),
        p99: medianOf('p99'),
      }
    }
  }
  return result
}

const results = {}
for (const framework of options.frameworks.split(',')) results[framework] = await compare(framework)
console.log(JSON.stringify(results))
