import type { LifetimePolicy, SessionLimit } from 'holdfast'
import type { Token } from '../tokens.ts'
import type { AdminStep, Deed, Weather } from './program.ts'

/** One request, from the browser and back, in milliseconds of virtual time. Filled in as it goes on its way. */
export interface Request {
  readonly number: number
  readonly browser: number
  readonly deed: Deed
  /** What this request writes, if it writes. */
  readonly item: string
  /** Whom it logs in, if it does. */
  readonly user: string
  /** Whether it asks that the user's other sessions end; not of a store that cannot find them. */
  revokesOthers: boolean
  /** What the browser sent. */
  readonly token: Token | undefined
  readonly sentAt: number
  /** Four moments at the server: the cookie is read, the session is open, the handler begins, the answer is ready. */
  headersAt: number
  openedAt: number
  actedAt: number
  answeredAt: number
  /** When it was over at the server, answered or not. */
  overAt: number
  view: View | undefined
  /** Of the sessions that it may have made. */
  readonly handles: string[]
  /** What the handler was told is saved. */
  saved: Saved | undefined
  /** The handler was told that this has been done: a logout, a revocation, a taking of flash messages. */
  doneAt: number
  readonly failures: Failure[]
  /** Absent if the process was killed. */
  status: number | undefined
  given: Token | 'clear' | undefined
  /** Infinity if the answer never came. */
  arrivedAt: number
}

/** What the handler found. `session` is the handle of a live session. */
export interface View {
  readonly session: string | undefined
  readonly user: string | undefined
  readonly keys: readonly string[]
  readonly list: readonly string[]
  readonly count: number
  readonly last: string | undefined
  readonly flashes: readonly string[]
}

export interface Saved {
  readonly at: number
  readonly session: string
}

export interface Failure {
  readonly name: string
  readonly status: number
  readonly maybeApplied: boolean
  readonly error: unknown
}

export interface Administration {
  readonly kind: AdminStep['kind']
  readonly session: string | undefined
  readonly user: string
  readonly begunAt: number
  /** Infinity until it has succeeded. */
  doneAt: number
  overAt: number
  failure: Failure | undefined
  listed: readonly string[]
}

/** All that happened in one run, for the judge. */
export interface History {
  readonly policy: LifetimePolicy
  /** Absent also where the store cannot count. */
  readonly limit: SessionLimit | undefined
  readonly requests: Request[]
  readonly administration: Administration[]
  readonly weather: { readonly at: number; readonly weather: Weather }[]
  readonly kills: number[]
  /** When all browsers forgot their cookies. */
  readonly forgotten: number[]
  /** Sessions that were created in the store, and when. */
  readonly created: Map<string, number>
  /** Sessions that were ended because an old token was used again. */
  readonly reused: string[]
  /** What failed in the background. */
  readonly errors: { readonly at: number; readonly error: unknown }[]
  /** From then on nothing goes wrong any more. */
  calmAt: number
}
