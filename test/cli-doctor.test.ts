/** `holdfast doctor`: each fault is planted on a real server, in a real file or in the settings, and found; a good set-up has none. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Finding } from 'holdfast'
import { openStore } from 'holdfast/stores'
import Database from 'libsql'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type BuiltCommand, buildCommand } from './helpers/command.ts'
import { linkTo } from './helpers/link.ts'
import { relayTo } from './helpers/relay.ts'
import { runOn as runOnMariadb, startMariadb } from './servers/mariadb.ts'
import { startMemcached } from './servers/memcached.ts'
import { runOn, startPostgres, type TestServer } from './servers/postgres.ts'
import { freePort } from './servers/process.ts'
import { type RedisServer, startRedis, startReplica } from './servers/redis.ts'

const SECRET = randomBytes(32).toString('base64url')
const OTHER = randomBytes(32).toString('base64url')
const GOOD = { lifetime: 'aal2', csrf: true }
const NOBODY = 65534

let command: BuiltCommand
let redis: RedisServer
let postgres: TestServer
let mariadb: TestServer
let folder: string
/** What puts right what a test has spoilt, the last one first. */
let undo: (() => unknown)[]

beforeAll(async () => {
  command = buildCommand('cli-doctor')
  ;[redis, postgres, mariadb] = await Promise.all([
    startRedis('--appendonly', 'yes'),
    startPostgres(),
    startMariadb(),
  ])
  await runOnMariadb(mariadb.url, 'SET GLOBAL innodb_flush_log_at_trx_commit = 1')
}, 60_000)
afterAll(() => Promise.all([redis.stop(), postgres.stop(), mariadb.stop()]))
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-doctor-'))
  undo = []
})
afterEach(async () => {
  for (const each of undo.reverse()) await each()
  rmSync(folder, { recursive: true, force: true })
})

const urls = {
  sqlite: () => `sqlite:${join(folder, 'sessions.db')}`,
  file: () => `file:${join(folder, 'sessions')}`,
  redis: () => `redis://127.0.0.1:${redis.port}`,
  postgres: () => postgres.url,
  mariadb: () => mariadb.url,
}
type Kind = keyof typeof urls

describe.each(Object.keys(urls) as Kind[])('a good set-up on %s', (kind) => {
  it('has one line, and no finding', async () => {
    const store = await made(kind)
    const { code, stdout, stderr } = await run({ store })
    expect([code, stderr]).toEqual([0, ''])
    const name = kind === 'mariadb' ? 'mysql' : kind
    expect(stdout).toMatch(
      new RegExp(
        `^All is well: the ${name} store answers a load in [\\d.]+ ms \\(the median of 50; the slowest took [\\d.]+ ms\\)\\.\n$`,
      ),
    )
    const machine = await run({ store, json: true })
    expect(machine.code).toBe(0)
    expect(JSON.parse(machine.stdout)).toMatchObject({
      store: name,
      secretChecked: true,
      optionsChecked: true,
      findings: [],
      latency: { loads: 50 },
    })
  })
})

interface Setup {
  readonly store?: string
  /** What holdfast.config.json says beside it. */
  readonly config?: object
  /** The text of holdfast.config.js in its place, in which the store is. */
  readonly module?: string
  readonly env?: Record<string, string>
}

type Case = readonly [
  fault: string,
  /** Whatever is found, the planted fault first. */
  ids: string,
  says: RegExp,
  plant: () => Setup | Promise<Setup>,
]

