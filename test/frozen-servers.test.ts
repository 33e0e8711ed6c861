import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Store } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { redisStore } from 'holdfast/stores/redis'
import { mysqlStore, postgresStore } from 'holdfast/stores/sql'
import { Redis } from 'ioredis'
import mariadb from 'mariadb'
import mysql2 from 'mysql2/promise'
import pg from 'pg'
import { createClient } from 'redis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type CountingSite, startCountingSite } from './helpers/counting-site.ts'
import { type FaultProxy, faultProxyTo } from './helpers/fault-proxy.ts'
import { Crowd, type Kind, type Seen, WITHOUT_SESSION } from './helpers/web-crowd.ts'
import { withoutPackages } from './helpers/without-packages.ts'
import { startOwnMariadb } from './servers/mariadb.ts'
import { startMemcached } from './servers/memcached.ts'
import { startOwnPostgres } from './servers/postgres.ts'
import type { RestartableServer } from './servers/process.ts'
import { startRedis } from './servers/redis.ts'

interface Subject extends RestartableServer {
  readonly port: number
  urlAt(port: number): string
}

const servers: Record<string, () => Promise<Subject>> = {
  async redis() {
    const server = await startRedis('--appendonly', 'yes', '--appendfsync', 'always')
    return { ...server, urlAt: (port) => `redis://127.0.0.1:${port}` }
  },
  async postgres() {
    const server = await startOwnPostgres()
    return { ...server, urlAt: (port) => server.with({ port }) }
  },
  async mariadb() {
    const server = await startOwnMariadb()
    return { ...server, urlAt: (port) => server.with({ port }) }
  },
  async memcached() {
    const server = await startMemcached()
    return { ...server, urlAt: (port) => `memcached://127.0.0.1:${port}` }
  },
}

/** Deadlines of the core, and what an answer may take beyond them. */
const DEADLINES: Partial<Record<Kind, number>> = { read: 500, count: 1_000, login: 1_000 }
const SESSIONS = Object.keys(DEADLINES) as Kind[]
const BEYOND = 250

let server: Subject
let proxy: FaultProxy
let site: CountingSite
let crowd: Crowd
let closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.reverse()) await close()
  closing = []
})

async function open(store: Store, visitors: number, onOutage?: () => void): Promise<void> {
  site = await startCountingSite(store, onOutage)
  closing.push(() => site.close())
  await visit(site.url, visitors)
}

async function visit(url: string, visitors: number): Promise<void> {
  crowd = new Crowd(url)
  await crowd.start(visitors)
  closing.push(() => crowd.stop())
}

/** The same in another process, in which this package is not installed. */
async function openWithout(missing: string, storeUrl: string, visitors: number): Promise<void> {
  const program = fileURLToPath(new URL('./helpers/counting-process.ts', import.meta.url))
  const child = fork(program, [storeUrl], { execArgv: withoutPackages([missing]) })
  closing.push(() => child.kill('SIGKILL'))
  const [url] = await once(child, 'message')
  await visit(String(url), visitors)
}

async function throughProxy(): Promise<string> {
  proxy = await faultProxyTo(server.port)
  closing.push(() => proxy.close())
  return server.urlAt(proxy.port)
}

const now = () => performance.now()

/** In ms. */
function p99(seen: readonly Seen[], measure = ({ began, ended }: Seen) => ended - began): number {
  const took = seen.map(measure).sort((a, b) => a - b)
  expect(took.length).toBeGreaterThan(0)
  return took[Math.ceil(took.length * 0.99) - 1]!
}

const of = (kinds: readonly Kind[], from = 0, to = Number.POSITIVE_INFINITY) =>
  crowd.seen.filter(({ kind, began, ended }) => kinds.includes(kind) && began >= from && ended <= to)

/** Whatever becomes of the server: nobody waits longer, sees what is not theirs, or gets an answer that is neither. */
function expectNoHarm(from: number, to: number): void {
  expect(crowd.wrong).toEqual([])
  const meanwhile = of(SESSIONS).filter(({ began, ended }) => began < to && ended > from)
  const late = p99(meanwhile, ({ kind, began, ended }) => ended - began - DEADLINES[kind]!)
  expect(late, 'ms over the deadline').toBeLessThan(BEYOND + crowd.lag)
  const answers = new Set(crowd.seen.map(({ status }) => status))
  expect([...answers].filter((status) => status !== 200 && status !== 503)).toEqual([])
  const cookies = crowd.seen.filter(({ kind, cookie }) => kind !== 'login' && cookie !== undefined)
  expect(cookies).toEqual([])
}

/** Nobody who needs a session is answered, and no cookie is set. */
function expectOutage(from: number, to: number): void {
  const seen = of(SESSIONS, from, to)
  expect(seen.length).toBeGreaterThan(20)
  expect(seen.filter(({ status }) => status !== 503)).toEqual([])
  expect(seen.filter(({ cookie }) => cookie !== undefined)).toEqual([])
}

