import { fork } from 'node:child_process'
import { type EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createSessions, type SessionOptions, StoreUnavailableError } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { redisStore } from 'holdfast/stores/redis'
import { mysqlStore, postgresStore } from 'holdfast/stores/sql'
import { Redis as IoRedis } from 'ioredis'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { createClient } from 'redis'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Data } from './frameworks/app.ts'
import { held } from './frameworks/app.ts'
import { servers } from './frameworks/servers.ts'
import { SECRET } from './helpers/browser.ts'
import { client } from './helpers/client.ts'
import { faulty } from './helpers/faults.ts'
import { edit, signIn } from './helpers/sign-in.ts'
import { serverStores, sharedStores } from './helpers/stores.ts'
import { withoutPackages } from './helpers/without-packages.ts'

const folder = mkdtempSync(join(tmpdir(), 'holdfast-close-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanUp.splice(0).reverse()) await clean()
})

function start(options: SessionOptions<Data> = {}) {
  const store = faulty(memoryStore())
  const sessions = createSessions<Data>({ secret: SECRET, store, ...options })
  cleanUp.push(() => {
    store.thaw()
    return sessions.close()
  })
  return { store, sessions }
}

/** Whether it has been settled once everything that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const note = () => (settled = true)
  promise.then(note, note)
  await sleep(20)
  return settled
}

const REFUSED = {
  status: 503,
  maybeApplied: false,
  retryable: true,
  message:
    "the sessions of 'id' have been closed, so none can be opened or changed any more. Stop taking requests first, " +
    'and close the sessions once the last one is answered: server.close(() => sessions.close())',
}

describe('close()', () => {
  it('waits for a commit that is under way', async () => {
    const { store, sessions } = start()
    const session = await sessions.open(undefined)
    session.data.visits = 1
    store.freeze()
    const commit = sessions.commit(session)
    const closing = sessions.close()
    expect(await isSettled(closing)).toBe(false)
    store.thaw()
    expect(await commit).toHaveProperty('cookie')
    await closing
    expect(await store.scan!(undefined, 10)).toHaveProperty('items.length', 1)
  })

  it('waits for the whole of an operation, however often that asks the store', async () => {
    const { store, sessions } = start()
    const cookie = await signIn(sessions, 'ann', { visits: 1 })
    const session = await sessions.open(cookie)
    await edit(sessions, cookie, ({ data }) => void (data.cart = { tea: 1 }))
    store.freeze('before', ['update'])
    const updating = session.update((data) => ++data.visits!)
    const second = session.update((data) => ++data.visits!)
    await sleep(1)
    const closing = sessions.close()
    expect(await isSettled(closing)).toBe(false)
    store.thaw()
    store.freeze('before', ['load']) // the first one has met a conflict, and looks at what is there
    expect(await isSettled(closing)).toBe(false)
    store.thaw()
    await closing
    expect(await isSettled(second)).toBe(true)
    expect(await Promise.all([updating, second])).toEqual([2, 3])
  })

  it('waits for what is read, and for what no answer waited for', async () => {
    const { store, sessions } = start({ lifetime: { touchEvery: 0 } })
    const cookie = await signIn(sessions, 'ann')
    await edit(sessions, cookie, () => {}) // the first use is noted
    await sleep(20)
    store.freeze('before', ['load'])
    const opening = sessions.open(cookie)
    const closing = sessions.close()
    expect(await isSettled(closing)).toBe(false)
    store.freeze('before', ['touch'])
    store.thaw()
    await opening
    await closing

    const again = start({ lifetime: { touchEvery: 0 } })
    const other = await signIn(again.sessions, 'bob')
    again.store.freeze('before', ['touch', 'update'])
    await edit(again.sessions, other, () => {})
    const closingAgain = again.sessions.close()
    expect(await isSettled(closingAgain)).toBe(false)
    again.store.thaw()
    await closingAgain
  })

  it('waits no longer than the deadlines allow for a store that gives no answer', async () => {
    const { store, sessions } = start({ deadlines: { load: 100, write: 100 } })
    const cookie = await signIn(sessions, 'ann', { visits: 1 })
    const open = await Promise.all(Array.from({ length: 20 }, () => sessions.open(cookie)))
    store.freeze()
    const updates = open.map((session) => session.update((data) => ++data.visits!))
    const failures = Promise.allSettled(updates)
    const began = performance.now()
    await sessions.close()
    expect(performance.now() - began).toBeLessThan(1000)
    expect((await failures).map(({ status }) => status)).toEqual(Array(20).fill('rejected'))
  })

  it('refuses what begins afterwards, with the cure, whatever it is', async () => {
    const { store, sessions } = start()
    const cookie = await signIn(sessions, 'ann', { visits: 1 })
    const lazy = await sessions.open(cookie, { lazy: true })
    const request = new Request('http://localhost/', { headers: { cookie } })
    await sessions.open(request, { lazy: true })
    const session = await sessions.open(cookie)
    const { handle } = session
    await sleep(20)
    await sessions.close()
    const before = store.asked

    session.data.visits = 2
    const attempts: Record<string, () => unknown> = {
      open: () => sessions.open(undefined),
      'open with a cookie': () => sessions.open(cookie),
      'open what was opened lazily': () => sessions.open(request),
      'commit of changes': () => sessions.commit(session),
      find: () => sessions.find(handle),
      list: () => sessions.list('ann'),
      all: () => sessions.all(),
      revoke: () => sessions.revoke({ userId: 'ann' }),
      revokeOthers: () => sessions.revokeOthers(session),
      revokeAll: () => sessions.revokeAll(),
      sweep: () => sessions.sweep(),
      stats: () => sessions.stats(),
      'session.load': () => lazy.load(),
      'session.commit': () => session.commit(),
      'session.update': () => session.update((data) => void (data.visits = 3)),
      'session.reload': () => session.reload(),
      'session.login': () => session.login('bob'),
      'session.logout': () => session.logout(),
    }
    for (const [name, attempt] of Object.entries(attempts)) {
      const error = await Promise.resolve(attempt()).catch((thrown: unknown) => thrown)
      expect(error, name).toBeInstanceOf(StoreUnavailableError)
      expect(error, name).toMatchObject(REFUSED)
    }
    expect(store.asked).toBe(before)
  })

  it('lets a request that changed nothing have its answer, also where something was due', async () => {
    let now = Date.now()
    const { store, sessions } = start({ clock: () => now })
    const cookie = await signIn(sessions, 'ann', { visits: 1 })
    now += 3_600_000 // a rotation and a touch
    const session = await sessions.open(cookie)
    await sessions.close()
    const before = store.asked
    expect(session.data.visits).toBe(1)
    expect(await sessions.commit(session)).toEqual({ headers: [['Vary', 'Cookie', 'append']] })
    await sleep(20)
    expect(store.asked).toBe(before)
  })

  it('can be called again, and resolves with the first call', async () => {
    const { store, sessions } = start()
    const session = await sessions.open(undefined)
    session.data.visits = 1
    store.freeze()
    const commit = sessions.commit(session)
    const closings = [sessions.close(), sessions.close()]
    expect(await isSettled(closings[1]!)).toBe(false)
    store.thaw()
    await Promise.all([commit, ...closings])
  })

  it('leaves another manager on the same store in peace', async () => {
    const store = memoryStore()
    const one = createSessions<Data>({ secret: SECRET, store, name: 'one' })
    const other = createSessions<Data>({ secret: SECRET, store, name: 'other' })
    const cookie = await signIn(other, 'ann', { visits: 1 })
    await one.close()
    expect((await other.open(cookie)).data.visits).toBe(1)
    await other.close()
  })
})

describe.each(Object.entries(servers))(
  'requests at work when the sessions are closed, on %s',
  (_name, serve) => {
    it('are answered with an error if they changed something, and else as ever', async () => {
      const log = console.error
      console.error = () => {}
      cleanUp.push(() => (console.error = log))
      const { sessions } = start()
      const server = await serve(sessions)
      cleanUp.push(() => server.close())
      const visitor = client(server.url)
      await visitor.get('/visits')

      const writing = visitor.copy().get('/held-set?key=a&value=b')
      await held.all(1)
      const reading = visitor.copy().get('/held-data')
      await held.all(1)
      await sessions.close()
      held.release()
      const [written, read, late] = [await writing, await reading, await visitor.copy().get('/visits')]
      expect([written.status, written.headers.getSetCookie()]).toEqual([503, []])
      expect([read.status, read.text]).toEqual([200, '{"visits":1}'])
      expect([late.status, late.headers.getSetCookie()]).toEqual([503, []])
    })
  },
)

/** What a process says that has used a store and closed it. */
interface Report {
  readonly before: string[]
  readonly after: string[]
  /** Milliseconds of `close()`. */
  readonly took: number
}