const settings: readonly Case[] = [
  [
    'a short secret',
    'secret.refused',
    /No site starts .* HOLDFAST_SECRET holds: 5 bytes are too few/,
    () => ({ env: secret('short') }),
  ],
  [
    'the secret of an example',
    'secret.refused',
    /holds: this one can be guessed\.$/,
    () => ({ env: secret('please-change-me-to-32-random-bytes') }),
  ],
  [
    'a secret of digits',
    'secret.weak',
    /Secret 2 of 2 has only digits/,
    () => ({ env: secret(`${SECRET},31415926535897932384626433832795028841971`) }),
  ],
  [
    'the same secret twice',
    'secret.refused',
    /number 3 of the list is the same as number 1/,
    () => ({ env: secret(`${SECRET}, ${OTHER}, ${SECRET}`) }),
  ],
  [
    'too many secrets',
    'secret.many',
    /4 secrets are accepted/,
    () => ({ env: secret([1, 2, 3, 4].map((n) => n + SECRET).join()) }),
  ],
  [
    'a short secret in the configuration',
    'secret.refused',
    /holdfast\.config\.js holds: 5 bytes are too few/,
    () => ({
      env: secret(''),
      module: `export default { store: ${JSON.stringify(urls.redis())}, secret: ['${SECRET}', 'short'], csrf: true }`,
    }),
  ],
  ['NODE_ENV', 'environment.not-production', /NODE_ENV is "test"/, () => ({ env: { NODE_ENV: 'test' } })],
  [
    'a cookie over http',
    'cookie.insecure',
    /sent over plain http/,
    () => ({ config: { cookie: { secure: false } } }),
  ],
  [
    'a cookie for other sites',
    'cookie.cross-site csrf.off',
    /sent with requests of every other site/,
    () => ({ config: { cookie: { sameSite: 'none' }, csrf: false } }),
  ],
  [
    'a cookie for a whole domain',
    'cookie.domain',
    /goes to every host under shop\.example/,
    () => ({ config: { cookie: { domain: 'shop.example' } } }),
  ],
  [
    'SameSite=None without Secure',
    'cookie.refused',
    /sameSite 'none' needs secure/,
    () => ({ config: { cookie: { sameSite: 'none', secure: false } } }),
  ],
  [
    '__Host- with a domain',
    'cookie.refused',
    /the name __Host-id needs secure, path "\/" and no domain/,
    () => ({ config: { cookie: { name: '__Host-id', domain: 'shop.example' } } }),
  ],
  [
    'idle longer than absolute',
    'lifetime.refused',
    /idle \(7d\) is longer than absolute \(1d\)/,
    () => ({ config: { lifetime: { idle: '7d', absolute: '1d' } } }),
  ],
  [
    'two options that no site starts with',
    'lifetime.refused options.refused',
    /there is no preset "aal9"/,
    () => ({ config: { lifetime: 'aal9', maxBytes: -1 } }),
  ],
  [
    'logins for a year',
    'lifetime.persistent-long',
    /lasts for 365 days/,
    () => ({ config: { lifetime: { absolute: '365d', persistent: true } } }),
  ],
  [
    'seconds that were taken for milliseconds',
    'lifetime.short',
    /Sessions last 2s/,
    () => ({ config: { lifetime: { idle: 1800 } } }),
  ],
  [
    'no timeout',
    'lifetime.endless',
    /neither an idle nor an absolute timeout/,
    () => ({ config: { lifetime: { idle: false, absolute: false } } }),
  ],
  [
    'nothing against other origins',
    'csrf.off',
    /Pages of sibling domains/,
    () => ({ config: { csrf: false } }),
  ],
  [
    'stolen tokens that go on',
    'reuse.goes-on',
    /one of them is a thief/,
    () => ({ config: { onReuse: 'event' } }),
  ],
  [
    'Node',
    'node.too-old',
    /Holdfast needs >=99\.1/,
    () => {
      planted((own) => {
        own.engines.node = '>=99.1'
      })
      return {}
    },
  ],
  [
    'the driver',
    'driver.too-old',
    /ioredis is installed as 4\.28\.0, and Holdfast needs >=6/,
    () => {
      const real = createRequire(import.meta.url).resolve('ioredis')
      const place = join(root(), 'node_modules/ioredis')
      mkdirSync(place, { recursive: true })
      undo.push(() => rmSync(place, { recursive: true }))
      writeFileSync(
        join(place, 'package.json'),
        '{ "name": "ioredis", "version": "4.28.0", "main": "index.cjs" }',
      )
      writeFileSync(join(place, 'index.cjs'), `module.exports = require(${JSON.stringify(real)})`)
      return {}
    },
  ],
]

