import { channel, tracingChannel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import type { CommitMessage, OpenMessage, SessionOptions, Store, StoreMessage } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { traceStore } from '../src/channels.ts'
import { browser, manager } from './helpers/browser.ts'
import { counting } from './helpers/counting-store.ts'
import { faulty } from './helpers/faults.ts'

interface Data {
  visits?: number
  secret?: string
}

const TRACINGS = ['open', 'commit', 'store'] as const
const PARTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const

const setUp = (options: SessionOptions<Data> = {}) => manager<Data>({ merge: { visits: 'sum' }, ...options })
const visit = (jar: ReturnType<typeof browser<Data>>) =>
  jar.visit((session) => void (session.data.visits = (session.data.visits ?? 0) + 1))

/** Each message as `open.start`, and what it said at that moment. */
let told: [string, Record<string, unknown>][] = []
let stop = () => {}

function listen() {
  const hear = (message: unknown, name: string | symbol) => {
    const short = String(name)
      .replace(/^(tracing:)?holdfast:/, '')
      .replace(':', '.')
    told.push([short, { ...(message as object) }])
  }
  const channels = [
    channel('holdfast:event'),
    ...TRACINGS.flatMap((name) => PARTS.map((part) => tracingChannel(`holdfast:${name}`)[part])),
  ]
  for (const one of channels) one.subscribe(hear)
  stop = () => {
    for (const one of channels) one.unsubscribe(hear)
  }
}

/** The turns of the promise in between say nothing that these do not. */
const order = () => told.map(([name]) => name).filter((name) => !/\.(end|asyncStart)$/.test(name))
const saying = (name: string) => told.filter(([one]) => one === name).map(([, message]) => message)

beforeEach(() => {
  told = []
  listen()
})
afterEach(() => {
  stop()
  vi.restoreAllMocks()
})

describe('what is told', () => {
  it('tells a first visit in the order in which it happens', async () => {
    const { sessions } = setUp()
    const handle = await browser(sessions).visit((session) => {
      session.data.visits = 1
      return session.handle
    })
    expect(order()).toEqual([
      'open.start',
      'open.asyncEnd',
      'commit.start',
      'store.start',
      'store.asyncEnd',
      'event',
      'commit.asyncEnd',
    ])
    expect(saying('open.asyncEnd')).toMatchObject([{ sessions: 'id', outcome: 'none' }])
    expect(saying('store.start')).toEqual([
      { sessions: 'id', store: 'memory', operation: 'create', handle, began: expect.any(Number) },
    ])
    expect(saying('commit.asyncEnd')).toMatchObject([
      { sessions: 'id', handle, kind: 'create', attempts: 1, conflicts: 0, bytes: '{"visits":1}'.length },
    ])
    expect(saying('event')).toEqual([
      { sessions: 'id', name: 'created', event: { handle, userId: undefined } },
    ])
  })

  it('tells a second visit with the load inside the opening, and the update inside the commit', async () => {
    const { sessions } = setUp()
    const jar = browser(sessions)
    await visit(jar)
    told = []
    await visit(jar)
    expect(order()).toEqual([
      'open.start',
      'store.start',
      'store.asyncEnd',
      'open.asyncEnd',
      'commit.start',
      'store.start',
      'store.asyncEnd',
      'commit.asyncEnd',
    ])
    expect(saying('store.start').map(({ operation }) => operation)).toEqual(['load', 'update'])
    expect(saying('commit.asyncEnd')).toMatchObject([{ kind: 'update', attempts: 1, conflicts: 0 }])
  })

  it('says nothing of a commit where nothing was changed', async () => {
    const { sessions } = setUp()
    const jar = browser(sessions)
    await visit(jar)
    told = []
    await jar.visit((session) => session.data.visits)
    expect(order()).toEqual(['open.start', 'store.start', 'store.asyncEnd', 'open.asyncEnd'])
  })

  it('says where a request went, without its query', async () => {
    const { sessions } = setUp()
    await sessions.open(new Request('https://shop.example/cart?token=secret', { method: 'POST' }))
    expect(saying('open.start')).toMatchObject([{ route: 'POST /cart' }])
  })

  it('opens a request whose URL is no whole one as it would unwatched', async () => {
    const { sessions } = setUp()
    const request = { url: '/cart?item=tea', method: 'GET', headers: new Headers() }
    await sessions.open(request as unknown as Request)
    expect(saying('open.start')).toMatchObject([{ route: 'GET /cart' }])
    expect(saying('open.asyncEnd')).toMatchObject([{ outcome: 'none' }])
  })

  it('says what became of each cookie', async () => {
    const { sessions, clock } = setUp()
    const [ann, bob] = [browser(sessions), browser(sessions)]
    await visit(ann)
    await visit(bob)
    const [a, b] = [ann.header!, bob.header!]
    const outcome = async (cookie: string | undefined, options?: { lazy?: boolean }) => {
      told = []
      await sessions.open(cookie, options)
      return saying('open.asyncEnd').map((message) => message.outcome)
    }
    expect(await outcome(undefined)).toEqual(['none'])
    expect(await outcome(a)).toEqual(['live'])
    expect(await outcome(a, { lazy: true })).toEqual(['lazy'])
    expect(await outcome('__Host-id=x')).toEqual(['forged'])
    expect(await outcome(`${a}; ${b}`)).toEqual(['duplicate'])
    await ann.visit((session) => session.logout())
    expect(await outcome(a)).toEqual(['quiet'])
    clock.now += 25 * 3_600_000
    expect(await outcome(b)).toEqual(['ended'])
  })

  it('says that a record is of no use, and that an outage was passed over', async () => {
    const store = faulty(memoryStore())
    const { sessions } = setUp({ store, onStoreFailure: 'anonymous' })
    const jar = browser(sessions)
    await visit(jar)
    told = []
    store.error = new Error('down')
    await sessions.open(jar.header)
    expect(saying('open.asyncEnd')).toMatchObject([{ outcome: 'outage' }])

    let isStrict = false
    const validate = (value: unknown) =>
      isStrict && (value as Data).visits ? { issues: [{ message: 'no' }] } : { value: value as Data }
    const broken = setUp({ schema: { '~standard': { version: 1, vendor: 'test', validate } } })
    const other = browser(broken.sessions)
    await visit(other)
    isStrict = true
    told = []
    await broken.sessions.open(other.header)
    expect(saying('open.asyncEnd')).toMatchObject([{ outcome: 'invalid' }])
    expect(saying('event')).toMatchObject([{ name: 'invalid' }])
  })

  it('tells of a session that is loaded later', async () => {
    const { sessions } = setUp()
    const jar = browser(sessions)
    await visit(jar)
    const session = await sessions.open(jar.header, { lazy: true })
    told = []
    await session.load()
    expect(order()).toEqual(['open.start', 'store.start', 'store.asyncEnd', 'open.asyncEnd'])
    expect(saying('open.asyncEnd')).toMatchObject([{ outcome: 'live' }])
    told = []
    await session.load()
    expect(told).toEqual([])
  })

  it('counts the attempts of a commit, and those that came second', async () => {
    const store = memoryStore()
    const here = setUp({ store: counting(store) })
    const there = setUp({ store: counting(store) }) // another process, whose commits this one cannot know of
    const jar = browser(here.sessions)
    await visit(jar)
    const late = await here.sessions.open(jar.header)
    const cookie = jar.cookie
    await visit(browser(there.sessions, cookie))
    late.data.visits!++
    told = []
    await here.sessions.commit(late)
    expect(saying('store.start').map(({ operation }) => operation)).toEqual(['update', 'load', 'update'])
    expect(saying('commit.asyncEnd')).toMatchObject([{ kind: 'update', attempts: 2, conflicts: 1 }])
    expect((await here.sessions.open(jar.header)).data.visits).toBe(3)
  })

  it('tells with what an operation and its commit failed', async () => {
    const store = faulty(memoryStore())
    const { sessions } = setUp({ store })
    const jar = browser(sessions)
    await visit(jar)
    const session = await sessions.open(jar.header)
    session.data.visits!++
    told = []
    store.error = new Error('the disk is full')
    await expect(sessions.commit(session)).rejects.toThrow('update failed')
    expect(order()).toEqual([
      'commit.start',
      'store.start',
      'store.error',
      'store.asyncEnd',
      'commit.error',
      'commit.asyncEnd',
    ])
    expect(saying('store.error')).toMatchObject([{ operation: 'update', error: store.error }])
    expect(saying('commit.error')).toMatchObject([{ attempts: 1, error: { name: 'StoreUnavailableError' } }])
    await expect(sessions.open(jar.header)).rejects.toThrow('load failed')
    expect(saying('open.error')).toEqual([
      { sessions: 'id', route: undefined, error: expect.objectContaining({ status: 503 }) },
    ])
  })

  it('ends what a store leaves without an answer, and tells of the outage', async () => {
    const store = faulty(memoryStore())
    const { sessions } = setUp({ store, deadlines: { load: 50 }, logger: { warn() {}, error() {} } })
    const jar = browser(sessions)
    await visit(jar)
    told = []
    store.freeze()
    await expect(sessions.open(jar.header)).rejects.toThrow('load failed')
    expect(saying('store.error')).toMatchObject([{ operation: 'load', error: { name: 'NoAnswerError' } }])
    await expect(sessions.open(jar.header)).rejects.toThrow('load failed')
    expect(saying('store.error').at(-1)).toMatchObject({ error: { name: 'NotAskedError' } })
    store.thaw()
    await vi.waitFor(() => expect(saying('event').map(({ name }) => name)).toEqual(['outage', 'recovered']))
    expect(saying('event')[0]).toMatchObject({ sessions: 'id', event: { store: 'memory' } })
  })

  it('ends what a store throws at once, and takes what it answers without a promise', async () => {
    const thrown = new Error('at once')
    const load = vi.fn<Store['load']>()
    const store = traceStore(Object.assign(memoryStore(), { load }), 'id')
    load.mockImplementationOnce(() => {
      throw thrown
    })
    await expect(store.load('id:x')).rejects.toBe(thrown)
    expect(order()).toEqual(['store.start', 'store.error', 'store.asyncEnd'])
    load.mockReturnValueOnce(undefined as never)
    expect(await store.load('id:x')).toBeUndefined()
  })

  it('names no session where many are listed or ended', async () => {
    const { sessions } = setUp()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    told = []
    await sessions.list('ann')
    await sessions.stats()
    await sessions.revoke({ userId: 'ann' })
    await sessions.sweep()
    const operations = saying('store.start')
    expect(operations.map(({ operation }) => operation)).toEqual(['listAll', 'scan', 'destroyAll', 'sweep'])
    expect(operations.filter(({ handle }) => handle !== undefined)).toEqual([])
  })

  it('tells managers apart', async () => {
    const store = memoryStore()
    const [shop, admin] = [setUp({ store }), setUp({ store, name: 'admin' })]
    await browser(shop.sessions).visit((session) => session.login('ann'))
    await browser(admin.sessions, undefined, '__Host-admin').visit((session) => session.login('root'))
    const logins = saying('event').filter(({ name }) => name === 'login')
    expect(logins.map(({ sessions }) => sessions)).toEqual(['id', 'admin'])
    const [first, second] = saying('store.start').map(({ handle }) => handle)
    expect([first, second]).toEqual(logins.map(({ event }) => (event as { handle: string }).handle))
  })
})

describe('what is not told', () => {
  it('shows no value of the data, no token and no id, also when the store fails', async () => {
    const store = faulty(memoryStore())
    const { sessions } = setUp({ store })
    const jar = browser(sessions)
    const tokens = new Set<string>()
    const seen: string[] = []
    const see = (message: unknown) => void seen.push(inspect(message, { depth: 9, showHidden: true }))
    const channels = TRACINGS.flatMap((name) => PARTS.map((part) => tracingChannel(`holdfast:${name}`)[part]))
    for (const one of [...channels, channel('holdfast:event')]) one.subscribe(see)
    try {
      await jar.visit((session) => void (session.data.secret = 'the colour of his hat'))
      tokens.add(jar.cookie!)
      await jar.visit((session) => session.login('ann'))
      tokens.add(jar.cookie!)
      await jar.visit((session) => void (session.data.secret += ' is green'))
      store.error = new Error('down')
      await expect(sessions.open(jar.header)).rejects.toThrow()
      store.error = undefined
      await jar.visit((session) => session.logout())
    } finally {
      for (const one of [...channels, channel('holdfast:event')]) one.unsubscribe(see)
    }
    expect(seen.length).toBeGreaterThan(50)
    expect(tokens.size).toBe(2)
    const everything = seen.join('\n')
    expect(everything).toContain('ann')
    const secrets = [...tokens].flatMap((token) => [token, token.slice(5, 37), token.slice(-16)])
    expect(['his hat', 'green', ...secrets].filter((secret) => everything.includes(secret))).toEqual([])
  })
})

describe('while nobody listens', () => {
  it('publishes nothing and runs through no tracing channel', async () => {
    stop()
    const publish = vi.spyOn(channel('holdfast:event'), 'publish')
    const traced = vi.spyOn(tracingChannel('holdfast:open').start, 'runStores')
    const { sessions } = setUp()
    const jar = browser(sessions)
    await visit(jar)
    await visit(jar)
    await jar.visit((session) => session.login('ann'))
    expect(publish).not.toHaveBeenCalled()
    expect(traced).not.toHaveBeenCalled()
    expect(told).toEqual([])
    listen()
    await visit(jar)
    expect(traced).toHaveBeenCalledTimes(1) // what was watched is what is used
    expect(told.length).toBeGreaterThan(2)
  })

  it("gives the store's own promise, without a turn of the loop more", async () => {
    stop()
    const answer = Promise.resolve(undefined)
    const store: Store = Object.assign(memoryStore(), { load: () => answer })
    expect(traceStore(store, 'id').load('id:x')).toBe(answer)
    listen()
    const traced = traceStore(store, 'id').load('id:x')
    expect(traced).not.toBe(answer)
    expect(await traced).toBeUndefined()
  })

  it('listens as soon as one part has a listener', async () => {
    stop()
    const { sessions } = setUp()
    for (const name of TRACINGS) {
      for (const part of PARTS.slice(0, 4)) {
        const heard: unknown[] = []
        const one = tracingChannel(`holdfast:${name}`)[part]
        const hear = (message: unknown) => void heard.push(message)
        one.subscribe(hear)
        await visit(browser(sessions))
        one.unsubscribe(hear)
        await visit(browser(sessions))
        expect([name, part, heard.length]).toEqual([name, part, 1])
      }
    }
  })
})

it('types what is told', () => {
  const open = { sessions: 'id', outcome: 'live' } satisfies OpenMessage
  const commit = {
    sessions: 'id',
    kind: 'create',
    attempts: 1,
    conflicts: 0,
  } satisfies CommitMessage
  const operation = { sessions: 'id', store: 'redis', operation: 'load', began: 1 } satisfies StoreMessage
  expect([open.outcome, commit.kind, operation.operation]).toEqual(['live', 'create', 'load'])
})
