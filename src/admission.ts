import type { SessionRecord } from './record.ts'

/** How long a retired generation and a destroyed session are met with silence: longer than clocks differ and proxies hold requests back. */
export const QUIET_TIME = 5 * 60_000
/** Clocks of instances may differ by this much: what one of them could still hold for live is not collected, nor is its tombstone. */
export const CLOCK_SKEW = 60_000
/** How long after loading a session an answer may still give its token again: by then, a login may have retired it. */
export const ANSWER_TIME = 5_000

/**
 * What becomes of a token whose record was found; `held` is the generation of that token. Judged once, when the session is opened; later only `isRetired` counts.
 *
 * - `live`: it is the session's. `confirm`: this is the first use of the current generation. `resend`: the answer that carried
 *   the current token was lost, so give it again.
 * - `ahead`: we signed it, but the store does not know that generation yet (failover, stale cache).
 * - `quiet`: retired a moment ago by a login or a step-up, whose own token is on its way: anonymous, and no cookie.
 * - `reuse`: somebody else goes on using this token: the session ends, unless the application has chosen otherwise.
 * - `unknown`: worth nothing.
 */
export type Verdict =
  | { readonly as: 'live'; readonly confirm: boolean; readonly resend: boolean }
  | { readonly as: 'ahead' | 'quiet' | 'reuse' | 'unknown' }

export type Generations = Pick<
  SessionRecord,
  'generation' | 'rotatedAt' | 'confirmedAt' | 'retiredBelow' | 'retiredAt' | 'userSince' | 'user'
>

export function admit(held: number, record: Generations, now: number, grace: number): Verdict {
  const confirmed = record.confirmedAt !== undefined
  if (held > record.generation) return AHEAD
  if (isRetired(held, record)) {
    if (now < record.retiredAt + QUIET_TIME) return QUIET
    return confirmed && isOfThisLogin(held, record) ? REUSE : UNKNOWN
  }
  if (held === record.generation) return confirmed ? LIVE : FIRST_USE
  const inGrace = record.confirmedAt === undefined || now < record.confirmedAt + grace
  if (held === record.generation - 1 && inGrace) {
    return !confirmed && now >= record.rotatedAt + grace ? LOST_ANSWER : LIVE
  }
  return isOfThisLogin(held, record) ? REUSE : UNKNOWN
}

/** Dead since a login or a step-up: what it would write is not written. */
export function isRetired(held: number, record: Generations): boolean {
  return held < record.retiredBelow
}

/** Whether it was given to the user who is logged in, or to whoever came before. */
export function isOfThisLogin(held: number, record: Generations): boolean {
  return record.user !== undefined && held >= record.userSince
}

/**
 * A token that was retired a moment ago in a session that is the same user's, by a login (a double click, or a lost answer) or, after
 * one, by a step-up whose answer was lost. A login with it goes on with that session.
 */
export function mayJoin(held: number, record: Generations, user: string, now: number): boolean {
  return (
    record.user === user &&
    (isRetiredByLogin(record) || isOfThisLogin(held, record)) &&
    isRetired(held, record) &&
    now < record.retiredAt + QUIET_TIME
  )
}

/** Then the current token may be given to the same login again. After a step-up it carries a level that a login does not have. */
export function isRetiredByLogin(record: Generations): boolean {
  return record.retiredBelow === record.userSince
}

const LIVE: Verdict = { as: 'live', confirm: false, resend: false }
const FIRST_USE: Verdict = { as: 'live', confirm: true, resend: false }
const LOST_ANSWER: Verdict = { as: 'live', confirm: false, resend: true }
const AHEAD: Verdict = { as: 'ahead' }
const QUIET: Verdict = { as: 'quiet' }
const REUSE: Verdict = { as: 'reuse' }
const UNKNOWN: Verdict = { as: 'unknown' }
