import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, expect, it } from 'vitest'
import { type FaultProxy, faultProxyTo } from './helpers/fault-proxy.ts'
import { Crowd } from './helpers/web-crowd.ts'
import { withoutPackages } from './helpers/without-packages.ts'
import { find } from './servers/process.ts'
import { startCluster, startSentinels, until } from './servers/redis.ts'

/** When commands have waited for an answer as long as they may. */
const GIVEN_UP = 3_000

let closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.reverse()) await close()
  closing = []
})

async function proxyTo(port: number): Promise<FaultProxy> {
  const proxy = await faultProxyTo(port)
  closing.push(() => proxy.close())
  return proxy
}

const topologies: Record<string, () => Promise<{ url: string; proxy: FaultProxy }>> = {
  async Cluster() {
    const cluster = await startCluster()
    closing.push(() => cluster.stop())
    const proxies: FaultProxy[] = []
    for (const { port, cli } of cluster.nodes) {
      const proxy = await proxyTo(port)
      proxies.push(proxy)
      await cli('CONFIG', 'SET', 'cluster-announce-port', String(proxy.port))
    }
    const ports = proxies.map(({ port }) => String(port))
    await until(async () => {
      const known = await Promise.all(cluster.nodes.map(({ cli }) => cli('CLUSTER', 'SLOTS')))
      return known.every((slots) => ports.every((port) => slots.includes(port)))
    })
    return { url: `redis+cluster://${ports.map((port) => `127.0.0.1:${port}`)}`, proxy: proxies[0]! }
  },
  async Sentinel() {
    const { primary, ports, stop } = await startSentinels()
    closing.push(stop)
    const proxy = await proxyTo(primary.port)
    for (const port of ports) {
      const tell = (...args: string[]) =>
        promisify(execFile)(find('redis-cli'), ['-p', String(port), 'SENTINEL', ...args])
      await tell('MONITOR', 'proxied', '127.0.0.1', String(proxy.port), '2')
      // They are not to take the fault for the end of the primary.
      await tell('SET', 'proxied', 'down-after-milliseconds', '60000')
    }
    return { url: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`)}/proxied`, proxy }
  },
}

/** A site in another process, where node-redis is the only client, and those who visit it. */
async function visit(storeUrl: string, visitors: number): Promise<Crowd> {
  const program = fileURLToPath(new URL('./helpers/counting-process.ts', import.meta.url))
  const child = fork(program, [storeUrl], { execArgv: withoutPackages(['ioredis']) })
  closing.push(() => child.kill('SIGKILL'))
  const [url] = await once(child, 'message')
  const crowd = new Crowd(String(url))
  await crowd.start(visitors)
  closing.push(() => crowd.stop())
  await sleep(1_000)
  return crowd
}

it.each(Object.entries(topologies))(
  'node-redis, %s: a connection that has gone silent is given up',
  async (_name, start) => {
    const { url, proxy } = await start()
    // In a Cluster a third of them are on the node that goes silent.
    const crowd = await visit(url, 30)
    const began = performance.now()
    proxy.halfOpen()
    await sleep(1_200)
    const healed = performance.now()
    await proxy.heal()
    await sleep(GIVEN_UP + 1_000)
    await crowd.stop()
    await crowd.leave()
    expect(crowd.wrong).toEqual([])
    const failed = crowd.seen.filter(({ status }) => status !== 200)
    expect(failed.filter((each) => each.began < healed && each.ended > began).length).toBeGreaterThan(5)
    expect(failed.filter((each) => each.ended < began || each.began > healed + GIVEN_UP)).toEqual([])
  },
  60_000,
)

it('node-redis, Cluster: while one node gives no answer, the sessions on the others are served', async () => {
  const cluster = await startCluster()
  closing.push(() => cluster.stop())
  // As a Cluster is set that is to go on without one of its parts.
  for (const { cli } of cluster.nodes) await cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
  const crowd = await visit(`redis+cluster://${cluster.nodes.map(({ port }) => `127.0.0.1:${port}`)}`, 30)
  const began = performance.now()
  cluster.nodes[1]!.freeze()
  await sleep(3 * GIVEN_UP)
  cluster.nodes[1]!.thaw()
  const thawed = performance.now()
  await sleep(3_000)
  await crowd.stop()
  await crowd.leave()
  expect(crowd.wrong).toEqual([])
  const reads = crowd.seen.filter(({ kind }) => kind === 'read')
  for (let from = began; from < thawed - 1_000; from += 1_000) {
    const meanwhile = reads.filter((each) => each.began >= from && each.ended <= from + 1_000)
    const served = meanwhile.filter(({ status }) => status === 200)
    expect(
      served.length,
      `of ${meanwhile.length}, ${(from - began) / 1_000} s after it froze`,
    ).toBeGreaterThan(20)
  }
  expect(reads.filter((each) => each.began > thawed + 2_000 && each.status !== 200)).toEqual([])
}, 60_000)
