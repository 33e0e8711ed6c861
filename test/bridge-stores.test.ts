import type { EventEmitter } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { createSessions, SessionEndedError } from 'holdfast'
import {
  type ExpressSessionStore,
  expressStore,
  type KeyvInstance,
  keyvStore,
  StoreError,
  type UnstorageStorage,
  unstorageStore,
} from 'holdfast/stores/bridges'
import Keyv from 'keyv'
import { createStorage, prefixStorage, type Storage } from 'unstorage'
import fsDriver from 'unstorage/drivers/fs'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { isTombstone, NEVER, type Store, type StoredRecord } from '../src/store.ts'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import { increment, record } from '../src/testing/store-suite/samples.ts'
import type { OptionalCapability } from '../src/testing/store-suite/suite.ts'
import { browser, SECRET } from './helpers/browser.ts'

interface ExpressSession {
  Store: new () => EventEmitter
  MemoryStore: new () => ExpressSessionStore & { sessions: Record<string, string> }
}

const require = createRequire(import.meta.url)
const expressSession = require('express-session') as ExpressSession
const SessionFileStore = require('session-file-store')(expressSession) as new (
  options: object,
) => ExpressSessionStore

const root = mkdtempSync(join(tmpdir(), 'holdfast-bridges-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const newFolder = () => mkdtempSync(join(root, 'store-'))

const quietKeyv = (store: unknown = new Map()) => new Keyv({ store, throwOnErrors: true })
const sessionFiles = (path = newFolder()) =>
  new SessionFileStore({ path, retries: 0, reapInterval: -1, logFn() {} })

/** How each library is opened, and how somebody else puts a value under a name in it. */
interface Bridged {
  readonly store: Store
  /** The very same library under another store. */
  again(): Store
  put(name: string, value: object): Promise<unknown>
}

const INDEXES: OptionalCapability[] = ['compareAndSet', 'users', 'externalIds']
const bridges: Record<string, { lacks: OptionalCapability[]; open(): Bridged }> = {
  'unstorage, in memory': { lacks: INDEXES, open: () => bridgedStorage(createStorage()) },
  'unstorage, in a folder': {
    lacks: INDEXES,
    open: () => bridgedStorage(createStorage({ driver: fsDriver({ base: newFolder() }) })),
  },
  'keyv, in memory': {
    lacks: INDEXES,
    open: () => bridgedKeyv(quietKeyv()),
  },
  'keyv on an adapter that cannot list': {
    lacks: [...INDEXES, 'scan', 'sweep'],
    open() {
      const kept = new Map<string, string>()
      const adapter = {
        get: async (key: string) => kept.get(key),
        set: async (key: string, value: string) => void kept.set(key, value),
        delete: async (key: string) => kept.delete(key),
        clear: async () => kept.clear(),
      }
      return bridgedKeyv(quietKeyv(adapter))
    },
  },
  'express-session, MemoryStore': {
    lacks: [...INDEXES, 'sweep'],
    open: () => bridgedExpress(new expressSession.MemoryStore()),
  },
  'express-session, session-file-store': {
    lacks: [...INDEXES, 'scan', 'sweep'],
    open: () => bridgedExpress(sessionFiles()),
  },
}

function bridgedStorage(storage: Storage): Bridged {
  const again = () => unstorageStore(storage)
  return { store: again(), again, put: (name, value) => storage.setItem(name, value) }
}

function bridgedKeyv(keyv: Keyv): Bridged {
  const again = () => keyvStore(keyv)
  return { store: again(), again, put: (name, value) => keyv.set(name, value) }
}

function bridgedExpress(library: ExpressSessionStore): Bridged {
  const again = () => expressStore(library)
  const cookie = { originalMaxAge: 60_000, expires: new Date(Date.now() + 60_000) }
  return {
    store: again(),
    again,
    put: (name, value) =>
      new Promise((resolve) => library.set(name, { cookie, ...value }, () => resolve(undefined))),
  }
}

for (const [name, { lacks, open }] of Object.entries(bridges)) {
  storeSuite({ describe, it }, { name, lacks, open: async () => ({ store: open().store }) })
}

describe.each(Object.entries(bridges))('within one process, %s', (_name, { open }) => {
  it('loses nothing of eight loops that count, through two stores on the same library', async () => {
    const { store, again } = open()
    await store.create('id:a', record({ text: '0' }))
    const loop = async (each: Store) => {
      for (let i = 0; i < 25; i++) await increment(each, 'id:a')
    }
    await Promise.all(Array.from({ length: 8 }, (_, i) => loop(i % 2 ? store : again())))
    expect(await store.load('id:a')).toMatchObject({ text: '200' })
  })

  it('creates a key once, however many try', async () => {
    const { store } = open()
    const records = Array.from({ length: 50 }, (_, i) => record({ text: `${i}` }))
    const created = await Promise.all(records.map((made) => store.create('id:a', made)))
    expect(created.filter(Boolean)).toHaveLength(1)
    expect(await store.load('id:a')).toEqual({
      user: undefined,
      externalId: undefined,
      ...records[created.indexOf(true)],
    })
  })

  it('lets one of 50 updates of the same revision through', async () => {
    const { store } = open()
    const first = record()
    await store.create('id:a', first)
    const results = await Promise.all(
      Array.from({ length: 50 }, () => store.update('id:a', record(), first.rev)),
    )
    expect(results.filter((result) => result === 'ok')).toHaveLength(1)
    expect(results.filter((result) => result === 'conflict')).toHaveLength(49)
  })

  it('never sees a record that is half written', async () => {
    const { store } = open()
    const first = record({ text: 'x'.repeat(200_000) })
    await store.create('id:a', first)
    let isOver = false
    const reader = async () => {
      while (!isOver) expect((await store.load('id:a')) as StoredRecord).toHaveProperty('text')
    }
    const readers = [reader(), reader(), reader()]
    let { rev } = first
    for (let i = 0; i < 30; i++) {
      const next = record({ text: `${i}`.repeat(100_000) })
      expect(await store.update('id:a', next, rev)).toBe('ok')
      rev = next.rev
    }
    isOver = true
    await Promise.all(readers)
  })

  it('revives nothing that is destroyed amid updates and touches', async () => {
    const { store } = open()
    for (let round = 0; round < 20; round++) {
      const [key, first] = [`id:${round}`, record()]
      await store.create(key, first)
      const write = () => [
        store.update(key, record(), first.rev),
        store.touch(key, Date.now() + 1000, first.expires + 1000),
        store.create(key, record()),
      ]
      const early = write()
      const destroyed = [store.destroy(key, first.expires), store.destroy(key, first.expires)]
      await Promise.all([...early, ...write()])
      expect((await Promise.all(destroyed)).filter(Boolean)).toHaveLength(1)
      expect(isTombstone(await store.load(key))).toBe(true)
    }
  })

  it('keeps the sessions of a site: 200 parallel visits are counted, and a late one revives nobody', async () => {
    const sessions = createSessions<{ visits: number }>({
      secret: SECRET,
      store: open().store,
      merge: { visits: 'sum' },
      sweepEvery: false,
    })
    const jar = browser(sessions)
    await jar.visit(async (session) => {
      session.data.visits = 0
      await session.login('ann')
    })
    const visits = Array.from({ length: 200 }, () =>
      jar.visit(async (session) => {
        const { visits } = session.data
        await sleep(1)
        session.data.visits = visits! + 1
      }),
    )
    await Promise.all(visits)
    const [slow, header] = [await sessions.open(jar.header), jar.header]
    expect(slow.data.visits).toBe(200)
    await jar.visit((session) => session.logout())
    slow.data.visits = 1
    await expect(slow.commit()).rejects.toThrow(SessionEndedError)
    expect((await sessions.open(header)).presented).toBe('ended')
    await sessions.close()
  })
})

describe.each(Object.entries(bridges))('what others have written, in %s', (_name, { open }) => {
  const foreign: Record<string, (of: { kept: object }) => object> = {
    'something else': () => ({ cart: ['tea'] }),
    'the record of another key': ({ kept }) => ({ ...kept, key: 'id:b' }),
    'a record without its revision': ({ kept }) => ({ ...kept, rev: undefined }),
    'a record with a number for a user': ({ kept }) => ({ ...kept, user: 7 }),
    'a record of a later format': ({ kept }) => ({ ...kept, holdfast: 2 }),
  }
  it.each(Object.entries(foreign))('%s is an error until it is destroyed', async (_what, spoil) => {
    const { store, put } = open()
    const made = record({ user: 'bob', text: 'secret' })
    await put('id.3a.a', spoil({ kept: { holdfast: 1, key: 'id:a', ...made } }))
    for (const operation of ['load', 'create', 'update', 'touch'] as const) {
      const failed = perform(store, operation, 'id:a', made.rev)
      await expect(failed).rejects.toThrow(StoreError)
      await expect(failed).rejects.toMatchObject({ store: store.name, operation, retryable: false })
      await expect(failed).rejects.toThrow(/"id\.3a\.a" is damaged or of another make\. End that session or/)
    }
    expect(await store.destroy('id:a', made.expires)).toBe(true)
    expect(await store.load('id:a')).toEqual({ destroyedUntil: made.expires })
  })

  it('beside the sessions is neither listed nor swept', async () => {
    const { store, put } = open()
    const [live, ended] = [record(), record({ expires: Date.now() + 1000 })]
    await store.create('id:live', live)
    await store.create('id:ended', ended)
    await put('config', { colour: 'red' })
    await put('copy', { holdfast: 1, key: 'id:other', ...ended })
    if (store.scan) {
      const { items } = await store.scan(undefined, 100)
      expect(items.map(([key]) => key).sort()).toEqual(['id:ended', 'id:live'])
    }
    if (store.sweep) {
      expect(await store.sweep(ended.expires, 100)).toBe(1)
      expect((await store.scan!(undefined, 100)).items.map(([key]) => key)).toEqual(['id:live'])
    }
    expect(await store.load('id:live')).toMatchObject({ rev: live.rev })
  })
})

const OPERATIONS = ['load', 'create', 'update', 'touch', 'destroy', 'scan', 'sweep'] as const

function perform(store: Store, operation: (typeof OPERATIONS)[number], key: string, rev = '1') {
  const operations = {
    load: () => store.load(key),
    create: () => store.create(key, record()),
    update: () => store.update(key, record(), rev),
    touch: () => store.touch(key, NEVER, NEVER),
    destroy: () => store.destroy(key, NEVER),
    scan: () => store.scan!(undefined, 10),
    sweep: () => store.sweep!(NEVER, 10),
  }
  return operations[operation]()
}

describe('a library that fails', () => {
  const down = async (): Promise<never> => {
    throw new Error('ECONNREFUSED 10.0.0.7')
  }
  const upset = (_: unknown, callback: (error: unknown) => void) => callback(new Error('ECONNREFUSED'))
  const broken: Record<string, [Store, (typeof OPERATIONS)[number][]]> = {
    unstorage: [
      unstorageStore({ getItem: down, setItem: down, removeItem: down, getKeys: down }),
      [...OPERATIONS],
    ],
    keyv: [
      keyvStore(quietKeyv({ get: down, set: down, delete: down, clear: down })),
      ['load', 'create', 'update', 'touch', 'destroy'],
    ],
    'express-session': [
      expressStore({ get: upset, set: upset, all: (callback) => callback(new Error('ECONNREFUSED')) }),
      ['load', 'create', 'update', 'touch', 'destroy', 'scan'],
    ],
  }
  for (const [name, [store, operations]] of Object.entries(broken)) {
    it.each(operations)(`is an error of ${name} in %s`, async (operation) => {
      const failed = perform(store, operation, 'id:a')
      await expect(failed).rejects.toThrow(StoreError)
      await expect(failed).rejects.toMatchObject({ store: name, operation, retryable: true })
      await expect(failed).rejects.toMatchObject({
        cause: { message: expect.stringMatching(/^ECONNREFUSED/) },
      })
      await expect(failed).rejects.toThrow(new RegExp(`ECONNREFUSED.*That is what ${name} says`))
    })
  }

  it('holds up nobody after it: the next in the queue gets its turn', async () => {
    const storage = createStorage()
    const store = unstorageStore(storage)
    await store.create('id:a', record({ rev: '1' }))
    const set = vi.spyOn(storage, 'setItem').mockRejectedValueOnce(new Error('the disk is full'))
    const [failed, done] = await Promise.allSettled([
      store.update('id:a', record({ rev: '2' }), '1'),
      store.update('id:a', record({ rev: '3' }), '1'),
    ])
    expect(set).toHaveBeenCalledTimes(2)
    expect(failed).toMatchObject({ status: 'rejected', reason: { operation: 'update' } })
    expect(done).toEqual({ status: 'fulfilled', value: 'ok' })
  })

  it('is an error when unstorage hands it out as a value', async () => {
    const base = newFolder()
    writeFileSync(join(base, 'id.3a.a'), '')
    const store = unstorageStore(createStorage({ driver: fsDriver({ base: join(base, 'id.3a.a') }) }))
    await expect(store.load('id:a')).rejects.toMatchObject({ cause: { code: 'ENOTDIR' } })
  })

  it('is an error when Keyv answers false, and when an express store throws or rejects', async () => {
    const refusing = quietKeyv(new Map())
    vi.spyOn(refusing, 'set').mockResolvedValue(false)
    await expect(keyvStore(refusing).create('id:a', record())).rejects.toThrow(/the adapter refused/)
    const thrown = () => {
      throw new Error('not connected')
    }
    for (const get of [thrown, async () => thrown()]) {
      await expect(expressStore({ get, set: upset }).load('id:a')).rejects.toThrow(/not connected/)
    }
    const get = (_: string, callback: (error: unknown) => void) => callback('no reason in particular')
    await expect(expressStore({ get, set: upset }).load('id:a')).rejects.toThrow(/no reason in particular/)
  })
})

describe('a Keyv that hides errors is refused', () => {
  const hiding: Record<string, () => unknown> = {
    'by default': () => new Keyv(),
    'in its adapter': () =>
      quietKeyv(Object.assign(new Map(), { throwOnErrors: false, clear() {}, opts: {} })),
    'as Keyv 6 does': () => ({ get() {}, set() {}, delete() {} }),
  }
  it.each(Object.entries(hiding))('%s', (_how, make) => {
    expect(() => keyvStore(make() as KeyvInstance)).toThrow(/hides errors.*\{ throwOnErrors: true \}/)
  })
})

it.each([undefined, null, 7, {}, new Map()])('%s is no library', (given) => {
  expect(() => unstorageStore(given as unknown as UnstorageStorage)).toThrow(
    /^unstorageStore: this is not a storage of unstorage: it has no method getItem, /,
  )
  expect(() => keyvStore(given as unknown as KeyvInstance)).toThrow(TypeError)
  if (!(given instanceof Map)) {
    expect(() => expressStore(given as ExpressSessionStore)).toThrow(/it has no method get, set/)
  }
})

describe('the library is told when a record may go', () => {
  const soon = Date.now() + 3_600_000
  it.each([
    ['a minute after its end', soon, () => soon],
    ['a minute from now, if its end is past', 5, () => Date.now()],
    ['by the year 2100, if it has no end', NEVER, () => Date.UTC(2100, 0)],
  ])('%s', async (_when, expires, endNow) => {
    const end = endNow()
    const within = (ms: number) => expect(Math.abs(ms - end - 60_000)).toBeLessThan(10_000)
    const storage = createStorage()
    const setItem = vi.spyOn(storage, 'setItem')
    await unstorageStore(storage).create('id:a', record({ expires }))
    within(Date.now() + setItem.mock.calls[0]![2]!.ttl * 1000)

    const keyv = new Keyv({ throwOnErrors: true, ttl: 5 })
    await keyvStore(keyv).create('id:a', record({ expires }))
    within((await keyv.getRaw('id.3a.a'))!.expires!)

    const memory = new expressSession.MemoryStore()
    await expressStore(memory).create('id:a', record({ expires }))
    const { cookie } = JSON.parse(memory.sessions['id.3a.a']!)
    within(Date.parse(cookie.expires))
    within(Date.now() + cookie.originalMaxAge)
  })

  it('of a tombstone too', async () => {
    const memory = new expressSession.MemoryStore()
    const store = expressStore(memory)
    await store.create('id:a', record({ expires: soon }))
    await store.destroy('id:a', soon + 7_200_000)
    const { cookie } = JSON.parse(memory.sessions['id.3a.a']!)
    expect(Date.parse(cookie.expires)).toBe(soon + 7_200_000 + 60_000)
  })
})

describe('an express store', () => {
  it('is given a session that stores can serialise field by field, cookie included', async () => {
    let given: Record<string, unknown> = {}
    const get = (_: string, callback: (error: unknown) => void) => callback(null)
    const set = (_: string, session: object, callback: () => void) => {
      given = session as typeof given
      callback()
    }
    const made = record({ user: 'ada' })
    await expressStore({ get, set }).create('id:a', made)
    const { cookie, ...rest } = given as { cookie: { maxAge: number; toJSON(): object } }
    expect(rest).toEqual({ holdfast: 1, key: 'id:a', ...made })
    expect(cookie.maxAge).toBeGreaterThan(3_600_000)
    expect(cookie.toJSON()).toEqual({
      originalMaxAge: expect.any(Number),
      expires: new Date(made.expires + 60_000),
      httpOnly: true,
      path: '/',
    })
  })

  it('may list its sessions in an array, and keep what is absent as null', async () => {
    const kept = new Map<string, object>()
    const store = expressStore({
      get: (sid, callback) => callback(null, kept.get(sid) ?? null),
      set(sid, session, callback) {
        kept.set(sid, { ...session, user: null, externalId: null })
        callback()
      },
      all: (callback) => callback(null, [...kept.values()]),
    })
    const made = record()
    await store.create('id:a', made)
    expect(await store.scan!(undefined, 10)).toEqual({
      items: [['id:a', { user: undefined, externalId: undefined, ...made }]],
    })
  })

  it('makes files with names that any file system takes', async () => {
    const folder = newFolder()
    await expressStore(sessionFiles(folder)).create('id:../a/b c', record())
    expect(readdirSync(folder)).toEqual(['id.3a..2e..2e..2f.a.2f.b.20.c.json'])
  })
})

describe('what listing costs', () => {
  const withRecords = async (count: number, expires: number) => {
    const storage = createStorage()
    const store = unstorageStore(storage)
    for (let i = 0; i < count; i++) await store.create(`id:${i}`, record({ expires }))
    return { store, keys: vi.spyOn(storage, 'getKeys'), reads: vi.spyOn(storage, 'getItem') }
  }

  it('is one listing and one read of each record for a scan, however many pages', async () => {
    const { store, keys, reads } = await withRecords(100, NEVER)
    let cursor: string | undefined
    do cursor = (await store.scan!(cursor, 7)).cursor
    while (cursor !== undefined)
    expect([keys.mock.calls.length, reads.mock.calls.length]).toEqual([1, 100])
  })

  it('is a new listing when a scan goes on after another began', async () => {
    const { store, keys } = await withRecords(20, NEVER)
    const { cursor } = await store.scan!(undefined, 5)
    await store.scan!(undefined, 3)
    expect((await store.scan!(cursor, 100)).items).toHaveLength(15)
    expect(keys).toHaveBeenCalledTimes(3)
  })

  it('is two listings for a sweep, however many calls', async () => {
    const { store, keys } = await withRecords(100, 1)
    const removed: number[] = []
    do removed.push(await store.sweep!(2, 8))
    while (removed.at(-1) === 8)
    expect(removed.reduce((sum, count) => sum + count)).toBe(100)
    expect(keys).toHaveBeenCalledTimes(2)
  })
})

it.each([
  ['unstorage, in memory', 60], // 3000 reads
  ['keyv, in memory', 120], // as many for the listing
])('a sweep in %s lets others in between', async (name, times) => {
  const { store } = bridges[name]!.open()
  for (let i = 0; i < 3000; i++) await store.create(`id:${i}`, record())
  let [isOver, turns] = [false, 0]
  const swept = store.sweep!(1, 200).finally(() => (isOver = true))
  for (; !isOver; turns++) await setImmediate()
  expect(await swept).toBe(0)
  expect(turns).toBeGreaterThanOrEqual(times)
})

it('a storage with a prefix keeps sessions apart from the rest', async () => {
  const storage = createStorage()
  await storage.setItem('id.3a.a', 'not a session')
  const store = unstorageStore(prefixStorage(storage, 'sessions'))
  await store.create('id:a', record({ expires: 1 }))
  expect((await store.scan!(undefined, 10)).items).toHaveLength(1)
  expect(await store.sweep!(2, 10)).toBe(1)
  expect(await storage.getKeys()).toEqual(['id.3a.a'])
})