/** Routes that need no session are as quick as before. */
function expectOthersUnharmed(from: number, to: number): void {
  const before = p99(of(WITHOUT_SESSION, 0, from))
  const meanwhile = of(WITHOUT_SESSION, from, to)
  expect(meanwhile.filter(({ status }) => status !== 200)).toEqual([])
  expect(p99(meanwhile)).toBeLessThan(2 * before + 50 + crowd.lag)
}

function expectNormalService(from: number): void {
  const seen = of(SESSIONS, from)
  expect(seen.length).toBeGreaterThan(20)
  expect(seen.filter(({ status }) => status !== 200)).toEqual([])
}

/** A store on a client that the user brought, with what its driver does by default. */
const clients: Record<string, Record<string, (url: string) => Promise<Store>>> = {
  redis: {
    async 'node-redis'(url) {
      const client = createClient({ url }).on('error', () => {})
      await client.connect()
      closing.push(() => client.destroy())
      return redisStore(client)
    },
    async ioredis(url) {
      const client = new Redis(url).on('error', () => {})
      closing.push(() => client.disconnect())
      return redisStore(client)
    },
  },
  postgres: {
    async pg(url) {
      const pool = new pg.Pool({ connectionString: url }).on('error', () => {})
      closing.push(() => pool.end())
      return postgresStore(pool)
    },
  },
  mariadb: {
    async mysql2(url) {
      const pool = mysql2.createPool(url)
      closing.push(() => pool.end())
      return mysqlStore(pool)
    },
  },
  memcached: {},
}

/** The same, set as docs/stores.md advises, but that they lose patience sooner. */
const PATIENCE = 1_500
interface Advised {
  readonly store: Store
  readonly onOutage?: () => void
}
const impatientClients: Record<string, Record<string, (url: string) => Promise<Advised>>> = {
  redis: {
    async 'node-redis'(url) {
      const reconnectStrategy = (attempt: number) => Math.min(50 * attempt, 2_000)
      const socket = { socketTimeout: PATIENCE, reconnectStrategy }
      const limits = { disableOfflineQueue: true, pingInterval: PATIENCE / 3, socket }
      const client = createClient({ url, ...limits }).on('error', () => {})
      await client.connect()
      closing.push(() => client.destroy())
      const onOutage = () => {
        client.destroy()
        client.connect().catch(() => {})
      }
      return { store: redisStore(client), onOutage }
    },
    async ioredis(url) {
      const limits = { maxRetriesPerRequest: 1, socketTimeout: PATIENCE }
      const client = new Redis(url, limits).on('error', () => {})
      closing.push(() => client.disconnect())
      return { store: redisStore(client) }
    },
  },
  postgres: {
    async pg(url) {
      const limits = { connectionTimeoutMillis: PATIENCE, query_timeout: PATIENCE }
      const pool = new pg.Pool({ connectionString: url, ...limits }).on('error', () => {})
      closing.push(() => pool.end())
      return { store: postgresStore(pool) }
    },
  },
  // Of a larger pool the fault would leave connections over.
  mariadb: {
    async mysql2(url) {
      const pool = mysql2.createPool({ uri: url, connectionLimit: 1 })
      pool.on('connection', (connection) => {
        const { stream } = connection as unknown as { stream: Socket }
        stream.setTimeout(PATIENCE, () => stream.destroy())
      })
      closing.push(() => pool.end())
      return { store: mysqlStore(pool) }
    },
    async mariadb(url) {
      const limits = `socketTimeout=${PATIENCE}&minimumIdle=0`
      const pool = mariadb.createPool(`${url.replace('mysql:', 'mariadb:')}?connectionLimit=1&${limits}`)
      closing.push(() => pool.end())
      return { store: mysqlStore(pool) }
    },
  },
  memcached: {},
}

/** What a URL is opened with if another package is missing. */
const secondDrivers: Record<string, Record<string, { missing: string; query?: string }>> = {
  redis: { 'node-redis': { missing: 'ioredis' } },
  postgres: { 'postgres.js': { missing: 'pg' } },
  // The pool tries what has been idle before it hands it out. Its only connection never is.
  mariadb: { mariadb: { missing: 'mysql2', query: '?connectionLimit=1' } },
  memcached: {},
}

