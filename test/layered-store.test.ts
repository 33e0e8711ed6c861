import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { createSessions, type SessionOptions } from 'holdfast'
import { fileStore } from 'holdfast/stores/file'
import { layeredStore } from 'holdfast/stores/layered'
import { memoryStore } from 'holdfast/stores/memory'
import { sqliteStore } from 'holdfast/stores/sql'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { isTombstone, type Store, type StoredRecord, type StoreReport } from '../src/store.ts'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import { browser, SECRET } from './helpers/browser.ts'

const root = mkdtempSync(join(tmpdir(), 'holdfast-layered-'))
afterEach(() => {
  vi.useRealTimers()
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const runner = { describe, it }

storeSuite(runner, {
  name: 'layered, memory over SQLite',
  open: async () => ({ store: layeredStore({ cache: memoryStore(), database: sqliteStore(':memory:') }) }),
})

storeSuite(runner, {
  name: 'layered, memory over file',
  open: async () => ({ store: layeredStore({ cache: memoryStore(), database: fileStore(newPath()) }) }),
})

storeSuite(runner, {
  name: 'layered, file over SQLite, shared between processes',
  async open() {
    const config = { cache: newPath(), database: newPath() }
    const store = layeredStore({
      cache: fileStore(config.cache),
      database: sqliteStore(config.database),
      cacheTimeout: 10_000,
    })
    return { store, config }
  },
  opener: new URL('./openers/layered.ts', import.meta.url).href,
})

storeSuite(runner, {
  name: 'layered, over a cache that always fails',
  open: async () => ({
    store: layeredStore({ cache: failing(), database: memoryStore() }),
  }),
})

storeSuite(runner, {
  name: 'layered, over a cache that never answers',
  open: async () => ({
    store: layeredStore({
      cache: silent(),
      database: memoryStore(),
      cacheTimeout: 5,
    }),
  }),
})

storeSuite(runner, {
  name: 'layered, over a cache that forgets at random',
  open: async () => ({
    store: layeredStore({ cache: forgetful(() => Math.random() < 0.3), database: memoryStore() }),
  }),
})

storeSuite(runner, {
  name: 'layered, layered again',
  open: async () => ({
    store: layeredStore({
      cache: memoryStore(),
      database: layeredStore({ cache: memoryStore(), database: memoryStore() }),
    }),
  }),
})

describe('round trips', () => {
  it('a load with a warm cache is one, to the cache; an update two; a touch one to the database', async () => {
    const { store, asked } = watched()
    await store.create('k', record('1.a'))
    expect(asked()).toEqual(['database create'])
    await store.load('k')
    await settled()
    expect(asked()).toEqual(['cache load', 'cache create', 'database load', 'cache update'])
    await store.load('k')
    expect(asked()).toEqual(['cache load'])
    await store.update('k', record('2.a'), '1.a')
    expect(asked()).toEqual(['database update', 'cache update'])
    expect(await store.load('k')).toMatchObject({ rev: '2.a' })
    expect(asked()).toEqual(['cache load'])
    await store.load('k', { fresh: true })
    expect(asked()).toEqual(['database load', 'cache load'])
    await store.touch('k', Date.now(), Date.now() + 7_200_000)
    expect(asked()).toEqual(['database touch', 'cache load', 'cache update'])
    await store.destroy('k', Date.now() + 1000)
    expect(asked()).toEqual(['database destroy', 'cache destroy'])
  })

  it('a hundred that wait for one session ask the database once', async () => {
    const { store, asked } = watched()
    await store.create('k', record('1.a', { user: 'ada' }))
    asked()
    const found = await Promise.all(Array.from({ length: 100 }, () => store.load('k')))
    expect(found).toEqual(Array(100).fill(record('1.a', { user: 'ada' })))
    expect(new Set(found).size).toBe(100)
    expect(asked().filter((each) => each.startsWith('database'))).toEqual(['database load'])
  })

  it('who comes while the database is read is not answered with what was true before', async () => {
    const [cache, database] = [memoryStore(), memoryStore()]
    const gate = gated(database, 'load', 'after')
    const store = layeredStore({ cache, database: gate.store, cacheTimeout: 10_000 })
    await store.create('k', record('1.a'))
    const early = store.load('k')
    await gate.reached
    await layeredStore({ cache, database }).update('k', record('2.a'), '1.a')
    const late = store.load('k')
    gate.open()
    expect(await early).toMatchObject({ rev: '1.a' })
    expect(await late).toMatchObject({ rev: '2.a' })
  })

  it('a read that the database never answers holds up nobody who comes a second later, nor `close`', async () => {
    const database = memoryStore()
    await database.create('k', record('1'))
    let isDeaf = true
    const load = database.load.bind(database)
    database.load = (key) => (isDeaf ? new Promise(() => {}) : load(key))
    const store = layeredStore({ cache: memoryStore(), database })
    void store.load('k')
    await sleep(1_100)
    isDeaf = false
    expect(await store.load('k')).toMatchObject({ rev: '1' })
    isDeaf = true
    void store.load('elsewhere')
    await store.close!()
  })

  it('`durable` reaches the database, and the cache keeps no index', async () => {
    const database = memoryStore()
    const cache = memoryStore()
    const update = vi.spyOn(database as Store, 'update')
    const store = layeredStore({ cache, database })
    await store.create('k', record('1.a', { user: 'ada', externalId: 'sid' }))
    await store.load('k')
    await store.update('k', record('2.a', { user: 'ada', externalId: 'sid' }), '1.a', { durable: true })
    expect(update.mock.lastCall?.[3]).toEqual({ durable: true })
    expect(await cache.users.list('ada')).toEqual({ items: [] })
    expect(await cache.externalIds.list('sid')).toEqual({ items: [] })
    expect(await store.load('k')).toEqual(record('2.a', { user: 'ada', externalId: 'sid' }))
  })
})

describe('a database whose answer was lost', () => {
  /** Does what it is asked; then, if it is to lose the answer, its connection breaks, or its driver asks again. */
  function losing() {
    const memory = memoryStore()
    const losses = { next: undefined as 'fails' | 'repeats' | undefined }
    const lose = async <T>(perform: () => Promise<T>) => {
      const { next } = losses
      losses.next = undefined
      const result = await perform()
      if (next === 'fails') throw new Error('connection lost')
      return next === 'repeats' ? perform() : result
    }
    const { update, destroy } = memory
    memory.update = (...args) => lose(() => update.apply(memory, args))
    memory.destroy = (...args) => lose(() => destroy.apply(memory, args))
    const { users } = memory
    const database = Object.assign(memory, {
      users: {
        list: users.list.bind(users),
        destroy: (...args: Parameters<typeof users.destroy>) => lose(() => users.destroy(...args)),
      },
    })
    return { losses, store: layeredStore({ cache: memoryStore(), database }) }
  }

  async function signedIn(options: SessionOptions<{ visits?: number }> = {}) {
    const { losses, store } = losing()
    const sessions = createSessions<{ visits?: number }>({ secret: SECRET, store, ...options })
    const login = async (user: string) => {
      const session = await sessions.open(undefined)
      await session.login(user)
      const { cookie } = await sessions.commit(session)
      const header = `${cookie!.name}=${cookie!.value}`
      await sessions.open(header) // and so into the cache
      return header
    }
    return { losses, sessions, login }
  }

  it('shows what it has written, once that is known, and nothing from before', async () => {
    for (const loss of ['fails', 'repeats'] as const) {
      const { losses, sessions, login } = await signedIn()
      const cookie = await login('ann')
      const session = await sessions.open(cookie)
      session.data.visits = 1
      losses.next = loss
      if (loss === 'fails') await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true })
      await session.commit()
      expect((await sessions.open(cookie)).data.visits).toBe(1)
      await sessions.close()
    }
  })

  it('keeps no session of a user alive that was ended, whoever asks again', async () => {
    const { losses, sessions, login } = await signedIn()
    const cookie = await login('ann')
    losses.next = 'fails'
    await expect(sessions.revoke({ userId: 'ann' })).rejects.toMatchObject({ maybeApplied: true })
    await sessions.revoke({ userId: 'ann' })
    expect((await sessions.open(cookie)).userId).toBeUndefined()
    await sessions.close()
  })

  it('keeps no session alive that was one too many', async () => {
    const { losses, sessions, login } = await signedIn({
      maxSessionsPerUser: { limit: 1, onLimit: 'evict-oldest' },
    })
    const first = await login('ann')
    const second = await sessions.open(undefined)
    await second.login('ann')
    losses.next = 'fails'
    await expect(second.commit()).rejects.toMatchObject({ maybeApplied: true })
    await second.commit()
    expect((await sessions.open(first)).userId).toBeUndefined()
    await sessions.close()
  })
})

