import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { isTombstone, NEVER, type Page, type SessionIndex, type Store, type StoredRecord } from '../store.ts'
import type { Answer, Order, Task } from './store-worker.ts'

/** What a store can leave out, and says so by leaving it out. */
export type OptionalCapability = 'compareAndSet' | 'users' | 'externalIds' | 'scan' | 'sweep'

/** A store as the suite needs it. */
export interface StoreUnderTest {
  /** Shown in the names of the tests. */
  readonly name: string
  /**
   * Opens a fresh, empty store. `config` is what another process needs to open the same one (JSON). After each test
   * the store is closed, then `dispose` is called.
   */
  open(): Promise<{ store: Store; config?: unknown; dispose?: () => Promise<void> }>
  /**
   * For stores that several processes share: the URL of a module whose default export, a `StoreOpener`, opens the
   * store again from `config`. With it, races between processes are tested.
   */
  readonly opener?: string
  /** What this store cannot do. None by default. Its absence is then asserted, so a store that learns it must say so. */
  readonly lacks?: readonly OptionalCapability[]
}

/** Opens, in another process, the store that `config` describes. That process is killed at the end of the test. */
export type StoreOpener = (config: unknown) => Store | Promise<Store>

/** The two functions of a test runner that the suite needs. Those of vitest, jest and `node:test` fit. */
export interface Runner {
  describe(name: string, body: () => void): void
  it(name: string, body: () => Promise<void>, timeout?: number): void
}

/** For races between processes on a busy machine; a test alone takes a second or two. */
const TIMEOUT = 60_000

/**
 * Defines the tests that every store must pass: one for each line of the `Store` contract.
 *
 * @example
 * import { storeSuite } from 'holdfast/testing'
 * import { describe, it } from 'vitest'
 *
 * storeSuite({ describe, it }, { name: 'mine', open: async () => ({ store: myStore() }) })
 */
export function storeSuite(runner: Runner, underTest: StoreUnderTest): void {
  const lacks = new Set(underTest.lacks)
  const suite: Suite = {
    group: (name, body) => runner.describe(name, body),
    test(name, body) {
      runner.it(
        name,
        async () => {
          const opened = await underTest.open()
          try {
            await body(opened.store, opened.config)
          } finally {
            await opened.store.close?.()
            await opened.dispose?.()
          }
        },
        TIMEOUT,
      )
    },
  }

  suite.group(`${underTest.name}: the store contract`, () => {
    recordTests(suite)
    touchTests(suite)
    destroyTests(suite)
    copyTests(suite)
    for (const kind of INDEXES) {
      if (!lacks.has(kind.capability)) indexTests(suite, kind)
      else says(suite, `it cannot list by ${kind.noun}`, (store) => kind.of(store))
    }
    if (!lacks.has('scan')) scanTests(suite)
    else says(suite, 'it cannot scan', (store) => store.scan)
    if (!lacks.has('sweep')) sweepTests(suite, lacks)
    else says(suite, 'its server expires by itself', (store) => store.sweep)
    if (!lacks.has('compareAndSet')) raceTests(suite, lacks)
    else says(suite, 'it cannot compare and set', (store) => store.compareAndSet || undefined)
    if (underTest.opener !== undefined) processTests(suite, underTest.opener, lacks)
  })
}

interface Suite {
  group(name: string, body: () => void): void
  test(name: string, body: (store: Store, config: unknown) => Promise<void>): void
}

function says(suite: Suite, what: string, capability: (store: Store) => unknown): void {
  suite.test(`says that ${what}`, async (store) => assert.equal(capability(store), undefined))
}

// ---- create, load and update ----

