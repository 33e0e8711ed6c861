import assert from 'node:assert/strict'
import { NEVER } from '../../store.ts'
import { assertDestroyed, assertHolds, assertIndexed, assertSame, listAll } from './found.ts'
import { inAnHour, newKey, randomTail, record } from './samples.ts'
import type { Suite } from './suite.ts'

export function recordTests({ group, test }: Suite): void {
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
