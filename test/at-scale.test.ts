/**
 * Many sessions on each server: 100,000, or as many as HOLDFAST_SESSIONS says (`npm run test:soak`: a million). Ten thousand of them are
 * kept apart, and the two take turns, so that what else the machine does slows both. They take turns in one thread of the server, too:
 * one on the processor core of this process answers twice as fast as one that has to be woken on another.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Store, StoredRecord } from 'holdfast'
import { memcachedStore } from 'holdfast/stores/memcached'
import { redisStore } from 'holdfast/stores/redis'
import { mysqlStore, postgresStore } from 'holdfast/stores/sql'
import mysql2 from 'mysql2/promise'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningStore, serverStores } from './helpers/stores.ts'
import { startOwnMariadb } from './servers/mariadb.ts'
import { startMemcached } from './servers/memcached.ts'

const FEW = 10_000
const MANY = Number(process.env.HOLDFAST_SESSIONS ?? 100_000)
const AT_ONCE = 64
const TEXT = 'x'.repeat(435)
const now = Date.now()

const start: Record<string, () => Promise<RunningStore>> = {
  ...serverStores,
  mariadb: () => startOwnMariadb({ bufferPool: '4G' }),
  async memcached() {
    const server = await startMemcached(['-m', '4096', '-t', '1']) // one thread for all connections
    return { url: `memcached://127.0.0.1:${server.port}`, stop: server.stop }
  },
}

/**
 * What opens stores on a server, by its URL. Those of a database share a pool, which gives the connection that came back last: one at a
 * time, they have the same one.
 */
const connect: Record<string, (url: string) => { open(name: string): Store; end(): Promise<unknown> }> = {
  memcached: (url) => ({
    open: (prefix) => memcachedStore(url, { prefix: `${prefix}:` }),
    end: async () => {},
  }),
  redis: (url) => ({ open: (prefix) => redisStore(url, { prefix }), end: async () => {} }),
  postgres(url) {
    // The end of the server may overtake that of a connection.
    const pool = new pg.Pool({ connectionString: url }).on('error', () => {})
    return { open: (table) => postgresStore(pool, { table }), end: () => pool.end() }
  },
  mariadb(url) {
    const pool = mysql2.createPool(url)
    return { open: (table) => mysqlStore(pool, { table }), end: () => pool.end() }
  },
}

const keyOf = (n: number) => `id:${'k'.repeat(34)}${String(n).padStart(9, '0')}`

function record(n: number, more: Partial<StoredRecord> = {}): StoredRecord {
  return { rev: '1.abcdefgh', text: TEXT, lastSeen: now, expires: now + 86_400_000 + n, ...more }
}

/** All numbers below `count`, some at a time. */
async function each(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) await work(next++)
    }),
  )
}

function quantile(times: number[], q: number): number {
  times.sort((a, b) => a - b)
  return times[Math.min(times.length - 1, Math.floor(times.length * q))]!
}

describe.each(Object.keys(connect))(`%s with ${MANY.toLocaleString('en')} sessions`, (name) => {
  let server: RunningStore
  let connected: ReturnType<(typeof connect)[string]>
  let few: Store
  let many: Store

  beforeAll(async () => {
    server = await start[name]!()
    connected = connect[name]!(server.url)
    few = connected.open('few')
    many = connected.open('many')
    await each(FEW, (n) => few.create(keyOf(n), record(n)))
    // Every other one has expired, where it is not the server that removes it.
    await each(MANY, (n) =>
      many.create(keyOf(n), record(n, n % 2 && many.sweep ? { expires: now - 1_000 } : {})),
    )
  }, 3_600_000)
  afterAll(async () => {
    await few?.close?.()
    await many?.close?.()
    await connected?.end()
    await server?.stop()
  })

  it('loads and updates as fast as with 10,000', async () => {
    const times = {
      few: { load: [] as number[], update: [] as number[] },
      many: { load: [] as number[], update: [] as number[] },
    }
    for (let round = 0; round < 3_000; round++) {
      for (const [which, store, count] of [
        ['few', few, FEW],
        ['many', many, MANY],
      ] as const) {
        const n = Math.floor(Math.random() * (count / 2)) * 2
        const started = performance.now()
        const found = await store.load(keyOf(n))
        const loaded = performance.now()
        if (!found || !('rev' in found)) throw new Error(`session ${n} is not there`)
        const rev = `${round}.${randomBytes(6).toString('base64url')}`
        const result = await store.update(keyOf(n), { ...found, rev }, found.rev)
        times[which].load.push(loaded - started)
        times[which].update.push(performance.now() - loaded)
        expect(result).toBe('ok')
      }
    }
    for (const what of ['load', 'update'] as const) {
      const [small, large] = [quantile(times.few[what], 0.5), quantile(times.many[what], 0.5)]
      console.log(
        `${name}: ${what} ${(small * 1000).toFixed(0)} us with ${FEW}, ${(large * 1000).toFixed(0)} with ${MANY}`,
      )
      expect(large / small, what).toBeLessThan(1.3)
    }
  }, 600_000)

  it('sweeps half of them, and no request beside it waits 50 ms', async () => {
    if (!many.sweep) {
      expect(['redis', 'memcached']).toContain(name) // which remove them by themselves
      return
    }
    let isSweeping = true
    const waits: number[] = []
    const beside = Array.from({ length: 4 }, async () => {
      while (isSweeping) {
        const key = keyOf(Math.floor(Math.random() * (MANY / 2)) * 2)
        const started = performance.now()
        const found = await many.load(key)
        if (!found || !('rev' in found)) throw new Error('a live session was swept')
        await many.update(key, { ...found, rev: `9.${randomBytes(6).toString('base64url')}` }, found.rev)
        waits.push(performance.now() - started)
      }
    })
    const started = performance.now()
    let removed = 0
    // As the core does it: in batches of 200, with a rest after each.
    for (;;) {
      const began = performance.now()
      const batch = await many.sweep(now, 200)
      removed += batch
      if (batch < 200) break
      await sleep(Math.max(10, performance.now() - began))
    }
    const seconds = (performance.now() - started) / 1000
    isSweeping = false
    await Promise.all(beside)
    const worst = quantile(waits, 0.999)
    console.log(
      `${name}: swept ${removed} in ${seconds.toFixed(1)} s; of ${waits.length} requests beside it, p99.9 ${worst.toFixed(1)} ms`,
    )
    expect(removed).toBe(MANY / 2)
    expect(worst).toBeLessThan(50)
  }, 1_200_000)
})
