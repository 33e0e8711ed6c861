/**
 * A site moves from its database to Redis while people use it: three processes at each stage, and both stages at once in between, as in
 * a rolling deployment. Visitors know what the site must know of them, and check it all the time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { migratingStore } from 'holdfast/stores/migrating'
import { expect, it } from 'vitest'
import { SECRET } from './helpers/browser.ts'
import { type Processes, startProcesses } from './helpers/processes.ts'
import { serverStores } from './helpers/stores.ts'
import { Visitor } from './helpers/visitor.ts'

const IDLE_SESSIONS = 300

it('moves from PostgreSQL to Redis under load, and nobody loses anything', async () => {
  const [database, redis] = await Promise.all([serverStores.postgres(), serverStores.redis()])
  const both = { from: database.url, to: redis.url }
  const stages = [
    database.url,
    `migrating:?${new URLSearchParams({ ...both, moves: 'false' })}`,
    `migrating:?${new URLSearchParams(both)}`,
  ]
  let serving: Processes[] = [await startProcesses(stages[0]!)]
  let turn = 0
  const anyUrl = () => serving[turn++ % serving.length]!.anyUrl()

  // Sessions that nobody uses meanwhile: only the drain sees them.
  const before = createSessions<{ visits?: number }>({ secret: SECRET, store: openStore(database.url) })
  const idle = await Promise.all(
    Array.from({ length: IDLE_SESSIONS }, async (_, n) => {
      const session = await before.open(undefined)
      await session.login(`idle-${n}`)
      session.data.visits = n
      const { cookie } = await before.commit(session)
      return `${cookie!.name}=${cookie!.value}`
    }),
  )
  await before.close()

  const visitors = Array.from({ length: 20 }, (_, n) => new Visitor(`visitor-${n}`, anyUrl))
  let isOver = false
  const traffic = Promise.all(
    visitors.map(async (visitor) => {
      while (!isOver) await visitor.act()
    }),
  )
  /** New processes join, then the old ones leave. */
  const deploy = async (url: string) => {
    const [old] = serving
    const next = await startProcesses(url)
    serving = [old!, next]
    await sleep(700)
    serving = [next]
    await sleep(300)
    await old!.stop()
    await sleep(300)
  }
  try {
    await sleep(700)
    await deploy(stages[1]!)
    await deploy(stages[2]!)

    const store = migratingStore({ from: openStore(database.url), to: openStore(redis.url) })
    const stopping = new AbortController()
    const first = await store.drain({
      count: true,
      batch: 10,
      signal: stopping.signal,
      onProgress: ({ seen }) => seen > 50 && stopping.abort(),
    })
    expect(first.done).toBe(false)
    const progress: number[] = []
    const second = await store.drain({ onProgress: ({ seen }) => progress.push(seen) })
    expect(second.done).toBe(true)
    expect(progress.length).toBeGreaterThan(1)
    expect(first.moved + second.moved).toBeGreaterThanOrEqual(IDLE_SESSIONS)
    await store.close()

    await deploy(redis.url)
    isOver = true
    await traffic
    for (const visitor of visitors) await visitor.check()

    const after = createSessions<{ visits?: number }>({ secret: SECRET, store: openStore(redis.url) })
    for (const [n, cookie] of idle.entries()) {
      const session = await after.open(cookie)
      expect([session.userId, session.data.visits]).toEqual([`idle-${n}`, n])
    }
    for (const cookie of visitors.flatMap(({ dead }) => dead)) {
      expect((await after.open(cookie)).userId).toBeUndefined()
    }
    await after.close()
    console.log(`${visitors.reduce((sum, { requests }) => sum + requests, 0)} requests during the move`)
  } finally {
    isOver = true
    await traffic.catch(() => {})
    for (const processes of serving) await processes.stop()
    await Promise.all([database.stop(), redis.stop()])
  }
}, 120_000)
