import assert from 'node:assert/strict'
import type { Page, SessionIndex, Store, StoredRecord } from '../../store.ts'
import { isTombstone } from '../../store.ts'
import { assertDestroyed, assertHolds, assertSame, listAll, listedKeys } from './found.ts'
import { createMany, inAnHour, newKey, record } from './samples.ts'
import type { Suite } from './suite.ts'

export interface IndexKind {
  readonly capability: 'users' | 'externalIds'
  readonly noun: string
  of(store: Store): SessionIndex | undefined
  carrying(value: string): Partial<StoredRecord>
}

export const INDEXES: readonly IndexKind[] = [
  { capability: 'users', noun: 'user', of: (store) => store.users, carrying: (value) => ({ user: value }) },
  {
    capability: 'externalIds',
    noun: 'external id',
    of: (store) => store.externalIds,
    carrying: (value) => ({ externalId: value }),
  },
]

export function indexTests({ group, test }: Suite, { noun, of, carrying, capability }: IndexKind): void {
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
