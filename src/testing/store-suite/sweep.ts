import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Store } from '../../store.ts'
import { NEVER } from '../../store.ts'
import { assertDestroyed, assertHolds, assertIndexed } from './found.ts'
import { createMany, inAnHour, newKey, record } from './samples.ts'
import type { OptionalCapability, Suite } from './suite.ts'

export function sweepTests({ group, test }: Suite, lacks: ReadonlySet<OptionalCapability>): void {
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