function recordTests({ group, test }: Suite): void {
  group('create, load and update', () => {
    test('has a name, and says whether it compares and sets', async (store) => {
      assert.ok(store.name.length > 0)
      assert.equal(typeof store.compareAndSet, 'boolean')
    })

    test('finds nothing under an unknown key', async (store) => {
      assert.equal(await store.load(newKey()), undefined)
      assert.equal(await store.load(newKey(), { fresh: true }), undefined)
    })

    test('gives back what was created', async (store) => {
      const key = newKey()
      const made = record()
      assert.equal(await store.create(key, made), true)
      await assertHolds(store, key, made)
      assertSame(await store.load(key, { fresh: true }), made)
    })

    test('keeps user and external id, each present or absent', async (store) => {
      for (const fields of [
        { user: 'ada' },
        { externalId: 'sid-1' },
        { user: 'ada', externalId: 'sid-2' },
        {},
      ]) {
        const key = newKey()
        const made = record(fields)
        await store.create(key, made)
        await assertHolds(store, key, made)
      }
    })

    test('takes an undefined user and external id as absent', async (store) => {
      const key = newKey()
      const made = record({ user: undefined, externalId: undefined })
      await store.create(key, made)
      await assertHolds(store, key, made)
      if (store.users) assert.deepEqual(await listAll(store.users, 'undefined'), [])
      if (store.externalIds) assert.deepEqual(await listAll(store.externalIds, 'undefined'), [])
    })

    test('keeps any text to the character', async (store) => {
      for (const text of ODD_TEXTS) {
        const key = newKey()
        const made = record({ text })
        await store.create(key, made)
        await assertHolds(store, key, made)
        const next = record({ text: `${text}${text}` })
        assert.equal(await store.update(key, next, made.rev), 'ok')
        await assertHolds(store, key, next)
      }
    })

    test('keeps a text of a megabyte', async (store) => {
      const key = newKey()
      const made = record({ text: 'läng/"'.repeat(150_000) })
      await store.create(key, made)
      await assertHolds(store, key, made)
    })

    test('keeps the longest revision and the last time', async (store) => {
      const key = newKey()
      const made = record({
        rev: `1.${'~!@#$%^&*()_+-={}[]|:;<>?,./ \'"`'}aZ09`.padEnd(40, '.'),
        expires: NEVER,
      })
      assert.equal(made.rev.length, 40)
      await store.create(key, made)
      await assertHolds(store, key, made)
      assert.equal(await store.update(key, record({ rev: '2' }), made.rev), 'ok')
    })

    test('accepts `durable` on every write that has it', async (store) => {
      const [key, made, next] = [newKey(), record(), record()]
      assert.equal(await store.create(key, made, { durable: true }), true)
      assert.equal(await store.update(key, next, made.rev, { durable: true }), 'ok')
      await assertHolds(store, key, next)
      assert.equal(await store.destroy(key, inAnHour(), { durable: true }), true)
      await assertDestroyed(store, key)
    })

    test('never creates over a record', async (store) => {
      const [key, first] = [newKey(), record({ user: 'ada', externalId: 'sid-1' })]
      await store.create(key, first)
      assert.equal(await store.create(key, record({ user: 'bob', externalId: 'sid-2' })), false)
      await assertHolds(store, key, first)
      await assertIndexed(store, { user: 'ada', externalId: 'sid-1' }, [key])
      await assertIndexed(store, { user: 'bob', externalId: 'sid-2' }, [])
    })

    test('never creates over a tombstone', async (store) => {
      const [key, until] = [newKey(), inAnHour()]
      await store.create(key, record())
      await store.destroy(key, until)
      assert.equal(await store.create(key, record({ user: 'ada', externalId: 'sid-1' })), false)
      await assertDestroyed(store, key, until)
      await assertIndexed(store, { user: 'ada', externalId: 'sid-1' }, [])
    })

    test('keeps keys apart that differ only in the case of a letter', async (store) => {
      const tail = newKey().slice('id:a'.length)
      const [lower, upper] = [`id:a${tail}`, `id:A${tail}`]
      const [one, other] = [record({ text: 'lower' }), record({ text: 'upper' })]
      assert.equal(await store.create(lower, one), true)
      assert.equal(await store.load(upper), undefined)
      assert.equal(await store.create(upper, other), true)
      await store.destroy(lower, inAnHour())
      await assertDestroyed(store, lower)
      await assertHolds(store, upper, other)
    })

    test('keeps keys apart that differ only in their prefix', async (store) => {
      const tail = randomTail()
      const [one, other] = [record(), record()]
      assert.equal(await store.create(`id:${tail}`, one), true)
      assert.equal(await store.create(`admin:${tail}`, other), true)
      await assertHolds(store, `id:${tail}`, one)
      await assertHolds(store, `admin:${tail}`, other)
    })

    test('replaces the whole record if the revision is the expected one', async (store) => {
      const [key, first] = [newKey(), record({ text: 'long before', user: 'ada', externalId: 'sid-1' })]
      await store.create(key, first)
      const next = record({ text: 'x', lastSeen: first.lastSeen - 5000, expires: first.expires - 5000 })
      assert.equal(await store.update(key, next, first.rev), 'ok')
      await assertHolds(store, key, next)
    })

    test('refuses an update with another revision, and changes nothing', async (store) => {
      const [key, first] = [newKey(), record({ rev: '7.abc', user: 'ada', externalId: 'sid-1' })]
      await store.create(key, first)
      for (const stale of ['7.ABC', '7', '07.abc', '7.abc ', '6.abc', "' or '1'='1"]) {
        const result = await store.update(key, record({ user: 'bob', externalId: 'sid-2' }), stale)
        assert.equal(result, 'conflict', `expecting ${JSON.stringify(stale)}`)
      }
      await assertHolds(store, key, first)
      await assertIndexed(store, { user: 'ada', externalId: 'sid-1' }, [key])
      await assertIndexed(store, { user: 'bob', externalId: 'sid-2' }, [])
    })

    test('compares revisions as text, not as numbers', async (store) => {
      const [key, first] = [newKey(), record({ rev: '1' })]
      await store.create(key, first)
      for (const equalNumber of ['01', '1.0', '1e0', ' 1']) {
        assert.equal(await store.update(key, record(), equalNumber), 'conflict')
      }
      await assertHolds(store, key, first)
    })

    test('a second update that expects the same revision is a conflict', async (store) => {
      const [key, first, second] = [newKey(), record(), record()]
      await store.create(key, first)
      assert.equal(await store.update(key, second, first.rev), 'ok')
      assert.equal(await store.update(key, record(), first.rev), 'conflict')
      await assertHolds(store, key, second)
    })

    test('an update of what is absent is gone, and creates nothing', async (store) => {
      const key = newKey()
      assert.equal(await store.update(key, record({ user: 'ada', externalId: 'sid-1' }), 'r'), 'gone')
      assert.equal(await store.load(key), undefined)
      await assertIndexed(store, { user: 'ada', externalId: 'sid-1' }, [])
    })
  })
}

// ---- touch ----

