import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import {
  type PostgresHandle,
  type PostgresOptions,
  postgresStore,
  type SqlStore,
  StoreError,
} from 'holdfast/stores/sql'
import mysql2 from 'mysql2/promise'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, afterEach, describe, expect, expectTypeOf, it } from 'vitest'
import { isTombstone, NEVER } from '../src/store.ts'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import { record } from '../src/testing/store-suite/samples.ts'
import { browser, manager } from './helpers/browser.ts'
import { wireTo } from './helpers/wire.ts'
import { withoutPackages } from './helpers/without-packages.ts'
import { runOn, startOwnPostgres, startPgBouncer, startPostgres } from './servers/postgres.ts'
import { freePort } from './servers/process.ts'

const OPENER = new URL('./openers/postgres.ts', import.meta.url).href
const server = await startPostgres()
const bouncer = await startPgBouncer(server)
const pool = new pg.Pool({ connectionString: server.url, max: 20 })
const pooled = new pg.Pool({ connectionString: bouncer.url, max: 20 })
const sql = postgres(server.url, { onnotice: () => undefined })
const pglite = new PGlite()
const opened: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})
afterAll(async () => {
  await Promise.all([pool.end(), pooled.end(), sql.end(), pglite.close()])
  await bouncer.stop()
  await server.stop()
})

for (const [name, handle, url] of [
  ['pg', pool, server.url],
  ['pg through PgBouncer in transaction mode', pooled, bouncer.url],
  ['postgres', sql, undefined],
  ['PGlite', pglite, undefined],
] as const) {
  storeSuite(
    { describe, it },
    {
      name: `postgres, with ${name}`,
      async open() {
        const table = newTable()
        const drop = `DROP TABLE IF EXISTS ${table}`
        return {
          store: postgresStore(handle, { table }),
          config: { url, table },
          dispose: async () => {
            await (handle === pglite ? pglite.query(drop) : runOn(server.url, drop))
          },
        }
      },
      ...(url && { opener: OPENER }),
    },
  )
}

describe('a handle that is passed in', () => {
  it('has a type that takes the drivers as they are', () => {
    expectTypeOf<pg.Pool>().toExtend<PostgresHandle>()
    expectTypeOf<pg.Client>().toExtend<PostgresHandle>()
    expectTypeOf<pg.PoolClient>().toExtend<PostgresHandle>()
    expectTypeOf<typeof sql>().toExtend<PostgresHandle>()
    expectTypeOf<PGlite>().toExtend<PostgresHandle>()
  })

  it('stays open when the store closes', async () => {
    const store = postgresStore(pool, { table: newTable() })
    await store.load('k')
    await store.close()
    expect((await pool.query('SELECT 42 AS answer')).rows).toEqual([{ answer: 42 }])
  })

  it('may be a single connection', async () => {
    const client = new pg.Client(server.url)
    await client.connect()
    opened.push(() => client.end())
    await expectToWork(client)
  })

  it('may be a pool of pg that reads in binary, or integers in a way of its own', async () => {
    const binary = new pg.Pool({ connectionString: server.url, binary: true } as pg.PoolConfig)
    const types = {
      getTypeParser: ((oid: number) => (text: string) => (oid === 20 ? new Date(0) : text)) as never,
    }
    const odd = new pg.Pool({ connectionString: server.url, types })
    opened.push(
      () => binary.end(),
      () => odd.end(),
    )
    await expectToWork(binary)
    await expectToWork(odd)
  })

  it('may be a postgres.js that renames columns, or reads integers as bigint', async () => {
    const options = [
      { transform: postgres.camel },
      { transform: postgres.toPascal as never },
      { types: { bigint: postgres.BigInt } },
      { prepare: false },
    ]
    for (const each of options) {
      const handle = postgres(server.url, { ...(each as object), max: 2, onnotice: () => undefined })
      opened.push(() => handle.end())
      await expectToWork(handle)
    }
  })

  it.each([undefined, null, 7, {}, new Map(), pg.Pool, () => undefined])(
    'is refused if it is %s',
    (handle) => {
      expect(() => postgresStore(handle as unknown as PostgresHandle)).toThrow(TypeError)
      expect(() => postgresStore(handle as unknown as PostgresHandle)).toThrow(
        /^postgresStore: cannot use .*Pass a URL, a Pool or Client of pg, the sql function of postgres, or a PGlite/,
      )
    },
  )

  it('is refused if it is for MySQL', async () => {
    const other = mysql2.createPool('mysql://app:secret@127.0.0.1:1/shop')
    expect(() => postgresStore(other as never)).toThrow(/cannot use an object of class PromisePool/)
    await other.end()
  })
})

