/**
 * Three processes on one Redis Cluster under mixed load: a minute, or as many as HOLDFAST_MINUTES says (`npm run test:soak`: ten). What the
 * visitors were told is counted by themselves, and what the Cluster holds at the end is looked at past Holdfast.
 */
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client } from './helpers/client.ts'
import { type Processes, startProcesses } from './helpers/processes.ts'
import { type RunningStore, sharedStores } from './helpers/stores.ts'
import { Visitor } from './helpers/visitor.ts'

const MINUTES = Number(process.env.HOLDFAST_MINUTES ?? 1)
const VISITORS = 60

let cluster: RunningStore
let processes: Processes

beforeAll(async () => {
  cluster = await sharedStores['redis cluster']!()
  processes = await startProcesses(cluster.url, ['--expose-gc'])
}, 60_000)
afterAll(async () => {
  await processes?.stop()
  await cluster?.stop()
})

it(`loses no write, revives no session and leaks no key in ${MINUTES} min of mixed load`, async () => {
  const visitors = Array.from({ length: VISITORS }, (_, n) => new Visitor(`visitor-${n}`, processes.anyUrl))
  const until = performance.now() + MINUTES * 60_000
  const run = (end: number) =>
    Promise.all(
      visitors.map(async (visitor) => {
        while (performance.now() < end) await visitor.act()
      }),
    )
  await run(performance.now() + MINUTES * 20_000)
  const before = await processes.heaps()
  await run(until)
  const after = await processes.heaps()

  for (const visitor of visitors) await visitor.check()
  const live = await keys()
  for (const visitor of visitors) await visitor.logout()
  for (const cookie of visitors.flatMap(({ dead }) => dead)) {
    const copy = client(processes.anyUrl(), cookie)
    expect([(await copy.get('/me')).text, (await copy.get('/data')).text]).toEqual(['nobody', '{}'])
  }
  const left = await keys()
  const requests = visitors.reduce((sum, visitor) => sum + visitor.requests, 0)
  const growth = after.map((heap, i) => ((heap - before[i]!) / 1e6).toFixed(1))
  console.log(
    `${requests} requests; ${live.length} keys, ${left.length} when all had logged out; heaps grew by ${growth.join(', ')} MB`,
  )

  // Tombstones, each for some minutes; and no index without a session in it.
  expect(left.filter(({ type }) => type !== 'string')).toEqual([])
  expect(left.filter(({ left: milliseconds }) => milliseconds <= 0 || milliseconds > 310_000)).toEqual([])
  expect(live.filter(({ left: milliseconds }) => milliseconds <= 0)).toEqual([])
  for (const [i, heap] of after.entries()) expect(heap - before[i]!).toBeLessThan(8e6)
}, 900_000)

async function keys(): Promise<{ key: string; type: string; left: number }[]> {
  const [host, port] = cluster.url.split('//')[1]!.split(',')[0]!.split(':')
  const redis = new Cluster([{ host: host!, port: Number(port) }])
  const found = []
  for (const node of redis.nodes('master').length > 0
    ? redis.nodes('master')
    : (await ready(redis)).nodes('master')) {
    for await (const page of node.scanStream({ count: 1_000 })) {
      for (const key of page as string[]) {
        const [type, left] = await Promise.all([redis.type(key), redis.pttl(key)])
        if (type !== 'none') found.push({ key, type, left })
      }
    }
  }
  redis.disconnect()
  return found
}

async function ready(redis: Cluster): Promise<Cluster> {
  await redis.ping()
  return redis
}