function touchTests({ group, test }: Suite): void {
  group('touch', () => {
    test('moves both times forward, and nothing else', async (store) => {
      const [key, made] = [newKey(), record({ text: 'kept', user: 'ada', externalId: 'sid-1' })]
      await store.create(key, made)
      assert.equal(await store.touch(key, made.lastSeen + 1000, made.expires + 2000), true)
      await assertHolds(store, key, { ...made, lastSeen: made.lastSeen + 1000, expires: made.expires + 2000 })
      await assertIndexed(store, { user: 'ada', externalId: 'sid-1' }, [key])
    })

    test('never moves either time back, each on its own', async (store) => {
      const [key, made] = [newKey(), record()]
      await store.create(key, made)
      assert.equal(await store.touch(key, made.lastSeen + 1000, made.expires - 1000), true)
      await assertHolds(store, key, { ...made, lastSeen: made.lastSeen + 1000 })
      assert.equal(await store.touch(key, made.lastSeen, made.expires + 1000), true)
      const latest = { ...made, lastSeen: made.lastSeen + 1000, expires: made.expires + 1000 }
      await assertHolds(store, key, latest)
      assert.equal(await store.touch(key, made.lastSeen, made.expires), true)
      await assertHolds(store, key, latest)
    })

    test('may move the end to never', async (store) => {
      const [key, made] = [newKey(), record()]
      await store.create(key, made)
      assert.equal(await store.touch(key, made.lastSeen, NEVER), true)
      await assertHolds(store, key, { ...made, expires: NEVER })
    })

    test('never creates', async (store) => {
      const key = newKey()
      assert.equal(await store.touch(key, Date.now(), inAnHour()), false)
      assert.equal(await store.load(key), undefined)
    })

    test('never revives a destroyed session', async (store) => {
      const [key, until] = [newKey(), inAnHour()]
      await store.create(key, record())
      await store.destroy(key, until)
      assert.equal(await store.touch(key, Date.now() + 1000, until + 1000), false)
      await assertDestroyed(store, key, until)
    })

    test('between load and update causes no conflict, and the update replaces its times', async (store) => {
      const [key, made] = [newKey(), record()]
      await store.create(key, made)
      await store.touch(key, made.lastSeen + 5000, made.expires + 5000)
      const next = record({ lastSeen: made.lastSeen + 1000, expires: made.expires + 1000 })
      assert.equal(await store.update(key, next, made.rev), 'ok')
      await assertHolds(store, key, next)
    })
  })
}

// ---- destroy ----

function destroyTests({ group, test }: Suite): void {
  group('destroy', () => {
    test('leaves a tombstone with the time that was given', async (store) => {
      const [key, until] = [newKey(), inAnHour() + 12_345]
      await store.create(key, record())
      assert.equal(await store.destroy(key, until), true)
      await assertDestroyed(store, key, until)
      assert.ok(isTombstone(await store.load(key, { fresh: true })))
    })

    test('a second one is false and does not move the time', async (store) => {
      const [key, until] = [newKey(), inAnHour()]
      await store.create(key, record())
      await store.destroy(key, until)
      assert.equal(await store.destroy(key, until + 5000), false)
      assert.equal(await store.destroy(key, until - 5000), false)
      await assertDestroyed(store, key, until)
    })

    test('of what is absent is false and leaves nothing', async (store) => {
      const [key, made] = [newKey(), record()]
      assert.equal(await store.destroy(key, inAnHour()), false)
      assert.equal(await store.load(key), undefined)
      assert.equal(await store.create(key, made), true)
      await assertHolds(store, key, made)
    })

    test('is final: no update, touch or create gets past', async (store) => {
      const [key, until, made] = [newKey(), inAnHour(), record({ user: 'ada', externalId: 'sid-1' })]
      await store.create(key, made)
      await store.destroy(key, until)
      assert.equal(await store.update(key, record({ user: 'ada' }), made.rev), 'gone')
      assert.equal(await store.update(key, record(), ''), 'gone')
      assert.equal(await store.touch(key, made.lastSeen + 1000, NEVER), false)
      assert.equal(await store.create(key, made), false)
      await assertDestroyed(store, key, until)
      await assertIndexed(store, { user: 'ada', externalId: 'sid-1' }, [])
    })

    test('ends one session only', async (store) => {
      const [key, neighbour, made] = [newKey(), newKey(), record({ user: 'ada' })]
      await store.create(key, record({ user: 'ada' }))
      await store.create(neighbour, made)
      await store.destroy(key, inAnHour())
      await assertHolds(store, neighbour, made)
    })
  })
}

// ---- copies ----

function copyTests({ group, test }: Suite): void {
  group('copies', () => {
    test('keeps its own copy of what was passed', async (store) => {
      const [key, created] = [newKey(), record({ user: 'ada' })]
      const passed = { ...created }
      await store.create(key, passed)
      spoil(passed)
      await assertHolds(store, key, created)
      const updated = record({ user: 'ada' })
      const passedAgain = { ...updated }
      await store.update(key, passedAgain, created.rev)
      spoil(passedAgain)
      await assertHolds(store, key, updated)
    })

    test('hands out a copy of what it keeps', async (store) => {
      const [key, made] = [newKey(), record({ user: 'ada', externalId: 'sid-1' })]
      await store.create(key, made)
      spoil(await store.load(key))
      for (const index of [store.users, store.externalIds]) {
        for (const value of ['ada', 'sid-1']) {
          for (const [, listed] of (await index?.list(value))?.items ?? []) spoil(listed)
        }
      }
      for (const [, scanned] of (await store.scan?.(undefined, 10))?.items ?? []) spoil(scanned)
      await assertHolds(store, key, made)
    })

    test('hands out a copy of a tombstone', async (store) => {
      const [key, until] = [newKey(), inAnHour()]
      await store.create(key, record())
      await store.destroy(key, until)
      spoil(await store.load(key))
      await assertDestroyed(store, key, until)
    })
  })
}

// ---- users and external ids ----

interface IndexKind {
  readonly capability: 'users' | 'externalIds'
  readonly noun: string
  of(store: Store): SessionIndex | undefined
  carrying(value: string): Partial<StoredRecord>
}

const INDEXES: readonly IndexKind[] = [
  { capability: 'users', noun: 'user', of: (store) => store.users, carrying: (value) => ({ user: value }) },
  {
    capability: 'externalIds',
    noun: 'external id',
    of: (store) => store.externalIds,
    carrying: (value) => ({ externalId: value }),
  },
]