describe('a slow fill', () => {
  const ends: Record<string, (store: Store) => Promise<unknown>> = {
    destroy: (store) => store.destroy('k', Date.now() + 3_600_000),
    'destroy by user': (store) => store.users!.destroy('ada', Date.now() + 3_600_000),
    'destroy by external id': (store) => store.externalIds!.destroy('sid', Date.now() + 3_600_000),
  }
  for (const [name, end] of Object.entries(ends)) {
    for (const forgets of [false, true]) {
      it(`revives nothing after ${name}, in 50 of 50 tries${forgets ? ', also if the cache forgets the tombstone' : ''}`, async () => {
        let revived = 0
        for (let round = 0; round < 50; round++) {
          const { slow, other, evict } = await slowFill(round)
          const reading = slow.store.load('k')
          await slow.reached
          await end(other)
          if (forgets) evict()
          slow.open()
          await reading
          await settled()
          for (const store of [other, slow.layered]) if (!isTombstone(await store.load('k'))) revived++
        }
        expect(revived).toBe(0)
      })
    }
  }

  it('puts no older state over a newer one, in 50 of 50 tries', async () => {
    for (let round = 0; round < 50; round++) {
      const { slow, other, evict } = await slowFill(round)
      const reading = slow.store.load('k')
      await slow.reached
      await other.update('k', record('2.a', { user: 'ada', externalId: 'sid' }), '1.a')
      if (round % 2) evict()
      slow.open()
      await reading
      await settled()
      for (const store of [other, slow.layered]) expect(await store.load('k')).toMatchObject({ rev: '2.a' })
    }
  })

  it('hides no touch', async () => {
    const { slow, other } = await slowFill(0)
    const reading = slow.store.load('k')
    await slow.reached
    const later = record('1.a').expires + 5000
    await other.touch('k', 5000, later)
    slow.open()
    await reading
    await settled()
    for (const store of [other, slow.layered]) expect(await store.load('k')).toMatchObject({ expires: later })
  })

  /** A process that has read the database, or is about to, and another that shares both sides with it. */
  async function slowFill(round: number) {
    const database = memoryStore()
    const evicted = { next: false }
    const cache = forgetful(() => evicted.next)
    const gate = gated(database, 'load', round % 3 === 0 ? 'before' : 'after')
    const layered = layeredStore({ cache, database: gate.store, cacheTimeout: 10_000 })
    const other = layeredStore({ cache, database, cacheTimeout: 10_000 })
    await other.create('k', record('1.a', { user: 'ada', externalId: 'sid' }))
    return {
      slow: { store: layered, layered, reached: gate.reached, open: gate.open },
      other,
      evict: () => cache.evict('cached:k'),
    }
  }
})