const servers: readonly Case[] = [
  [
    'a Redis that evicts',
    'redis.evicts',
    /The server's maxmemory-policy is allkeys-lru, so when/,
    async () => {
      await configure('maxmemory-policy', 'allkeys-lru', 'noeviction')
      return {}
    },
  ],
  [
    'a Redis that keeps nothing',
    'redis.no-persistence',
    /writes nothing to disk/,
    async () => {
      await configure('appendonly', 'no', 'yes')
      return {}
    },
  ],
  [
    'a replica',
    'redis.replica',
    /The server is a replica: it refuses writes/,
    async () => {
      const replica = await startReplica(redis)
      undo.push(replica.stop)
      await replica.cli('CONFIG', 'SET', 'appendonly', 'yes')
      return { store: `redis://127.0.0.1:${replica.port}` }
    },
  ],
  [
    'a Redis that is full',
    'redis.refuses-writes',
    /refuses writes, so nobody can log in.*OOM command not allowed/,
    async () => {
      const store = await made('redis')
      await redis.cli('CONFIG', 'SET', 'maxmemory', '1')
      undo.push(() => redis.cli('CONFIG', 'SET', 'maxmemory', '0'))
      return { store }
    },
  ],
  [
    'a Redis whose user may not write',
    'redis.refuses-writes',
    /refuses writes.*NOPERM/,
    async () => {
      await redis.cli('ACL', 'SETUSER', 'reader', 'on', '>reader', '~*', '+@all', '-eval')
      undo.push(() => redis.cli('ACL', 'DELUSER', 'reader'))
      return { store: `redis://reader:reader@127.0.0.1:${redis.port}` }
    },
  ],
  [
    'an old Redis',
    'redis.too-old',
    /The server is Redis 5\.0\.\d+, which lacks commands/,
    async () => {
      const relay = await relayTo(redis.port, {
        data(link, direction, chunk) {
          const older = () => chunk.toString('latin1').replace(/(?<=redis_version:)\d\.\d/, '5.0')
          link[direction].write(direction === 'toClient' ? Buffer.from(older(), 'latin1') : chunk)
        },
        end: (link, direction) => link[direction].end(),
      })
      undo.push(relay.close)
      return { store: `redis://127.0.0.1:${relay.port}` }
    },
  ],
  [
    'a server far away',
    'store.slow',
    /A load takes \d+ ms \(the median of 50\), and every page waits/,
    async () => {
      const link = await linkTo(redis.port, 60)
      undo.push(link.close)
      return { store: `redis://127.0.0.1:${link.port}` }
    },
  ],
  [
    'no server',
    'store.unreachable',
    /ECONNREFUSED/,
    async () => ({ store: `redis://127.0.0.1:${await freePort()}` }),
  ],
  ...(['redis', 'postgres', 'mariadb'] as const).map(
    (kind): Case => [
      `a clock that differs from that of ${kind}`,
      'store.clock-skew',
      /The clock of this process is (119|120|121)\.\d s ahead of/,
      async () => {
        const file = join(folder, 'clock.cjs')
        writeFileSync(file, 'const { now } = Date\nDate.now = () => now() + 120_000')
        return { store: await made(kind), env: { NODE_OPTIONS: `--require ${file}` } }
      },
    ],
  ),
  [
    'Memcached',
    'memcached.evicts',
    /drops sessions when its memory is full/,
    async () => {
      const memcached = await startMemcached()
      undo.push(memcached.stop)
      return { store: `memcached://127.0.0.1:${memcached.port}` }
    },
  ],
]

