import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { assertDestroyed, assertIndexed, textOf } from './found.ts'
import { createMany, inAnHour, increment, newKey, record } from './samples.ts'
import type { OptionalCapability, Suite } from './suite.ts'
import { Workers } from './workers.ts'

export function processTests(
  { group, test }: Suite,
  opener: string,
  lacks: ReadonlySet<OptionalCapability>,
): void {
  group('races between processes', () => {
    const workers = new Workers(opener)

    test('four that count lose nothing', async (store, config) => {
      const key = newKey()
      await store.create(key, record({ text: '0' }))
      await workers.race(4, config, async (racing) => {
        await Promise.all(racing.map((worker) => worker.run({ do: 'increment', key, times: 100 })))
      })
      assert.equal(textOf(await store.load(key, { fresh: true })), '400')
    })

    test('four that create the same keys create each once', async (store, config) => {
      const keys = Array.from({ length: 50 }, newKey)
      await workers.race(4, config, async (racing) => {
        const created = await Promise.all(racing.map((worker) => worker.run({ do: 'create', keys })))
        assert.deepEqual(created.flat().sort(), [...keys].sort())
      })
      for (const key of keys) assert.ok(await store.load(key, { fresh: true }))
    })

    test('nothing destroyed comes back, however it is updated and touched meanwhile', async (store, config) => {
      const keys = await createMany(store, 20, { user: 'ada', externalId: 'sid-1' })
      await workers.race(4, config, async ([destroyer, ...updaters]) => {
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

    if (!lacks.has('sweep')) {
      test('four that sweep remove each expired record once, and no prolonged one', async (store, config) => {
        const now = inAnHour()
        const kept = await createMany(store, 20)
        const prolonged = await createMany(store, 40, { expires: now - 1 })
        await createMany(store, 100, { expires: now - 1 })
        await workers.race(4, config, async ([toucher, ...sweepers]) => {
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
    }

    test('a process killed amid its updates neither locks nor damages a record', async (store, config) => {
      const key = newKey()
      await store.create(key, record({ text: '0', user: 'ada' }))
      for (const delay of [0, 17, 41]) {
        await workers.race(1, config, async ([victim]) => {
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
      // The last of these tests.
      await workers.end()
    })
  })
}
