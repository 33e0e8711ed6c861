import type { LifetimePolicy } from '../../../src/lifetime.ts'
import type { Random } from '../random.ts'
import type { Token } from '../tokens.ts'

/** What a handler does with its session. */
export type Deed =
  | { readonly kind: 'view' }
  /** Adds an item to the data, which the answer saves; or does so and then fails. */
  | { readonly kind: 'write'; readonly item: string; readonly fails?: boolean }
  /** Adds an item and saves it at once. */
  | { readonly kind: 'update'; readonly item: string }
  | { readonly kind: 'login'; readonly user: string; readonly item: string }
  | { readonly kind: 'rotate' | 'elevate' | 'logout' }

/** What a handler finds. `session` is absent when there is none, or none any more. */
export interface View {
  readonly session: string | undefined
  readonly user: string | undefined
  readonly items: readonly string[]
}

export interface Answer {
  readonly status: number
  /** A token as text, or that the cookie is to be forgotten. */
  readonly cookie: string | 'clear' | undefined
  /** The session that holds what this request wrote. */
  readonly session: string | undefined
}

/** A request that the server is at work on. */
export interface Opened {
  readonly view: View
  act(deed: Deed): Promise<void>
  answer(): Promise<Answer>
}

/** What the simulation needs of a server: the ideal one of the model, or the real code. */
export interface Server {
  /** Judges the token, when the headers have arrived at this instance. */
  open(cookie: string | undefined, instance: number): Promise<Opened>
  read(cookie: string): Token
  /** The store forgets the last commits of this session. What is left, if anything was lost. */
  fallBehind(session: string): Promise<readonly string[] | undefined>
}

export interface Circumstances {
  readonly clock: () => number
  /** By how much the clock of each instance is off. */
  readonly skews: readonly number[]
  readonly policy: LifetimePolicy
  readonly random: Random
  /** How old a record may be that a load without `fresh` gets. */
  readonly staleFor: number
  /** How long an operation of the store takes at most, each way. */
  readonly latency: number
  readonly wait: (milliseconds: number) => Promise<void>
  /** To be told of each session that the server ends, or finds expired. */
  readonly ended: (session: string, why: 'logout' | 'reuse' | 'expired') => void
}

export type ServerMaker = (circumstances: Circumstances) => Server