describe('a URL', () => {
  it('opens a pool, which ends with the store', async () => {
    const name = newTable()
    const store = postgresStore(`${server.url}?application_name=${name}`, { table: name })
    const connections = async () =>
      (await pool.query('SELECT 1 FROM pg_stat_activity WHERE application_name = $1', [name])).rows.length
    await Promise.all(['a', 'b', 'c'].map((key) => store.create(key, record())))
    expect(await connections()).toBeGreaterThan(0)
    await store.close()
    await expect.poll(connections).toBe(0)
  })

  it('is not connected to before the first operation, nor to be closed', async () => {
    await postgresStore('postgres://nobody@192.0.2.1/nowhere').close()
  })

  it.each([
    '',
    'localhost',
    './sessions.db',
    'mysql://app:secret@host/db',
    'postgres://app:se/cret#secret@host/db',
  ])('is refused, without showing a password, if it is %j', (url) => {
    const error = thrownBy(() => postgresStore(url))
    expect(error).toBeInstanceOf(TypeError)
    expect(String(error)).toMatch(
      /is no URL like postgres:\/\/user:password@host\/database\. .*percent-encoded/,
    )
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('secret')
  })

  it('is opened with postgres.js if there is no pg, and says what to install if there is neither', () => {
    const table = newTable()
    expect(openWithout(['pg'], table)).toMatch(/created: true/)
    expect(openWithout(['pg', 'postgres'], table)).toMatch(
      /StoreError: postgres store: createTables failed: neither of the packages pg and postgres is installed\. Run `npm install pg`/,
    )
  })

  it('with postgres.js gives up what has no answer for six seconds, and disturbs nothing else that is under way', () => {
    const output = openWithout(
      ['pg'],
      newTable(),
      `const { default: postgres } = await import('postgres')
      const sql = postgres(${JSON.stringify(server.url)})
      const begun = performance.now()
      const seconds = () => Math.floor((performance.now() - begun) / 1000)
      const touch = (key) => store.touch(key, 3, 8.64e15).then(() => 'touched', (error) => error.message)
      for (const key of ['first', 'second', 'free']) await store.create(key, { ...record, expires: 8.64e15 })
      let first, second, failures = 0
      await sql.begin(async (sql) => {
        await sql.unsafe('SELECT 1 FROM ' + table + " WHERE session_key IN ('first', 'second') FOR UPDATE")
        first = touch('first')
        await sleep(3_000)
        second = touch('second')
        while (seconds() < 8) {
          await store.load('free').catch(() => failures++)
          await sleep(20)
        }
      })
      console.log('first:', await first, 'second:', await second, 'failures:', failures)
      await sql.end()`,
    )
    expect(output).toMatch(/first: .*no answer within 6000 ms.* second: touched failures: 0/)
  })

  /** Another process, that does not find these packages. */
  function openWithout(packages: readonly string[], table: string, use = ''): string {
    const script = `
      import { setTimeout as sleep } from 'node:timers/promises'
      const table = ${JSON.stringify(table)}
      const { postgresStore } = await import(${JSON.stringify(new URL('../src/stores/sql/index.ts', import.meta.url).href)})
      const store = postgresStore(${JSON.stringify(server.url)}, { table })
      const record = { rev: '1', text: '', lastSeen: 1, expires: 2 }
      console.log(await store.create('k', record).then((created) => 'created: ' + created, String))
      ${use}
      await store.close()`
    const args = [...withoutPackages(packages), '--input-type=module', '-e', script]
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    return stdout + stderr
  }
})

