import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type MysqlHandle,
  type MysqlOptions,
  mysqlStore,
  type SqlStore,
  StoreError,
  sqlStore,
} from 'holdfast/stores/sql'
import mariadb, { type Connection as MariadbConnection, type Pool as MariadbPool } from 'mariadb'
import mariadbCallback from 'mariadb/callback'
import mysql2 from 'mysql2'
import mysql2Promise from 'mysql2/promise'
import pg from 'pg'
import { afterAll, afterEach, describe, expect, expectTypeOf, it } from 'vitest'
import { isTombstone, NEVER } from '../src/store.ts'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import { record } from '../src/testing/store-suite/samples.ts'
import { browser, manager } from './helpers/browser.ts'
import { wireTo } from './helpers/wire.ts'
import { withoutPackages } from './helpers/without-packages.ts'
import { runOn, startMariadb, startOwnMariadb } from './servers/mariadb.ts'
import { freePort } from './servers/process.ts'

const OPENER = new URL('./openers/mysql.ts', import.meta.url).href
const server = await startMariadb()
const mariadbUrl = server.url.replace('mysql:', 'mariadb:')
const pool = mysql2.createPool({ uri: server.url, connectionLimit: 20 })
const admin = pool.promise()
const mariadbPool = mariadb.createPool(mariadbUrl)
const opened: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})
afterAll(async () => {
  await Promise.all([admin.end(), mariadbPool.end()])
  await server.stop()
})

for (const [name, handle] of [
  ['mysql2', pool],
  ['mariadb', mariadbPool],
] as const) {
  storeSuite(
    { describe, it },
    {
      name: `mysql, with ${name}`,
      async open() {
        const table = newTable()
        return {
          store: mysqlStore(handle, { table }),
          config: { url: server.url, table },
          dispose: async () => {
            await runOn(server.url, `DROP TABLE IF EXISTS ${table}`)
          },
        }
      },
      opener: OPENER,
    },
  )
}

describe('a handle that is passed in', () => {
  it('has a type that takes the drivers as they are', () => {
    expectTypeOf<mysql2.Pool>().toExtend<MysqlHandle>()
    expectTypeOf<mysql2.Connection>().toExtend<MysqlHandle>()
    expectTypeOf<mysql2Promise.Pool>().toExtend<MysqlHandle>()
    expectTypeOf<mysql2Promise.Connection>().toExtend<MysqlHandle>()
    expectTypeOf<MariadbPool>().toExtend<MysqlHandle>()
    expectTypeOf<MariadbConnection>().toExtend<MysqlHandle>()
  })

  it('stays open when the store closes', async () => {
    const store = mysqlStore(admin, { table: newTable() })
    await store.load('k')
    await store.close()
    expect((await admin.query('SELECT 42 AS answer'))[0]).toEqual([{ answer: 42 }])
  })

  it('may be a single connection, with promises or callbacks', async () => {
    const callback = mysql2.createConnection(server.url)
    const promise = await mysql2Promise.createConnection(server.url)
    const other = await mariadb.createConnection(mariadbUrl)
    opened.push(
      () => callback.promise().end(),
      () => promise.end(),
      () => other.end(),
    )
    for (const handle of [callback, promise, other]) await expectToWork(handle)
  })

  it('may be set to count changed rows only, and to give rows and numbers in other shapes', async () => {
    const uri = server.url
    const settings: mysql2.PoolOptions[] = [
      { uri, flags: ['-FOUND_ROWS'] },
      { uri, rowsAsArray: true },
      { uri, nestTables: true, supportBigNumbers: true, bigNumberStrings: true, dateStrings: true },
      { uri, namedPlaceholders: true, multipleStatements: true },
    ]
    for (const each of settings) {
      const handle = mysql2.createPool(each)
      opened.push(() => handle.promise().end())
      await expectToWork(handle)
    }
    for (const query of [
      'foundRows=false',
      'rowsAsArray=true',
      'bigIntAsNumber=true&nestTables=true',
      'metaAsArray=true',
    ]) {
      const handle = mariadb.createPool(`${mariadbUrl}?connectionLimit=1&${query}`)
      opened.push(() => handle.end())
      await expectToWork(handle)
    }
  })

  it.each([undefined, null, 7, {}, new Map(), () => undefined])('is refused if it is %s', (handle) => {
    expect(() => mysqlStore(handle as unknown as MysqlHandle)).toThrow(TypeError)
    expect(() => mysqlStore(handle as unknown as MysqlHandle)).toThrow(
      /^mysqlStore: cannot use .*Pass a URL, or a pool or connection of mysql2 or mariadb \(with promises\)/,
    )
  })

  it('is refused if it is for PostgreSQL, or of mariadb with callbacks', async () => {
    expect(() => mysqlStore(new pg.Pool() as never)).toThrow(/cannot use an object of class BoundPool/)
    const callback = mariadbCallback.createPool(mariadbUrl)
    await expect(mysqlStore(callback as never).load('k')).rejects.toThrow(/cannot use .*\(with promises\)/)
    callback.end(() => undefined)
  })
})