describe('after every history', () => {
  type Step = { do: 'load' | 'update' | 'touch' | 'destroy' | 'logout' | 'evict' | 'fail'; on: 0 | 1 }
  const step: fc.Arbitrary<Step> = fc.record({
    do: fc.constantFrom('load', 'load', 'load', 'update', 'update', 'touch', 'destroy', 'logout', 'evict'),
    on: fc.constantFrom(0, 1),
  })

  it('two processes see what the database has, whatever the order of their steps and what the cache forgets', async () => {
    let ended = 0
    let hits = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 14 }), fc.scheduler(), async (steps, s) => {
        const { database, stores, cache } = process(s)
        await database.create('k', record('1.a', { user: 'ada' }))
        let touches = 0
        const perform = async ({ do: what, on }: Step) => {
          const store = stores[on]!
          if (what === 'evict') return cache.evict('cached:k')
          await s.schedule(Promise.resolve())
          if (what === 'load') return store.load('k')
          if (what === 'touch') return store.touch('k', ++touches, 4_000_000_000_000 + touches)
          if (what === 'destroy') return store.destroy('k', 5_000_000_000_000)
          if (what === 'logout') return store.users!.destroy('ada', 5_000_000_000_000)
          const found = await store.load('k')
          if (found === undefined || isTombstone(found)) return
          const next = { ...found, rev: `${Number.parseInt(found.rev, 36) + 1}.${on}${++touches}` }
          return store.update('k', next, found.rev)
        }
        const running = Promise.all(steps.map(perform))
        await s.waitFor(running)
        await s.waitFor(settled())
        const truth = await database.load('k')
        if (isTombstone(truth)) ended++
        for (const store of stores) {
          const seen = store.load('k')
          await s.waitFor(seen)
          expect(await seen).toEqual(truth)
          const again = store.load('k')
          await s.waitFor(again)
          expect(await again).toEqual(truth)
        }
        const entry = await cache.load('cached:k')
        if (entry && !isTombstone(entry) && entry.text !== '') hits++
      }),
      { numRuns: 800 },
    )
    // The histories do end sessions, and do fill the cache.
    expect(ended).toBeGreaterThan(100)
    expect(hits).toBeGreaterThan(100)
  })

  it('each load, also amid the history, is at least as new as what was acknowledged before it began', async () => {
    let compared = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 6, maxLength: 24 }), fc.scheduler(), async (steps, s) => {
        const { database, stores, cache } = process(s)
        await database.create('k', record('1.a', { user: 'ada' }))
        let acknowledged = 1
        let destroyed = false
        const perform = async ({ do: what, on }: Step) => {
          const store = stores[on]!
          if (what === 'evict') return cache.evict('cached:k')
          await s.schedule(Promise.resolve())
          const [atLeast, mustBeGone] = [acknowledged, destroyed]
          if (what === 'destroy') {
            await store.destroy('k', 5_000_000_000_000)
            destroyed = true
          } else if (what === 'load' || what === 'update') {
            const found = await store.load('k')
            if (mustBeGone) expect(isTombstone(found)).toBe(true)
            if (found === undefined || isTombstone(found)) return
            const count = Number.parseInt(found.rev, 36)
            expect(count).toBeGreaterThanOrEqual(atLeast)
            if (atLeast > 1) compared++
            if (what === 'load') return
            const next = { ...found, rev: `${count + 1}.${on}x` }
            if ((await store.update('k', next, found.rev)) === 'ok') {
              acknowledged = Math.max(acknowledged, count + 1)
            }
          }
        }
        const clients = [0, 1, 2].map(async (client) => {
          for (const [i, each] of steps.entries()) if (i % 3 === client) await perform(each)
        })
        const running = Promise.all(clients)
        await s.waitFor(running)
        await s.waitFor(settled())
      }),
      { numRuns: 800 },
    )
    expect(compared).toBeGreaterThan(100)
  })

  it('whose cache also failed, nothing superseded is served for longer than `cacheFor`', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    // One in four: a process whose cache has failed asks the database for a second, and sees what is true.
    const failure = fc.nat(3).map((drawn) => drawn === 0)
    let stale = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 2, maxLength: 10 }),
        fc.array(failure, { minLength: 40, maxLength: 40 }),
        fc.scheduler(),
        async (steps, failures, s) => {
          const { database, stores } = process(s, failures)
          await database.create('k', record('1.a', { user: 'ada' }))
          // So that there is a copy to be superseded.
          const filling = stores[0]!.load('k')
          await s.waitFor(filling)
          await s.waitFor(settled())
          const perform = async ({ do: what, on }: Step) => {
            const store = stores[on]!
            await s.schedule(Promise.resolve())
            if (what === 'destroy' || what === 'logout') return store.destroy('k', 5_000_000_000_000)
            const found = await store.load('k')
            if (what !== 'update' || found === undefined || isTombstone(found)) return
            const next = { ...found, rev: `${Number.parseInt(found.rev, 36) + 1}.${on}` }
            return store.update('k', next, found.rev)
          }
          const running = Promise.all(steps.map(perform))
          await s.waitFor(running)
          await s.waitFor(settled())
          const truth = await database.load('k')
          const look = async (store: Store) => {
            const seen = store.load('k')
            await s.waitFor(seen)
            return seen
          }
          for (const store of stores) {
            const seen = await look(store)
            if (JSON.stringify(seen) !== JSON.stringify(truth)) stale++
          }
          vi.setSystemTime(Date.now() + 60_000)
          for (const store of stores) expect(await look(store)).toEqual(truth)
        },
      ),
      { numRuns: 500 },
    )
    // Else it would not be the limit that was seen at work.
    expect(stale).toBeGreaterThan(0)
  })

  /** Two processes over one database and one cache, every step of which waits for its turn. */
  function process(s: fc.Scheduler, failures: boolean[] = []) {
    const database = memoryStore()
    const cache = forgetful(() => false)
    let asked = 0
    const scheduled = (store: Store, mayFail: boolean): Store =>
      intercepted(store, async (_operation, perform) => {
        await s.schedule(Promise.resolve())
        const fails = mayFail && failures[asked++ % (failures.length || 1)]
        if (fails && asked % 2) throw new Error('the cache is out')
        const result = await perform()
        await s.schedule(Promise.resolve())
        if (fails) throw new Error('the answer was lost')
        return result
      })
    const stores = [0, 1].map(() =>
      layeredStore({
        cache: scheduled(cache, true),
        database: scheduled(database, false),
        cacheTimeout: 10_000,
      }),
    )
    return { database, cache, stores }
  }
})

