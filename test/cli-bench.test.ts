/** `holdfast bench` on real stores: what it reports, and that it leaves nothing behind. */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import Database from 'libsql'
import { createConnection } from 'mysql2/promise'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { browser, SECRET } from './helpers/browser.ts'
import { type BuiltCommand, buildCommand } from './helpers/command.ts'
import { startMariadb } from './servers/mariadb.ts'
import { type Memcached, startMemcached } from './servers/memcached.ts'
import { startPostgres, type TestServer } from './servers/postgres.ts'
import { freePort } from './servers/process.ts'
import { type RedisServer, startRedis, until } from './servers/redis.ts'

const COUNT = 'SELECT COUNT(*) AS n FROM holdfast_sessions'

let command: BuiltCommand
let redis: RedisServer
let postgres: TestServer
let mariadb: TestServer
let memcached: Memcached
let folder: string

beforeAll(async () => {
  command = buildCommand('cli-bench')
  ;[redis, postgres, mariadb, memcached] = await Promise.all([
    startRedis(),
    startPostgres(),
    startMariadb(),
    startMemcached(),
  ])
}, 60_000)
afterAll(() => Promise.all([redis.stop(), postgres.stop(), mariadb.stop(), memcached.stop()]))
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

interface Kind {
  url(): string
  /** How much there is on the server, tombstones and indexes too. What has expired may be counted for a moment. */
  size(): Promise<number>
}

const kinds: Readonly<Record<string, Kind>> = {
  sqlite: {
    url: () => `sqlite:${join(folder, 'sessions.db')}`,
    async size() {
      const database = new Database(join(folder, 'sessions.db'))
      const { n } = database.prepare(COUNT).get() as { n: number }
      database.close()
      return n
    },
  },
  file: {
    url: () => `file:${join(folder, 'sessions')}`,
    async size() {
      const paths = readdirSync(join(folder, 'sessions'), { recursive: true }) as string[]
      return paths.filter((path) => statSync(join(folder, 'sessions', path)).isFile()).length
    },
  },
  redis: {
    url: () => `redis://127.0.0.1:${redis.port}`,
    size: async () => Number(await redis.cli('DBSIZE')),
  },
  postgres: {
    url: () => postgres.url,
    async size() {
      const client = new pg.Client({ connectionString: postgres.url })
      await client.connect()
      const { rows } = await client.query(COUNT)
      await client.end()
      return Number(rows[0].n)
    },
  },
  mysql: {
    url: () => mariadb.url,
    async size() {
      const connection = await createConnection(mariadb.url)
      const [rows] = await connection.query(COUNT)
      await connection.end()
      return Number((rows as { n: number }[])[0]!.n)
    },
  },
  memcached: {
    url: () => `memcached://127.0.0.1:${memcached.port}`,
    async size() {
      // What has expired is counted until it is come across.
      await memcached.ask('lru_crawler crawl all')
      return Number(/STAT curr_items (\d+)/.exec(await memcached.ask('stats'))![1])
    },
  },
}

describe.each(Object.entries(kinds))('holdfast bench on a %s store', (name, { url, size }) => {
  it('says what it carries, and touches and leaves nothing', async () => {
    const everything = await site(url())
    const [sizeBefore, before] = [await size(), await everything()]
    const { code, stdout, stderr } = await start(
      ...['bench', '--store', url(), '--for', '1s', '--concurrency', '4', '--json'],
    ).ended
    expect([code, stderr]).toEqual([
      0,
      `Loading the ${name} store for 1 s, 4 at once; Ctrl-C ends it sooner\n`,
    ])
    const found = JSON.parse(stdout)
    const summary = { perSecond: expect.any(Number), p50: expect.any(Number), p99: expect.any(Number) }
    expect(found).toEqual({
      store: name,
      seconds: expect.any(Number),
      concurrency: 4,
      reads: summary,
      writes: summary,
      pageViewsPerSecond: expect.any(Number),
      errors: 0,
      removed: 80,
    })
    const { seconds, reads, writes, pageViewsPerSecond } = found
    expect(seconds).toBeGreaterThanOrEqual(1)
    expect(Math.abs(pageViewsPerSecond - reads.perSecond - writes.perSecond)).toBeLessThanOrEqual(1)
    expect(writes.perSecond).toBeGreaterThan(0)
    expect(reads.perSecond / writes.perSecond).toBeGreaterThan(4)
    expect(reads.p99).toBeGreaterThanOrEqual(reads.p50)
    // With four at once, as many take a median each.
    expect(pageViewsPerSecond).toBeLessThan((4 * 2 * 1000) / reads.p50)
    await until(async () => (await size()) <= sizeBefore)
    expect(await everything()).toEqual(before)
  }, 60_000)
})

