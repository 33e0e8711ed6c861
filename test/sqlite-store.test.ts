import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type SqliteHandle, type SqlStore, StoreError, sqliteStore } from 'holdfast/stores/sql'
import Libsql from 'libsql'
import { afterAll, afterEach, describe, expect, expectTypeOf, it, vi } from 'vitest'
import { isTombstone, NEVER, type StoredRecord } from '../src/store.ts'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import type { Order, Report } from './openers/sqlite-writer.ts'

const OPENER = new URL('./openers/sqlite.ts', import.meta.url).href
const root = mkdtempSync(join(tmpdir(), 'holdfast-sqlite-'))
const opened: { close(): unknown }[] = []

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** The drivers that this Node can run; a path is opened with `node:sqlite` where it is, else with libsql. */
type Driver = new (path: string) => SqliteHandle & { close(): void }
const builtin = process.getBuiltinModule('node:sqlite') as { DatabaseSync: Driver } | undefined
const drivers: Record<string, Driver> = {
  libsql: Libsql as unknown as Driver,
  ...(builtin && { 'node:sqlite': builtin.DatabaseSync }),
}

storeSuite(
  { describe, it },
  {
    name: 'sqlite, by path',
    async open() {
      const path = newPath()
      return { store: sqliteStore(path), config: { path } }
    },
    opener: OPENER,
  },
)

for (const [name, Database] of Object.entries(drivers)) {
  storeSuite(
    { describe, it },
    {
      name: `sqlite, in memory, passed in as ${name}`,
      async open() {
        const handle = new Database(':memory:')
        return { store: sqliteStore(handle), dispose: async () => handle.close() }
      },
    },
  )
}

describe('opening a path', () => {
  it('makes folder and file for this user alone, companions included', async () => {
    const path = join(newFolder(), 'var', 'lib', 'sessions.db')
    await open(path).create('k', record())
    expect(modeOf(join(path, '..'))).toBe('700')
    expect(modeOf(join(path, '..', '..'))).toBe('700')
    for (const suffix of ['', '-wal', '-shm']) expect(modeOf(path + suffix)).toBe('600')
  })

  it('leaves the mode of an existing file alone', async () => {
    const path = newPath()
    writeFileSync(path, '')
    chmodSync(path, 0o640)
    await open(path).create('k', record())
    expect(modeOf(path)).toBe('640')
  })

  it('keeps a write-ahead log, so that readers and writers do not wait for each other', async () => {
    const path = newPath()
    await open(path).create('k', record())
    expect(openHandle(path).prepare('PRAGMA journal_mode').all()).toMatchObject([{ journal_mode: 'wal' }])
  })

  it('finds the sessions again', async () => {
    const path = newPath()
    const made = record({ user: 'ada', externalId: 'sid', expires: NEVER })
    const first = open(path)
    await first.create('k', made)
    await first.close()
    expect(await open(path).load('k')).toStrictEqual(made)
  })

  it('keeps two stores in memory apart', async () => {
    await open(':memory:').create('k', record())
    expect(await open(':memory:').load('k')).toBeUndefined()
  })

  it.each(['', 'file:sessions.db', 'sqlite:./sessions.db', 'https://example.org/db'])(
    'refuses %j',
    (source) => {
      expect(() => sqliteStore(source)).toThrow(/is not a path\. Pass one/)
    },
  )

  it('says what is wrong with a path that cannot be opened', () => {
    const folder = newFolder()
    expect(() => sqliteStore(folder)).toThrow(StoreError)
    expect(() => sqliteStore(folder)).toThrow(/^sqlite store: open failed: .*holdfast-sqlite.*writable/)
    writeFileSync(join(folder, 'file'), '')
    expect(() => sqliteStore(join(folder, 'file', 'sessions.db'))).toThrow(/open failed/)
  })

  it('says so when the file holds something else, and leaves it as it is', () => {
    const path = newPath()
    const content = 'not a database, '.repeat(400)
    writeFileSync(path, content)
    expect(() => sqliteStore(path)).toThrow(
      /The file holds something else: give another path, or move it away/,
    )
    expect(readFileSync(path, 'utf8')).toBe(content)
  })
})