function indexTests({ group, test }: Suite, { noun, of, carrying, capability }: IndexKind): void {
  const indexOf = (store: Store): SessionIndex => {
    const index = of(store)
    assert.ok(index, `the store has no ${capability}; if it cannot have them, say so in \`lacks\``)
    return index
  }

  group(`by ${noun}`, () => {
    test(`lists the records of one ${noun}, and no others`, async (store) => {
      const index = indexOf(store)
      const made = record(carrying('ada'))
      const [key, second] = [newKey(), newKey()]
      await store.create(key, made)
      await store.create(second, record(carrying('ada')))
      await store.create(newKey(), record(carrying('bob')))
      await store.create(newKey(), record())
      const items = await listAll(index, 'ada')
      assert.deepEqual(items.map(([listed]) => listed).sort(), [key, second].sort())
      assertSame(items.find(([listed]) => listed === key)?.[1], made)
      assert.deepEqual(await listAll(index, 'nobody'), [])
    })

    test('lists times as moved by a touch', async (store) => {
      const [key, made] = [newKey(), record(carrying('ada'))]
      await store.create(key, made)
      await store.touch(key, made.lastSeen + 1000, made.expires + 2000)
      const [item] = await listAll(indexOf(store), 'ada')
      assertSame(item?.[1], { ...made, lastSeen: made.lastSeen + 1000, expires: made.expires + 2000 })
    })

    test('lists page by page, each record once', async (store) => {
      const index = indexOf(store)
      const keys = await createMany(store, 25, carrying('ada'))
      for (const limit of [1, 10, 25, 100]) {
        const items = await listAll(index, 'ada', limit)
        assert.deepEqual(items.map(([key]) => key).sort(), keys)
      }
    })

    test('an update moves a record to another, to none and back', async (store) => {
      const index = indexOf(store)
      const key = newKey()
      let rev = ''
      const move = async (fields: Partial<StoredRecord>) => {
        const next = record(fields)
        assert.equal(await store.update(key, next, rev), 'ok')
        rev = next.rev
      }
      const first = record()
      await store.create(key, first)
      rev = first.rev
      for (const [value, was] of [
        ['ada', 'bob'],
        ['bob', 'ada'],
      ] as const) {
        await move(carrying(value))
        assert.deepEqual(await listedKeys(index, value), [key])
        assert.deepEqual(await listedKeys(index, was), [])
        assert.equal(await index.destroy(was, inAnHour()), 0)
      }
      await move({})
      assert.deepEqual(await listedKeys(index, 'bob'), [])
      assert.equal(await index.destroy('bob', inAnHour()), 0)
      await move(carrying('bob'))
      await move(carrying('bob'))
      assert.deepEqual(await listedKeys(index, 'bob'), [key])
    })

    test('lists no destroyed record', async (store) => {
      const index = indexOf(store)
      const [key, kept] = [newKey(), newKey()]
      await store.create(key, record(carrying('ada')))
      await store.create(kept, record(carrying('ada')))
      await store.destroy(key, inAnHour())
      assert.deepEqual(await listedKeys(index, 'ada'), [kept])
    })

    test('a record destroyed between two pages hides no other', async (store) => {
      const index = indexOf(store)
      const keys = await createMany(store, 30, carrying('ada'))
      const seen: string[] = []
      let cursor: string | undefined
      do {
        const page: Page = await index.list('ada', { limit: 7, cursor })
        for (const [key] of page.items) {
          seen.push(key)
          await store.destroy(key, inAnHour())
        }
        cursor = page.cursor
        assert.ok(seen.length <= keys.length, 'a destroyed record was listed again')
      } while (cursor !== undefined)
      assert.deepEqual(seen.sort(), keys)
    })

    test(`destroys the records of one ${noun}, says how many, and leaves tombstones`, async (store) => {
      const index = indexOf(store)
      const until = inAnHour() + 777
      const keys = await createMany(store, 5, carrying('ada'))
      const [others, nobodys] = [record(carrying('bob')), record()]
      const [other, nobody] = [newKey(), newKey()]
      await store.create(other, others)
      await store.create(nobody, nobodys)
      assert.equal(await index.destroy('ada', until, { durable: true }), 5)
      for (const key of keys) await assertDestroyed(store, key, until)
      await assertHolds(store, other, others)
      await assertHolds(store, nobody, nobodys)
      assert.deepEqual(await listAll(index, 'ada'), [])
      assert.equal(await index.destroy('ada', until + 1), 0)
      for (const key of keys) {
        await assertDestroyed(store, key, until)
        assert.equal(await store.create(key, record(carrying('ada'))), false)
      }
    })

    test('destroys all but one', async (store) => {
      const index = indexOf(store)
      const keys = await createMany(store, 5, carrying('ada'))
      const except = keys[2] as string
      assert.equal(await index.destroy('ada', inAnHour(), { except }), 4)
      assert.deepEqual(await listedKeys(index, 'ada'), [except])
      const stranger = newKey()
      assert.equal(await index.destroy('ada', inAnHour(), { except: stranger }), 1)
      assert.equal(await store.load(stranger), undefined)
    })

    test('destroys more than a page', async (store) => {
      const index = indexOf(store)
      const keys = await createMany(store, 250, carrying('ada'))
      assert.equal(await index.destroy('ada', inAnHour()), 250)
      for (const key of keys) await assertDestroyed(store, key)
    })

    test('values are exact, whatever characters they hold', async (store) => {
      const index = indexOf(store)
      const owned = new Map<string, string>()
      for (const value of ODD_VALUES) {
        const key = newKey()
        owned.set(value, key)
        assert.equal(await store.create(key, record(carrying(value))), true)
      }
      for (const [value, key] of owned) {
        assert.deepEqual(await listedKeys(index, value), [key], `listed for ${JSON.stringify(value)}`)
      }
      for (const [value, key] of owned) {
        assert.equal(await index.destroy(value, inAnHour()), 1, `destroyed for ${JSON.stringify(value)}`)
        await assertDestroyed(store, key)
        owned.delete(value)
        for (const left of owned.values()) assert.ok(!isTombstone(await store.load(left)))
      }
    })
  })
}

// ---- scan ----

