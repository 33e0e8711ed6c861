import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StoredRecord } from '../../store.ts'
import { isTombstone } from '../../store.ts'
import { assertDestroyed, assertHolds, assertIndexed, textOf } from './found.ts'
import { createMany, inAnHour, increment, newKey, record } from './samples.ts'
import { INDEXES } from './session-indexes.ts'
import type { OptionalCapability, Suite } from './suite.ts'

export function raceTests({ group, test }: Suite, lacks: ReadonlySet<OptionalCapability>): void {
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
