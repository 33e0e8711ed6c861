import assert from 'node:assert/strict'
import type { Page, Store } from '../../store.ts'
import { assertSame, pages } from './found.ts'
import { createMany, inAnHour, newKey, record } from './samples.ts'
import type { Suite } from './suite.ts'

export function scanTests({ group, test }: Suite): void {
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