const script = fileURLToPath(new URL('./helpers/use-and-close.ts', import.meta.url))

/** What is to be absent so that a URL gets the other driver. */
const firstDrivers: Partial<Record<string, string>> = {
  redis: 'ioredis',
  'redis cluster': 'ioredis',
  'redis sentinels': 'ioredis',
  postgres: 'pg',
  mariadb: 'mysql2',
}

/** Each store, and again with the other driver. */
function withEachDriver(names: readonly string[]) {
  return names.flatMap((name) => {
    const first = firstDrivers[name]
    const runs = [{ title: name, name, absent: [] as string[] }]
    return first ? [...runs, { title: `${name} without ${first}`, name, absent: [first] }] : runs
  })
}

/** Runs it until it ends by itself. `lasted`: for how long it went on after it had closed everything. */
async function useAndClose(url: string, absent: readonly string[], freeze?: () => void) {
  const child = fork(script, [url, ...(freeze ? ['freeze'] : [])], { execArgv: withoutPackages(absent) })
  cleanUp.push(() => child.kill('SIGKILL'))
  const messages: unknown[] = []
  child.on('message', (message) => {
    messages.push(message)
    if (message !== 'ready') return
    freeze!()
    child.send('go')
  })
  const exit = once(child, 'exit')
  await once(child, 'disconnect')
  const began = performance.now()
  expect(await exit).toEqual([0, null])
  return { messages, report: messages.at(-1) as Report, lasted: performance.now() - began }
}

