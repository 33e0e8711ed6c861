import { memoryStore, StoreFullError } from 'holdfast/stores/memory'
import { describe, expect, it } from 'vitest'
import { isTombstone, NEVER, type Page, type StoredRecord } from '../src/store.ts'

const HOUR = 3_600_000

function record(fields: Partial<StoredRecord> = {}): StoredRecord {
  return { rev: '1', text: '{}', lastSeen: Date.now(), expires: Date.now() + HOUR, ...fields }
}

describe('a full memory store', () => {
  it('refuses a new session, and says how many it holds and what to do', async () => {
    const store = memoryStore({ maxSessions: 2 })
    await store.create('id:a', record())
    await store.create('id:b', record())
    const refused = store.create('id:c', record({ user: 'ada' }))
    await expect(refused).rejects.toThrow(StoreFullError)
    await expect(refused).rejects.toMatchObject({ retryable: false })
    await expect(refused).rejects.toThrow(/2 sessions.*memoryStore\(\{ maxSessions \}\)/s)
    expect(await store.load('id:c')).toBeUndefined()
    expect((await store.users.list('ada')).items).toEqual([])
  })

  it('drops no live session, and goes on serving those it has', async () => {
    const store = memoryStore({ maxSessions: 50 })
    for (let i = 0; i < 50; i++)
      await store.create(`id:${i}`, record({ expires: i % 2 ? NEVER : Date.now() + HOUR }))
    for (let i = 0; i < 20; i++)
      await expect(store.create(`id:new ${i}`, record())).rejects.toThrow(StoreFullError)
    for (let i = 0; i < 50; i++) {
      expect(await store.touch(`id:${i}`, Date.now(), Date.now() + 2 * HOUR)).toBe(true)
      expect(await store.update(`id:${i}`, record({ rev: '2' }), '1')).toBe('ok')
    }
  })

  it('still says that a key is taken', async () => {
    const store = memoryStore({ maxSessions: 1 })
    await store.create('id:a', record())
    expect(await store.create('id:a', record())).toBe(false)
  })

  it('makes room of what has expired, tombstones too', async () => {
    const store = memoryStore({ maxSessions: 3 })
    await store.create('id:live', record())
    await store.create('id:expired', record({ expires: Date.now() - 1 }))
    await store.create('id:destroyed', record())
    await store.destroy('id:destroyed', Date.now() - 1)
    expect(await store.create('id:c', record())).toBe(true)
    expect(await store.create('id:d', record())).toBe(true)
    await expect(store.create('id:e', record())).rejects.toThrow(StoreFullError)
    expect(await store.load('id:live')).toBeDefined()
  })

  it('counts a tombstone until its time has come', async () => {
    const store = memoryStore({ maxSessions: 1 })
    await store.create('id:a', record())
    await store.destroy('id:a', Date.now() + HOUR)
    await expect(store.create('id:b', record())).rejects.toThrow(StoreFullError)
    expect(isTombstone(await store.load('id:a'))).toBe(true)
  })

  it('never exceeds its limit, however many create at once, and creates no key twice', async () => {
    const store = memoryStore({ maxSessions: 10 })
    for (let i = 0; i < 10; i++) await store.create(`id:old ${i}`, record({ expires: Date.now() - 1 }))
    const keys = Array.from({ length: 40 }, (_, i) => `id:new ${i % 20}`)
    const results = await Promise.allSettled(keys.map((key) => store.create(key, record())))
    const created = results.filter((result) => result.status === 'fulfilled' && result.value)
    expect(created).toHaveLength(10)
    expect((await store.scan(undefined, 100)).items).toHaveLength(10)
  })

  it('has room again after a sweep', async () => {
    const store = memoryStore({ maxSessions: 1 })
    await store.create('id:a', record())
    await expect(store.create('id:b', record())).rejects.toThrow(StoreFullError)
    expect(await store.sweep(Date.now() + 2 * HOUR, 10)).toBe(1)
    expect(await store.create('id:b', record())).toBe(true)
  })
})

describe('a memory store', () => {
  it.each([0, -1, Number.NaN])('refuses a limit of %s', (maxSessions) => {
    expect(() => memoryStore({ maxSessions })).toThrow(new RegExp(`maxSessions is ${maxSessions}`))
  })

  it.each(['', '0', 'x/', '-1/a', '1.5/'])('refuses %j as a cursor', async (cursor) => {
    const store = memoryStore()
    await expect(store.scan(cursor, 10)).rejects.toThrow(/not a cursor of the memory store/)
    await expect(store.users.list('ada', { cursor })).rejects.toThrow(RangeError)
  })

  it('keeps and pages keys of any form', async () => {
    const store = memoryStore()
    const keys = ['a', 'A', '1/2', 'line\nline', 'ключ', ...Array.from({ length: 5000 }, (_, i) => `${i}`)]
    for (const key of keys) expect(await store.create(key, record({ user: 'one' }))).toBe(true)
    for (const next of [
      (cursor?: string) => store.scan(cursor, 33),
      (cursor?: string) => store.users.list('one', { cursor, limit: 33 }),
    ]) {
      const seen: string[] = []
      let page: Page | undefined
      do {
        page = await next(page?.cursor)
        seen.push(...page.items.map(([key]) => key))
      } while (page.cursor !== undefined)
      expect(seen.sort()).toEqual([...keys].sort())
    }
  })

  it('sweeps no more than the limit where many sessions lie together', async () => {
    const store = memoryStore()
    for (let i = 0; i < 5000; i++) await store.create(`id:${i}`, record({ expires: Date.now() - 1 }))
    const now = Date.now()
    const removed: number[] = []
    do removed.push(await store.sweep(now, 7))
    while (removed.at(-1) === 7)
    expect(removed).toHaveLength(Math.floor(5000 / 7) + 1)
    expect(removed.at(-1)).toBe(5000 % 7)
  })

  it('keeps no timer and so holds no process open', async () => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const store = memoryStore()
    await store.create('id:a', record())
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout')).toHaveLength(before)
  })
})