describe('holdfast bench', () => {
  it('says it in words', async () => {
    const { url } = kinds.redis!
    const { code, stdout } = await start('bench', '--store', url(), '--for', '500ms').ended
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^reads +[\d,]+\/s {2}p50 [\d.]+ ms {2}p99 [\d.]+ ms\nwrites +[\d,]+\/s {2}p50 [\d.]+ ms {2}p99 [\d.]+ ms\nThat is about [\d,]+ page views a second from one process on this machine, one in 10 of which changes its session\.\n200 sessions were made for it, and removed\.\n$/,
    )
  })

  it.each([
    ['sqlite', 'SIGINT', 130],
    ['redis', 'SIGINT', 130],
    ['postgres', 'SIGTERM', 143],
  ] as const)(
    'removes what it made in a %s store also after %s, and reports',
    async (name, signal, expected) => {
      const { url, size } = kinds[name]!
      const everything = await site(url())
      const [sizeBefore, before] = [await size(), await everything()]
      const { child, ended } = start('bench', '--store', url(), '--json')
      await until(async () => (await size()) > sizeBefore + 100)
      child.kill(signal)
      const { code, stdout } = await ended
      expect(code).toBe(expected)
      const { seconds, removed } = JSON.parse(stdout)
      expect(seconds).toBeLessThan(30)
      expect(removed).toBeGreaterThan(0)
      await until(async () => (await size()) <= sizeBefore)
      expect(await everything()).toEqual(before)
    },
  )

  it('fails for a store that cannot be reached, and says why', async () => {
    const url = `redis://:hunter2@127.0.0.1:${await freePort()}`
    const { code, stdout, stderr } = await start('bench', '--store', url, '--for', '1s').ended
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^holdfast bench: .*ECONNREFUSED/m)
    expect(stderr).not.toContain('hunter2')
  })

  it.each([
    [['--for', '60'], /--for: "60" is no time above 0 with its unit: 10s, 1m/],
    [['--for', '0s'], /--for: "0s" is no time/],
    [['--concurrency', '0'], /--concurrency: "0" is no whole number from 1 to 9999/],
  ])('refuses %j', async (args, message) => {
    const { code, stdout, stderr } = await start('bench', '--store', kinds.redis!.url(), ...args).ended
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(message)
  })
})

// ---- helpers ----

function start(...args: string[]) {
  return command.start(args, { cwd: folder })
}

/** A site with sessions, one of which has expired and one of which has ended; the result gives all that can be listed. */
async function site(url: string): Promise<() => Promise<unknown>> {
  const store = openStore(url)
  let now = Date.now()
  const sessions = createSessions({ secret: SECRET, store, sweepEvery: false, clock: () => now })
  for (const ago of [0, 0, 48 * 3_600_000]) {
    now = Date.now() - ago
    await browser(sessions).visit((session) => session.login('ann'))
  }
  now = Date.now()
  await browser(sessions).visit(async (session) => {
    await session.login('bob')
    await session.commit()
    await session.logout()
  })
  await sessions.close()
  return async () => {
    const again = openStore(url)
    const page = await again.scan?.(undefined, 1000)
    await again.close?.()
    // A scan of Redis has no order.
    return page && [...page.items].sort(([a], [b]) => (a < b ? -1 : 1))
  }
}
