import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { createSessions } from 'holdfast'
import { fileStore } from 'holdfast/stores/file'
import { memoryStore } from 'holdfast/stores/memory'
import { type DrainProgress, migratingStore } from 'holdfast/stores/migrating'
import { sqliteStore } from 'holdfast/stores/sql'
import { afterAll, describe, expect, it } from 'vitest'
import { isTombstone, type Store, type StoredRecord } from '../src/store.ts'
import { StoreError } from '../src/stores/store-error.ts'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import { browser, SECRET } from './helpers/browser.ts'
import { faulty } from './helpers/faults.ts'
import type { Report } from './openers/migrating-worker.ts'

const root = mkdtempSync(join(tmpdir(), 'holdfast-migrating-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const OPENER = new URL('./openers/migrating.ts', import.meta.url).href
const UNTIL = 5_000_000_000_000
const runner = { describe, it }

storeSuite(runner, {
  name: 'migrating, memory to SQLite',
  open: async () => ({ store: migratingStore({ from: memoryStore(), to: sqliteStore(':memory:') }) }),
})

storeSuite(runner, {
  name: 'migrating, file to SQLite, shared between processes',
  async open() {
    const config = { from: newPath(), to: newPath() }
    return {
      store: migratingStore({ from: fileStore(config.from), to: sqliteStore(config.to) }),
      config,
    }
  },
  opener: OPENER,
})

storeSuite(runner, {
  name: 'migrating, with `moves: false`',
  open: async () => ({
    store: migratingStore({ from: memoryStore(), to: sqliteStore(':memory:'), moves: false }),
  }),
})

// What has moved leaves a tombstone in `from` until its session would have ended, and so sweeps count other things than the suite does.
for (const [name, open] of Object.entries({ memory: memoryStore, SQLite: () => sqliteStore(':memory:') })) {
  storeSuite(runner, {
    name: `migrating, memory to ${name}, each record created in the old store`,
    open: async () => ({ store: born(memoryStore(), open()) }),
    lacks: ['sweep'],
  })
}

storeSuite(runner, {
  name: 'migrating, beside others that move every session that they see',
  async open() {
    const [from, to] = [memoryStore(), memoryStore()]
    const mover = migratingStore({ from, to })
    const follower = migratingStore({ from, to, moves: false })
    const moved = <T>(key: string, result: Promise<T>) => {
      void mover.load(key)
      return result
    }
    const store: Store = {
      name: 'mixed',
      compareAndSet: true,
      users: mover.users!,
      externalIds: mover.externalIds!,
      scan: mover.scan!,
      load: (key) => moved(key, follower.load(key)),
      create: (key, record) => follower.create(key, record),
      update: (key, record, expectedRev) => moved(key, follower.update(key, record, expectedRev)),
      touch: (key, lastSeen, expires) => mover.touch(key, lastSeen, expires),
      destroy: (key, until) => moved(key, follower.destroy(key, until)),
    }
    return { store }
  },
  lacks: ['sweep'],
})

describe('what it asks', () => {
  it('of what is in `to`, one; of what is not, one more; and six to move a session', async () => {
    const { store, from, asked } = watched()
    await store.create('new', record('1.a'))
    expect(asked()).toEqual(['from load', 'to create'])
    await store.load('new')
    expect(asked()).toEqual(['to load'])
    await store.update('new', record('2.a'), '1.a')
    expect(asked()).toEqual(['to update'])
    await store.touch('new', 1, 1)
    expect(asked()).toEqual(['to load', 'to touch'])
    await store.destroy('new', UNTIL)
    expect(asked()).toEqual(['to load', 'to destroy'])
    await store.load('none')
    expect(asked()).toEqual(['to load', 'from load'])
    await from.create('old', record('1.a'))
    await store.load('old')
    expect(asked()).toEqual(['to load', 'from load', 'to create', 'from update', 'to update', 'from destroy'])
    await store.load('old')
    expect(asked()).toEqual(['to load'])
  })
})

describe('an old session', () => {
  const operations: Record<string, (store: Store) => Promise<unknown>> = {
    load: (store) => store.load('k'),
    update: (store) => store.update('k', record('2.a', { user: 'ada' }), '1.a'),
    touch: (store) => store.touch('k', 77, 4_000_000_000_000),
    list: (store) => store.users!.list('ada'),
    scan: (store) => store.scan!(undefined, 10),
  }
  for (const [name, perform] of Object.entries(operations)) {
    it(`moves when it is seen by ${name}`, async () => {
      const { from, to, store } = pair()
      await from.create('k', record('1.a', { user: 'ada', externalId: 'sid' }))
      await perform(store)
      expect(isTombstone(await from.load('k'))).toBe(true)
      const expected = {
        update: record('2.a', { user: 'ada', externalId: undefined }),
        touch: record('1.a', { user: 'ada', externalId: 'sid', lastSeen: 77, expires: 4_000_000_000_000 }),
      }[name]
      expect(await to.load('k')).toEqual(expected ?? record('1.a', { user: 'ada', externalId: 'sid' }))
    })
  }

  it('is destroyed on both sides: by key, by user, by external id', async () => {
    for (const end of [
      (store: Store) => store.destroy('k', UNTIL),
      (store: Store) => store.users!.destroy('ada', UNTIL),
      (store: Store) => store.externalIds!.destroy('sid', UNTIL),
    ]) {
      const { from, to, store } = pair()
      await from.create('k', record('1.a', { user: 'ada', externalId: 'sid' }))
      expect(Number(await end(store))).toBe(1)
      expect(isTombstone(await from.load('k'))).toBe(true)
      expect(await to.load('k')).toEqual({ destroyedUntil: UNTIL })
    }
  })

  it('is written durably to the new store before the old one gives it up', async () => {
    const { from, to } = pair()
    const durable: [string, unknown][] = []
    for (const write of ['create', 'update'] as const) {
      const original = to[write].bind(to) as (...args: unknown[]) => Promise<unknown>
      Object.assign(to, {
        [write](...args: unknown[]) {
          durable.push([write, (args.at(-1) as { durable?: boolean } | undefined)?.durable])
          return original(...args)
        },
      })
    }
    await from.create('k', record('1.a'))
    await migratingStore({ from, to }).load('k')
    expect(durable).toEqual([
      ['create', true],
      ['update', true],
    ])
  })

  it('that was destroyed in `from` stays so, and is not made again', async () => {
    const { from, to, store } = pair()
    await from.create('k', record('1.a'))
    await from.destroy('k', UNTIL)
    expect(await store.load('k')).toEqual({ destroyedUntil: UNTIL })
    expect(await store.create('k', record('1.b'))).toBe(false)
    expect(await store.update('k', record('2.a'), '1.a')).toBe('gone')
    expect(await store.touch('k', 1, UNTIL)).toBe(false)
    expect(await store.destroy('k', UNTIL)).toBe(false)
    expect(await to.load('k')).toBeUndefined()
  })

  it('is listed once, wherever it is', async () => {
    for (const moves of [true, false]) {
      const { from, to, mover, follower } = pair()
      for (let i = 0; i < 25; i++) await from.create(`old-${i}`, record('1.a', { user: 'ada' }))
      for (let i = 0; i < 25; i++) await to.create(`new-${i}`, record('1.a', { user: 'ada' }))
      for (let i = 0; i < 9; i++) await mover.load(`old-${i}`)
      const store = moves ? mover : follower
      for (const limit of [1, 7, 100]) {
        const expected = [...Array(25).keys()].flatMap((i) => [`new-${i}`, `old-${i}`]).sort()
        expect(await keysOf((cursor) => store.users!.list('ada', { cursor, limit }))).toEqual(expected)
        expect(await keysOf((cursor) => store.scan!(cursor, limit))).toEqual(expected)
      }
    }
  })
})

describe('a move that ends half-way', () => {
  /** Kills the mover after so many of the six operations. */
  const halfway = async (after: number, fields: Partial<StoredRecord> = {}) => {
    const { from, to, mover, follower } = pair()
    await from.create('k', record('1.a', { user: 'ada', ...fields }))
    let left = after
    const dying = (store: Store) =>
      intercepted(store, (_name, perform) => (left-- > 0 ? perform() : new Promise<never>(() => {})))
    void migratingStore({ from: dying(from), to: dying(to) }).load('k')
    await settled()
    return { from, to, mover, follower }
  }
  const steps = [0, 1, 2, 3, 4, 5, 6]

  it('loses nothing, whatever comes next', async () => {
    for (const after of steps) {
      for (const moves of [true, false]) {
        const { from, mover, follower } = await halfway(after)
        const store = moves ? mover : follower
        expect(await store.load('k')).toEqual(record('1.a', { user: 'ada' }))
        expect(await keysOf((cursor) => store.users!.list('ada', { cursor }))).toEqual(['k'])
        expect(await keysOf((cursor) => store.scan!(cursor, 5))).toEqual(['k'])
        expect(await store.touch('k', 5, 4_000_000_000_000)).toBe(true)
        expect(await store.update('k', record('2.a', { user: 'ada' }), '1.a')).toBe('ok')
        await mover.drain()
        expect(await mover.load('k')).toEqual(record('2.a', { user: 'ada' }))
        expect(isTombstone(await from.load('k'))).toBe(true)
      }
    }
  })

  it('first thing after it can be an update', async () => {
    for (const after of steps) {
      for (const moves of [true, false]) {
        const { mover, follower } = await halfway(after)
        const store = moves ? mover : follower
        expect(await store.update('k', record('2.b'), '0.x')).toBe('conflict')
        expect(await store.update('k', record('2.a'), '1.a')).toBe('ok')
        expect(await mover.load('k')).toEqual(record('2.a'))
      }
    }
  })

  it('revives nothing that is destroyed next, by whom or how ever', async () => {
    for (const after of steps) {
      for (const end of [
        (store: Store) => store.destroy('k', UNTIL),
        (store: Store) => store.users!.destroy('ada', UNTIL),
      ]) {
        for (const moves of [true, false]) {
          const { from, to, mover, follower } = await halfway(after)
          expect(Number(await end(moves ? mover : follower))).toBeGreaterThan(0)
          for (const store of [mover, follower, mover]) expect(isTombstone(await store.load('k'))).toBe(true)
          expect(await keysOf((cursor) => mover.users!.list('ada', { cursor }))).toEqual([])
          await mover.drain()
          // Not even once both tombstones have been swept.
          for (const side of [from, to]) await side.sweep!(UNTIL, 10)
          expect(await mover.load('k')).toBeUndefined()
        }
      }
    }
  })

  it('takes what an instance that uses `from` alone has written meanwhile, or refuses it', async () => {
    for (const after of steps) {
      const { from, mover } = await halfway(after)
      const result = await from.update('k', record('2.a', { user: 'bob' }), '1.a')
      expect(result).toBe(after <= 3 ? 'ok' : after === 6 ? 'gone' : 'conflict')
      expect(await mover.load('k')).toEqual(
        result === 'ok' ? record('2.a', { user: 'bob' }) : record('1.a', { user: 'ada' }),
      )
      expect(await keysOf((cursor) => mover.users!.list('ada', { cursor }))).toEqual(
        result === 'ok' ? [] : ['k'],
      )
    }
  })

  it('and whose session is of another user by then, is not ended with those of the first', async () => {
    const { from, mover } = await halfway(3)
    expect(await from.update('k', record('2.a', { user: 'bob' }), '1.a')).toBe('ok')
    expect(await mover.users!.destroy('ada', UNTIL)).toBe(0)
    expect(await mover.load('k')).toEqual(record('2.a', { user: 'bob' }))
  })

  it('and whose session an instance that uses `from` alone destroys: it is dead unless it had moved', async () => {
    for (const after of [0, 1, 2, 3]) {
      const { from, to, mover } = await halfway(after)
      expect(await from.destroy('k', UNTIL)).toBe(true)
      expect(isTombstone(await mover.load('k'))).toBe(true)
      expect(isTombstone(await from.load('k'))).toBe(true)
      await from.sweep(UNTIL, 10)
      expect(await mover.load('k')).toEqual(after < 3 ? undefined : { destroyedUntil: UNTIL })
      await to.sweep(UNTIL, 10)
      expect(await mover.load('k')).toBeUndefined()
    }
  })
})

describe('after every history', () => {
  const step = fc.record({
    do: fc.constantFrom('load', 'update', 'update', 'update', 'destroy', 'logout', 'drain', 'die'),
    // Two that move, one that does not yet, and one that uses `from` alone.
    on: fc.constantFrom(0, 1, 2, 3),
  })
  const history = (alone: boolean) =>
    fc.array(alone ? step : step.filter(({ on }) => on < 3), { minLength: 3, maxLength: 15 })

  for (const alone of [false, true]) {
    it(`no update is lost, none in two states, and nothing destroyed comes back${alone ? ', beside instances that use `from` alone' : ''}`, async () => {
      const counts = { updates: 0, destroyed: 0, alive: 0 }
      await fc.assert(
        fc.asyncProperty(history(alone), fc.scheduler(), async (steps, s) => {
          const [from, to] = [memoryStore(), memoryStore()]
          const dead = [false, false, false, false]
          const scheduled = (store: Store, on: number) =>
            intercepted(store, async (_name, perform) => {
              await s.schedule(Promise.resolve())
              // A killed process does nothing any more; what it had asked for is done all the same.
              if (dead[on]) return new Promise<never>(() => {})
              const result = await perform()
              await s.schedule(Promise.resolve())
              return dead[on] ? new Promise<never>(() => {}) : result
            })
          const instances = [0, 1, 2, 3].map((on): Store => {
            const sides = { from: scheduled(from, on), to: scheduled(to, on) }
            return on === 3 ? sides.from : migratingStore({ ...sides, moves: on < 2 })
          })
          await from.create('k', record('1.a', { user: 'ada' }))
          const acknowledged: string[] = []
          let destroyed = false
          const perform = async ({ do: what, on }: { do: string; on: number }) => {
            const store = instances[on]!
            await s.schedule(Promise.resolve())
            if (what === 'die') {
              dead[on] = true
            } else if (what === 'drain') {
              if (on < 2) await (store as ReturnType<typeof migratingStore>).drain()
            } else if (what === 'destroy' || what === 'logout') {
              // What one that uses `from` alone destroys after the move does not count: its page says so.
              const ends = what === 'destroy' ? store.destroy('k', UNTIL) : store.users!.destroy('ada', UNTIL)
              await ends
              if (on < 3) destroyed = true
            } else {
              const found = await store.load('k')
              if (found === undefined || isTombstone(found) || what === 'load') return
              // It cannot read a seal, and so cannot change it.
              if (found.rev.startsWith('moved:')) return expect(on).toBe(3)
              const mark = `${on}${acknowledged.length}.${Math.random()}`
              const rev = `${Number.parseInt(found.rev, 36) + 1}.${mark}`.slice(0, 40)
              const next = { ...found, rev, text: `${found.text} ${mark}` }
              if ((await store.update('k', next, found.rev)) === 'ok') acknowledged.push(mark)
            }
          }
          // Killed ones never answer, so it is not the answers that are waited for.
          const running = steps.map(perform)
          running.push(Promise.resolve())
          for (const each of running) each.catch(() => {})
          await s.waitIdle()
          await Promise.race([Promise.all(running), settled()])
          const judge = migratingStore({ from, to })
          const found = await judge.load('k')
          if (destroyed) {
            counts.destroyed++
            expect(isTombstone(found)).toBe(true)
          }
          if (found !== undefined && !isTombstone(found)) {
            counts.alive++
            counts.updates += acknowledged.length
            for (const mark of acknowledged) expect(found.text).toContain(mark)
            expect(await keysOf((cursor) => judge.users!.list('ada', { cursor }))).toEqual(['k'])
          } else {
            expect(steps.some(({ do: what }) => what === 'destroy' || what === 'logout')).toBe(true)
          }
          await judge.drain()
          expect(await to.load('k')).toEqual(
            found !== undefined && isTombstone(found) ? await to.load('k') : found,
          )
          const left = await from.load('k')
          expect(left === undefined || isTombstone(left)).toBe(true)
          for (const side of [from, to]) await side.sweep(UNTIL, 10)
          if (isTombstone(found)) expect(await judge.load('k')).toBeUndefined()
        }),
        { numRuns: 800 },
      )
      expect(Math.min(...Object.values(counts))).toBeGreaterThan(80)
    })
  }
})

describe('drain', () => {
  it('moves everything, says how far it is, and can be stopped and resumed', async () => {
    const { from, to, store } = pair()
    const keys = await fill(from, 100)
    const told: DrainProgress[] = []
    const stop = new AbortController()
    const first = await store.drain({
      batch: 10,
      count: true,
      signal: stop.signal,
      onProgress(progress) {
        told.push(progress)
        if (told.length === 3) stop.abort()
      },
    })
    expect(first).toEqual({ seen: 30, moved: 30, refused: 0, total: 100, done: false })
    expect(told.map(({ seen }) => seen)).toEqual([10, 20, 30])
    expect(await store.drain({ count: true })).toEqual({
      seen: 70,
      moved: 70,
      refused: 0,
      total: 70,
      done: true,
    })
    expect(await store.drain()).toEqual({ seen: 0, moved: 0, refused: 0, done: true })
    expect(await keysOf((cursor) => to.scan(cursor, 50))).toEqual(keys)
    expect((await from.scan(undefined, 10)).items).toEqual([])
    for (const key of keys) expect(await to.load(key)).toEqual(record('1.a', { user: key }))
  })

  it('does nothing once it has been stopped', async () => {
    const { from, store } = pair()
    await fill(from, 3)
    expect(await store.drain({ signal: AbortSignal.abort() })).toEqual({
      seen: 0,
      moved: 0,
      refused: 0,
      done: false,
    })
  })

  it('goes on when the promise of `onProgress` is kept', async () => {
    const { from, store } = pair()
    await fill(from, 3)
    const told: string[] = []
    await store.drain({
      batch: 1,
      async onProgress({ seen }) {
        told.push(`${seen} begins`)
        await sleep(5)
        told.push(`${seen} ends`)
      },
    })
    expect(told).toEqual([1, 2, 3].flatMap((seen) => [`${seen} begins`, `${seen} ends`]))
  })

  it('lets others run between batches, and between pages of the count, of stores without I/O', async () => {
    const { from, store } = pair()
    await fill(from, 3)
    const counting = new AbortController()
    setImmediate(() => counting.abort())
    expect(await store.drain({ count: true, signal: counting.signal })).toEqual({
      ...{ seen: 0, moved: 0, refused: 0 },
      done: false,
    })
    const moving = new AbortController()
    setImmediate(() => moving.abort())
    const { seen, done } = await store.drain({ batch: 1, signal: moving.signal })
    expect([seen, done]).toEqual([1, false])
  })

  it('stops when `to` fails, with nothing under way any more, and loses nothing', async () => {
    const [from, to] = [memoryStore(), memoryStore()]
    const keys = await fill(from, 30)
    let creations = 0
    let underWay = 0
    const full = intercepted(to, async (name, perform) => {
      underWay++
      try {
        if (name === 'create' && ++creations > 14) throw new Error('the disk is full')
        // The one that fails is not the last of its batch to end.
        await sleep(2)
        return await perform()
      } finally {
        underWay--
      }
    })
    const told: DrainProgress[] = []
    const draining = migratingStore({ from, to: full }).drain({
      batch: 10,
      onProgress: (progress) => told.push(progress),
    })
    await expect(draining).rejects.toThrow('the disk is full')
    expect(underWay).toBe(0)
    expect(told.at(-1)).toEqual({ seen: 20, moved: 14, refused: 0, done: false })
    const store = migratingStore({ from, to })
    const left = (await from.scan(undefined, 30)).items
    expect(left.map(([, { rev }]) => rev)).toEqual(Array(16).fill('1.a'))
    expect(await store.drain()).toEqual({ seen: 16, moved: 16, refused: 0, done: true })
    for (const key of keys) expect(await to.load(key)).toMatchObject({ rev: '1.a', user: key })
  })

  it('goes past what the new store refuses, names it, and leaves it where it is', async () => {
    const [from, to] = [memoryStore(), memoryStore()]
    const keys = await fill(from, 30)
    const [refused] = keys
    const picky = intercepted(to, (name, perform, key) => {
      if (name === 'create' && key === refused)
        throw new StoreError('memory', 'create', 'the user id is too long', { retryable: false })
      return perform()
    })
    const told: [string, string][] = []
    const store = migratingStore({ from, to: picky })
    const onRefused = (key: string, { message }: Error) => told.push([key, message])
    expect(await store.drain({ batch: 10, onRefused })).toEqual({
      seen: 30,
      moved: 29,
      refused: 1,
      done: false,
    })
    expect(told).toEqual([[refused, 'memory store: create failed: the user id is too long']])
    expect((await from.scan(undefined, 30)).items).toMatchObject([[refused, { rev: '1.a' }]])
    // Alone it is a whole batch, as all are of a server that is full.
    await expect(store.drain()).rejects.toThrow('the user id is too long')
    expect((await migratingStore({ from, to }).drain()).done).toBe(true)
    for (const key of keys) expect(await to.load(key)).toMatchObject({ rev: '1.a', user: key })
  })

  it.each(['from', 'to'] as const)(
    'fails when `%s` does not answer, and is done when started again',
    async (silent) => {
      const stores = { from: faulty(memoryStore()), to: faulty(memoryStore()) }
      await fill(stores.from, 30)
      const store = migratingStore(stores)
      stores[silent].freeze('after')
      await expect(store.drain({ timeout: 50 })).rejects.toThrow(
        'migrating store: drain failed: no answer to a batch within 50 ms. See whether both stores are up, then start again',
      )
      stores[silent].thaw()
      expect(await store.drain()).toMatchObject({ done: true })
      expect((await stores.from.scan!(undefined, 30)).items).toEqual([])
      expect((await stores.to.scan!(undefined, 50)).items).toHaveLength(30)
    },
  )

  it('leaves nothing behind of a session that `to` has forgotten, since it had expired', async () => {
    const { from, store } = pair()
    await fill(from, 3)
    const forgetful = intercepted(memoryStore(), (name, perform) =>
      name === 'load' ? Promise.resolve(undefined as never) : perform(),
    )
    const forgotten = { ...forgetful, update: async () => 'gone' as const }
    expect(await migratingStore({ from, to: forgotten }).drain()).toEqual({
      seen: 3,
      moved: 0,
      refused: 0,
      done: true,
    })
    expect((await from.scan(undefined, 10)).items).toEqual([])
    expect((await store.drain()).seen).toBe(0)
  })

  it('several at once, beside live traffic, move each session once and lose nothing', async () => {
    const [from, to] = [fileStore(newPath()), sqliteStore(newPath())]
    const keys = await fill(from, 60)
    const instances = [0, 1, 2].map((i) => migratingStore({ from, to, moves: i < 2 }))
    const counts = new Map(keys.map((key) => [key, 0]))
    let isDraining = true
    const traffic = instances.map(async (store, on) => {
      for (let turn = 0; isDraining; turn++) {
        // SQLite answers without I/O, and would keep the drains from theirs.
        await sleep(0)
        const key = keys[(turn * 7 + on * 20) % keys.length]!
        const found = await store.load(key)
        if (found === undefined || isTombstone(found)) throw new Error(`${key} is lost`)
        const rev = `${turn}.${on}`
        const text = String(Number(found.text) + 1)
        if ((await store.update(key, { ...found, rev, text }, found.rev)) === 'ok') {
          counts.set(key, counts.get(key)! + 1)
        }
      }
    })
    await sleep(50)
    const drained = await Promise.all(instances.slice(0, 2).map((store) => store.drain({ batch: 7 })))
    expect(drained.every(({ done }) => done)).toBe(true)
    isDraining = false
    await Promise.all(traffic)
    expect(drained[0]!.moved + drained[1]!.moved).toBeLessThanOrEqual(60)
    for (const key of keys) expect(await to.load(key)).toMatchObject({ text: String(counts.get(key)) })
    expect((await from.scan!(undefined, 10)).items).toEqual([])
    expect([...counts.values()].reduce((sum, count) => sum + count)).toBeGreaterThan(60)
    await instances[0]!.close()
  })

  it('says so if `from` cannot list its sessions, or if nothing is to move', async () => {
    const from = intercepted(memoryStore(), (_name, perform) => perform())
    const store = migratingStore({ from: { ...from, scan: undefined }, to: memoryStore() })
    await from.create('k', record('1.a'))
    await expect(store.drain()).rejects.toThrow(
      'migrating store: drain failed: the memory store cannot list its sessions. Sessions move when they are next seen; ' +
        'keep this store for as long as a session lives.',
    )
    expect(store.scan).toBeUndefined()
    expect(await store.load('k')).toEqual(record('1.a'))
    expect(isTombstone(await from.load('k'))).toBe(true)
    await expect(pair().follower.drain()).rejects.toThrow(/moves: false/)
  })
})

describe('processes that are killed', () => {
  it('twenty times amid their moves lose no session, revive none and leave none in two states', async () => {
    const config = { from: newPath(), to: newPath() }
    const from = fileStore(config.from)
    let killed = 0
    for (let round = 0; round < 5; round++) {
      const keys = [...Array(40).keys()].map((i) => `${i % 4 === 0 ? 'ends' : 'stays'}-${round}-${i}`)
      for (const key of keys) await from.create(key, record('1.a', { text: '0' }))
      const workers = await Promise.all(
        [0, 1, 2, 3].map((i) => startWorker({ ...config, moves: i < 3 }, keys)),
      )
      // They are at work, which takes them a while where others are too.
      const isAcknowledged = () => workers.some(({ reports }) => reports.some((report) => 'count' in report))
      await expect.poll(isAcknowledged, { timeout: 10_000, interval: 1 }).toBe(true)
      await Promise.all(
        workers.map(async ({ child }) => {
          await sleep(Math.random() * 120)
          await kill(child)
          killed++
        }),
      )
      const to = sqliteStore(config.to)
      const store = migratingStore({ from: fileStore(config.from), to })
      for (const { failures } of workers) expect(failures).toEqual([])
      const acknowledged = new Map<string, number>()
      const destroyed = new Set<string>()
      for (const { reports } of workers) {
        for (const report of reports) {
          if ('count' in report) {
            acknowledged.set(report.key, Math.max(report.count, acknowledged.get(report.key) ?? 0))
          }
          if ('destroyed' in report) destroyed.add(report.key)
        }
      }
      expect(acknowledged.size).toBeGreaterThan(0)
      const seen = new Map<string, Awaited<ReturnType<Store['load']>>>()
      for (const key of keys) {
        const found = await store.load(key)
        seen.set(key, found)
        if (destroyed.has(key)) expect(isTombstone(found)).toBe(true)
        // Beyond what was acknowledged, writes after it may have been made, and their reports lost with the process.
        else if (key.startsWith('stays') || !isTombstone(found)) {
          expect(Number((found as StoredRecord).text)).toBeGreaterThanOrEqual(acknowledged.get(key) ?? 0)
        }
      }
      expect((await store.drain()).done).toBe(true)
      expect((await from.scan!(undefined, 10)).items).toEqual([])
      for (const [key, found] of seen) {
        if (!isTombstone(found)) expect(await to.load(key)).toEqual(found)
        else expect(isTombstone(await store.load(key))).toBe(true)
      }
      await to.close()
    }
    expect(killed).toBe(20)
  }, 60_000)
})

describe('what it is made of', () => {
  it('refuses what is not two stores', () => {
    const store = memoryStore()
    expect(() => migratingStore({ from: store, to: store })).toThrow(/must be two stores/)
    expect(() => migratingStore({ from: undefined as unknown as Store, to: store })).toThrow(/`from` must be/)
    expect(() => migratingStore({ from: store, to: {} as Store })).toThrow(/`to` must be a store/)
  })

  it('that are one under two names are refused before a session is given up, and all stay', async () => {
    const path = newPath()
    const [from, to] = [sqliteStore(path), sqliteStore(path)]
    const store = migratingStore({ from, to })
    const keys = await fill(from, 30)
    const message = /`from` and `to` are the same store/
    await expect(store.drain()).rejects.toThrow(message)
    await expect(store.scan!(undefined, 10)).rejects.toThrow(message)
    const left = await from.scan!(undefined, 100)
    expect(left.items.map(([key]) => key).sort()).toEqual([...keys].sort())
    await store.close()
  })

  it('the wrong way round give up nothing of a session whose move was begun', async () => {
    const [old, young] = [memoryStore(), memoryStore()]
    const [key] = await fill(old, 1)
    const before = await old.load(key!)
    // Killed between seal and session.
    const update = young.update
    young.update = () => Promise.reject(new Error('killed'))
    await expect(migratingStore({ from: old, to: young }).drain()).rejects.toThrow('killed')
    young.update = update
    const wrong = migratingStore({ from: young, to: old })
    await expect(wrong.drain()).rejects.toThrow(/Exchange `from` and `to`/)
    await expect(wrong.load(key!)).rejects.toThrow(/Exchange `from` and `to`/)
    expect(await migratingStore({ from: old, to: young }).load(key!)).toEqual(before)
  })

  it('can do what both can', () => {
    const full = intercepted(memoryStore(), (_name, perform) => perform())
    const bare = { ...full, users: undefined, externalIds: undefined, scan: undefined, sweep: undefined }
    for (const sides of [
      { from: bare, to: full },
      { from: full, to: bare },
    ]) {
      const store = migratingStore(sides)
      expect([store.users, store.externalIds, store.scan]).toEqual(Array(3).fill(undefined))
      expect(store.sweep !== undefined).toBe(sides.to === full)
    }
    const loose = { ...full, compareAndSet: false }
    expect(migratingStore({ from: loose, to: full }).compareAndSet).toBe(true)
    expect(migratingStore({ from: loose, to: full, moves: false }).compareAndSet).toBe(false)
    expect(migratingStore({ from: full, to: loose }).compareAndSet).toBe(false)
  })

  it('who was logged out after the move begins anew on the next day', async () => {
    let now = Date.now()
    const clock = () => now
    const [from, to] = [memoryStore(), memoryStore()]
    const old = createSessions<{ visits?: number }>({ secret: SECRET, store: from, clock })
    const jar = browser(old)
    await jar.visit((session) => session.login('ann'))
    const moving = createSessions<{ visits?: number }>({
      secret: SECRET,
      store: migratingStore({ from, to }),
      clock,
    })
    const after = browser(moving, jar.cookie)
    await after.visit((session) => expect(session.userId).toBe('ann'))
    await moving.revoke({ userId: 'ann' })
    now += 12 * 3_600_000
    await moving.sweep()
    await after.visit((session) => {
      expect([session.userId, session.isNew]).toEqual([undefined, true])
      session.data.visits = 1
    })
    await after.visit((session) => expect(session.data.visits).toBe(1))
    await Promise.all([old.close(), moving.close()])
  })

  it('nobody is logged out, and no visit is lost, while a site moves in two deployments', async () => {
    const [from, to] = [memoryStore(), memoryStore()]
    const site = (store: Store) =>
      createSessions<{ visits?: number }>({ secret: SECRET, store, merge: { visits: 'sum' } })
    const old = site(from)
    const following = site(migratingStore({ from, to, moves: false }))
    const store = migratingStore({ from, to })
    const moving = site(store)
    const jars = await Promise.all(
      [...Array(30).keys()].map(async (i) => {
        const jar = browser(old)
        await jar.visit(async (session) => {
          session.data.visits = 0
          await session.login(`user-${i}`)
        })
        return jar
      }),
    )
    const visitAll = async (servers: (typeof old)[]) => {
      await Promise.all(
        jars.map(async (jar, i) => {
          const each = browser(servers[i % servers.length]!, jar.cookie)
          await each.visit((session) => {
            expect(session.userId).toBe(`user-${i}`)
            session.data.visits = session.data.visits! + 1
          })
          jar.cookie = each.cookie
        }),
      )
    }
    await visitAll([old, following])
    await visitAll([following, old])
    const draining = store.drain({ batch: 2 })
    await visitAll([following, moving])
    await draining
    await visitAll([moving, following])
    await visitAll([site(to)])
    expect((await store.drain()).seen).toBe(0)
    for (const [i] of jars.entries()) {
      const [only, ...others] = await moving.list(`user-${i}`)
      expect([only === undefined, others]).toEqual([false, []])
    }
    expect(await browser(moving, jars[3]!.cookie).visit((session) => session.data.visits)).toBe(5)
  })
})

// ---- helpers ----

function pair() {
  const [from, to] = [memoryStore(), memoryStore()]
  const mover = migratingStore({ from, to })
  return { from, to, mover, store: mover, follower: migratingStore({ from, to, moves: false }) }
}

/** A migrating store whose records are all made by somebody who uses `from` alone. */
function born(from: Store, to: Store): Store {
  const store = migratingStore({ from, to })
  const { name, compareAndSet, users, externalIds, scan } = store
  return {
    ...{ name, compareAndSet, users, externalIds, scan },
    load: (key, options) => store.load(key, options),
    create: async (key, record, options) => {
      // As far as anybody can see who knows both sides.
      if ((await to.load(key)) !== undefined) return false
      return from.create(key, record, options)
    },
    update: (key, record, expectedRev, options) => store.update(key, record, expectedRev, options),
    touch: (key, lastSeen, expires) => store.touch(key, lastSeen, expires),
    destroy: (key, until, options) => store.destroy(key, until, options),
    close: () => store.close(),
  }
}

const METHODS = ['load', 'create', 'update', 'touch', 'destroy'] as const

/** The store, with each operation on a session, or on those of a user, performed by `around`. */
function intercepted(
  store: Store,
  around: <T>(name: string, perform: () => Promise<T>, first?: unknown) => Promise<T>,
): Store {
  const methods = METHODS.map((name) => {
    const method = store[name].bind(store) as (...args: unknown[]) => Promise<unknown>
    return [name, (...args: unknown[]) => around(name, () => method(...args), args[0])]
  })
  const index = ({ list, destroy }: NonNullable<Store['users']>): Store['users'] => ({
    list: (...args) => around('list', () => list(...args)),
    destroy: (...args) => around('destroy', () => destroy(...args)),
  })
  return {
    name: store.name,
    compareAndSet: store.compareAndSet,
    users: store.users && index(store.users),
    externalIds: store.externalIds && index(store.externalIds),
    scan: store.scan && ((...args) => around('scan', () => store.scan!(...args))),
    sweep: store.sweep?.bind(store),
    ...Object.fromEntries(methods),
  }
}

function watched() {
  const [from, to] = [memoryStore(), memoryStore()]
  let asked: string[] = []
  const watch = (store: Store, side: string) =>
    intercepted(store, (name, perform) => {
      asked.push(`${side} ${name}`)
      return perform()
    })
  return {
    from,
    store: migratingStore({ from: watch(from, 'from'), to: watch(to, 'to') }),
    asked() {
      const before = asked
      asked = []
      return before
    },
  }
}

async function fill(store: Store, count: number): Promise<string[]> {
  const keys = [...Array(count).keys()].map((i) => `key-${i}`).sort()
  for (const key of keys) await store.create(key, record('1.a', { user: key, text: '0' }))
  return keys
}

async function keysOf(
  next: (cursor: string | undefined) => ReturnType<NonNullable<Store['scan']>>,
): Promise<string[]> {
  const keys: string[] = []
  let cursor: string | undefined
  do {
    const page = await next(cursor)
    for (const [key] of page.items) keys.push(key)
    cursor = page.cursor
  } while (cursor !== undefined)
  return keys.sort()
}

interface Worker {
  readonly child: ChildProcess
  readonly reports: Report[]
  readonly failures: string[]
}

async function startWorker(config: unknown, keys: readonly string[]): Promise<Worker> {
  const file = new URL('./openers/migrating-worker.ts', import.meta.url)
  const child = fork(file, [JSON.stringify(config), JSON.stringify(keys)], { execArgv: ['--import', 'tsx'] })
  const reports: Report[] = []
  const failures: string[] = []
  child.on('message', (report: Report) => {
    reports.push(report)
    if ('failure' in report) failures.push(report.failure)
  })
  await once(child, 'message')
  return { child, reports, failures }
}

async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close')
  child.kill('SIGKILL')
  await closed
}

/** What goes on behind an answer has been done. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0))
}

function record(rev: string, fields: Partial<StoredRecord> = {}): StoredRecord {
  const { user, externalId, ...rest } = fields
  const owned = {
    ...(user !== undefined && { user }),
    ...(externalId !== undefined && { externalId }),
  }
  return { rev, text: '0', lastSeen: 0, expires: 3_000_000_000_000, ...owned, ...rest }
}

function newPath(): string {
  return join(mkdtempSync(join(root, 'test-')), 'sessions')
}