function scanTests({ group, test }: Suite): void {
  group('scan', () => {
    const scan = (store: Store, cursor: string | undefined, limit: number): Promise<Page> => {
      assert.ok(store.scan, 'the store has no scan; if it cannot have one, say so in `lacks`')
      return store.scan(cursor, limit)
    }

    test('of an empty store finds nothing and ends', async (store) => {
      assert.deepEqual(await pages((cursor) => scan(store, cursor, 10)), [])
    })

    test('covers every record, whatever the size of a page', async (store) => {
      const keys = await createMany(store, 60)
      for (const limit of [1, 7, 60, 1000]) {
        const seen = new Set<string>()
        for (const page of await pages((cursor) => scan(store, cursor, limit))) {
          assert.ok(page.items.length <= limit, `${page.items.length} items on a page of ${limit}`)
          for (const [key] of page.items) seen.add(key)
        }
        assert.deepEqual([...seen].sort(), keys)
      }
    })

    test('gives the records as they are, and no tombstones', async (store) => {
      const [key, gone, made] = [
        newKey(),
        newKey(),
        record({ text: 'scanned', user: 'ada', externalId: 's' }),
      ]
      await store.create(key, made)
      await store.create(gone, record())
      await store.destroy(gone, inAnHour())
      await store.touch(key, made.lastSeen + 1, made.expires + 2)
      const items = (await pages((cursor) => scan(store, cursor, 10))).flatMap((page) => page.items)
      assert.deepEqual([...new Set(items.map(([found]) => found))], [key])
      assertSame(items[0]?.[1], { ...made, lastSeen: made.lastSeen + 1, expires: made.expires + 2 })
    })

    test('misses none that stays, while others come and go', async (store) => {
      const keys = await createMany(store, 60)
      const staying = keys.filter((_, i) => i % 2 === 0)
      const leaving = keys.filter((_, i) => i % 2 === 1)
      const seen = new Set<string>()
      await pages(async (cursor) => {
        const page = await scan(store, cursor, 5)
        for (const [key] of page.items) seen.add(key)
        const next = leaving.pop()
        if (next !== undefined) await store.destroy(next, inAnHour())
        if (leaving.length % 3 === 0 && next !== undefined) await store.create(newKey(), record())
        return page
      })
      for (const key of staying) assert.ok(seen.has(key), `${key} was never scanned`)
    })
  })
}

// ---- sweep ----

function sweepTests({ group, test }: Suite, lacks: ReadonlySet<OptionalCapability>): void {
  group('sweep', () => {
    const sweep = (store: Store, now: number, limit: number): Promise<number> => {
      assert.ok(store.sweep, 'the store has no sweep; if its server expires by itself, say so in `lacks`')
      return store.sweep(now, limit)
    }
    // Ahead of the real time, so that no store has a reason of its own to collect.
    const now = inAnHour()

    test('of an empty store removes nothing', async (store) => {
      assert.equal(await sweep(store, now, 100), 0)
    })

    test('removes what has expired by then, and only that', async (store) => {
      const [before, at, after, never] = [newKey(), newKey(), newKey(), newKey()]
      await store.create(before, record({ expires: now - 1 }))
      await store.create(at, record({ expires: now }))
      const [later, forever] = [record({ expires: now + 1 }), record({ expires: NEVER })]
      await store.create(after, later)
      await store.create(never, forever)
      assert.equal(await sweep(store, now, 100), 2)
      assert.equal(await store.load(before), undefined)
      assert.equal(await store.load(at), undefined)
      await assertHolds(store, after, later)
      await assertHolds(store, never, forever)
      assert.equal(await sweep(store, NEVER - 1, 100), 1)
      await assertHolds(store, never, forever)
    })

    test('removes a tombstone at its time, not at that of the record', async (store) => {
      const [before, at, after] = [newKey(), newKey(), newKey()]
      for (const [key, until] of [
        [before, now - 1],
        [at, now],
        [after, now + 1],
      ] as const) {
        await store.create(key, record({ expires: key === after ? now - 1000 : now + 1000 }))
        await store.destroy(key, until)
      }
      assert.equal(await sweep(store, now, 100), 2)
      assert.equal(await store.load(before), undefined)
      assert.equal(await store.load(at), undefined)
      await assertDestroyed(store, after, now + 1)
    })

    test('goes by the times as moved by touch and update', async (store) => {
      const [touched, updated, shortened] = [newKey(), newKey(), newKey()]
      const [first, second, third] = [
        record({ expires: now - 1 }),
        record({ expires: now - 1 }),
        record({ expires: now + 1 }),
      ]
      await store.create(touched, first)
      await store.create(updated, second)
      await store.create(shortened, third)
      await store.touch(touched, first.lastSeen, now + 1)
      const next = record({ expires: now + 1 })
      await store.update(updated, next, second.rev)
      await store.update(shortened, record({ expires: now - 1 }), third.rev)
      assert.equal(await sweep(store, now, 100), 1)
      await assertHolds(store, touched, { ...first, expires: now + 1 })
      await assertHolds(store, updated, next)
      assert.equal(await store.load(shortened), undefined)
    })

    test('removes no more than its limit, and fewer only when none are left', async (store) => {
      const kept = await createMany(store, 5)
      await createMany(store, 10, { expires: now - 1 })
      assert.equal(await sweep(store, now - 1, 4), 4)
      assert.equal(await sweep(store, now - 1, 4), 4)
      assert.equal(await sweep(store, now - 1, 4), 2)
      assert.equal(await sweep(store, now - 1, 4), 0)
      for (const key of kept) assert.notEqual(await store.load(key), undefined)
    })

    test('frees the key, and cleans user and external id', async (store) => {
      const [key, destroyed] = [newKey(), newKey()]
      const fields = { user: 'ada', externalId: 'sid-1' }
      await store.create(key, record({ ...fields, expires: now - 1 }))
      await store.create(destroyed, record(fields))
      await store.destroy(destroyed, now - 1)
      assert.equal(await sweep(store, now, 100), 2)
      await assertIndexed(store, fields, [])
      assert.equal(await store.users?.destroy('ada', now), lacks.has('users') ? undefined : 0)
      const again = record()
      assert.equal(await store.create(key, again), true)
      assert.equal(await store.create(destroyed, record()), true)
      await assertIndexed(store, fields, [])
      await assertHolds(store, key, again)
    })

    test('two at once remove each record once', async (store) => {
      const kept = await createMany(store, 20)
      await createMany(store, 40, { expires: now - 1, user: 'ada' })
      const removed = await Promise.all([sweep(store, now - 1, 100), sweep(store, now - 1, 100)])
      assert.equal(removed[0] + removed[1], 40)
      for (const key of kept) assert.notEqual(await store.load(key), undefined)
    })

    if (lacks.has('compareAndSet')) return
    test('never removes what a touch or an update has just prolonged', async (store) => {
      const keys = await createMany(store, 60, { expires: now - 1, rev: 'first' })
      const prolong = async (key: string, i: number): Promise<boolean> => {
        await sleep(i % 4)
        if (i % 2 === 0) return store.touch(key, Date.now(), now + 1000)
        return (await store.update(key, record({ expires: now + 1000 }), 'first')) === 'ok'
      }
      const [, ...prolonged] = await Promise.all([sweep(store, now, 100), ...keys.map(prolong)])
      for (const [i, key] of keys.entries()) {
        assert.equal((await store.load(key)) !== undefined, prolonged[i], `record ${i}`)
      }
    })
  })
}