describe('the table', () => {
  it.each(['', '1st', 'a-b', 'a b', 'a"b', 'a;b', 'ä', 'public.t', 'x'.repeat(49), null, 7])(
    'cannot be called %j, nor its schema',
    (name) => {
      expect(() => postgresStore(pool, { table: name as string })).toThrow(RangeError)
      if (name !== 'x'.repeat(49)) {
        expect(() => postgresStore(pool, { schema: name as unknown as string })).toThrow(/the schema name/)
      }
    },
  )

  it.each(['order', 'Select', '_', 'x'.repeat(48)])(
    'can be called %j, and so can its schema',
    async (name) => {
      const dropSchema = () => runOn(server.url, `DROP SCHEMA IF EXISTS "${name}" CASCADE`)
      await dropSchema()
      opened.push(dropSchema)
      await runOn(server.url, `CREATE SCHEMA "${name}"`)
      const store = open(pool, { table: name, schema: name })
      await store.create('k', record({ user: 'ada' }))
      expect((await store.users.list('ada')).items).toHaveLength(1)
      expect(await store.sweep(NEVER, 10)).toBe(1)
      const { rows } = await pool.query('SELECT tablename, indexname FROM pg_indexes WHERE schemaname = $1', [
        name,
      ])
      expect(rows.filter(({ tablename }) => tablename === name)).toHaveLength(4)
    },
  )

  it('is made by the first operation and not before; again and again by createTables', async () => {
    const table = newTable()
    const store = open(pool, { table })
    const count = async () =>
      (await pool.query('SELECT 1 FROM pg_indexes WHERE tablename = $1', [table])).rows.length
    expect(await count()).toBe(0)
    await store.load('k')
    expect(await count()).toBe(4)
    await runOn(server.url, `DROP INDEX ${table}_by_user`)
    await store.createTables()
    expect(await count()).toBe(4)
    await store.createTables()
    expect(await count()).toBe(4)
  })

  it('can be made from what schema() prints', async () => {
    const store = open(pool, { table: newTable() })
    await runOn(server.url, store.schema())
    expect(await store.create('k', record())).toBe(true)
  })

  it('is made once, however many make it at the same moment', async () => {
    const pools = Array.from({ length: 8 }, () => new pg.Pool({ connectionString: server.url, max: 1 }))
    opened.push(() => Promise.all(pools.map((each) => each.end())))
    await Promise.all(pools.map((each) => each.query('SELECT 1')))
    for (let round = 0; round < 10; round++) {
      const table = newTable()
      const stores = pools.map((each) => open(each, { table }))
      await Promise.all(stores.map((store) => store.createTables()))
      await Promise.all(stores.map((store, i) => store.create(`k${i}`, record())))
      expect((await stores[0]!.scan(undefined, 10)).items).toHaveLength(8)
    }
  })

  it.each([
    ['CREATE TABLE T (sid text, sess text)', /no column session_key; .*no column expiry_hour/],
    ['ALTER TABLE T DROP COLUMN external_id', /\(it has no column external_id\)/],
    ['ALTER TABLE T ADD COLUMN tenant text NOT NULL', /\(its column tenant is foreign and must be given\)/],
    ['ALTER TABLE T DROP CONSTRAINT T_pkey', /\(session_key is not its primary key\)/],
    ['ALTER TABLE T DROP CONSTRAINT T_pkey, ADD PRIMARY KEY (session_key, rev)', /is not its primary key/],
    ['ALTER TABLE T ALTER user_id TYPE char(40)', /\(its column user_id is no text\)/],
    ['ALTER TABLE T ALTER expires TYPE integer', /\(its column expires is no bigint\)/],
    [`ALTER TABLE T ADD COLUMN seen timestamptz NOT NULL DEFAULT now()`, undefined],
    ['ALTER TABLE T ADD COLUMN number int GENERATED ALWAYS AS IDENTITY', undefined],
  ])('of another make is an error before anything is written: %s', async (statement, problem) => {
    const table = newTable()
    if (statement.startsWith('ALTER')) await open(pool, { table }).createTables()
    await runOn(server.url, statement.replaceAll('T_', `${table}_`).replace('TABLE T', `TABLE ${table}`))
    const store = open(pool, { table })
    if (problem === undefined) {
      expect(await store.create('k', record())).toBe(true)
      return
    }
    await expect(store.create('k', record())).rejects.toThrow(problem)
    await expect(store.load('k')).rejects.toMatchObject({
      message: expect.stringMatching(/made for something else .* another \{ table \}/),
      retryable: false,
    })
    await runOn(server.url, `DROP TABLE ${table}`)
    expect(await store.create('k', record())).toBe(true)
  })

  it('orders and compares exactly, whatever the collation of the database', async () => {
    const database = newTable()
    await runOn(
      server.url,
      `CREATE DATABASE ${database} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C.UTF-8'`,
    )
    opened.push(() => runOn(server.url, `DROP DATABASE ${database} WITH (FORCE)`))
    const store = postgresStore(server.with({ database }))
    opened.push(() => store.close())
    const keys = ['a', 'A', 'B', 'b', 'é', 'e\u0301', 'z', 'a ', ' a', 'a-b', 'ab']
    for (const key of keys) await store.create(key, record({ user: 'ada' }))
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await store.users.list('ada', { cursor, limit: 2 })
      seen.push(...page.items.map(([key]) => key))
      cursor = page.cursor
    } while (cursor !== undefined)
    const bytewise = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
    expect(seen).toEqual([...keys].sort(bytewise))
  })
})

