import { describe, expect, it } from 'vitest'
import {
  admit,
  type Generations,
  isOfThisLogin,
  isRetired,
  isRetiredByLogin,
  mayJoin,
} from '../src/admission.ts'

const NOW = 1_800_000_000_000
const MINUTE = 60_000
const GRACE = 7 * MINUTE

/** Logged in at generation 5 an hour ago, rotated to 7 since, and that is in use since ten seconds. */
const usual: Generations = {
  generation: 7,
  rotatedAt: NOW - 15_000,
  confirmedAt: NOW - 10_000,
  retiredBelow: 5,
  retiredAt: NOW - 60 * MINUTE,
  userSince: 5,
  user: 'ann',
}
const unconfirmed = { confirmedAt: undefined }

function verdict(held: number, change: Partial<Generations> = {}, now = NOW) {
  return admit(held, { ...usual, ...change }, now, GRACE)
}

const live = { as: 'live', confirm: false, resend: false }

describe('the current token', () => {
  it('is the session’s', () => {
    expect(verdict(7)).toEqual(live)
    expect(verdict(7, {}, NOW + 1e9)).toEqual(live)
  })

  it('is confirmed by its first use', () => {
    expect(verdict(7, unconfirmed)).toEqual({ ...live, confirm: true })
  })

  it('of a login is not taken for retired by it', () => {
    expect(verdict(7, { retiredBelow: 7, userSince: 7 })).toEqual(live)
  })
})

describe('the token before it', () => {
  it('is good for the grace after the first use of the current one', () => {
    const end = usual.confirmedAt! + GRACE
    expect(verdict(6, {}, end - 1)).toEqual(live)
    expect(verdict(6, {}, end)).toEqual({ as: 'reuse' })
  })

  it('is good for as long as nobody has used the current one, which is given again after the grace', () => {
    const lost = usual.rotatedAt + GRACE
    expect(verdict(6, unconfirmed, lost - 1)).toEqual(live)
    expect(verdict(6, unconfirmed, lost)).toEqual({ ...live, resend: true })
    expect(verdict(6, unconfirmed, lost + 1e9)).toEqual({ ...live, resend: true })
  })

  it('after its grace is worth nothing in a session without a user', () => {
    expect(verdict(6, { user: undefined }, NOW + GRACE)).toEqual({ as: 'unknown' })
  })

  it('after its grace is worth nothing if it is from before the login', () => {
    expect(verdict(6, { userSince: 7 }, NOW + GRACE)).toEqual({ as: 'unknown' })
  })
})

describe('a token of two generations ago', () => {
  it('of this login is somebody else’s', () => {
    expect(verdict(5)).toEqual({ as: 'reuse' })
    expect(verdict(5, unconfirmed)).toEqual({ as: 'reuse' })
  })

  it('from before the login, or of a visitor, is worth nothing', () => {
    expect(verdict(5, { userSince: 6 })).toEqual({ as: 'unknown' })
    expect(verdict(5, { user: undefined })).toEqual({ as: 'unknown' })
  })
})

it('a token that the store does not know yet is ahead of it', () => {
  expect(verdict(8)).toEqual({ as: 'ahead' })
  expect(verdict(8, { user: undefined, ...unconfirmed })).toEqual({ as: 'ahead' })
})

describe('a retired token', () => {
  const login = { retiredBelow: 7, userSince: 7, retiredAt: NOW }
  const stepUp = { ...login, userSince: 5 }

  it('is met with silence for five minutes', () => {
    expect(verdict(6, login)).toEqual({ as: 'quiet' })
    expect(verdict(6, login, NOW + 5 * MINUTE - 1)).toEqual({ as: 'quiet' })
    expect(verdict(6, stepUp, NOW + 5 * MINUTE - 1)).toEqual({ as: 'quiet' })
  })

  it('by a login is then worth nothing', () => {
    expect(verdict(6, login, NOW + 5 * MINUTE)).toEqual({ as: 'unknown' })
  })

  it('by a step-up is then somebody else’s, if it is of this login', () => {
    expect(verdict(6, stepUp, NOW + 5 * MINUTE)).toEqual({ as: 'reuse' })
    expect(verdict(5, stepUp, NOW + 5 * MINUTE)).toEqual({ as: 'reuse' })
    expect(verdict(4, stepUp, NOW + 5 * MINUTE)).toEqual({ as: 'unknown' })
  })

  it('by a step-up whose answer was lost is its owner’s, who knows no other', () => {
    expect(verdict(6, { ...stepUp, ...unconfirmed }, NOW + 5 * MINUTE)).toEqual({ as: 'unknown' })
  })

  it('is below the generation of the login or step-up that retired it', () => {
    const record = { ...usual, ...login }
    expect([6, 7, 8].map((held) => isRetired(held, record))).toEqual([true, false, false])
  })
})

it('a token is of this login from its generation on, if somebody is logged in', () => {
  expect([4, 5, 6].map((held) => isOfThisLogin(held, usual))).toEqual([false, true, true])
  expect(isOfThisLogin(6, { ...usual, user: undefined })).toBe(false)
})

it('a session was retired by its login until a step-up retires it again', () => {
  expect(isRetiredByLogin(usual)).toBe(true)
  expect(isRetiredByLogin({ ...usual, retiredBelow: 7 })).toBe(false)
})

describe('a login joins the session', () => {
  const login: Generations = { ...usual, retiredBelow: 7, userSince: 7, retiredAt: NOW }
  const stepUp: Generations = { ...login, userSince: 5 }
  const joins = (held: number, record: Generations, { user = 'ann', now = NOW } = {}) =>
    mayJoin(held, record, user, now)

  it('whose login has just retired its token', () => {
    expect(joins(6, login)).toBe(true)
    expect(joins(6, login, { now: NOW + 5 * MINUTE - 1 })).toBe(true)
    expect(joins(6, login, { now: NOW + 5 * MINUTE })).toBe(false)
  })

  it('whose step-up has just retired its token, which was of this login', () => {
    expect(joins(5, stepUp)).toBe(true)
    expect(joins(4, stepUp)).toBe(false)
  })

  it('of the same user only', () => {
    expect(joins(6, login, { user: 'bob' })).toBe(false)
  })

  it('not with a token that lives', () => {
    expect(joins(7, login)).toBe(false)
  })
})