describe('a database that is passed in', () => {
  for (const [name, Database] of Object.entries(drivers)) {
    it(`of ${name} is neither set up nor closed`, async () => {
      const handle = new Database(newPath())
      const before = settings(handle)
      const store = sqliteStore(handle)
      await store.create('k', record(), { durable: true })
      await store.close()
      expect(settings(handle)).toEqual(before)
      expect(handle.prepare('SELECT count(*) AS n FROM holdfast_sessions').all()).toMatchObject([{ n: 1 }])
      handle.close()
    })
  }

  it('may be set to read integers as bigint', async () => {
    const handle = new Libsql(':memory:').defaultSafeIntegers(true)
    const made = record({ expires: NEVER })
    const store = sqliteStore(handle)
    expect(await store.create('k', made)).toBe(true)
    expect(await store.load('k')).toStrictEqual(made)
    expect(await store.update('k', record(), made.rev)).toBe('ok')
  })

  it('has a type that takes the drivers as they are', () => {
    expectTypeOf<ReturnType<typeof openLibsql>>().toExtend<SqliteHandle>()
  })

  const asynchronous = {
    'a promise of rows': { prepare: () => ({ all: async () => [{ answer: 42 }], run: async () => ({}) }) },
    'a promise of a statement': { prepare: async () => ({}) },
    'a callback': { prepare: () => ({ all: () => ({}), run: () => ({}) }) },
    'rows as arrays': { prepare: () => ({ all: () => [[42]], run: () => ({ changes: 0 }) }) },
  }
  for (const [answers, handle] of Object.entries(asynchronous)) {
    it(`is refused if its driver answers with ${answers}`, () => {
      expect(() => sqliteStore(handle as unknown as SqliteHandle)).toThrow(
        /^sqliteStore: cannot use an object of class Object: .*Pass a path, ':memory:', or an open database: DatabaseSync of node:sqlite/s,
      )
    })
  }

  it.each([undefined, null, 7, {}, new Map()])('is refused if it is %s', (handle) => {
    expect(() => sqliteStore(handle as unknown as SqliteHandle)).toThrow(/cannot use .*Pass a path/s)
  })

  it('is refused if it is closed', () => {
    const handle = openLibsql(':memory:')
    handle.close()
    expect(() => sqliteStore(handle)).toThrow(/cannot use an object of class Database: .*not open/)
  })
})

