import type { Duration } from '../duration.ts'
import { duration } from '../duration.ts'

/** A clock that stands still until a test moves it; give it to `createSessions` as `clock`. */
export interface FakeClock {
  (): number
  /** Goes on by a duration: milliseconds, or text such as `'15m'`. */
  advance(by: Duration): void
}

/**
 * @param start milliseconds since 1970; default: now
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { fakeClock } from 'holdfast/testing'
 *
 * const clock = fakeClock()
 * const sessions = createSessions({ clock, lifetime: { idle: '30m' } })
 * clock.advance('31m') // every session has expired
 * ```
 */
export function fakeClock(start = Date.now()): FakeClock {
  let now = start
  return Object.assign(() => now, {
    advance(by: Duration) {
      now += duration('advance', by)
    },
  })
}
