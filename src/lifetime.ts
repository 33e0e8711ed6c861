import type { SessionRecord } from './record.ts'
import { NEVER } from './store.ts'

/** Milliseconds throughout; `false` for no limit. */
export interface LifetimePolicy {
  readonly idle: number | false
  readonly absolute: number | false
  /** For sessions without a user. */
  readonly anonymous: { readonly idle: number | false; readonly absolute: number | false }
  readonly rotateEvery: number | false
  readonly grace: number
  readonly touchEvery: number
  readonly persistent: boolean
}

/** Browsers cut a longer Max-Age (RFC 6265bis, section 5.5). */
const LONGEST_COOKIE = 400 * 86_400_000

export function idleTimeout(record: SessionRecord, policy: LifetimePolicy): number | false {
  return record.idle ?? (record.user === undefined ? policy.anonymous.idle : policy.idle)
}

/** Counted from the login, or from creation; neither use nor rotation moves it. */
export function absoluteTimeout(record: SessionRecord, policy: LifetimePolicy): number | false {
  if (record.endsAt !== undefined) return record.endsAt - startOf(record)
  return record.absolute ?? (record.user === undefined ? policy.anonymous.absolute : policy.absolute)
}

export function absoluteEnd(record: SessionRecord, policy: LifetimePolicy): number {
  const absolute = absoluteTimeout(record, policy)
  return absolute === false ? NEVER : startOf(record) + absolute
}

function startOf({ authenticatedAt, createdAt }: SessionRecord): number {
  return authenticatedAt ?? createdAt
}

/** In whole milliseconds, as stores take it: a timeout may be any number. */
export function expiry(record: SessionRecord, lastSeen: number, policy: LifetimePolicy): number {
  const idle = idleTimeout(record, policy)
  return Math.floor(Math.min(idle === false ? NEVER : lastSeen + idle, absoluteEnd(record, policy)))
}

export function isTouchDue(
  record: SessionRecord,
  lastSeen: number,
  now: number,
  policy: LifetimePolicy,
): boolean {
  const idle = idleTimeout(record, policy)
  return now - lastSeen >= Math.min(policy.touchEvery, idle === false ? Number.POSITIVE_INFINITY : idle / 10)
}

/**
 * Whether a rotation may follow now: the current token is in use, and none before it would still be accepted. After a login that was
 * clicked twice not either: the second answer may still be on its way, and would put back a token that has had its successor.
 */
export function mayRotate(held: number, record: SessionRecord, now: number, policy: LifetimePolicy): boolean {
  if (held !== record.generation || record.confirmedAt === undefined) return false
  const predecessor = record.generation - 1
  const isGivenOnce = record.confirmedAt === record.rotatedAt
  const isDead = predecessor < 1 || (predecessor < record.retiredBelow && isGivenOnce)
  return isDead || now >= record.confirmedAt + policy.grace
}

export function isRotationDue(
  held: number,
  record: SessionRecord,
  now: number,
  policy: LifetimePolicy,
): boolean {
  return (
    policy.rotateEvery !== false &&
    record.user !== undefined &&
    now >= record.rotatedAt + policy.rotateEvery &&
    mayRotate(held, record, now, policy)
  )
}

export function isPersistent(record: SessionRecord, policy: LifetimePolicy): boolean {
  return record.persistent ?? policy.persistent
}

/** Seconds for Max-Age, to the absolute timeout; undefined for a cookie that goes with the browser. */
export function cookieMaxAge(record: SessionRecord, now: number, policy: LifetimePolicy): number | undefined {
  if (!isPersistent(record, policy)) return undefined
  return Math.max(1, Math.floor(Math.min(absoluteEnd(record, policy) - now, LONGEST_COOKIE) / 1000))
}

/** Whether half of a Max-Age is gone that could not reach as far as the session does. */
export function isCookieRenewalDue(record: SessionRecord, now: number, policy: LifetimePolicy): boolean {
  if (!isPersistent(record, policy)) return false
  const sentAt = record.cookieAt ?? record.rotatedAt
  const cutShort = absoluteEnd(record, policy) > sentAt + LONGEST_COOKIE
  return cutShort && now >= sentAt + LONGEST_COOKIE / 2
}

/** Whether the client must be given its cookie again, since the cookie now lives longer or shorter. */
export function isCookieChanged(
  before: SessionRecord,
  after: SessionRecord,
  policy: LifetimePolicy,
): boolean {
  const persists = isPersistent(after, policy)
  if (persists !== isPersistent(before, policy)) return true
  if (!persists) return false
  return absoluteEnd(before, policy) !== absoluteEnd(after, policy) || before.cookieAt !== after.cookieAt
}