describe('a URL', () => {
  it.each(['mysql:', 'mariadb:'])('%s opens a pool, which ends with the store', async (protocol) => {
    const user = newTable()
    await runOn(server.url, `CREATE USER ${user} IDENTIFIED BY 'x y'`, `GRANT ALL ON holdfast.* TO ${user}`)
    opened.push(() => runOn(server.url, `DROP USER ${user}`))
    const store = openUrl(server.with({ user, password: 'x y' }).replace('mysql:', protocol), {
      table: newTable(),
    })
    const connections = async () =>
      ((await admin.query('SELECT 1 FROM information_schema.processlist WHERE user = ?', [user]))[0] as [])
        .length
    await Promise.all(['a', 'b', 'c'].map((key) => store.create(key, record())))
    expect(await connections()).toBeGreaterThan(0)
    await store.close()
    await expect.poll(connections).toBe(0)
  })

  it.each(['', 'localhost', 'postgres://app:secret@host/db', 'mysql://app:se/cret#secret@host/db'])(
    'is refused, without showing a password, if it is %j',
    (url) => {
      const error = thrownBy(() => mysqlStore(url))
      expect(error).toBeInstanceOf(TypeError)
      expect(String(error)).toMatch(
        /is no URL like mysql:\/\/user:password@host\/database\. .*percent-encoded/,
      )
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('secret')
    },
  )

  it('is opened with mariadb if there is no mysql2, and says what to install if there is neither', () => {
    const table = newTable()
    expect(openWithout(['mysql2'], table)).toMatch(/created: true/)
    expect(openWithout(['mysql2', 'mariadb'], table)).toMatch(
      /StoreError: mysql store: createTables failed: neither of the packages mysql2 and mariadb is installed\. Run `npm install mysql2`/,
    )
  })

  it('that mariadb does not take is not repeated by it either', () => {
    const output = openWithout(['mysql2'], newTable(), 'mysql://app:wr0ng@127.0.0.1')
    expect(output).toMatch(
      /StoreError: mysql store: .* the package mariadb takes no such URL; it has to name a database/,
    )
    expect(output).not.toContain('wr0ng')
  })

  /** Another process, that does not find these packages. */
  function openWithout(packages: readonly string[], table: string, url = server.url): string {
    const script = `
      const { mysqlStore } = await import(${JSON.stringify(new URL('../src/stores/sql/index.ts', import.meta.url).href)})
      const store = mysqlStore(${JSON.stringify(url)}, { table: ${JSON.stringify(table)} })
      const record = { rev: '1', text: '', lastSeen: 1, expires: 2 }
      console.log(await store.create('k', record).then((created) => 'created: ' + created, String))
      await store.close()`
    const args = [...withoutPackages(packages), '--input-type=module', '-e', script]
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    return stdout + stderr
  }
})

