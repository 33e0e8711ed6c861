import { describe, expect, it } from 'vitest'
import {
  absoluteEnd,
  cookieMaxAge,
  expiry,
  idleTimeout,
  isCookieChanged,
  isCookieRenewalDue,
  isPersistent,
  isRotationDue,
  isTouchDue,
  type LifetimePolicy,
  mayRotate,
} from '../src/lifetime.ts'
import { newRecord, type SessionRecord } from '../src/record.ts'
import { NEVER } from '../src/store.ts'

const NOW = 1_800_000_000_000
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const policy: LifetimePolicy = {
  idle: 2 * HOUR,
  absolute: 30 * HOUR,
  anonymous: { idle: HOUR, absolute: 10 * HOUR },
  rotateEvery: 15 * MINUTE,
  grace: 5 * MINUTE,
  touchEvery: 7 * MINUTE,
  persistent: false,
}
const visitor = newRecord(NOW)
/** Logged in an hour after the first visit, with its second token. */
const user: SessionRecord = {
  ...visitor,
  user: 'ann',
  generation: 2,
  retiredBelow: 2,
  userSince: 2,
  retiredAt: NOW + HOUR,
  rotatedAt: NOW + HOUR,
  confirmedAt: NOW + HOUR,
  authenticatedAt: NOW + HOUR,
}

describe('the idle timeout', () => {
  it('is that of users, of visitors, or the session’s own', () => {
    expect(idleTimeout(user, policy)).toBe(2 * HOUR)
    expect(idleTimeout(visitor, policy)).toBe(HOUR)
    expect(idleTimeout({ ...user, idle: 5 }, policy)).toBe(5)
    expect(idleTimeout({ ...user, idle: false }, policy)).toBe(false)
  })
})

describe('the absolute timeout', () => {
  it('counts from the login, or from the first visit', () => {
    expect(absoluteEnd(user, policy)).toBe(NOW + 31 * HOUR)
    expect(absoluteEnd(visitor, policy)).toBe(NOW + 10 * HOUR)
  })

  it('may be the session’s own, a moment, or none', () => {
    expect(absoluteEnd({ ...user, absolute: 5 }, policy)).toBe(NOW + HOUR + 5)
    expect(absoluteEnd({ ...user, absolute: false }, policy)).toBe(NEVER)
    expect(absoluteEnd(user, { ...policy, absolute: false })).toBe(NEVER)
    expect(absoluteEnd({ ...user, absolute: 5, endsAt: NOW + 7 }, policy)).toBe(NOW + 7)
  })
})

it('a session expires by whichever timeout comes first', () => {
  expect(expiry(user, NOW + 2 * HOUR, policy)).toBe(NOW + 4 * HOUR)
  expect(expiry(user, NOW + 30 * HOUR, policy)).toBe(NOW + 31 * HOUR)
  expect(expiry({ ...user, idle: false }, NOW, policy)).toBe(NOW + 31 * HOUR)
  expect(expiry({ ...user, idle: false, absolute: false }, NOW, policy)).toBe(NEVER)
})

it('a session expires at a whole millisecond, which is all that stores can keep', () => {
  expect(expiry(user, NOW, { ...policy, idle: HOUR / 7 })).toBe(NOW + 514_285)
  expect(expiry({ ...user, absolute: HOUR / 7, idle: false }, NOW, policy)).toBe(NOW + HOUR + 514_285)
})

describe('a touch', () => {
  const isDue = (after: number, change: Partial<LifetimePolicy> = {}) =>
    isTouchDue(user, NOW, NOW + after, { ...policy, ...change })

  it('is due once in touchEvery', () => {
    expect([isDue(7 * MINUTE - 1), isDue(7 * MINUTE)]).toEqual([false, true])
  })

  it('is due after a tenth of the idle timeout, if that is sooner', () => {
    const short = { idle: 10 * MINUTE }
    expect([isDue(MINUTE - 1, short), isDue(MINUTE, short)]).toEqual([false, true])
  })

  it('is due once in touchEvery without an idle timeout too', () => {
    const none = { idle: false } as const
    expect([isDue(7 * MINUTE - 1, none), isDue(7 * MINUTE, none)]).toEqual([false, true])
  })
})

