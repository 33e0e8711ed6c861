import assert from 'node:assert/strict'
import { NEVER } from '../../store.ts'
import { assertDestroyed, assertHolds, assertIndexed } from './found.ts'
import { inAnHour, newKey, record } from './samples.ts'
import type { Suite } from './suite.ts'

export function touchTests({ group, test }: Suite): void {
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