describe('staleness', () => {
  it('lasts until the entry is `cacheFor` old, counted from before the database was read', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const database = memoryStore()
    const store = layeredStore({ cache: memoryStore(), database, cacheFor: 5000 })
    await database.create('k', record('1.a'))
    await store.load('k')
    await settled()
    // Somebody who does not go through the layered store.
    await database.destroy('k', Date.now() + 3_600_000)
    vi.setSystemTime(Date.now() + 4999)
    expect(await store.load('k')).toMatchObject({ rev: '1.a' })
    vi.setSystemTime(Date.now() + 1)
    expect(isTombstone(await store.load('k'))).toBe(true)
  })

  it('ends no session: one that looks expired may have been kept alive by a write that the cache has missed', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const database = memoryStore()
    const store = layeredStore({ cache: memoryStore(), database })
    const begins = Date.now()
    await database.create('k', record('1.a', { lastSeen: begins, expires: begins + 20_000 }))
    await store.load('k')
    await settled()
    const kept = record('2.a', { lastSeen: begins + 19_000, expires: begins + 39_000 })
    await database.update('k', kept, '1.a')
    vi.setSystemTime(begins + 19_999)
    expect(await store.load('k')).toMatchObject({ rev: '1.a' })
    vi.setSystemTime(begins + 20_000)
    expect(await store.load('k')).toEqual(kept)
  })

  it('is counted from before a slow read, and before a slow write', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    for (const operation of ['load', 'update'] as const) {
      const [cache, database] = [memoryStore(), memoryStore()]
      const gate = gated(database, operation, 'after')
      const store = layeredStore({ cache, database: gate.store, cacheFor: 5000 })
      await database.create('k', record('1.a'))
      if (operation === 'update') {
        await store.load('k')
        await settled()
      }
      const slow = operation === 'load' ? store.load('k') : store.update('k', record('2.a'), '1.a')
      await gate.reached
      await database.destroy('k', Date.now() + 3_600_000)
      vi.setSystemTime(Date.now() + 4000)
      gate.open()
      await slow
      await settled()
      expect(isTombstone(await store.load('k'))).toBe(false)
      vi.setSystemTime(Date.now() + 1000)
      expect(isTombstone(await store.load('k'))).toBe(true)
    }
  })

  it('a clock that runs an hour ahead does not make entries last an hour', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const [cache, database] = [memoryStore(), memoryStore()]
    const [ahead, behind] = [layeredStore({ cache, database }), layeredStore({ cache, database })]
    await database.create('k', record('1.a'))
    vi.setSystemTime(Date.now() + 3_600_000)
    await ahead.load('k')
    await settled()
    vi.setSystemTime(Date.now() - 3_600_000)
    await database.destroy('k', Date.now() + 3_600_000)
    expect(isTombstone(await behind.load('k'))).toBe(true)
  })

  it('a lease whose holder died keeps a session out of the cache for ten seconds, not for ever', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const [cache, database] = [memoryStore(), memoryStore()]
    await database.create('k', record('1.a'))
    const dying = layeredStore({
      cache,
      database: intercepted(database, () => new Promise<never>(() => {})),
    })
    void dying.load('k')
    await settled()
    const { store, asked } = watched(cache, database)
    await store.load('k')
    await settled()
    expect(asked()).toEqual(['cache load', 'database load'])
    vi.setSystemTime(Date.now() + 10_000)
    await store.load('k')
    await settled()
    await store.load('k')
    expect(asked()).toEqual(['cache load', 'cache update', 'database load', 'cache update', 'cache load'])
  })
})

