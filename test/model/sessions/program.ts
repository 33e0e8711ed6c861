import fc from 'fast-check'
import type { SessionLimit } from 'holdfast'

/** What happens in one run: plain data, so that fast-check can shrink it and print it. */
export interface Program {
  readonly policy: 'designed' | 'short'
  /** Whether a user may have only so many sessions, and what a login does that is one too many; on stores that can count them. */
  readonly limit: 'none' | SessionLimit['onLimit']
  readonly steps: readonly Step[]
}

export type Step = { readonly pause: number } & (
  | RequestStep
  /** A process is killed, with all that it was doing, and another takes its place. */
  | { readonly kind: 'kill'; readonly process: number; readonly downFor: number }
  | { readonly kind: 'weather'; readonly weather: Weather }
  /** Ann's sessions are ended, and all browsers begin anew and log in at the same moment: once, or by a double click that meets two processes. */
  | { readonly kind: 'rush'; readonly process: number; readonly clicks: number; readonly dice: number }
  | { readonly kind: 'sweep'; readonly process: number; readonly dice: number }
  | AdminStep
)

export interface RequestStep {
  readonly kind: 'request'
  readonly browser: number
  readonly process: number
  readonly deed: Deed
  readonly way: Way
  /** How long the store takes for what this request asks of it, and what goes wrong there. */
  readonly dice: number
}

/** From outside: ends sessions, or lists them. */
export interface AdminStep {
  readonly kind: 'revoke' | 'revokeUser' | 'list'
  /** Whose session, or whose user. */
  readonly browser: number
  readonly process: number
  readonly dice: number
}

/** What a handler does with its session. Each item is written to three places, which a reader must find alike. */
export type Deed =
  | { readonly kind: 'view' | 'rotate' | 'elevate' | 'logout' | 'revokeOthers' | 'takeFlashes' }
  /** Left to the answer to save, or committed by the handler, which tries so often if the store fails. */
  | { readonly kind: 'write'; readonly commits: number; readonly fails: boolean }
  | { readonly kind: 'update'; readonly tries: number }
  | { readonly kind: 'flash' }
  | { readonly kind: 'login'; readonly asOther: boolean; readonly revokesOthers: boolean }

/** Whether it may make a session, or change one's data. */
export function mayWrite(deed: Deed): boolean {
  return ['write', 'update', 'flash', 'login'].includes(deed.kind)
}

/** Milliseconds. */
export interface Way {
  readonly up: number
  readonly handler: number
  readonly down: number
  readonly isLost: boolean
}

/**
 * How the store is. `late`: some operations are done after everybody has given them up. `lossy`: some answers never come. `refusing`: some
 * operations fail. `frozen`: nothing is answered, and what was asked is done later or never. `down`: everything fails at once.
 */
export type Weather = 'calm' | 'slow' | 'late' | 'lossy' | 'refusing' | 'frozen' | 'down' | 'without cache'

export const BROWSERS = 3
export const PROCESSES = 3

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

const browser = fc.nat({ max: BROWSERS - 1 })
const process = fc.nat({ max: PROCESSES - 1 })
const dice = fc.nat({ max: 0xffff })

const oneOf = <T>(choices: readonly (readonly [weight: number, arbitrary: fc.Arbitrary<T>])[]) =>
  fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })))
const between = (min: number, max: number) => fc.integer({ min, max })

const pause = oneOf([
  [55, between(0, 60)],
  [15, between(60, 2 * SECOND)],
  [10, between(2 * SECOND, 30 * SECOND)],
  [8, between(30 * SECOND, 4 * MINUTE)],
  [9, between(5 * MINUTE, 25 * MINUTE)],
  [3, between(HOUR, 30 * HOUR)],
])

const way: fc.Arbitrary<Way> = fc.record({
  up: oneOf([
    [20, between(1, 40)],
    [1, between(40, 5 * SECOND)],
  ]),
  handler: oneOf([
    [20, between(0, 60)],
    [1, between(60, 20 * SECOND)],
  ]),
  down: oneOf([
    [20, between(1, 40)],
    [2, between(40, 60 * SECOND)],
  ]),
  isLost: oneOf([
    [12, fc.constant(false)],
    [1, fc.constant(true)],
  ]),
})

const deed = oneOf<Deed>([
  [14, fc.constant({ kind: 'view' })],
  [
    30,
    fc.record({
      kind: fc.constant('write' as const),
      commits: fc.constantFrom(0, 0, 0, 1, 3),
      fails: fc.constantFrom(...Array(9).fill(false), true),
    }),
  ],
  [10, fc.record({ kind: fc.constant('update' as const), tries: fc.constantFrom(1, 1, 3) })],
  [
    12,
    fc.record({
      kind: fc.constant('login' as const),
      asOther: fc.constantFrom(...Array(7).fill(false), true),
      revokesOthers: fc.constantFrom(...Array(7).fill(false), true),
    }),
  ],
  [5, fc.constant({ kind: 'rotate' })],
  [3, fc.constant({ kind: 'elevate' })],
  [5, fc.constant({ kind: 'logout' })],
  [2, fc.constant({ kind: 'revokeOthers' })],
  [3, fc.constant({ kind: 'flash' })],
  [3, fc.constant({ kind: 'takeFlashes' })],
])

const weather = fc.constantFrom<Weather>(
  ...(['calm', 'slow', 'late', 'lossy', 'refusing', 'frozen', 'down', 'without cache'] as const),
)

const request = fc.record({ kind: fc.constant('request' as const), pause, browser, process, deed, way, dice })
const admin = fc.record({
  kind: fc.constantFrom('revoke' as const, 'revokeUser' as const, 'list' as const),
  pause,
  browser,
  process,
  dice,
})

const step = oneOf<Step>([
  [80, request],
  [6, fc.record({ kind: fc.constant('weather' as const), pause, weather })],
  [4, fc.record({ kind: fc.constant('kill' as const), pause, process, downFor: between(1, 3 * SECOND) })],
  [2, fc.record({ kind: fc.constant('sweep' as const), pause, process, dice })],
  [2, fc.record({ kind: fc.constant('rush' as const), pause, process, clicks: between(1, 2), dice })],
  [6, admin],
])

export const program: fc.Arbitrary<Program> = fc.record({
  policy: fc.constantFrom('designed', 'designed', 'short'),
  limit: fc.constantFrom('none', 'none', 'evict-oldest', 'reject'),
  steps: fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }),
})