// ---- races in one process ----

function raceTests({ group, test }: Suite, lacks: ReadonlySet<OptionalCapability>): void {
  group('races in one process', () => {
    test('says that it compares and sets', async (store) => assert.equal(store.compareAndSet, true))

    test('of 50 creations of one key, one succeeds', async (store) => {
      const key = newKey()
      const records = Array.from({ length: 50 }, (_, i) => record({ user: `user ${i}` }))
      const results = await Promise.all(records.map((made) => store.create(key, made)))
      assert.equal(results.filter(Boolean).length, 1)
      const winner = records[results.indexOf(true)] as StoredRecord
      await assertHolds(store, key, winner)
      for (const { user } of records) await assertIndexed(store, { user }, user === winner.user ? [key] : [])
    })

    test('of 50 updates that expect one revision, one succeeds', async (store) => {
      const [key, first] = [newKey(), record()]
      await store.create(key, first)
      const records = Array.from({ length: 50 }, (_, i) => record({ user: `user ${i}` }))
      const results = await Promise.all(records.map((next) => store.update(key, next, first.rev)))
      assert.equal(results.filter((result) => result === 'ok').length, 1)
      assert.equal(results.filter((result) => result === 'conflict').length, 49)
      const winner = records[results.indexOf('ok')] as StoredRecord
      await assertHolds(store, key, winner)
      for (const { user } of records) await assertIndexed(store, { user }, user === winner.user ? [key] : [])
    })

    test('eight loops that count lose nothing', async (store) => {
      const key = newKey()
      await store.create(key, record({ text: '0' }))
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          for (let i = 0; i < 25; i++) await increment(store, key)
        }),
      )
      assert.equal(textOf(await store.load(key)), '200')
    })

    test('touches beside a counting loop cause no conflict and lose nothing', async (store) => {
      const [key, first] = [newKey(), record({ text: '0' })]
      await store.create(key, first)
      let conflicts = 0
      await Promise.all([
        (async () => {
          for (let i = 0; i < 50; i++) conflicts += await increment(store, key)
        })(),
        ...Array.from({ length: 50 }, (_, i) => store.touch(key, first.lastSeen + i, first.expires + i)),
      ])
      assert.equal(conflicts, 0)
      assert.equal(textOf(await store.load(key)), '50')
    })

    test('of ten destructions one is true, and no update beside them survives', async (store) => {
      for (let round = 0; round < 10; round++) {
        const [key, until, first] = [newKey(), inAnHour(), record({ user: 'ada', externalId: 'sid-1' })]
        await store.create(key, first)
        const update = () => store.update(key, record({ user: 'ada', externalId: 'sid-1' }), first.rev)
        const touch = () => store.touch(key, first.lastSeen + 1, first.expires + 1)
        const destroy = () => store.destroy(key, until)
        const early = [update(), touch()]
        const destroyed = Array.from({ length: 10 }, destroy)
        const late = [update(), touch(), store.create(key, record())]
        await Promise.all([...early, ...late])
        assert.equal((await Promise.all(destroyed)).filter(Boolean).length, 1)
        await assertDestroyed(store, key, until)
        await assertIndexed(store, { user: 'ada', externalId: 'sid-1' }, [])
      }
    })

    for (const { noun, capability, of, carrying } of INDEXES) {
      if (lacks.has(capability)) continue
      test(`destroying by ${noun} spares a record that has just gone to another`, async (store) => {
        const keys = await createMany(store, 40, { ...carrying('ada'), rev: 'first' })
        const leave = async (key: string, i: number) => {
          await sleep(i % 4)
          return store.update(key, record(carrying('bob')), 'first')
        }
        const [count, ...left] = await Promise.all([
          of(store)?.destroy('ada', inAnHour()),
          ...keys.map(leave),
        ])
        for (const [i, key] of keys.entries()) {
          const alive = !isTombstone(await store.load(key))
          assert.equal(left[i], alive ? 'ok' : 'gone', `record ${i}`)
        }
        const survivors = keys.filter((_, i) => left[i] === 'ok')
        assert.equal(count, keys.length - survivors.length)
        await assertIndexed(store, carrying('bob'), survivors)
        await assertIndexed(store, carrying('ada'), [])
      })
    }
  })
}

// ---- races between processes ----