describe('the table', () => {
  it.each(['', '1st', 'a-b', 'a b', 'a"b', 'a;b', 'ä', 'main.t', 'x'.repeat(64), null, 7])(
    'cannot be called %j',
    (table) => {
      expect(() => sqliteStore(':memory:', { table: table as string })).toThrow(RangeError)
    },
  )

  it.each(['order', 'Select', '_', 'x'.repeat(63)])('can be called %j', async (table) => {
    const store = open(':memory:', { table })
    await store.create('k', record({ user: 'ada' }))
    expect((await store.users.list('ada')).items).toHaveLength(1)
    expect(await store.sweep(NEVER, 10)).toBe(1)
  })

  it('is made by the first operation and not before', async () => {
    const handle = openHandle(':memory:')
    const store = sqliteStore(handle)
    expect(tablesOf(handle)).toEqual([])
    await store.load('k')
    expect(tablesOf(handle)).toEqual(['holdfast_sessions'])
  })

  it('is made by createTables, again and again', async () => {
    const handle = openHandle(':memory:')
    const store = sqliteStore(handle)
    await store.createTables()
    await store.createTables()
    expect(tablesOf(handle)).toEqual(['holdfast_sessions'])
  })

  it('can be made from what schema() prints', async () => {
    const handle = openHandle(':memory:')
    const store = sqliteStore(handle, { table: 'mine' })
    for (const sql of store.schema().split(';\n').filter(Boolean)) handle.prepare(sql).run()
    const before = handle.prepare('SELECT name, sql FROM sqlite_schema ORDER BY name').all()
    expect(before).toHaveLength(5)
    await store.create('k', record())
    expect(handle.prepare('SELECT name, sql FROM sqlite_schema ORDER BY name').all()).toEqual(before)
  })

  it('lives beside others in one file', async () => {
    const path = newPath()
    const [ours, theirs] = [open(path), open(path, { table: 'admin_sessions' })]
    const [one, other] = [record({ user: 'ada' }), record({ user: 'ada' })]
    await ours.create('k', one)
    expect(await theirs.load('k')).toBeUndefined()
    await theirs.create('k', other)
    expect(await ours.users.destroy('ada', Date.now())).toBe(1)
    expect(await ours.sweep(NEVER, 10)).toBe(1)
    expect(await theirs.load('k')).toStrictEqual(other)
  })

  it.each([
    [
      'CREATE TABLE holdfast_sessions (sid TEXT, sess TEXT)',
      /no column session_key; .*no column expiry_hour/,
    ],
    ['ALTER TABLE holdfast_sessions DROP COLUMN external_id', /\(it has no column external_id\)/],
    ['ALTER TABLE holdfast_sessions ADD COLUMN x', undefined],
    [
      `CREATE TABLE holdfast_sessions (session_key TEXT PRIMARY KEY, rev, text, user_id, external_id, last_seen,
       expires, expiry_hour, tenant TEXT NOT NULL)`,
      /\(its column tenant is foreign and must be given\)/,
    ],
    [
      'CREATE TABLE holdfast_sessions (session_key, rev, text, user_id, external_id, last_seen, expires, expiry_hour)',
      /\(session_key is not its primary key\)/,
    ],
  ])('of another make is an error before anything is written: %s', async (sql, problem) => {
    const handle = openHandle(':memory:')
    if (sql.startsWith('ALTER')) {
      await sqliteStore(handle).createTables()
      handle.prepare('DROP INDEX holdfast_sessions_by_external_id').run()
    }
    handle.prepare(sql).run()
    const store = sqliteStore(handle)
    if (problem === undefined) {
      expect(await store.create('k', record())).toBe(true)
      return
    }
    await expect(store.create('k', record())).rejects.toThrow(problem)
    await expect(store.load('k')).rejects.toThrow(/made for something else .* another \{ table \}/)
    expect(handle.prepare('SELECT count(*) AS n FROM holdfast_sessions').all()).toMatchObject([{ n: 0 }])
    handle.prepare('DROP TABLE holdfast_sessions').run()
    expect(await store.create('k', record())).toBe(true)
  })

  it('is made once, however many processes start at the same moment', async () => {
    const config = { path: newPath() }
    const workers = await Promise.all([1, 2, 3, 4].map(() => startWriter(config)))
    await Promise.all(workers.map(({ child }) => order(child, 'write')))
    await Promise.all(workers.map(({ child }) => kill(child)))
    const store = open(config.path)
    for (const { acknowledged, failures } of workers) {
      expect(failures).toEqual([])
      expect(acknowledged.size).toBeGreaterThan(0)
      for (const key of acknowledged.keys()) expect(await store.load(key)).toBeDefined()
    }
  })
})

