import assert from 'node:assert/strict'
import { assertDestroyed, assertHolds } from './found.ts'
import { inAnHour, newKey, record } from './samples.ts'
import type { Suite } from './suite.ts'

export function copyTests({ group, test }: Suite): void {
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

/** Writes over every field, as only a cast can. */
function spoil(handedOut: object | undefined): void {
  assert.ok(handedOut)
  for (const field of Object.keys(handedOut)) {
    // A store may freeze what it hands out; then there is nothing to spoil.
    Reflect.set(handedOut, field, 'spoilt')
  }
}