describe('a cache that fails', () => {
  it('costs its timeout once, then nothing, until one request a second tries it again', async () => {
    const errors: string[] = []
    let isDown = true
    const cache = memoryStore()
    let asked = 0
    const store = layeredStore({
      cache: intercepted(cache, (_operation, perform) => {
        asked++
        return isDown ? new Promise<never>(() => {}) : perform()
      }),
      database: memoryStore(),
      cacheTimeout: 100,
    })
    store.reportTo!((operation, error) => errors.push(`${operation}: ${error.message}`))
    await store.create('k', record('1.a'))
    const took = async () => {
      const started = performance.now()
      expect(await store.load('k')).toMatchObject({ rev: '1.a' })
      return performance.now() - started
    }
    expect(await took()).toBeGreaterThan(90)
    for (let i = 0; i < 50; i++) expect(await took()).toBeLessThan(90)
    expect(errors).toEqual([
      'load: layered store: load failed: the memory cache did not answer within 100 ms. The database is used without it meanwhile; ' +
        'see whether the cache is up, or give it longer with { cacheTimeout }',
    ])
    expect(asked).toBe(1)

    await sleep(1000)
    await Promise.all(Array.from({ length: 20 }, took))
    expect([asked, errors.length]).toEqual([2, 2])

    isDown = false
    await sleep(1000)
    await took()
    await settled()
    await took()
    expect(asked).toBeGreaterThan(4)
    expect(errors.length).toBe(2)
  })

  it('is an event, and the answer is the one of the database', async () => {
    const store = layeredStore({ cache: failing(), database: memoryStore() })
    const sessions = createSessions({
      secret: 'a secret of the tests that is long enough',
      store,
      sweepEvery: false,
    })
    const listener = vi.fn()
    sessions.on('error', listener)
    const session = await sessions.open(undefined)
    session.data.visits = 1
    const { cookie } = await sessions.commit(session)
    const again = await sessions.open(`${cookie!.name}=${cookie!.value}`)
    expect(again.data.visits).toBe(1)
    expect(listener).toHaveBeenCalledTimes(1)
    expect(listener.mock.calls[0]![0]).toMatchObject({
      operation: 'load of the layered store',
      error: { message: 'it is out' },
    })
  })

  it('a write that it refuses ends the copy that it has, and other sessions stay cached', async () => {
    const errors: string[] = []
    const cache = memoryStore()
    const tooLarge = intercepted(cache, async (operation, perform, args) => {
      if (operation === 'update' && (args[1] as StoredRecord).text.length > 1000) throw new Error('too large')
      return perform()
    })
    const { store, asked } = watched(tooLarge, memoryStore(), (operation, error) =>
      errors.push(`${operation}: ${error.message}`),
    )
    for (const key of ['k', 'other']) {
      await store.create(key, record('1.a'))
      await store.load(key)
      await settled()
    }
    const large = record('2.a', { text: 'x'.repeat(2000) })
    expect(await store.update('k', large, '1.a')).toBe('ok')
    expect(errors).toEqual(['update: too large'])
    expect(await store.load('k')).toEqual(large)
    asked()
    await store.load('other')
    expect(asked()).toEqual(['cache load'])
  })

  it('an entry that cannot be read is replaced', async () => {
    const errors: string[] = []
    const cache = memoryStore()
    const { store, asked } = watched(cache, memoryStore(), (operation) => errors.push(operation))
    await store.create('k', record('1.a'))
    await cache.create('cached:k', { ...record('1.a'), lastSeen: Date.now(), text: 'of another version' })
    expect(await store.load('k')).toEqual(record('1.a'))
    await settled()
    asked()
    expect(await store.load('k')).toEqual(record('1.a'))
    expect(asked()).toEqual(['cache load'])
    expect(errors).toEqual(['load'])
  })
})

