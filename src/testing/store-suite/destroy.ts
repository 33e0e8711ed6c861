import assert from 'node:assert/strict'
import { isTombstone, NEVER } from '../../store.ts'
import { assertDestroyed, assertHolds, assertIndexed } from './found.ts'
import { inAnHour, newKey, record } from './samples.ts'
import type { Suite } from './suite.ts'

export function destroyTests({ group, test }: Suite): void {
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