describe.each(Object.keys(servers))('%s', (name) => {
  const keepsSessions = name !== 'memcached'

  beforeAll(async () => {
    server = await servers[name]!()
  })
  afterAll(() => server.stop())

  it('frozen for three seconds under load: errors by the deadline, nothing lost, no stampede', async () => {
    await open(openStore(await throughProxy()), 30)
    await sleep(500)
    const before = proxy.sent
    await sleep(1_000)
    const usual = (proxy.sent - before) / 10
    const frozen = now()
    server.freeze()
    await sleep(3_000)
    const meanwhile = proxy.sent
    const back = now()
    server.thaw()
    await sleep(100)
    const first = proxy.sent - meanwhile
    await sleep(1_900)
    await crowd.stop()
    await crowd.leave()
    expectNoHarm(frozen, back)
    expectOutage(frozen + 50, back)
    expectOthersUnharmed(frozen, back)
    expectNormalService(back + 1_000)
    expect(site.events).toEqual(['outage', 'recovered'])
    expect(first).toBeLessThan(4 * usual)
    report(name, 'frozen', frozen, back)
    console.log(`sent in 100 ms: ${usual.toFixed(0)} bytes, the first after the return ${first}`)
  })

  it('killed and started again: normal service within a second, and what it keeps is there', async () => {
    await open(openStore(server.urlAt(server.port)), 30)
    await sleep(500)
    const killed = now()
    await server.kill()
    const dead = now()
    await sleep(1_000)
    const down = now()
    if (!keepsSessions) crowd.forget()
    await server.restart()
    const back = now()
    await sleep(2_000)
    await crowd.stop()
    await crowd.leave()
    if (keepsSessions) expectNoHarm(killed, back)
    else expect(crowd.wrong).toEqual([])
    expectOutage(dead + 50, down)
    expectOthersUnharmed(killed, back)
    expectNormalService(back + 1_000)
  })

  /** Until the driver gives up the connections that have gone without a word. */
  const forgotten = { redis: 3_000, memcached: 2_000 }[name] ?? 6_000
  const faults: Record<string, [put: () => void, recovers: number]> = {
    'half-open': [() => proxy.halfOpen(), forgotten],
    reset: [() => proxy.reset(), 1_000],
    'cut in the middle of an answer': [() => proxy.cutAfter(20, 'toClient'), 1_000],
    'a slow drip': [() => proxy.drip(50), 1_000],
  }
  it.each(Object.entries(faults))('%s: no harm, and recovery', async (_fault, [put, recovers]) => {
    await open(openStore(await throughProxy()), 10)
    await sleep(300)
    const began = now()
    put()
    await sleep(1_200)
    const healed = now()
    await proxy.heal()
    await sleep(recovers + 400)
    await crowd.stop()
    await crowd.leave()
    expectNoHarm(began, healed)
    expect(of(SESSIONS, began, healed).filter(({ status }) => status === 503).length).toBeGreaterThan(5)
    expectNormalService(healed + recovers)
  })

  it.each(Object.entries(secondDrivers[name]!))(
    'by URL with %s: half-open, and recovery',
    async (_driver, { missing, query = '' }) => {
      await openWithout(missing, `${await throughProxy()}${query}`, 10)
      await sleep(1_000)
      const began = now()
      proxy.halfOpen()
      await sleep(1_200)
      const healed = now()
      await proxy.heal()
      await sleep(forgotten + 1_000)
      await crowd.stop()
      await crowd.leave()
      expectNoHarm(began, healed)
      expectOutage(began + 50, healed)
      expectNormalService(healed + forgotten)
    },
  )

  it('answers 300 ms late: no harm, and nobody hears of it', async () => {
    await open(openStore(await throughProxy()), 5)
    await sleep(300)
    const began = now()
    proxy.latency(300)
    await sleep(1_200)
    const healed = now()
    await proxy.heal()
    await sleep(800)
    await crowd.stop()
    await crowd.leave()
    expectNoHarm(began, healed)
    expect(p99(of(['read'], began, healed))).toBeGreaterThanOrEqual(300)
    expect(site.events).toEqual([])
  })

  it.each(Object.entries(clients[name]!))(
    'with a client of the application, %s as it is by default: frozen, then killed and started again',
    async (_client, openOn) => {
      await open(await openOn(server.urlAt(server.port)), 10)
      await sleep(500)
      const frozen = now()
      server.freeze()
      await sleep(1_500)
      const thawed = now()
      server.thaw()
      await sleep(1_000)
      const killed = now()
      await server.kill()
      await sleep(500)
      await server.restart()
      const back = now()
      await sleep(2_000)
      await crowd.stop()
      await crowd.leave()
      expectNoHarm(frozen, thawed)
      expectNoHarm(killed, back)
      expectOutage(frozen + 50, thawed)
      // By then it has connected again.
      expectNormalService(back + 1_500)
    },
  )

  it.each(Object.entries(impatientClients[name]!))(
    'with a client of the application, %s as it is advised: half-open, and recovery',
    async (_client, openOn) => {
      const { store, onOutage } = await openOn(await throughProxy())
      await open(store, 10, onOutage)
      await sleep(300)
      const began = now()
      proxy.halfOpen()
      await sleep(1_000)
      const healed = now()
      await proxy.heal()
      await sleep(PATIENCE + 1_000)
      await crowd.stop()
      await crowd.leave()
      expectNoHarm(began, healed)
      expectNormalService(healed + PATIENCE + 500)
    },
  )
})

function report(name: string, what: string, from: number, to: number): void {
  const times = [...SESSIONS, ...WITHOUT_SESSION].map((kind) => {
    const before = p99(of([kind], 0, from))
    return `${kind} ${before.toFixed(0)} -> ${p99(of([kind], from, to)).toFixed(0)}`
  })
  console.log(`${name}, ${what}: p99 in ms before -> meanwhile: ${times.join(', ')}`)
}