describe('a small cache in this process', () => {
  it('makes room by itself for what is read now, since entries expire long before their sessions', async () => {
    const errors: unknown[] = []
    const database = memoryStore()
    const store = layeredStore({
      cache: memoryStore({ maxSessions: 10 }),
      database,
      cacheFor: 20,
    })
    store.reportTo!((_operation, error) => errors.push(error))
    for (let i = 0; i < 30; i++) await database.create(`k${i}`, record('1.a'))
    for (let i = 0; i < 10; i++) await store.load(`k${i}`)
    await sleep(30)
    for (let i = 10; i < 20; i++) await store.load(`k${i}`)
    await settled()
    expect(errors).toEqual([])
  })

  it('is swept with the database', async () => {
    const cache = memoryStore()
    const store = layeredStore({ cache, database: memoryStore(), cacheFor: 5 })
    await store.create('k', record('1.a'))
    await store.load('k')
    await settled()
    expect(await cache.load('cached:k')).toBeDefined()
    await sleep(10)
    expect(await store.sweep!(0, 10)).toBe(0)
    expect(await cache.load('cached:k')).toBeUndefined()
  })
})

describe('what it is made of', () => {
  it('refuses a cache without compare-and-set, and durations that are none', () => {
    const [cache, database] = [memoryStore(), memoryStore()]
    expect(() => layeredStore({ cache: { ...cache, compareAndSet: false } as Store, database })).toThrow(
      /must be a store that compares and sets/,
    )
    expect(() => layeredStore({ cache, database: undefined as unknown as Store })).toThrow(
      /database must be a store/,
    )
    for (const cacheFor of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '1m' as unknown as number]) {
      expect(() => layeredStore({ cache, database, cacheFor })).toThrow(/cacheFor is .* positive number/)
    }
    expect(() => layeredStore({ cache, database, cacheTimeout: 0 })).toThrow(/cacheTimeout is 0/)
  })

  it('can do what the database can', () => {
    const database = intercepted(memoryStore(), (_operation, perform) => perform())
    const { load, create, update, touch, destroy } = database
    const plain = { name: 'plain', compareAndSet: false, load, create, update, touch, destroy }
    const store = layeredStore({ cache: memoryStore(), database: plain })
    expect(store).toMatchObject({ compareAndSet: false })
    expect([store.users, store.externalIds, store.scan, store.sweep]).toEqual(Array(4).fill(undefined))
  })

  it('closes both, after what was under way', async () => {
    const closed: string[] = []
    const closing = (store: Store, name: string): Store =>
      Object.assign(
        intercepted(store, (_operation, perform) => perform()),
        {
          close: async () => void closed.push(name),
        },
      )
    const store = layeredStore({
      cache: closing(memoryStore(), 'cache'),
      database: closing(memoryStore(), 'database'),
    })
    await store.load('k')
    await store.close!()
    expect(closed).toEqual(['cache', 'database'])
  })

  it('sessions in it lose none of 200 parallel changes, and a logout is seen at once', async () => {
    const [cache, database] = [memoryStore(), memoryStore()]
    const servers = [0, 1].map(() =>
      createSessions<{ visits?: number }>({
        secret: SECRET,
        store: layeredStore({ cache, database }),
        merge: { visits: 'sum' },
      }),
    )
    const jar = browser(servers[0]!)
    await jar.visit(async (session) => {
      session.data.visits = 0
      await session.login('ada')
    })
    const other = browser(servers[1]!, jar.cookie)
    await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        (i % 2 ? jar : other).visit(async (session) => {
          const visits = session.data.visits!
          await sleep(2)
          session.data.visits = visits + 1
        }),
      ),
    )
    expect(await other.visit((session) => session.data.visits)).toBe(200)
    const { header } = other
    await jar.visit((session) => session.logout())
    for (const server of servers) expect((await server.open(header)).presented).toBe('ended')
    for (const server of servers) await server.close()
  })
})

