import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Store, StoredRecord } from '../../store.ts'
import { isTombstone } from '../../store.ts'

/** A record that lives for an hour, with a revision of its own. */
export function record(fields: Partial<StoredRecord> = {}): StoredRecord {
  return { rev: newRev(), text: '{}', lastSeen: Date.now(), expires: inAnHour(), ...fields }
}

export function newKey(): string {
  return `id:${randomTail()}`
}

export function randomTail(): string {
  return randomBytes(32).toString('base64url')
}

export function newRev(): string {
  return `1.${randomBytes(9).toString('base64url')}`
}

export function inAnHour(): number {
  return Date.now() + 3_600_000
}

/** The keys of so many new records, sorted. */
export async function createMany(
  store: Store,
  count: number,
  fields?: Partial<StoredRecord>,
): Promise<string[]> {
  const keys = Array.from({ length: count }, newKey).sort()
  for (const key of keys) assert.equal(await store.create(key, record(fields)), true)
  return keys
}

/** Adds one to the number in a record's text, by compare-and-set until it succeeds; how many conflicts it met. */
export async function increment(store: Store, key: string): Promise<number> {
  for (let conflicts = 0; ; conflicts++) {
    const found = await store.load(key, { fresh: true })
    if (found === undefined || isTombstone(found)) throw new Error(`there is no record under ${key}`)
    const next = { ...found, rev: newRev(), text: String(Number(found.text) + 1) }
    if ((await store.update(key, next, found.rev)) === 'ok') return conflicts
  }
}