describe('a process that has closed its sessions has no timer, socket or listener left, and ends', () => {
  const stores: typeof sharedStores = {
    ...sharedStores,
    memory: async () => ({ url: 'memory:', stop: async () => {} }),
    cookie: async () => ({ url: 'cookie:', stop: async () => {} }),
    'files on the way to SQLite': async () => {
      const parts = { from: `file:${join(folder, 'from')}`, to: `sqlite:${join(folder, 'to.db')}` }
      return { url: `migrating:?${new URLSearchParams(parts)}`, stop: async () => {} }
    },
  }
  it.each(withEachDriver(Object.keys(stores)))(
    '$title',
    async ({ name, absent }) => {
      const store = await stores[name]!()
      cleanUp.push(() => store.stop())
      const { report } = await useAndClose(store.url, absent)
      expect(report.after).toEqual(report.before)
    },
    60_000,
  )
})

describe('one whose server gives no answer ends a moment later', () => {
  it.each(withEachDriver(Object.keys(serverStores)))(
    '$title',
    async ({ name, absent }) => {
      const store = await serverStores[name as keyof typeof serverStores]()
      cleanUp.push(() => store.stop())
      const wire = await silenceable(Number(new URL(store.url).port))
      cleanUp.push(() => wire.close())
      const url = new URL(store.url)
      url.port = String(wire.port)
      const { messages, report, lasted } = await useAndClose(url.href, absent, () => wire.silence())
      expect(messages[1]).toEqual(Array(20).fill('HOLDFAST_STORE_UNAVAILABLE'))
      expect(report.took).toBeLessThan(8_000) // the deadline of a sweep, and a second
      expect(lasted).toBeLessThan(7_000) // five seconds are what drivers give a connection that they had just begun
    },
    60_000,
  )
})

/** A connection to a server on this machine that can go silent: it stays open, and nothing passes any more. */
async function silenceable(serverPort: number) {
  const sockets = new Set<Socket>()
  let isSilent = false
  const server = createServer((downstream) => {
    sockets.add(downstream.on('error', () => {}))
    if (isSilent) return
    const upstream = connect(serverPort, '127.0.0.1')
    sockets.add(upstream.on('error', () => downstream.destroy()))
    downstream.pipe(upstream).pipe(downstream)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    silence() {
      isSilent = true
      for (const socket of sockets) socket.unpipe().pause()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('a client that the application brought', () => {
  it('has no listener of ours while it is in use, nor afterwards, and stays open', async () => {
    const [redis, postgres, mariadb] = await Promise.all([
      serverStores.redis(),
      serverStores.postgres(),
      serverStores.mariadb(),
    ])
    cleanUp.push(redis.stop, postgres.stop, mariadb.stop)
    const ioredis = new IoRedis(redis.url)
    const nodeRedis = await createClient({ url: redis.url }).connect()
    const pgPool = new pg.Pool({ connectionString: postgres.url })
    const mysqlPool = mysql.createPool(mariadb.url)
    cleanUp.push(
      () => ioredis.disconnect(),
      () => nodeRedis.destroy(),
      () => pgPool.end(),
      () => mysqlPool.end(),
    )
    const clients = [
      { emitter: ioredis, store: redisStore(ioredis), ask: () => ioredis.ping() },
      { emitter: nodeRedis, store: redisStore(nodeRedis, { prefix: 'other' }), ask: () => nodeRedis.ping() },
      { emitter: pgPool, store: postgresStore(pgPool), ask: () => pgPool.query('SELECT 1') },
      { emitter: mysqlPool, store: mysqlStore(mysqlPool), ask: () => mysqlPool.query('SELECT 1') },
    ]
    for (const { emitter, store, ask } of clients) {
      await ask()
      const listeners = () =>
        Object.fromEntries(
          emitter.eventNames().map((name) => [name, (emitter as EventEmitter).listenerCount(name)]),
        )
      const before = listeners()
      const sessions = createSessions<Data>({ secret: SECRET, store })
      const cookie = await signIn(sessions, 'ann', { visits: 1 })
      await edit(sessions, cookie, ({ data }) => void data.visits!++)
      expect(listeners(), store.name).toEqual(before)
      await sessions.close()
      expect(listeners(), store.name).toEqual(before)
      await ask()
    }
  }, 60_000)
})