// ---- helpers ----

const METHODS = ['load', 'create', 'update', 'touch', 'destroy'] as const
type Method = (typeof METHODS)[number]

/** The store, with each operation on a session performed by `around`. */
function intercepted(
  store: Store,
  around: (operation: Method, perform: () => Promise<unknown>, args: unknown[]) => Promise<unknown>,
): Store {
  const { name, compareAndSet, users, externalIds } = store
  const methods = METHODS.map((operation) => {
    const method = store[operation].bind(store) as (...args: unknown[]) => Promise<unknown>
    return [operation, (...args: unknown[]) => around(operation, () => method(...args), args)]
  })
  return {
    name,
    compareAndSet,
    users,
    externalIds,
    scan: store.scan?.bind(store),
    sweep: store.sweep?.bind(store),
    ...Object.fromEntries(methods),
  }
}

/** A memory store that can lose an entry without a trace, and does so before an operation when told to. */
function forgetful(forgets: () => boolean): Store & { evict(key: string): void } {
  let generations = new Map<string, number>()
  const store = memoryStore()
  const current = (key: string) => `${generations.get(key) ?? 0} ${key}`
  const evict = (key: string) => {
    generations = new Map(generations).set(key, (generations.get(key) ?? 0) + 1)
  }
  const renamed = Object.fromEntries(
    METHODS.map((operation) => {
      const method = store[operation].bind(store) as (...args: unknown[]) => Promise<unknown>
      return [
        operation,
        (key: string, ...rest: unknown[]) => {
          if (forgets()) evict(key)
          return method(current(key), ...rest)
        },
      ]
    }),
  ) as unknown as Store
  return Object.assign(renamed, { name: 'forgetful', compareAndSet: true, evict })
}

