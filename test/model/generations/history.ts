import type { LifetimePolicy } from '../../../src/lifetime.ts'
import type { Token } from '../tokens.ts'
import type { Answer, Deed, View } from './server.ts'

/** One request, from the browser and back. All times are true ones. Filled in as it goes on its way. */
export interface Request {
  readonly number: number
  readonly from: 'owner' | 'thief'
  readonly deed: Deed
  readonly token: Token | undefined
  readonly sentAt: number
  /** Who was logged in as far as the person at the browser knew. */
  readonly belief: Belief | undefined
  /** When the server began to load, and when it had judged the token. */
  headersAt: number
  openedAt: number
  view: View | undefined
  actedAt: number
  answeredAt: number
  /** Answers in the order in which they left the server. */
  turn: number
  answer: Answer | undefined
  /** The token in the answer. */
  given: Token | undefined
  fate: 'under way' | 'arrived' | 'lost' | 'browser killed'
  arrivedAt: number
}

export interface Belief {
  readonly user: string
  readonly by: Request
}

/** What became of a cookie jar: by an answer, or because the browser was killed and came back with an older jar. */
export interface JarWrite {
  readonly at: number
  readonly token: Token | undefined
  readonly by: Request | 'kill'
}

export interface End {
  readonly at: number
  readonly why: 'logout' | 'reuse' | 'expired'
  /** The request that ended it, or found it expired. */
  readonly by: Request
}

export interface Loss {
  readonly at: number
  readonly session: string
  readonly left: readonly string[]
}

/** All that happened in one run, for the judge. */
export interface History {
  readonly policy: LifetimePolicy
  /** How far clocks may differ, plus the time that an operation of the store may take. */
  readonly slack: number
  /** How much later than it happened in the store an event may be heard of. */
  readonly lag: number
  readonly staleFor: number
  readonly requests: Request[]
  readonly jar: JarWrite[]
  readonly ends: Map<string, End>
  readonly losses: Loss[]
  theft: { readonly at: number; readonly token: Token } | undefined
  /** When the storm was over: from then on everything must work. */
  calmAt: number
  /** What did not work then. */
  stuck: string | undefined
}