const TABLE = 'holdfast_sessions'
const databases: readonly Case[] = [
  ...(['sqlite', 'postgres', 'mariadb'] as const).flatMap((kind): Case[] => [
    [
      `a dropped index in ${kind}`,
      'sql.missing-index',
      /has no index (holdfast_sessions_)?by_user: what looks there/,
      async () => {
        const store = await made(kind)
        const drop =
          kind === 'mariadb' ? `ALTER TABLE ${TABLE} DROP KEY by_user` : `DROP INDEX ${TABLE}_by_user`
        await sql(kind, drop)
        return { store }
      },
    ],
    [
      `a dropped column in ${kind}`,
      'sql.wrong-table',
      /was made for something else, or was changed \(it has no column external_id\)/,
      async () => {
        const store = await made(kind)
        if (kind !== 'postgres') {
          const index =
            kind === 'mariadb'
              ? `ALTER TABLE ${TABLE} DROP KEY by_external_id`
              : `DROP INDEX ${TABLE}_by_external_id`
          await sql(kind, index)
        }
        await sql(kind, `ALTER TABLE ${TABLE} DROP COLUMN external_id`)
        return { store }
      },
    ],
    [
      `a table in ${kind} that nobody sweeps`,
      'sql.unswept',
      /More than 10,000 sessions in .* expired over a day ago/,
      async () => {
        const store = await made(kind)
        const numbers = {
          sqlite: 'WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 10001) ',
          postgres: '',
          mariadb: '',
        }[kind]
        const from = {
          sqlite: 't',
          postgres: 'generate_series(1, 10001) AS s(n)',
          mariadb: '(SELECT seq AS n FROM seq_1_to_10001) t',
        }[kind]
        const key = kind === 'mariadb' ? "CONCAT('id:', n)" : "'id:' || n"
        await sql(
          kind,
          `INSERT INTO ${TABLE} ${numbers}SELECT ${key}, '1.a', '', NULL, NULL, 1000, 2000, 0 FROM ${from}`,
        )
        return { store }
      },
    ],
  ]),
  [
    'a PostgreSQL database that cannot keep every character',
    'postgres.encoding',
    /The encoding of the database is SQL_ASCII/,
    async () => {
      await runOn(
        postgres.url,
        `CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
      )
      undo.push(() => runOn(postgres.url, 'DROP DATABASE ascii'))
      return { store: await madeAt(postgres.with({ database: 'ascii' })) }
    },
  ],
  [
    'a PostgreSQL that takes no writes',
    'sql.read-only',
    /takes no writes, so nobody can log in/,
    async () => {
      const store = await made('postgres')
      await runOn(postgres.url, 'ALTER DATABASE holdfast SET default_transaction_read_only = on')
      undo.push(() =>
        runOn(
          postgres.with({ database: 'postgres' }),
          'ALTER DATABASE holdfast RESET default_transaction_read_only',
        ),
      )
      return { store }
    },
  ],
  [
    'a user without rights',
    'sql.rights',
    /no right to INSERT, DELETE on/,
    async () => {
      await made('postgres')
      await runOn(
        postgres.url,
        `CREATE USER reader PASSWORD 'reader'`,
        `GRANT SELECT, UPDATE ON ${TABLE} TO reader`,
      )
      undo.push(() => runOn(postgres.url, `DROP OWNED BY reader`, 'DROP USER reader'))
      return { store: postgres.with({ user: 'reader', password: 'reader' }) }
    },
  ],
  [
    'a MariaDB that takes no writes',
    'sql.read-only',
    /takes no writes/,
    async () => {
      const store = await made('mariadb')
      await setGlobal('read_only', '1', '0')
      return { store }
    },
  ],
  [
    'a MariaDB that takes only small packets',
    'mysql.small-packet',
    /max_allowed_packet of the server is 65536 bytes/,
    async () => {
      const store = await made('mariadb')
      await setGlobal('max_allowed_packet', '65536', '16777216')
      return { store }
    },
  ],
  [
    'a MariaDB that loses the last second',
    'mysql.loses-seconds',
    /innodb_flush_log_at_trx_commit of the server is 2/,
    async () => {
      const store = await made('mariadb')
      await setGlobal('innodb_flush_log_at_trx_commit', '2', '1')
      return { store }
    },
  ],
  [
    'a table of another engine',
    'mysql.engine',
    /The engine of the table `holdfast_sessions` is Aria/,
    async () => {
      const store = await made('mariadb')
      await sql('mariadb', `ALTER TABLE ${TABLE} ENGINE = Aria`)
      return { store }
    },
  ],
  [
    'a SQLite handle without WAL',
    'sqlite.not-wal',
    /The journal mode of the database is delete/,
    () => {
      const driver = createRequire(import.meta.url).resolve('libsql')
      const path = join(folder, 'own.db')
      writeFileSync(path, '', { mode: 0o600 })
      return {
        module: `import Database from ${JSON.stringify(driver)}
          import { sqliteStore } from ${JSON.stringify(join(root(), 'dist/stores/sql/index.js'))}
          export default { csrf: true, store: sqliteStore(new Database(${JSON.stringify(path)})) }`,
      }
    },
  ],
]

const files: readonly Case[] = [
  [
    'a database file that others can read',
    'disk.open-to-others',
    /sessions\.db is open to other users of this machine \(mode 644\)/,
    async () => {
      const store = await made('sqlite')
      chmodSync(join(folder, 'sessions.db'), 0o644)
      return { store }
    },
  ],
  [
    'a folder that others can read',
    'disk.open-to-others',
    /sessions is open to other users of this machine \(mode 755\)/,
    async () => {
      const store = await made('file')
      chmodSync(join(folder, 'sessions/sessions'), 0o755)
      return { store }
    },
  ],
  [
    'a folder of another user',
    'disk.owner',
    /belongs to user 65534, and this process is user 0/,
    async () => {
      const store = await made('file')
      chownSync(join(folder, 'sessions/sessions'), NOBODY, NOBODY)
      return { store }
    },
  ],
  [
    'a full disk',
    'disk.full',
    /The disk of .* has 0 kB left/,
    async () => {
      const disk = mountDisk()
      const store = await madeAt(`file:${join(disk, 'sessions')}`)
      writeFileSync(join(disk, 'rest'), Buffer.alloc(statfsSync(disk).bavail * statfsSync(disk).bsize))
      return { store }
    },
  ],
  [
    'a database on a disk that cannot be written to',
    'store.unreachable',
    /The store could not be opened: .*(readonly|read-only|unable to open)/i,
    async () => {
      const disk = mountDisk()
      const store = `sqlite:${join(disk, 'sessions.db')}`
      // By a process of its own, which then has no file open there.
      await command.start(['init', '--store', store], { cwd: folder }).ended
      mount('-o', 'remount,ro', disk)
      return { store }
    },
  ],
]

const stores: readonly Case[] = [
  [
    'sessions in the memory of the process',
    'memory.production',
    /memory/,
    () => ({
      module: `import { memoryStore } from ${JSON.stringify(join(root(), 'dist/stores/memory.js'))}
        export default { csrf: true, store: memoryStore() }`,
    }),
  ],
  [
    'sessions in cookies that nothing can end',
    'cookie-store.no-revocations store.no-compare-and-set',
    /cookie/,
    () => ({
      module: `import { cookieStore } from ${JSON.stringify(join(root(), 'dist/stores/cookie.js'))}
        export default { csrf: true, store: cookieStore() }`,
    }),
  ],
]

it.each([...settings, ...servers, ...databases, ...files, ...stores])(
  'finds %s: %s',
  async (_, ids, says, plant) => {
    const setup = await plant()
    const { code, stdout, stderr } = await run({ ...setup, json: true })
    expect(stderr).toBe('')
    const { findings } = JSON.parse(stdout) as { findings: (Finding & { where: string })[] }
    expect(findings.map(({ id }) => id)).toEqual(ids.split(' '))
    const [found] = findings
    expect(found!.finding).toMatch(says)
    expect(found!.cure).toMatch(/^[A-Z].{10}/)
    expect(found!.where).toMatch(/\w/)
    expect(code).toBe(findings.some(({ severity }) => severity === 'error') ? 1 : 0)
    expect(stdout).not.toContain(SECRET)
  },
  30_000,
)

it('says where each finding is', async () => {
  const env = { ...secret('short'), NODE_ENV: 'staging' }
  await configure('maxmemory-policy', 'allkeys-lru', 'noeviction')
  const { stdout } = await run({ env, config: { ...GOOD, onReuse: 'reject' }, json: true })
  const { findings } = JSON.parse(stdout) as { findings: (Finding & { where: string })[] }
  const plain = await run({ env, config: { ...GOOD, onReuse: 'reject' } })
  expect(plain.stdout).toMatch(
    /^(\w+: [\w.-]+, in .+\n {2}[A-Z].+\n {2}Cure: .+\n){4}The redis store answers/,
  )
  for (const { id, severity, where, finding, cure } of findings) {
    expect(plain.stdout).toContain(`${severity}: ${id}, in ${where}\n  ${finding}\n  Cure: ${cure}\n`)
  }
  expect(findings.map(({ id, severity, where }) => [severity, id, where])).toEqual([
    ['error', 'secret.refused', 'HOLDFAST_SECRET'],
    ['error', 'redis.evicts', 'the redis store'],
    ['warning', 'environment.not-production', 'the environment'],
    ['warning', 'reuse.goes-on', 'holdfast.config.json'],
  ])
})

it('plants at least 15 faults of different kinds, each of which docs/command-line.md names', () => {
  const text = readFileSync(new URL('../docs/command-line.md', import.meta.url), 'utf8')
  const ids = new Set(
    [...settings, ...servers, ...databases, ...files, ...stores].flatMap(([, each]) => each.split(' ')),
  )
  expect(ids.size).toBeGreaterThan(30)
  expect([...ids].filter((id) => !text.includes(`\`${id}\``))).toEqual([])
})