function processTests({ group, test }: Suite, opener: string, lacks: ReadonlySet<OptionalCapability>): void {
  group('races between processes', () => {
    test('four that count lose nothing', async (store, config) => {
      const key = newKey()
      await store.create(key, record({ text: '0' }))
      await withWorkers(4, opener, config, async (workers) => {
        await Promise.all(workers.map((worker) => worker.run({ do: 'increment', key, times: 100 })))
      })
      assert.equal(textOf(await store.load(key, { fresh: true })), '400')
    })

    test('four that create the same keys create each once', async (store, config) => {
      const keys = Array.from({ length: 50 }, newKey)
      await withWorkers(4, opener, config, async (workers) => {
        const created = await Promise.all(workers.map((worker) => worker.run({ do: 'create', keys })))
        assert.deepEqual(created.flat().sort(), [...keys].sort())
      })
      for (const key of keys) assert.ok(await store.load(key, { fresh: true }))
    })

    test('nothing destroyed comes back, however it is updated and touched meanwhile', async (store, config) => {
      const keys = await createMany(store, 20, { user: 'ada', externalId: 'sid-1' })
      await withWorkers(4, opener, config, async ([destroyer, ...updaters]) => {
        const updated = updaters.map((worker) => worker.run({ do: 'updateUntilGone', keys }))
        await destroyer?.run({ do: 'destroy', keys, everyMs: 5 })
        // A record that came back would be updated for ever; what is found below says it better than a timeout.
        await Promise.race([Promise.all(updated), sleep(3000, undefined, { ref: false })])
      })
      for (const key of keys) {
        await assertDestroyed(store, key)
        assert.equal(await store.create(key, record()), false)
      }
      await assertIndexed(store, { user: 'ada', externalId: 'sid-1' }, [])
    })

    test('a process killed amid its updates neither locks nor damages a record', async (store, config) => {
      const key = newKey()
      await store.create(key, record({ text: '0', user: 'ada' }))
      for (const delay of [0, 17, 41]) {
        await withWorkers(1, opener, config, async ([victim]) => {
          assert.ok(victim)
          await victim.run({ do: 'updateForever', key })
          await sleep(delay)
          await victim.kill()
        })
        const start = performance.now()
        const before = textOf(await store.load(key, { fresh: true }))
        await increment(store, key)
        const took = performance.now() - start
        assert.ok(took < 2000, `the next update took ${Math.round(took)} ms`)
        assert.match(before, /^\d+$/)
        assert.equal(textOf(await store.load(key, { fresh: true })), String(Number(before) + 1))
        await assertIndexed(store, { user: 'ada' }, [key])
      }
    })

    if (lacks.has('sweep')) return
    test('four that sweep remove each expired record once, and no prolonged one', async (store, config) => {
      const now = inAnHour()
      const kept = await createMany(store, 20)
      const prolonged = await createMany(store, 40, { expires: now - 1 })
      await createMany(store, 100, { expires: now - 1 })
      await withWorkers(4, opener, config, async ([toucher, ...sweepers]) => {
        const removed = sweepers.map((worker) => worker.run({ do: 'sweep', now: now - 1 }))
        const touched = (await toucher?.run({ do: 'touch', keys: prolonged, expires: now + 1000 })) ?? []
        const total = (await Promise.all(removed)).flat().reduce((sum, count) => sum + Number(count), 0)
        assert.equal(total, 140 - touched.length)
        for (const key of prolonged) {
          assert.equal((await store.load(key, { fresh: true })) !== undefined, touched.includes(key))
        }
      })
      for (const key of kept) assert.ok(await store.load(key, { fresh: true }))
    })
  })
}

interface Worker {
  /** What the worker answers to the task; rejects if it fails or dies. */
  run(task: Task): Promise<readonly string[]>
  kill(): Promise<void>
}

async function withWorkers(
  count: number,
  opener: string,
  config: unknown,
  body: (workers: Worker[]) => Promise<void>,
): Promise<void> {
  const workers = Array.from({ length: count }, startWorker)
  try {
    // All are open before any begins, so that they do race.
    await Promise.all(workers.map((worker) => worker.run({ do: 'open', opener, config })))
    await body(workers)
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()))
  }
}

function startWorker(): Worker {
  const fromSources = import.meta.url.endsWith('.ts')
  const file = new URL(fromSources ? './store-worker.ts' : './store-worker.js', import.meta.url)
  const child: ChildProcess = fork(file, { execArgv: fromSources ? ['--import', 'tsx'] : process.execArgv })
  const waiting = new Map<
    number,
    { resolve: (result: readonly string[]) => void; reject: (e: Error) => void }
  >()
  const fail = (error: Error) => {
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }
  child.on('message', (answer: Answer) => {
    const { resolve, reject } = waiting.get(answer.id) ?? {}
    waiting.delete(answer.id)
    if (answer.error === undefined) resolve?.(answer.result ?? [])
    else reject?.(new Error(`in another process: ${answer.error}`))
  })
  child.on('error', fail)
  const exited = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      fail(new Error(`the other process ended early (${signal ?? `exit code ${code}`})`))
      resolve()
    })
  })
  let lastId = 0
  return {
    run(task) {
      return new Promise((resolve, reject) => {
        const order: Order = { id: ++lastId, task }
        waiting.set(order.id, { resolve, reject })
        child.send(order)
      })
    },
    async kill() {
      if (child.pid !== undefined && child.exitCode === null) child.kill('SIGKILL')
      await exited
    },
  }
}

// ---- what the tests and the worker share ----

/** Adds one to the number in a record's text, by compare-and-set until it succeeds; how many conflicts it met. */
export async function increment(store: Store, key: string): Promise<number> {
  for (let conflicts = 0; ; conflicts++) {
    const found = await store.load(key, { fresh: true })
    if (found === undefined || isTombstone(found)) throw new Error(`there is no record under ${key}`)
    const next = { ...found, rev: newRev(), text: String(Number(found.text) + 1) }
    if ((await store.update(key, next, found.rev)) === 'ok') return conflicts
  }
}

