import type { Count } from './census.ts'
import type { Curves } from './series.ts'
import type { Notice } from './watch.ts'

/*
 * What the server tells the page, as JSON. Both are of one version, so that this is nobody else's interface. Times of sessions are in ISO 8601, all
 * others in milliseconds since 1970.
 */

export interface Overview {
  readonly now: number
  /** When this process began to look. */
  readonly since: number
  readonly managers: readonly {
    readonly name: string
    readonly store: string
    readonly sessions: number | null
  }[]
  readonly name: string
  readonly store: string
  readonly canList: boolean
  readonly canFindUsers: boolean
  /** Sessions travel with their clients. */
  readonly isCarried: boolean
  readonly mayReveal: boolean
  readonly outageSince: number | null
  readonly curves: Curves
  readonly count: Count | null
  /** The count that is under way. */
  readonly progress: Count | null
  /** Why the last count failed. */
  readonly problem: string | null
  readonly notices: readonly Notice[]
}

export interface SessionRow {
  readonly handle: string
  readonly userId: string | null
  readonly createdAt: string
  readonly lastSeenAt: string
  /** Null: never. */
  readonly expiresAt: string | null
  readonly authenticatedAt: string | null
  readonly level: string | null
  readonly generation: number
  readonly persistent: boolean
  readonly about: Readonly<Record<string, string>>
  readonly bytes: number
}

export interface SessionList {
  readonly sessions: readonly SessionRow[]
  readonly cursor: string | null
  /** Records that could not be read. */
  readonly unreadable: number
}

export interface SessionDetail extends SessionRow {
  /** When the present generation of the token began. */
  readonly rotatedAt: string
  /** Generations below are dead. */
  readonly retiredBelow: number
  readonly externalId: string | null
  /** To one device, by `holdfast/dbsc`. */
  readonly isBound: boolean
  /** Kept for the visitor, to be shown once. */
  readonly messages: number
}

export interface SessionData {
  readonly data: unknown
  readonly messages: readonly { readonly category: string; readonly message: string }[]
}

export interface Revoked {
  readonly count: number
}