describe('the table', () => {
  it.each(['', '1st', 'a-b', 'a b', 'a`b', 'a;b', 'ä', 'holdfast.t', 'x'.repeat(64), null, 7])(
    'cannot be called %j',
    (table) => {
      expect(() => mysqlStore(pool, { table: table as string })).toThrow(RangeError)
    },
  )

  it('is in the database of the connection: there are no schemas', () => {
    const executor = { dialect: 'mysql', run: async () => ({ rows: [], affected: 0 }) } as const
    expect(() => sqlStore(executor, 'sessions', 'shop')).toThrow(/only PostgreSQL has schemas/)
  })

  it.each(['order', 'Select', '_', 'x'.repeat(63)])('can be called %j', async (table) => {
    const store = open(pool, { table })
    await store.create('k', record({ user: 'ada' }))
    expect((await store.users.list('ada')).items).toHaveLength(1)
    expect(await store.sweep(NEVER, 10)).toBe(1)
  })

  it('can be made from what schema() prints, and by createTables again and again', async () => {
    const store = open(pool, { table: newTable() })
    await runOn(server.url, store.schema())
    await store.createTables()
    expect(await store.create('k', record())).toBe(true)
    await store.createTables()
  })

  it('is made once, however many make it at the same moment', async () => {
    const connections = await Promise.all(
      Array.from({ length: 8 }, () => mysql2Promise.createConnection(server.url)),
    )
    opened.push(() => Promise.all(connections.map((each) => each.end())))
    for (let round = 0; round < 5; round++) {
      const table = newTable()
      const stores = connections.map((each) => open(each, { table }))
      await Promise.all(stores.map((store) => store.createTables()))
      await Promise.all(stores.map((store, i) => store.create(`k${i}`, record())))
      expect((await stores[0]!.scan(undefined, 10)).items).toHaveLength(8)
    }
  })

  it.each([
    ['CREATE TABLE T (sid text, sess text)', /no column session_key; .*no column expiry_hour/],
    ['ALTER TABLE T DROP COLUMN external_id', /\(it has no column external_id\)/],
    [
      'ALTER TABLE T ADD COLUMN tenant varchar(9) NOT NULL',
      /\(its column tenant is foreign and must be given\)/,
    ],
    ['ALTER TABLE T DROP PRIMARY KEY', /\(session_key is not its primary key\)/],
    ['ALTER TABLE T DROP PRIMARY KEY, ADD PRIMARY KEY (session_key, rev)', /is not its primary key/],
    [
      'ALTER TABLE T MODIFY user_id VARCHAR(255)',
      /\(its column user_id is no varbinary, and so does not compare exactly\)/,
    ],
    ['ALTER TABLE T MODIFY expires INT NOT NULL', /\(its column expires is no bigint\)/],
    ['ALTER TABLE T ADD COLUMN seen TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP', undefined],
    ['ALTER TABLE T ADD COLUMN number INT NOT NULL AUTO_INCREMENT UNIQUE', undefined],
  ])('of another make is an error before anything is written: %s', async (statement, problem) => {
    const table = newTable()
    if (statement.startsWith('ALTER')) await open(pool, { table }).createTables()
    await runOn(server.url, statement.replace('TABLE T', `TABLE ${table}`))
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

  it('keeps and compares exactly, whatever the character set of the database and mode of the server', async () => {
    const database = newTable()
    await runOn(server.url, `CREATE DATABASE ${database} CHARACTER SET latin1 COLLATE latin1_swedish_ci`)
    opened.push(() => runOn(server.url, `DROP DATABASE ${database}`))
    const handle = mysql2.createPool({ uri: server.with({ database }), connectionLimit: 1 })
    opened.push(() => handle.promise().end())
    await handle.promise().query(`SET sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'`)
    const store = mysqlStore(handle)
    const keys = ['a', 'A', 'a ', ' a', 'á', 'a\u0301', 'ä', 'ae', 'ß', 'ss', 'a\t', "a'", 'a\\', '😀', '😁']
    for (const key of keys) {
      expect(
        await store.create(key, record({ text: `${key} 😀`, user: key, externalId: key, rev: key })),
      ).toBe(true)
    }
    for (const key of keys) {
      expect(await store.load(key)).toMatchObject({ text: `${key} 😀`, user: key, externalId: key, rev: key })
      expect((await store.users.list(key)).items.map(([listed]) => listed)).toEqual([key])
      for (const stale of keys) {
        if (stale !== key) expect(await store.update(key, record(), stale)).toBe('conflict')
      }
      expect(await store.update(key, record({ user: key }), key)).toBe('ok')
    }
    for (const key of keys) expect(await store.users.destroy(key, NEVER)).toBe(1)
  })

  it('takes nothing that it would have to cut', async () => {
    const handle = mysql2.createPool({ uri: server.url, connectionLimit: 1 })
    opened.push(() => handle.promise().end())
    await handle.promise().query(`SET sql_mode = ''`)
    const store = open(handle, { table: newTable() })
    const made = record({ user: 'é'.repeat(510), externalId: 'x'.repeat(1020) })
    expect(await store.create('k'.repeat(255), made)).toBe(true)
    expect(await store.load('k'.repeat(255))).toStrictEqual(made)
    await expect(store.create('k'.repeat(256), made)).rejects.toThrow(
      /the key takes 256 bytes, and the table has room for 255/,
    )
    await expect(store.create('k', record({ user: 'é'.repeat(511) }))).rejects.toThrow(
      /the user takes 1022 bytes/,
    )
    await expect(store.update('k', record({ externalId: 'x'.repeat(1021) }), '1')).rejects.toThrow(
      /update failed: the externalId takes 1021/,
    )
    await expect(store.create('k', record({ text: 'x'.repeat(2 ** 24) }))).rejects.toMatchObject({
      message: expect.stringMatching(/the text takes 16777216 bytes/),
      retryable: false,
    })
  })
})

describe('rights', () => {
  it('to make tables are only needed where there is none', async () => {
    const table = newTable()
    const user = `user_${table}`
    await open(pool, { table }).createTables()
    await runOn(
      server.url,
      `CREATE USER ${user} IDENTIFIED BY 'x y'`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO ${user}`,
    )
    opened.push(() => runOn(server.url, `DROP USER ${user}`))
    const url = server.with({ user, password: 'x y' })
    const store = openUrl(url, { table })
    const made = record({ user: 'ada' })
    expect(await store.create('k', made)).toBe(true)
    expect(await store.update('k', record({ user: 'ada' }), made.rev)).toBe('ok')
    expect(await store.users.destroy('ada', 1)).toBe(1)
    expect(await store.sweep(1, 10)).toBe(1)
    await expectFailure(
      openUrl(url, { table: newTable() }).load('k'),
      /command denied .*This user needs SELECT, .* schema\(\) prints/,
      false,
    )
  })
})

describe('what an operation costs', () => {
  /** What a perfect client sends for 435 bytes of data, measured, and the core's own part of a record. */
  const FLOOR = { read: 61, update: 521, touch: 71 }
  const ENVELOPE = 160
  const DATA = { visits: 1, cart: 'x'.repeat(413) }

  it.each([
    ['mysql2', (url: string) => mysql2Promise.createPool({ uri: url, connectionLimit: 1 })],
    [
      'mariadb',
      (url: string) => mariadb.createPool(`${url.replace('mysql:', 'mariadb:')}?connectionLimit=1`),
    ],
  ] as const)('is one round trip, with few bytes: %s', async (name, connect) => {
    const wire = await wireTo(server.port)
    const handle = connect(server.with({ port: wire.port }))
    opened.push(
      () => wire.close(),
      () => handle.end(),
    )
    const { sessions, clock } = manager<typeof DATA>({ store: open(handle, { table: newTable() }) })
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
      await expect.poll(() => wire.traffic().received).toBeGreaterThan(0)
      passed.touch = wire.traffic()
    }
    const { read, update, touch } = passed
    console.log(`${name}: read ${read?.sent} B, update ${update?.sent} B, touch ${touch?.sent} B`)
    for (const each of [read, update, touch]) expect(each?.roundTrips).toBe(1)
    // Three bytes are the prefix of the key.
    expect(read?.sent).toBeLessThanOrEqual(FLOOR.read * 1.05 + 3)
    expect(update?.sent).toBeLessThanOrEqual((FLOOR.update + ENVELOPE) * 1.05)
    expect(touch?.sent).toBeLessThanOrEqual((FLOOR.touch + ENVELOPE) * 1.05)
  })

  it('a query for each reads through an index, none through the table', async () => {
    const statements: { sql: string; values: unknown[] }[] = []
    const handle = {
      query: () => undefined,
      execute: (statement: { sql: string; values: (string | number | null)[] }) => {
        statements.push(statement)
        return admin.execute(statement as never)
      },
    } as unknown as MysqlHandle
    const table = newTable()
    const store = open(handle, { table })
    for (let i = 0; i < 1000; i++) {
      await store.create(
        `k${i}`,
        record({ user: `user ${i}`, externalId: `sid ${i}`, expires: i < 10 ? 1 : NEVER }),
      )
    }
    await admin.query(`ANALYZE TABLE ${table}`)
    statements.length = 0
    await store.load('k1')
    await store.update('k1', record(), 'other')
    await store.touch('k1', 0, 0)
    await store.users.list('user 11')
    await store.users.destroy('user 12', NEVER)
    await store.externalIds.list('sid 13')
    await store.externalIds.destroy('sid 14', NEVER)
    await store.destroy('k15', NEVER)
    await store.scan('k9', 10)
    await store.sweep(1, 10)
    expect(statements.length).toBeGreaterThan(12)
    for (const { sql, values } of statements) {
      const [rows] = await admin.query(`EXPLAIN ${sql}`, values)
      for (const { key, rows: read } of rows as { key: string | null; rows: number }[]) {
        expect(`${sql.slice(0, 200)}: ${key}`).toMatch(/: (PRIMARY|by_\w+|null)$/)
        expect(`${sql.slice(0, 200)}: ${read < 300}`).toMatch(/: true$/)
      }
    }
  })
})

describe('many at once', () => {
  it('sweeps, updates, logins and revocations keep nobody waiting, and none of them fails', async () => {
    const table = newTable()
    const stores = Array.from({ length: 4 }, () => {
      const own = mysql2.createPool({ uri: server.url, connectionLimit: 6 })
      opened.push(() => own.promise().end())
      return open(own, { table })
    })
    await stores[0]!.createTables()
    const rows = Array.from(
      { length: 10_000 },
      (_, i) => `('old${i}', 'r', REPEAT('x', 500), 'user ${i % 5}', NULL, 1, 1, 0)`,
    )
    await admin.query(`INSERT INTO ${table} VALUES ${rows.join(', ')}`)
    const deadlocksBefore = await deadlocks()
    const waits: number[] = []
    const until = performance.now() + 4_000
    const isOn = () => performance.now() < until
    const timed = async <T>(perform: () => Promise<T>): Promise<T> => {
      const started = performance.now()
      const result = await perform()
      waits.push(performance.now() - started)
      return result
    }
    const visit = async (i: number) => {
      for (let n = 0; isOn(); n++) {
        const store = stores[i % 4]!
        const key = `live-${i}-${n % 7}`
        const found = await timed(() => store.load(key))
        const user = `user ${n % 5}`
        if (found === undefined) await timed(() => store.create(key, record({ user, expires: NEVER })))
        else if (isTombstone(found)) expect(await store.update(key, record(), 'r')).toBe('gone')
        else await timed(() => store.update(key, { ...found, user, rev: `r${i}.${n}` }, found.rev))
        await timed(() => store.touch(`old${(n * 37 + i * 1000) % 10_000}`, 2, 2))
      }
    }
    const revoke = async (i: number) => {
      for (let n = 0; isOn(); n++) {
        await stores[i]!.users.destroy(`user ${n % 5}`, 1)
        await sleep(50)
      }
    }
    const sweep = async (store: SqlStore) => {
      let removed = 0
      while (isOn()) {
        const count = await store.sweep(1, 200)
        removed += count
        if (count < 200) await sleep(20)
      }
      return removed
    }
    const [removed] = await Promise.all([
      Promise.all(stores.map(sweep)),
      Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(visit)),
      Promise.all([0, 1].map(revoke)),
    ])
    waits.sort((a, b) => a - b)
    const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))]!
    console.log(
      `4 sweeps removed ${removed.join(' + ')}; ${waits.length} operations, p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms, longest ${at(1).toFixed(1)} ms; ${(await deadlocks()) - deadlocksBefore} deadlocks`,
    )
    expect(removed.reduce((a, b) => a + b)).toBeGreaterThan(5_000)
    // Some milliseconds, where nobody else uses the machine. A wait for a lock ends after 50 seconds by default.
    expect(at(0.5)).toBeLessThan(50)
    expect(at(1)).toBeLessThan(2_000)
    expect(await stores[0]!.sweep(1, 1_000_000)).toBeGreaterThanOrEqual(0)
    expect((await admin.query(`SELECT 1 FROM ${table} WHERE expires <= 1`))[0]).toEqual([])
  }, 60_000)

  async function deadlocks(): Promise<number> {
    const [rows] = await admin.query(`SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'`)
    return Number((rows as { Value: string }[])[0]?.Value ?? 0)
  }

  it('an operation is tried again, three times, if the database gave it up in favour of another', async () => {
    const giveUp = (times: number, errno: number) =>
      ({
        query: () => undefined,
        execute: async (statement: { sql: string }) => {
          if (statement.sql.startsWith('UPDATE') && times-- > 0)
            throw Object.assign(new Error('gave up'), { errno })
          return admin.execute(statement as never)
        },
      }) as unknown as MysqlHandle
    for (const errno of [1213, 1205]) {
      const table = newTable()
      await open(pool, { table }).create('k', record())
      expect(await open(giveUp(3, errno), { table }).touch('k', NEVER, NEVER)).toBe(true)
      await expect(open(giveUp(4, errno), { table }).touch('k', NEVER, NEVER)).rejects.toMatchObject({
        message: expect.stringMatching(/touch failed: gave up. Another transaction kept its lock/),
        retryable: true,
      })
    }
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
  })

  const HANDLES: Record<string, (url: string) => MysqlHandle> = {
    'a URL': (url) => url as unknown as MysqlHandle,
    mysql2(url) {
      const handle = mysql2.createPool(url)
      opened.push(() => handle.promise().end())
      return handle
    },
    mariadb(url) {
      const handle = mariadb.createPool(
        `${url.replace('mysql:', 'mariadb:')}?acquireTimeout=500&connectTimeout=300`,
      )
      opened.push(() => handle.end())
      return handle
    },
  }

  it.each(Object.entries(HANDLES))(
    'says what to do, with %s: server, password, database',
    async (_name, handleOf) => {
      const expectProblem = async (url: string, message: RegExp, retryable: boolean) => {
        const store = mysqlStore(handleOf(url))
        opened.push(async () => store.close())
        await expectFailure(store.load('k'), message, retryable)
      }
      const unreachable =
        /^mysql store: createTables failed: .*ECONNREFUSED.*cannot be reached: check that it runs, and host, port/s
      const port = await freePort()
      for (const host of ['127.0.0.1', 'localhost'])
        await expectProblem(`mysql://app:wr0ng@${host}:${port}/shop`, unreachable, true)
      await expectProblem(
        server.with({ password: 'wr0ng' }),
        /Access denied.*Check the user and the password/,
        false,
      )
      await expectProblem(
        server.with({ database: 'nowhere' }),
        /Unknown database 'nowhere'\. Create the database/,
        false,
      )
    },
  )

  it('says what to do: no database is named', async () => {
    const store = openUrl(server.with({ database: '' }))
    await expectFailure(store.load('k'), /No database selected\. Create the database, or name/, false)
  })

  it.each(['mysql2', 'mariadb'])('shows nothing of a session: %s', async (name) => {
    const table = newTable()
    const store = open(name === 'mysql2' ? pool : mariadbPool, { table })
    await store.load('k')
    await runOn(server.url, `DROP TABLE ${table}`)
    const error = await store.create('k', record({ text: 'quite private' })).catch((e: unknown) => e)
    expect(String(error)).toMatch(
      /^StoreError: mysql store: create failed: Table .* doesn't exist\. The table has gone/,
    )
    const { cause } = error as { cause: Error }
    expect(cause.stack + JSON.stringify(cause)).not.toContain('quite private')
  })

  it('says what to do: a read-only server', async () => {
    const user = newTable()
    await runOn(
      server.url,
      `CREATE USER ${user} IDENTIFIED BY 'x y'`,
      `GRANT ALL ON holdfast.* TO ${user}`,
      'SET GLOBAL read_only = 1',
    )
    opened.push(() => runOn(server.url, 'SET GLOBAL read_only = 0', `DROP USER ${user}`))
    await expectFailure(
      openUrl(server.with({ user, password: 'x y' }), { table: newTable() }).load('k'),
      /read-only.*name the primary/,
      true,
    )
  })

  it('tells whether a server takes no writes, also one that says so in words as MariaDB 12 does', async () => {
    const saying = (word: string) =>
      ({
        query: () => undefined,
        execute: ({ sql, ...rest }: mysql2Promise.QueryOptions) =>
          admin.execute({ ...rest, sql: sql.replace('@@read_only', `'${word}'`) }),
      }) as unknown as MysqlHandle
    const found = async (word: string) =>
      (await mysqlStore(saying(word), { table: newTable() }).check(Date.now)).map(({ id }) => id)
    expect(await found('OFF')).not.toContain('sql.read-only')
    expect(await found('ON')).toContain('sql.read-only')
    expect(await found('NO_LOCK_NO_ADMIN')).toContain('sql.read-only')
  })

  it('outlives connections that the server ends, and its restart', async () => {
    const own = await startOwnMariadb()
    opened.push(() => own.stop())
    const store = openUrl(own.url)
    const made = record()
    await store.create('k', made)
    await endConnections(own.url)
    await expect.poll(() => store.load('k').catch(() => undefined)).toStrictEqual(made)
    const sleepers = {
      mysql2: await mysql2Promise.createConnection(own.url),
      mariadb: await mariadb.createConnection(own.url.replace('mysql:', 'mariadb:')),
    }
    const failing = Object.values(sleepers).map((sleeper) => {
      sleeper.on('error', () => undefined)
      const slow = {
        query: () => undefined,
        execute: () => (sleeper as MariadbConnection).query('SELECT SLEEP(30)'),
      }
      return expectFailure(
        mysqlStore(slow as unknown as MysqlHandle).load('k'),
        /The connection was lost: the server shuts down, restarts or ended it/,
        true,
      )
    })
    await sleep(100)
    await own.stop()
    await Promise.all(failing)
    await expectFailure(store.load('k'), /cannot be reached|connection was lost/, true)
    await expectFailure(store.load('k'), /cannot be reached/, true)
  })

  async function endConnections(url: string): Promise<void> {
    const connection = await mysql2Promise.createConnection(url)
    const [rows] = await connection.query(
      `SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'holdfast'`,
    )
    for (const { id } of rows as { id: number }[]) await connection.query(`KILL ${id}`)
    await connection.end()
  }
})

let tables = 0

function newTable(): string {
  return `sessions_${process.pid}_${++tables}`
}

/** Its table goes with the test. */
function open(handle: MysqlHandle, options: MysqlOptions): SqlStore {
  opened.push(() => runOn(server.url, `DROP TABLE IF EXISTS \`${options.table}\``))
  return mysqlStore(handle, options)
}

function openUrl(url: string, options?: MysqlOptions): SqlStore {
  const store = mysqlStore(url, options)
  opened.push(() => store.close())
  return store
}

async function expectToWork(handle: MysqlHandle): Promise<void> {
  const store = open(handle, { table: newTable() })
  const made = record({ user: 'ada', expires: NEVER, lastSeen: 1_766_509_321_464 })
  expect(await store.create('k', made)).toBe(true)
  expect(await store.create('k', made)).toBe(false)
  expect(await store.load('k')).toStrictEqual(made)
  expect((await store.users.list('ada')).items).toStrictEqual([['k', made]])
  expect(await store.touch('k', made.lastSeen, made.expires)).toBe(true)
  expect(await store.touch('other', made.lastSeen, made.expires)).toBe(false)
  expect(await store.update('k', record(), 'other')).toBe('conflict')
  expect(await store.update('k', { ...made, rev: '2' }, made.rev)).toBe('ok')
  expect(await store.destroy('k', 1_766_509_321_465, { durable: true })).toBe(true)
  expect(await store.load('k')).toStrictEqual({ destroyedUntil: 1_766_509_321_465 })
  expect(await store.sweep(1_766_509_321_465, 10)).toBe(1)
  await store.createTables()
}

async function expectFailure(perform: Promise<unknown>, message: RegExp, retryable: boolean): Promise<void> {
  const error = await perform.then(
    () => undefined,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(StoreError)
  expect((error as Error).message).toMatch(message)
  expect((error as StoreError).retryable).toBe(retryable)
  expect(`${(error as Error).stack}${JSON.stringify(error)}`).not.toMatch(/p@ss|p%40ss|wr0ng/)
}

function thrownBy(perform: () => unknown): Error {
  try {
    perform()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}
