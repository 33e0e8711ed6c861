import assert from 'node:assert/strict'
import type { Page, SessionIndex, Store, StoredRecord } from '../../store.ts'
import { isTombstone } from '../../store.ts'

/** What a store answers to a load. */
type Found = Awaited<ReturnType<Store['load']>>

export function textOf(found: Found): string {
  assert.ok(found !== undefined && !isTombstone(found), 'there is no record')
  return found.text
}

export async function assertHolds(store: Store, key: string, expected: StoredRecord): Promise<void> {
  assertSame(await store.load(key), expected)
}

/** Field by field, since a store may name an absent user with `undefined` or not at all. */
export function assertSame(found: Found, expected: StoredRecord): void {
  assert.ok(found !== undefined, 'there is no record')
  assert.ok(!isTombstone(found), 'the record is destroyed')
  const { rev, text, user, externalId, lastSeen, expires } = found
  const plain = { rev, text, user, externalId, lastSeen, expires }
  assert.deepEqual(plain, { user: undefined, externalId: undefined, ...expected })
}

export async function assertDestroyed(store: Store, key: string, until?: number): Promise<void> {
  const found = await store.load(key)
  assert.ok(
    isTombstone(found),
    `${key} has ${found === undefined ? 'nothing' : 'a record'} where a tombstone should be`,
  )
  if (until !== undefined) assert.equal(found.destroyedUntil, until)
}

/** That exactly these keys are listed under the user and the external id, as far as the store lists. */
export async function assertIndexed(
  store: Store,
  carried: Pick<Partial<StoredRecord>, 'user' | 'externalId'>,
  keys: readonly string[],
): Promise<void> {
  const expected = [...keys].sort()
  if (store.users && carried.user !== undefined) {
    assert.deepEqual(await listedKeys(store.users, carried.user), expected)
  }
  if (store.externalIds && carried.externalId !== undefined) {
    assert.deepEqual(await listedKeys(store.externalIds, carried.externalId), expected)
  }
}

export async function listedKeys(index: SessionIndex, value: string): Promise<string[]> {
  return (await listAll(index, value)).map(([key]) => key).sort()
}

export async function listAll(
  index: SessionIndex,
  value: string,
  limit?: number,
): Promise<Page['items'][number][]> {
  const all = await pages((cursor) => index.list(value, { cursor, limit }))
  for (const page of all)
    assert.ok(limit === undefined || page.items.length <= limit, 'a page exceeds its limit')
  return all.flatMap((page) => page.items)
}

/** All pages that have items. */
export async function pages(next: (cursor: string | undefined) => Promise<Page>): Promise<Page[]> {
  const found: Page[] = []
  let cursor: string | undefined
  for (let calls = 0; ; calls++) {
    // Small stores may be split in many parts, but a cursor that never ends must not hang the suite.
    assert.ok(calls < 100_000, 'the pages never end')
    const page = await next(cursor)
    if (page.items.length > 0) found.push(page)
    if (page.cursor === undefined) return found
    cursor = page.cursor
  }
}