/** A record that lives for an hour, with a revision of its own. */
export function record(fields: Partial<StoredRecord> = {}): StoredRecord {
  return { rev: newRev(), text: '{}', lastSeen: Date.now(), expires: inAnHour(), ...fields }
}

// ---- helpers ----

/** The characters that have undone stores: of file names, SQL, patterns, line protocols, JSON and Unicode. */
const ODD_TEXTS = [
  '',
  ' leading and trailing ',
  '{"visits":1}',
  'line\nline\r\nline\rline\u2028line\u2029',
  '\ufeffafter a byte order mark',
  '\u0001\u001f\u007f\t\u0085',
  `'single' "double" \`back\` \\ \\n %s %00 $1 \${x} ; -- /* */`,
  'ä ß é e\u0301 日本語 עברית 😀 👩‍👩‍👧',
  'null',
  '0',
]

const LONG = 'x'.repeat(199)
const ODD_VALUES = [
  ...[
    'ada',
    'Ada',
    'ADA',
    'ada ',
    ' ada',
    'ad',
    'ad%',
    'ad_',
    'a*',
    '?da',
    '[a]da',
    'ada\\',
    'ada\n',
    'ada\t',
  ],
  ...['a:b', 'a/b', 'a\\b', '../ada', '.', '..', ':', '/', '%', '_', '*', 'a%3Ab', 'a%2Fb', 'C:\\con', 'nul'],
  ...["o'hara", '"quoted"', "' or '1'='1", '{}', '[]', 'null', 'undefined', '__proto__', 'constructor'],
  ...['0', '00', '1', '1.0', '-1', '1e3', 'true', 'false', 'id:ada', 'user:ada', 'tenant 1/ada@example.org'],
  ...[
    'é',
    'e\u0301',
    'É',
    'ß',
    'ss',
    'ı',
    'i',
    'I',
    'İ',
    '日本',
    '😀',
    '😁',
    '\ufeff',
    '\u200b',
    `${LONG}a`,
    `${LONG}b`,
  ],
]

function randomTail(): string {
  return randomBytes(32).toString('base64url')
}

function newKey(): string {
  return `id:${randomTail()}`
}

function newRev(): string {
  return `1.${randomBytes(9).toString('base64url')}`
}

function inAnHour(): number {
  return Date.now() + 3_600_000
}

/** The keys of so many new records, sorted. */
async function createMany(store: Store, count: number, fields?: Partial<StoredRecord>): Promise<string[]> {
  const keys = Array.from({ length: count }, newKey).sort()
  for (const key of keys) assert.equal(await store.create(key, record(fields)), true)
  return keys
}

type Found = Awaited<ReturnType<Store['load']>>

function textOf(found: Found): string {
  assert.ok(found !== undefined && !isTombstone(found), 'there is no record')
  return found.text
}

async function assertHolds(store: Store, key: string, expected: StoredRecord): Promise<void> {
  assertSame(await store.load(key), expected)
}

/** Field by field, since a store may name an absent user with `undefined` or not at all. */
function assertSame(found: Found, expected: StoredRecord): void {
  assert.ok(found !== undefined, 'there is no record')
  assert.ok(!isTombstone(found), 'the record is destroyed')
  const { rev, text, user, externalId, lastSeen, expires } = found
  const plain = { rev, text, user, externalId, lastSeen, expires }
  assert.deepEqual(plain, { user: undefined, externalId: undefined, ...expected })
}

async function assertDestroyed(store: Store, key: string, until?: number): Promise<void> {
  const found = await store.load(key)
  assert.ok(
    isTombstone(found),
    `${key} has ${found === undefined ? 'nothing' : 'a record'} where a tombstone should be`,
  )
  if (until !== undefined) assert.equal(found.destroyedUntil, until)
}

/** That exactly these keys are listed under the user and the external id, as far as the store lists. */
async function assertIndexed(
  store: Store,
  carried: Pick<Partial<StoredRecord>, 'user' | 'externalId'>,
  keys: readonly string[],
): Promise<void> {
  const expected = [...keys].sort()
  if (store.users && carried.user !== undefined) {
    assert.deepEqual(await listedKeys(store.users, carried.user), expected)
  }
  if (store.externalIds && carried.externalId !== undefined) {
    assert.deepEqual(await listedKeys(store.externalIds, carried.externalId), expected)
  }
}

async function listedKeys(index: SessionIndex, value: string): Promise<string[]> {
  return (await listAll(index, value)).map(([key]) => key).sort()
}

async function listAll(index: SessionIndex, value: string, limit?: number): Promise<Page['items'][number][]> {
  const all = await pages((cursor) => index.list(value, { cursor, limit }))
  for (const page of all)
    assert.ok(limit === undefined || page.items.length <= limit, 'a page exceeds its limit')
  return all.flatMap((page) => page.items)
}

/** All pages that have items. */
async function pages(next: (cursor: string | undefined) => Promise<Page>): Promise<Page[]> {
  const found: Page[] = []
  let cursor: string | undefined
  for (let calls = 0; ; calls++) {
    // Small stores may be split in many parts, but a cursor that never ends must not hang the suite.
    assert.ok(calls < 100_000, 'the pages never end')
    const page = await next(cursor)
    if (page.items.length > 0) found.push(page)
    if (page.cursor === undefined) return found
    cursor = page.cursor
  }
}

/** Writes over every field, as only a cast can. */
function spoil(handedOut: object | undefined): void {
  assert.ok(handedOut)
  for (const field of Object.keys(handedOut)) {
    // A store may freeze what it hands out; then there is nothing to spoil.
    Reflect.set(handedOut, field, 'spoilt')
  }
}