// ---- helpers ----

function run({ store, config = GOOD, module, env = {}, json }: Setup & { json?: boolean }) {
  if (module === undefined) {
    writeFileSync(
      join(folder, 'holdfast.config.json'),
      JSON.stringify({ store: store ?? urls.redis(), csrf: true, ...config }),
    )
  } else {
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    writeFileSync(join(folder, 'holdfast.config.js'), module)
  }
  const good = { NODE_ENV: 'production', WEB_CONCURRENCY: '', HOLDFAST_SECRET: SECRET }
  return command.start(['doctor', ...(json ? ['--json'] : [])], { cwd: folder, env: { ...good, ...env } })
    .ended
}

function secret(HOLDFAST_SECRET: string) {
  return { HOLDFAST_SECRET }
}

/** The folder of the built package. */
function root(): string {
  return join(dirname(command.path), '../..')
}

/** Changes the package.json of the built package for this test. */
function planted(change: (own: { engines: { node: string } }) => void): void {
  const path = join(root(), 'package.json')
  const text = readFileSync(path, 'utf8')
  undo.push(() => writeFileSync(path, text))
  const own = JSON.parse(text)
  change(own)
  writeFileSync(path, JSON.stringify(own))
}

async function configure(name: string, value: string, usual: string): Promise<void> {
  undo.push(() => redis.cli('CONFIG', 'SET', name, usual))
  await redis.cli('CONFIG', 'SET', name, value)
}