describe('rights', () => {
  it('to make tables are only needed where there is none', async () => {
    const table = newTable()
    const user = `user_${table}`
    await open(pool, { table }).createTables()
    await runOn(
      server.url,
      `CREATE ROLE ${user} LOGIN PASSWORD 'x y'`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO ${user}`,
    )
    opened.push(() => runOn(server.url, `DROP OWNED BY ${user}`, `DROP ROLE ${user}`))
    const url = server.with({ user, password: 'x y' })
    const store = openUrl(url, { table })
    const made = record({ user: 'ada' })
    expect(await store.create('k', made)).toBe(true)
    expect(await store.update('k', record(), made.rev)).toBe('ok')
    expect(await store.sweep(NEVER, 10)).toBe(1)

    const other = openUrl(url, { table: newTable() })
    const refusal =
      /^postgres store: createTables failed: permission denied .*needs SELECT, INSERT, UPDATE and DELETE .* schema\(\) prints/
    await expect(other.load('k')).rejects.toMatchObject({
      message: expect.stringMatching(refusal),
      retryable: false,
    })
    await runOn(server.url, `REVOKE INSERT ON ${table} FROM ${user}`)
    await expect(store.create('k2', record())).rejects.toThrow(
      /create failed: permission denied .*This user needs/,
    )
  })
})

describe('what an operation costs', () => {
  /** DESIGN.md: what a perfect client sends for 435 bytes of data; and the core's own part of a record. */
  const FLOOR = { read: 95, update: 562, touch: 114 }
  const ENVELOPE = 160
  const DATA = { visits: 1, cart: 'x'.repeat(413) }
  const DRIVERS: [
    name: string,
    open: (url: string) => PostgresHandle & { end(): Promise<void> },
    options: PostgresOptions,
    limits: typeof FLOOR,
    trips: number,
  ][] = [
    [
      'pg, prepared',
      (url) => new pg.Pool({ connectionString: url, max: 1 }),
      { prepare: true },
      atMost(FLOOR),
      1,
    ],
    [
      'pg',
      (url) => new pg.Pool({ connectionString: url, max: 1 }),
      {},
      { read: 225, update: 970, touch: 345 },
      1,
    ],
    ['postgres', (url) => postgres(url, { max: 1, fetch_types: false }), {}, atMost(FLOOR), 1],
    // Without names it asks for the types of the parameters first.
    [
      'postgres, not prepared',
      (url) => postgres(url, { max: 1, prepare: false, fetch_types: false }),
      {},
      { read: 230, update: 990, touch: 350 },
      2,
    ],
  ]

  function atMost({ read, update, touch }: typeof FLOOR): typeof FLOOR {
    return { read: read * 1.05, update: (update + ENVELOPE) * 1.05, touch: (touch + ENVELOPE) * 1.05 }
  }

  it.each(DRIVERS)('is one round trip, with few bytes: %s', async (name, connect, options, limits, trips) => {
    const wire = await wireTo(server.port)
    const handle = connect(server.with({ port: wire.port }))
    opened.push(
      () => wire.close(),
      () => handle.end(),
    )
    const store = open(handle, { table: 'holdfast_sessions', ...options })
    const { sessions, clock } = manager<typeof DATA>({ store })
    const jar = browser(sessions)
    expect(JSON.stringify(DATA)).toHaveLength(435)
    await jar.visit((session) => void Object.assign(session.data, DATA))
    await jar.visit((session) => session.login('ada'))
    const passed: Record<string, ReturnType<typeof wire.traffic>> = {}
    for (let round = 1; round <= 3; round++) {
      wire.reset()
      const session = await sessions.open(jar.header)
      passed.read = wire.traffic()
      session.data.visits = round + 1
      wire.reset()
      await sessions.commit(session, { status: 200 })
      passed.update = wire.traffic()
      clock.now += 120_000
      const idle = await sessions.open(jar.header)
      wire.reset()
      await sessions.commit(idle, { status: 200 })
      await expect.poll(() => wire.traffic().received).toBeGreaterThan(20)
      passed.touch = wire.traffic()
      wire.reset()
      const looked = await sessions.open(jar.header)
      await sessions.commit(looked, { status: 200 })
      passed.untouched = wire.traffic()
    }
    const { read, update, touch, untouched } = passed
    console.log(`${name}: read ${read?.sent} B, update ${update?.sent} B, touch ${touch?.sent} B`)
    for (const each of [read, update, touch, untouched]) expect(each?.roundTrips).toBe(trips)
    expect(read?.sent).toBeLessThanOrEqual(limits.read)
    expect(update?.sent).toBeLessThanOrEqual(limits.update)
    expect(touch?.sent).toBeLessThanOrEqual(limits.touch)
    expect(untouched?.sent).toBe(read?.sent)
  })

  it('is one statement, also for a login and an expiry in another hour; two for a conflict and what is gone', async () => {
    const { handle, statements } = counting()
    const store = open(handle, { table: newTable() })
    await store.load('k')
    const expires = Date.UTC(2040, 0, 1, 12)
    const made = record({ expires })
    const user = record({ expires, user: 'ada' })
    const count = async <T>(perform: () => Promise<T>) => {
      statements.length = 0
      return [await perform(), statements.length]
    }
    expect(await count(() => store.create('k', made))).toEqual([true, 1])
    expect(await count(() => store.load('k'))).toEqual([made, 1])
    expect(await count(() => store.update('k', user, made.rev))).toEqual(['ok', 1])
    expect(await count(() => store.update('k', made, made.rev))).toEqual(['conflict', 2])
    expect(await count(() => store.touch('k', Date.now(), expires + 3_600_000))).toEqual([true, 1])
    expect((await count(() => store.users.list('ada')))[1]).toBe(1)
    expect(await count(() => store.users.destroy('ada', expires, { durable: true }))).toEqual([1, 1])
    expect(await count(() => store.destroy('k', expires))).toEqual([false, 1])
    expect(await count(() => store.touch('k', Date.now(), expires))).toEqual([false, 1])
    expect(await count(() => store.sweep(expires, 10))).toEqual([1, 1])
    expect(await count(() => store.update('k', made, made.rev))).toEqual(['gone', 2])
  })

  it('a query for each reads through an index, none through the table', async () => {
    const { handle, statements } = counting()
    const store = open(handle, { table: newTable() })
    await store.load('k')
    statements.length = 0
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
    expect(statements).toHaveLength(11)
    const client = await pool.connect()
    try {
      // A table this small would be read through; what is asked is whether it has to be.
      await client.query('SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off')
      for (const { text, values } of statements) {
        const { rows } = await client.query(`EXPLAIN ${text}`, values)
        const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
        expect(`${text}: ${plan}`).not.toMatch(/Seq Scan|Sort/)
        expect(plan).toMatch(/Index Cond/)
      }
    } finally {
      client.release(true)
    }
  })

  it('updates and touches leave the indexes alone: HOT, of 4,000 at least 95 in a hundred', async () => {
    const table = newTable()
    const own = new pg.Pool({ connectionString: server.url, max: 4 })
    const store = open(own, { table })
    const keys = Array.from({ length: 200 }, (_, i) => `id:${String(i).padStart(43, '0')}`)
    const expires = Date.UTC(2040, 0, 1, 12)
    const made = record({ text: 'x'.repeat(550), user: 'ada', externalId: 'sid', expires, rev: '0' })
    for (const key of keys) await store.create(key, made)
    for (let round = 1; round <= 10; round++) {
      await Promise.all(
        keys.map(async (key) => {
          expect(await store.touch(key, Date.now() + round, expires + round)).toBe(true)
          const next = { ...made, rev: String(round), expires: expires + round }
          expect(await store.update(key, next, String(round - 1))).toBe('ok')
        }),
      )
    }
    // The server counts what a connection has done when that ends.
    await own.end()
    const figures = async () => {
      const { rows } = await pool.query(
        'SELECT n_tup_upd::int AS updated, n_tup_hot_upd::int AS hot FROM pg_stat_user_tables WHERE relname = $1',
        [table],
      )
      return rows[0] as { updated: number; hot: number }
    }
    await expect.poll(figures, { timeout: 10_000 }).toMatchObject({ updated: 4000 })
    const { hot } = await figures()
    console.log(`HOT: ${hot} of 4000`)
    // Not all: while an older transaction runs, autovacuum's own for instance, what an update leaves behind keeps its room.
    expect(hot).toBeGreaterThanOrEqual(3800)
  })
})

describe('a sweep', () => {
  it('removes no more than its limit, however the statement is planned', async () => {
    const table = newTable()
    const store = open(pool, { table })
    for (let i = 0; i < 300; i++) await store.create(`k${i}`, record({ expires: 1 }))
    await runOn(server.url, `ANALYZE ${table}`)
    for (const left of [293, 286, 279]) {
      expect(await store.sweep(1, 7)).toBe(7)
      expect((await pool.query(`SELECT 1 FROM ${table}`)).rows).toHaveLength(left)
    }
  })

  it('on four instances waits for nobody and holds nobody up', async () => {
    const table = newTable()
    await open(pool, { table }).createTables()
    await runOn(
      server.url,
      `INSERT INTO ${table} SELECT 'old' || i, 'r', repeat('x', 500), NULL, NULL, 1, 1, 0 FROM generate_series(1, 20000) i`,
    )
    const stores = Array.from({ length: 4 }, () => {
      const own = new pg.Pool({ connectionString: server.url, max: 4, options: '-c lock_timeout=250' })
      opened.push(() => own.end())
      return open(own, { table })
    })
    const waits: number[] = []
    let isSweeping = true
    // An expired session, which a request prolongs just while it is being swept, and others.
    const visit = async (i: number) => {
      for (let n = 0; isSweeping; n++) {
        const store = stores[i % 4]!
        const key = `live-${i}-${n % 5}`
        const started = performance.now()
        const found = await store.load(key)
        if (found === undefined || isTombstone(found))
          await store.create(key, record({ user: `user ${i}`, expires: NEVER }))
        else expect(await store.update(key, { ...found, rev: `r${n}` }, found.rev)).toBe('ok')
        await store.touch(`old${(n * 37 + i * 1000) % 20_000}`, 2, 2)
        waits.push((performance.now() - started) / 3)
        await sleep(2)
      }
    }
    const load = Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(visit))
    const removed = await Promise.all(
      stores.map(async (store) => {
        let total = 0
        for (let count = 200; count === 200; total += count) count = await store.sweep(1, 200)
        return total
      }),
    )
    isSweeping = false
    await load
    waits.sort((a, b) => a - b)
    const longest = waits.at(-1)!
    console.log(
      `4 sweeps removed ${removed.join(' + ')}; ${waits.length} requests, p99 ${waits[Math.floor(waits.length * 0.99)]!.toFixed(1)} ms, longest ${longest.toFixed(1)} ms`,
    )
    const { rows } = await pool.query(`SELECT count(*)::int AS n FROM ${table} WHERE session_key LIKE 'old%'`)
    expect(removed.reduce((a, b) => a + b) + rows[0].n).toBe(20_000)
    expect((await pool.query(`SELECT 1 FROM ${table} WHERE expires <= 1`)).rows).toEqual([])
    // What waits for a lock for long fails, by the setting above. The times only show that nothing else holds them up:
    // they are some milliseconds where nobody else uses the machine.
    expect(waits[Math.floor(waits.length / 2)]).toBeLessThan(50)
    expect(longest).toBeLessThan(1_000)
  })

  it('leaves a row that somebody holds locked, and does not wait', async () => {
    const table = newTable()
    const store = open(pool, { table })
    for (const key of ['held', 'free']) await store.create(key, record({ expires: 1 }))
    const client = await pool.connect()
    await client.query(`BEGIN; SELECT 1 FROM ${table} WHERE session_key = 'held' FOR UPDATE`)
    expect(await store.sweep(1, 10)).toBe(1)
    await client.query('COMMIT')
    client.release()
    expect(await store.sweep(1, 10)).toBe(1)
  })
})

describe('a write', () => {
  it('with `durable` is on disk, also where commits do not wait for it', async () => {
    const lazy = new pg.Pool({ connectionString: server.url, options: '-c synchronous_commit=off', max: 1 })
    opened.push(() => lazy.end())
    const store = open(lazy, { table: newTable() })
    const isOnDisk = async (write: () => Promise<unknown>) => {
      await write()
      const { rows } = await pool.query(
        'SELECT pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn() AS flushed',
      )
      return rows[0].flushed as boolean
    }
    await store.createTables()
    const [first, second, third] = [record({ user: 'ada' }), record({ user: 'ada' }), record({ user: 'ada' })]
    expect(await isOnDisk(() => store.create('a', first))).toBe(false)
    expect(await isOnDisk(() => store.create('b', second, { durable: true }))).toBe(true)
    expect(await isOnDisk(() => store.update('a', third, first.rev))).toBe(false)
    expect(await isOnDisk(() => store.update('a', first, third.rev, { durable: true }))).toBe(true)
    expect(await isOnDisk(() => store.touch('a', NEVER, NEVER))).toBe(false)
    expect(await isOnDisk(() => store.users.destroy('ada', 1, { except: 'a', durable: true }))).toBe(true)
    expect(await isOnDisk(() => store.sweep(1, 1))).toBe(false)
    expect(await isOnDisk(() => store.destroy('a', 1, { durable: true }))).toBe(true)
    expect((await lazy.query('SHOW synchronous_commit')).rows).toEqual([{ synchronous_commit: 'off' }])
  })

  it('is tried again, three times, if the database gave it up in favour of another', async () => {
    const giveUp = (times: number, code: string): PostgresHandle => ({
      connect: () => undefined,
      query: async (statement: Statement) => {
        if (statement.text.startsWith('UPDATE') && times-- > 0)
          throw Object.assign(new Error('gave up'), { code })
        return pool.query(statement)
      },
    })
    for (const code of ['40P01', '40001']) {
      const table = newTable()
      await open(pool, { table }).create('k', record())
      expect(await open(giveUp(3, code), { table }).touch('k', NEVER, NEVER)).toBe(true)
      await expect(open(giveUp(4, code), { table }).touch('k', NEVER, NEVER)).rejects.toMatchObject({
        message: expect.stringMatching(/touch failed: gave up/),
        retryable: true,
      })
    }
    const table = newTable()
    await open(pool, { table }).create('k', record())
    await expect(open(giveUp(1, '42501'), { table }).touch('k', NEVER, NEVER)).rejects.toThrow(/gave up/)
  })

  it('loses nothing where the database isolates transactions more than by default', async () => {
    const strict = new pg.Pool({
      connectionString: server.url,
      options: '-c default_transaction_isolation=serializable',
      max: 4,
    })
    opened.push(() => strict.end())
    const store = open(strict, { table: newTable() })
    await store.create('k', record({ rev: '0', text: '0' }))
    let conflicts = 0
    const add = async () => {
      for (;;) {
        const found = await store.load('k')
        if (found === undefined || isTombstone(found)) throw new Error('gone')
        const count = Number(found.text) + 1
        if ((await store.update('k', { ...found, text: `${count}`, rev: `${count}` }, found.rev)) === 'ok')
          return
        conflicts++
      }
    }
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let i = 0; i < 10; i++) await add()
      }),
    )
    expect(await store.load('k')).toMatchObject({ text: '40' })
    expect(conflicts).toBeGreaterThan(0)
  })
})

describe('settings of pg', () => {
  it('may let a client send statements before the ones ahead are answered', async () => {
    const pipelining = new pg.Pool({ ...{ connectionString: server.url, max: 1 }, ...{ pipeline: true } })
    opened.push(() => pipelining.end())
    const store = open(pipelining, { table: newTable() })
    const kept = record({ user: 'ada' })
    expect(await store.create('k', kept)).toBe(true)
    expect(await store.load('k')).toEqual(kept)
  })

  it('may limit how long a statement takes, and may read binary: values are the same', async () => {
    const set = new pg.Pool({
      connectionString: server.url,
      max: 1,
      query_timeout: 1_500,
      ...{ binary: true },
    })
    opened.push(() => set.end())
    const table = newTable()
    const store = open(set, { table })
    const kept = record({ user: 'ada' })
    await store.create('k', kept)
    expect(await store.load('k')).toEqual(kept)
    const client = await pool.connect()
    await client.query(`BEGIN; SELECT 1 FROM ${table} FOR UPDATE`)
    await expect(store.touch('k', NEVER, NEVER)).rejects.toThrow(/touch failed: Query read timeout/)
    await client.query('COMMIT')
    client.release()
    expect(await store.load('k')).toBeDefined()
  })
})

describe('trouble', () => {
  it('after close every operation says so, and close can be called again', async () => {
    const store = openUrl(server.url, { table: newTable() })
    await store.load('k')
    await store.close()
    await store.close()
    await expect(store.load('k')).rejects.toMatchObject({
      message: expect.stringMatching(/load failed: the store has been closed/),
      retryable: false,
    })
    await expect(store.users.destroy('ada', 0)).rejects.toThrow(
      /users.destroy failed: the store has been closed/,
    )
  })

  const PASSWORDS = /p@ss|p%40ss|wr0ng/
  const expectFailure = async (perform: Promise<unknown>, message: RegExp, retryable: boolean) => {
    const error = await perform.then(
      () => undefined,
      (e: unknown) => e,
    )
    expect(error).toBeInstanceOf(StoreError)
    expect((error as Error).message).toMatch(message)
    expect((error as StoreError).retryable).toBe(retryable)
    expect(`${(error as Error).stack}${JSON.stringify(error)}`).not.toMatch(PASSWORDS)
  }

  it('says what to do: the server cannot be reached', async () => {
    const port = await freePort()
    for (const host of ['127.0.0.1', 'localhost']) {
      const url = `postgres://app:wr0ng@${host}:${port}/shop`
      const message =
        /^postgres store: createTables failed: .*ECONNREFUSED.*cannot be reached: check that it runs, and host, port/s
      await expectFailure(openUrl(url).load('k'), message, true)
      const handle = postgres(url, { max: 1 })
      opened.push(() => handle.end())
      await expectFailure(postgresStore(handle).load('k'), message, true)
    }
    await expectFailure(
      openUrl('postgres://app:wr0ng@nowhere.invalid/shop').load('k'),
      /nowhere\.invalid.*cannot be reached/,
      true,
    )
  })

  it('says what to do: password, database, schema, TLS', async () => {
    await expectFailure(
      openUrl(`${server.with({})}?sslmode=verify-full`).load('k'),
      /does not support SSL.*speaks no TLS: turn it on there, or leave it out/,
      false,
    )
    await expectFailure(
      openUrl(server.with({ password: 'wr0ng' })).load('k'),
      /password authentication failed.*Check the user and the password/,
      false,
    )
    await expectFailure(
      openUrl(server.with({ password: '' })).load('k'),
      /Check the user and the password/,
      false,
    )
    await expectFailure(
      openUrl(server.with({ database: 'nowhere' })).load('k'),
      /"nowhere" does not exist\. Create the database/,
      false,
    )
    await expectFailure(
      open(pool, { schema: 'nowhere' }).load('k'),
      /"nowhere" does not exist\. Create the schema/,
      false,
    )
  })

  it('says what to do: the table was dropped meanwhile', async () => {
    const table = newTable()
    const store = open(pool, { table })
    await store.load('k')
    await runOn(server.url, `DROP TABLE ${table}`)
    await expectFailure(
      store.load('k'),
      /does not exist\. The table has gone .* rename it back; else `npx holdfast init`/,
      false,
    )
    await store.createTables()
    expect(await store.load('k')).toBeUndefined()
  })

  it('says what to do: U+0000, a user too long, a read-only server', async () => {
    const store = open(pool, { table: newTable() })
    await expectFailure(store.create('k', record({ user: 'a\0' })), /without the character U\+0000/, false)
    const long = Array.from({ length: 4000 }, () => Math.random().toString(36).slice(2, 4)).join('')
    await expectFailure(store.create('k', record({ user: long })), /keep them under 2,000 bytes/, false)
    const replica = new pg.Pool({
      connectionString: server.url,
      options: '-c default_transaction_read_only=on',
    })
    opened.push(() => replica.end())
    await expectFailure(
      open(replica, { table: newTable() }).load('k'),
      /read-only.*name the primary.* default_transaction_read_only, off/,
      true,
    )
  })

  it('says what to do: too many connections, also of one user', async () => {
    await runOn(server.url, `CREATE USER crowd PASSWORD 'crowd' CONNECTION LIMIT 0`)
    const crowd = new pg.Pool({ connectionString: server.with({ user: 'crowd', password: 'crowd' }) })
    opened.push(() => crowd.end())
    await expectFailure(
      open(crowd, { table: newTable() }).load('k'),
      /too many connections for role.*raise its max_connections, or the limit of this user or database/,
      true,
    ).finally(() => runOn(server.url, 'DROP USER crowd'))
  })

  it('says what to do: named statements through a pooler that mixes connections', async () => {
    const store = open(pooled, { table: newTable(), prepare: true })
    const failures: unknown[] = []
    for (let i = 0; i < 50 && failures.length === 0; i++) {
      const results = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => store.load(`k${n}`)))
      failures.push(...results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : [])))
    }
    expect(String(failures[0])).toMatch(/prepared statement .*leave out \{ prepare \}/)
    expect(failures[0]).toMatchObject({ retryable: false })
  })

  it('outlives connections that the server ends, and its restart', async () => {
    const own = await startOwnPostgres()
    opened.push(() => own.stop())
    const store = openUrl(own.url)
    const made = record()
    await store.create('k', made)
    await runOn(
      own.url,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'holdfast'`,
    )
    await expect.poll(() => store.load('k').catch(() => undefined)).toStrictEqual(made)
    const sleeping = new pg.Client(own.url)
    sleeping.on('error', () => undefined)
    await sleeping.connect()
    const slow: PostgresHandle = {
      connect: () => undefined,
      query: async () => sleeping.query('SELECT pg_sleep(30)'),
    }
    const interrupted = postgresStore(slow).load('k')
    const failing = expectFailure(
      interrupted,
      /terminat.*The connection was lost: the server shuts down, restarts or ended it/,
      true,
    )
    await sleep(100)
    await own.stop()
    await failing
    await expectFailure(store.load('k'), /cannot be reached|connection was lost/, true)
    await expectFailure(store.load('k'), /cannot be reached/, true)
  })
})

interface Statement {
  readonly text: string
  readonly values: (string | number | null)[]
}

let tables = 0

function newTable(): string {
  return `sessions_${process.pid}_${++tables}`
}

/** Its table goes with the test. */
function open(handle: PostgresHandle, options: PostgresOptions): SqlStore {
  const { table } = options
  opened.push(() => runOn(server.url, `DROP TABLE IF EXISTS "${table ?? 'holdfast_sessions'}"`))
  return postgresStore(handle, options)
}

function openUrl(url: string, options?: PostgresOptions): SqlStore {
  const store = postgresStore(url, options)
  opened.push(() => store.close())
  return store
}

async function expectToWork(handle: PostgresHandle): Promise<void> {
  const store = open(handle, { table: newTable() })
  const made = record({ user: 'ada', expires: NEVER, lastSeen: 1_766_509_321_464 })
  expect(await store.create('k', made)).toBe(true)
  expect(await store.create('k', made)).toBe(false)
  expect(await store.load('k')).toStrictEqual(made)
  expect((await store.users.list('ada')).items).toStrictEqual([['k', made]])
  expect(await store.update('k', record(), 'other')).toBe('conflict')
  expect(await store.update('k', { ...made, rev: '2' }, made.rev)).toBe('ok')
  expect(await store.destroy('k', 1_766_509_321_465, { durable: true })).toBe(true)
  expect(await store.load('k')).toStrictEqual({ destroyedUntil: 1_766_509_321_465 })
  expect(await store.sweep(1_766_509_321_465, 10)).toBe(1)
  await store.createTables()
}

function counting() {
  const statements: Statement[] = []
  const handle: PostgresHandle = {
    connect: () => undefined,
    query(statement: Statement) {
      statements.push(statement)
      return pool.query(statement)
    },
  }
  return { handle, statements }
}

function thrownBy(perform: () => unknown): Error {
  try {
    perform()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}
