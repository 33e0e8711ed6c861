import { randomBytes } from 'node:crypto'
import type { StoredRecord } from '../../store.ts'

/**
 * What the cache keeps under a key, as a record of its own: a copy of the database's record, with its revision; or a lease,
 * which has no text and a revision that no other has, and says who may put the next copy.
 *
 * `lastSeen` is when the entry began to be true. The session's own times are in the text: the cache may let go of an entry long
 * before its session ends. So are the user and the external id, which the cache would otherwise keep an index of.
 */
export type Entry = StoredRecord

/** `since`: a moment at which the database had this record, or an earlier one. */
export function copyEntry(record: StoredRecord, since: number, cacheFor: number): Entry {
  const { rev, text, user, externalId, lastSeen, expires } = record
  const header = JSON.stringify([lastSeen, expires, user, externalId])
  return { rev, text: `${header}\n${text}`, lastSeen: since, expires: since + cacheFor }
}

export function lease(since: number, cacheFor: number): Entry {
  return {
    rev: `lease.${randomBytes(15).toString('base64url')}`,
    text: '',
    lastSeen: since,
    expires: since + cacheFor,
  }
}

/** A lease that ended long ago: nobody is going to fill the entry, and anybody may begin to. */
export function noEntry(now: number, cacheFor: number): Entry {
  return { ...lease(now, cacheFor), lastSeen: 0 }
}

export function isLease(entry: Entry): boolean {
  return entry.text === ''
}

export function isNoEntry(entry: Entry): boolean {
  return isLease(entry) && entry.lastSeen === 0
}

/** The distance, so that an entry from a clock that runs ahead does not stay for as long as it is ahead. */
export function ageOf(entry: Entry, now: number): number {
  return Math.abs(now - entry.lastSeen)
}

/** @throws Error if the cache has spoilt it */
export function recordIn(entry: Entry): StoredRecord {
  const end = entry.text.indexOf('\n')
  const [lastSeen, expires, user, externalId] = JSON.parse(entry.text.slice(0, end)) as unknown[]
  const isHeader = isTime(lastSeen) && isTime(expires) && isName(user) && isName(externalId)
  if (!isHeader) throw new Error('an entry of the cache does not begin as one that was written there')
  return {
    rev: entry.rev,
    text: entry.text.slice(end + 1),
    ...(user !== null && { user }),
    ...(externalId !== null && { externalId }),
    lastSeen,
    expires,
  }
}

function isTime(value: unknown): value is number {
  return Number.isFinite(value)
}

function isName(value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}