async function setGlobal(name: string, value: string, usual: string): Promise<void> {
  undo.push(() => runOnMariadb(mariadb.url, `SET GLOBAL ${name} = ${usual}`))
  await runOnMariadb(mariadb.url, `SET GLOBAL ${name} = ${value}`)
}

/** The URL of a store that has just been made. */
async function made(kind: Kind): Promise<string> {
  if (kind === 'postgres' || kind === 'mariadb') undo.push(() => sql(kind, `DROP TABLE IF EXISTS ${TABLE}`))
  return madeAt(urls[kind]())
}

async function madeAt(url: string): Promise<string> {
  const store = openStore(url)
  await store.load('id:nobody')
  await store.close?.()
  return url
}

async function sql(kind: Kind, statement: string): Promise<void> {
  if (kind === 'postgres') await runOn(postgres.url, statement)
  else if (kind === 'mariadb') await runOnMariadb(mariadb.url, statement)
  else {
    const database = new Database(join(folder, 'sessions.db'))
    database.exec(statement)
    database.close()
  }
}

/** A small disk of its own, which only root may have. */
function mountDisk(): string {
  const disk = join(folder, 'disk')
  mkdirSync(disk)
  mount('-t', 'tmpfs', '-o', 'size=4m,mode=700', 'tmpfs', disk)
  undo.push(() => spawnSync('umount', ['-l', disk]))
  return disk
}

function mount(...args: string[]): void {
  const { status, error, stderr } = spawnSync('mount', args, { encoding: 'utf8' })
  if (status !== 0)
    throw new Error(`this test mounts a disk of its own, so it must run as root: ${error ?? stderr}`)
}