function failing(): Store {
  return intercepted(memoryStore(), async () => {
    throw new Error('it is out')
  })
}

function silent(): Store {
  return intercepted(memoryStore(), () => new Promise<never>(() => {}))
}

/** The store, whose next `operation` waits before or after it is done until `open` is called. */
function gated(store: Store, operation: Method, when: 'before' | 'after') {
  let open: () => void = () => {}
  let arrive: () => void = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  const reached = new Promise<void>((resolve) => (arrive = resolve))
  let used = false
  const gatedStore = intercepted(store, async (each, perform) => {
    if (each !== operation || used) return perform()
    used = true
    if (when === 'after') {
      const result = await perform()
      arrive()
      await opened
      return result
    }
    arrive()
    await opened
    return perform()
  })
  return { store: gatedStore, reached, open }
}

/** A layered store, and what it has asked of its two sides since last called. */
function watched(cache: Store = memoryStore(), database: Store = memoryStore(), report?: StoreReport) {
  let asked: string[] = []
  const watch = (store: Store, name: string) =>
    intercepted(store, (operation, perform) => {
      asked.push(`${name} ${operation}`)
      return perform()
    })
  const store = layeredStore({
    cache: watch(cache, 'cache'),
    database: watch(database, 'database'),
  })
  if (report) store.reportTo!(report)
  return {
    store,
    asked() {
      const before = asked
      asked = []
      return before
    },
  }
}

/** What goes on behind an answer has been done. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0))
}

function record(rev: string, fields: Partial<StoredRecord> = {}): StoredRecord {
  return { rev, text: '{"visits":1}', lastSeen: 0, expires: 3_000_000_000_000, ...fields }
}

function newPath(): string {
  return join(mkdtempSync(join(root, 'test-')), 'sessions')
}