describe('what an operation costs', () => {
  it('is one statement; two for a login, an expiry in another hour and what is gone; three for a conflict', async () => {
    const { handle, count } = counting()
    const store = sqliteStore(handle)
    await store.createTables()
    await store.load('k')
    const expires = Date.UTC(2040, 0, 1, 12)
    const made = record({ expires })
    const user = record({ expires, user: 'ada' })
    const next = record({ expires, user: 'ada' })

    expect(await count(() => store.load('k'))).toEqual([undefined, 1])
    expect(await count(() => store.create('k', made))).toEqual([true, 1])
    expect(await count(() => store.load('k'))).toEqual([made, 1])
    expect(await count(() => store.update('k', user, made.rev))).toEqual(['ok', 2])
    expect(await count(() => store.update('k', next, user.rev))).toEqual(['ok', 1])
    expect(await count(() => store.update('k', made, user.rev))).toEqual(['conflict', 3])
    expect(await count(() => store.touch('k', Date.now(), expires + 60_000))).toEqual([true, 1])
    expect(await count(() => store.touch('k', Date.now(), expires + 3_600_000))).toEqual([true, 2])
    expect(await count(() => store.touch('k', Date.now(), expires))).toEqual([true, 1])
    expect((await count(() => store.users.list('ada')))[1]).toBe(1)
    expect(await count(() => store.users.destroy('ada', expires))).toEqual([1, 1])
    expect(await count(() => store.destroy('k', expires))).toEqual([false, 1])
    expect(await count(() => store.touch('k', Date.now(), expires))).toEqual([false, 2])
    expect((await count(() => store.scan(undefined, 10)))[1]).toBe(1)
    expect(await count(() => store.sweep(expires, 10))).toEqual([1, 1])
  })

  it('a query for each reads through an index, none through the table', async () => {
    const { handle, statements } = counting()
    const store = sqliteStore(handle)
    await store.load('k')
    statements.length = 0
    await store.create('k', record())
    await store.load('k')
    await store.update('k', record(), 'other')
    await store.touch('k', 0, NEVER)
    await store.users.list('ada')
    await store.users.destroy('ada', 0)
    await store.externalIds.list('sid')
    await store.externalIds.destroy('sid', 0)
    await store.destroy('k', 0)
    await store.scan('k', 10)
    await store.sweep(0, 10)
    const all = new Set(statements)
    expect(all.size).toBe(14)
    for (const sql of all) {
      const plan = handle.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[]
      for (const { detail } of plan) expect(`${sql}: ${detail}`).not.toMatch(/: SCAN |TEMP B-TREE/)
    }
  })

  it('the indexed hour follows every change of the expiry', async () => {
    const handle = openHandle(':memory:')
    const store = sqliteStore(handle)
    const hour = 3_600_000
    const start = Date.UTC(2040, 0, 1, 12)
    const row = () => handle.prepare('SELECT expires, expiry_hour FROM holdfast_sessions').all()
    const expectExpiry = (expires: number) =>
      expect(row()).toMatchObject([{ expires, expiry_hour: Math.floor(expires / hour) }])
    const made = record({ expires: start, user: 'ada' })
    await store.create('k', made)
    expectExpiry(start)
    for (const [later, expected] of [
      [hour - 1, hour - 1],
      [hour, hour],
      [0, hour],
      [5 * hour + 7, 5 * hour + 7],
    ] as const) {
      await store.touch('k', 0, start + later)
      expectExpiry(start + expected)
    }
    for (const [i, offset] of [1, 0, -1, hour, 3 * hour - 1].entries()) {
      const expectedRev = i === 0 ? made.rev : String(i - 1)
      await store.update('k', { ...made, rev: String(i), expires: start + offset }, expectedRev)
      expectExpiry(start + offset)
    }
    await store.touch('k', 0, NEVER)
    expectExpiry(NEVER)
    await store.users.destroy('ada', start - 5 * hour)
    expectExpiry(start - 5 * hour)
  })

  it('close to what SQLite itself costs', async () => {
    const path = newPath()
    const store = open(path)
    const keys = Array.from({ length: 1000 }, () => randomBytes(32).toString('base64url'))
    const expires = Date.UTC(2040, 0, 1, 12)
    const made = record({ text: 'x'.repeat(435), user: 'ada', expires })
    for (const key of keys) await store.create(key, made)
    const [read, modified, touched] = [
      await microseconds(keys, (key) => store.load(key)),
      await microseconds(keys, (key, i) =>
        store.update(key, { ...made, rev: `${i}` }, i ? `${i - 1}` : made.rev),
      ),
      await microseconds(keys, (key, i) => store.touch(key, Date.now() + i, expires + 1 + i)),
    ]
    const driver = builtin ? 'node:sqlite' : 'libsql'
    console.log(
      `sqlite (${driver}, ${process.version}): read ${read} us, modified ${modified} us, touch ${touched} us`,
    )
    // Far above what is seen, so that only a change of kind fails: a scan, an fsync, a statement prepared each time.
    expect(read).toBeLessThan(250)
    expect(Math.max(modified, touched)).toBeLessThan(500)
  })
})