describe('a rotation', () => {
  /** Rotated at the third hour, and that was used a minute later. */
  const rotated: SessionRecord = {
    ...user,
    generation: 3,
    rotatedAt: NOW + 3 * HOUR,
    confirmedAt: NOW + 3 * HOUR + MINUTE,
  }
  const may = (presented: number, record: SessionRecord, now: number) =>
    mayRotate(presented, record, now, policy)

  it('may follow another after the grace of the token before, counted from the first use of this one', () => {
    const end = NOW + 3 * HOUR + 6 * MINUTE
    expect([may(3, rotated, end - 1), may(3, rotated, end)]).toEqual([false, true])
  })

  it('may not be done by a request with the token before, nor before anybody used the current one', () => {
    expect(may(2, rotated, NOW + DAY)).toBe(false)
    expect(may(3, { ...rotated, confirmedAt: undefined }, NOW + DAY)).toBe(false)
  })

  it('may follow a login at once, which left no token before it alive', () => {
    expect(may(2, user, NOW + HOUR)).toBe(true)
  })

  it('may not follow at once a login whose token was given twice', () => {
    const joined = { ...user, confirmedAt: user.rotatedAt + 1 }
    const end = joined.confirmedAt + 5 * MINUTE
    expect([may(2, joined, end - 1), may(2, joined, end)]).toEqual([false, true])
  })

  it('may follow the first visit at once, which had no token before it', () => {
    expect(may(1, visitor, NOW)).toBe(true)
    expect(may(1, { ...visitor, confirmedAt: NOW + 1 }, NOW)).toBe(true)
  })

  it('may not follow at once another that retired nothing', () => {
    const kept = { ...rotated, confirmedAt: rotated.rotatedAt }
    expect(may(3, kept, kept.rotatedAt + 5 * MINUTE - 1)).toBe(false)
  })

  it('is due for users, once in rotateEvery of use', () => {
    const due = NOW + HOUR + 15 * MINUTE
    expect(isRotationDue(2, user, due - 1, policy)).toBe(false)
    expect(isRotationDue(2, user, due, policy)).toBe(true)
    expect(isRotationDue(2, { ...user, user: undefined }, due, policy)).toBe(false)
    expect(isRotationDue(2, user, due, { ...policy, rotateEvery: false })).toBe(false)
    expect(isRotationDue(1, user, due, policy)).toBe(false)
  })
})

describe('a persistent cookie', () => {
  const persistent = { ...user, persistent: true }
  const always = { ...policy, persistent: true }

  it('is the session’s choice before the policy’s', () => {
    expect([isPersistent(user, policy), isPersistent(persistent, policy)]).toEqual([false, true])
    expect([isPersistent(user, always), isPersistent({ ...user, persistent: false }, always)]).toEqual([
      true,
      false,
    ])
  })

  it('lasts to the absolute timeout, in whole seconds, one at least', () => {
    expect(cookieMaxAge(persistent, NOW + HOUR + 1, policy)).toBe(30 * 3600 - 1)
    expect(cookieMaxAge(persistent, NOW + 31 * HOUR, policy)).toBe(1)
    expect(cookieMaxAge(persistent, NOW + 40 * HOUR, policy)).toBe(1)
    expect(cookieMaxAge(user, NOW, policy)).toBeUndefined()
  })

  it('lasts 400 days at the most', () => {
    expect(cookieMaxAge({ ...persistent, absolute: false }, NOW, policy)).toBe(400 * 86_400)
  })

  it('is renewed once half of it is gone, if it could not reach as far as the session does', () => {
    const sent = NOW + HOUR
    const endless = { ...persistent, absolute: false } as const
    const isDue = (record: SessionRecord, now: number, rules = policy) =>
      isCookieRenewalDue(record, now, rules)
    expect([isDue(endless, sent + 200 * DAY - 1), isDue(endless, sent + 200 * DAY)]).toEqual([false, true])
    const again = { ...endless, cookieAt: sent + DAY }
    expect([isDue(again, sent + 201 * DAY - 1), isDue(again, sent + 201 * DAY)]).toEqual([false, true])
    const reached = { ...persistent, endsAt: sent + 400 * DAY }
    expect([
      isDue(reached, sent + 300 * DAY),
      isDue({ ...reached, endsAt: reached.endsAt + 1 }, sent + 300 * DAY),
    ]).toEqual([false, true])
    expect(isDue({ ...endless, persistent: false }, sent + 300 * DAY)).toBe(false)
  })

  it('must be given again when it begins or ends to persist', () => {
    expect(isCookieChanged(user, persistent, policy)).toBe(true)
    expect(isCookieChanged(persistent, user, policy)).toBe(true)
    expect(isCookieChanged(user, user, policy)).toBe(false)
    expect(isCookieChanged(persistent, persistent, policy)).toBe(false)
  })

  it('must be given again when the end of the session moves, or it is renewed', () => {
    expect(isCookieChanged(persistent, { ...persistent, absolute: HOUR }, policy)).toBe(true)
    expect(isCookieChanged(persistent, { ...persistent, cookieAt: NOW }, policy)).toBe(true)
    expect(isCookieChanged(user, { ...user, absolute: HOUR, cookieAt: NOW }, policy)).toBe(false)
  })
})