describe('trouble', () => {
  it('after close every operation says so, and close can be called again', async () => {
    const store = sqliteStore(newPath())
    await store.create('k', record())
    await store.close()
    await store.close()
    const operations = {
      load: () => store.load('k'),
      create: () => store.create('k', record()),
      update: () => store.update('k', record(), '1'),
      touch: () => store.touch('k', 0, 0),
      destroy: () => store.destroy('k', 0),
      scan: () => store.scan(undefined, 1),
      sweep: () => store.sweep(0, 1),
      'users.list': () => store.users.list('ada'),
      'externalIds.destroy': () => store.externalIds.destroy('sid', 0),
      createTables: () => store.createTables(),
    }
    for (const [operation, perform] of Object.entries(operations)) {
      const error = await perform().then(
        () => undefined,
        (e: unknown) => e,
      )
      expect(error).toBeInstanceOf(StoreError)
      expect(error).toMatchObject({
        store: 'sqlite',
        operation,
        retryable: false,
        message: `sqlite store: ${operation} failed: the store has been closed. Close it after the last request.`,
      })
    }
  })

  for (const [name, Database] of Object.entries(drivers)) {
    it(`an error of ${name} is the cause of one that names operation and cure`, async () => {
      const path = newPath()
      const blocker = new Database(path)
      const handle = new Database(path)
      handle.prepare('PRAGMA busy_timeout = 50').all()
      const store = sqliteStore(handle)
      await store.create('k', record())
      blocker.prepare('BEGIN IMMEDIATE').run()
      const error = await store.create('k2', record()).catch((e: unknown) => e)
      expect(error).toMatchObject({
        ...{ store: 'sqlite', operation: 'create', retryable: true },
        cause: { message: expect.stringMatching(/locked/) },
      })
      expect(String(error)).toMatch(
        /create failed: database is locked\. Another connection kept the write lock too long/,
      )
      blocker.prepare('ROLLBACK').run()
      expect(await store.create('k2', record())).toBe(true)

      handle.prepare('PRAGMA query_only = 1').all()
      await expect(store.destroy('k', 0)).rejects.toMatchObject({
        message: expect.stringMatching(/destroy failed: .*must be writable for this user/),
        retryable: false,
      })
      blocker.close()
      handle.close()
    })
  }

  for (const [name, Database] of Object.entries(drivers)) {
    it(`a write that has waited in vain takes none with it that comes later, with ${name}`, async () => {
      const path = newPath()
      const other = new Database(path)
      const handle = new Database(path)
      handle.prepare('PRAGMA journal_mode = WAL').all()
      handle.prepare('PRAGMA busy_timeout = 50').all()
      const store = sqliteStore(handle)
      const first = record()
      await store.create('k', first)
      other.prepare('BEGIN IMMEDIATE').run()
      await expect(store.update('k', record(), first.rev)).rejects.toThrow(/locked/)
      other.prepare('ROLLBACK').run()
      expect(await store.create('k2', record())).toBe(true)
      expect(await sqliteStore(other).load('k2')).toMatchObject({ text: '{"visits":1}' })
      other.close()
      handle.close()
    })
  }

  it('writes wait for those of another process', async () => {
    const path = newPath()
    const store = open(path)
    await store.create('k', record())
    const blocker = await startWriter({ path })
    await order(blocker.child, { block: 300 })
    const started = performance.now()
    expect(await store.create('k2', record())).toBe(true)
    expect(performance.now() - started).toBeGreaterThan(100)
    await kill(blocker.child)
  })

  it('so does opening a new file while another process is at it', async () => {
    const path = newPath()
    const blocker = await startWriter({ path })
    await order(blocker.child, { block: 300 })
    const started = performance.now()
    expect(await open(path).create('k', record())).toBe(true)
    expect(performance.now() - started).toBeGreaterThan(100)
    await kill(blocker.child)
  })

  it('writes of other requests are not made durable with the one that is', async () => {
    const prepare = vi.spyOn(drivers[builtin ? 'node:sqlite' : 'libsql']!.prototype, 'prepare')
    const store = open(newPath())
    await store.createTables()
    const handle = prepare.mock.contexts[0] as SqliteHandle
    prepare.mockClear()
    await Promise.all(['a', 'b', 'c'].map((key) => store.create(key, record(), { durable: true })))
    const pragmas = prepare.mock.calls
      .map(([sql]) => sql)
      .filter((sql) => String(sql).includes('synchronous ='))
    prepare.mockRestore()
    expect(pragmas).toEqual(Array(3).fill(['PRAGMA synchronous = FULL', 'PRAGMA synchronous = 1']).flat())
    expect(handle.prepare('PRAGMA synchronous').all()).toMatchObject([{ synchronous: 1 }])
  })
})

describe('processes that are killed', () => {
  it('51 times lose no write that was acknowledged, and leave every session readable', async () => {
    const path = newPath()
    for (let round = 0; round < 17; round++) {
      const writers = await Promise.all([1, 2, 3].map(() => startWriter({ path })))
      await Promise.all(
        writers.map(async ({ child }) => {
          await order(child, 'write')
          await sleep(Math.random() * 150)
          await kill(child)
        }),
      )
      const store = open(path)
      for (const { acknowledged, failures } of writers) {
        expect(failures).toEqual([])
        expect(acknowledged.size).toBeGreaterThan(0)
        for (const [key, { state, ends }] of acknowledged) {
          const found = await store.load(key)
          if (state === 'destroyed') expect(isTombstone(found)).toBe(true)
          // Beyond what was acknowledged, writes after it may have been made, and their reports lost with the process.
          else if (!isTombstone(found)) expect(Number(found?.rev)).toBeGreaterThanOrEqual(state)
          else expect(ends).toBe(true)
        }
      }
      let cursor: string | undefined
      do {
        const page = await store.scan(cursor, 500)
        for (const [, { text, rev }] of page.items) expect(text).toBe(rev.repeat(500))
        cursor = page.cursor
      } while (cursor !== undefined)
    }
    expect(openHandle(path).prepare('PRAGMA integrity_check').all()).toMatchObject([
      { integrity_check: 'ok' },
    ])
  }, 120_000)
})

function open(path: string, options?: { table?: string }): SqlStore {
  const store = sqliteStore(path, options)
  opened.push(store)
  return store
}

function openLibsql(path: string) {
  return new Libsql(path)
}

/** One more connection, to look from outside. */
function openHandle(path: string): SqliteHandle {
  const handle = openLibsql(path)
  opened.push(handle)
  return handle
}

/** A database that counts and keeps the statements that are run on it. */
function counting() {
  const statements: string[] = []
  const database = openHandle(':memory:')
  const handle: SqliteHandle = {
    prepare(sql) {
      const statement = database.prepare(sql)
      const counted = <T>(perform: () => T): T => {
        statements.push(sql)
        return perform()
      }
      return {
        all: (...params) => counted(() => statement.all(...params)),
        run: (...params) => counted(() => statement.run(...params)),
      }
    },
  }
  async function count<T>(perform: () => Promise<T>): Promise<[result: T, statements: number]> {
    statements.length = 0
    return [await perform(), statements.length]
  }
  return { handle, statements, count }
}

/** The median, so that other work on the machine counts little. */
async function microseconds(
  keys: readonly string[],
  perform: (key: string, round: number) => Promise<unknown>,
): Promise<number> {
  const times: number[] = []
  for (let round = 0; round < 3; round++) {
    for (const key of keys) {
      const started = performance.now()
      await perform(key, round)
      times.push(performance.now() - started)
    }
  }
  times.sort((a, b) => a - b)
  return Math.round((times[times.length >> 1] ?? 0) * 10_000) / 10
}

interface Writer {
  readonly child: ChildProcess
  readonly acknowledged: Map<string, { state: number | 'destroyed'; ends: boolean }>
  readonly failures: string[]
}

async function startWriter(config: { path: string }): Promise<Writer> {
  const file = new URL('./openers/sqlite-writer.ts', import.meta.url)
  const child = fork(file, [JSON.stringify(config)], { execArgv: ['--import', 'tsx'] })
  const acknowledged: Writer['acknowledged'] = new Map()
  const failures: string[] = []
  child.on('message', (report: Report) => {
    if ('key' in report) acknowledged.set(report.key, report)
    if ('failure' in report) failures.push(report.failure)
  })
  await once(child, 'message')
  return { child, acknowledged, failures }
}

/** Resolves with the first that the process reports on it. */
async function order(child: ChildProcess, what: Order): Promise<void> {
  child.send(what)
  await once(child, 'message')
}

async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close')
  child.kill('SIGKILL')
  await closed
}

function settings(handle: SqliteHandle): unknown[] {
  return ['journal_mode', 'synchronous', 'busy_timeout'].map((name) => handle.prepare(`PRAGMA ${name}`).all())
}

function tablesOf(handle: SqliteHandle): unknown[] {
  const rows = handle.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
  return (rows as { name: string }[]).map(({ name }) => name)
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}

function newFolder(): string {
  return mkdtempSync(join(root, 'test-'))
}

function newPath(): string {
  return join(newFolder(), 'sessions.db')
}

let revision = 0

function record(fields: Partial<StoredRecord> = {}): StoredRecord {
  const now = Date.now()
  return { rev: `r${++revision}`, text: '{"visits":1}', lastSeen: now, expires: now + 3_600_000, ...fields }
}
