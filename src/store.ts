/**
 * The Store contract: what the core asks of the place where sessions are kept, and nothing else.
 *
 * A store keeps what it is given and compares revisions. It never looks at a clock except to collect, never looks
 * inside `text`, and never creates a record except in `create`: an upsert is how sessions come back from the dead.
 * An error that it throws may carry `retryable: false`, if to try again is no use until somebody has acted.
 * Run `storeSuite` from `holdfast/testing` against a new store; it tests every line below.
 */
export interface Store {
  /** For errors and events: `memory`, `sqlite`, … */
  readonly name: string
  /** Whether `update` compares and sets in one step, also between processes. If not, the store's page says what that costs. */
  readonly compareAndSet: boolean
  /** Present on a store that works in this process and waits for nobody: it gets no deadlines. */
  readonly inProcess?: boolean

  /** The record, with `lastSeen` as moved by `touch`; the tombstone of a destroyed one; or nothing. */
  load(key: string, options?: LoadOptions): Promise<StoredRecord | Tombstone | undefined>

  /** Inserts, and only that. False if the key is taken, by a record or by a tombstone; nothing has changed then. */
  create(key: string, record: StoredRecord, options?: WriteOptions): Promise<boolean>

  /**
   * Replaces the record if its revision still is `expectedRev`: `ok`. Otherwise nothing changes: `conflict` if there is
   * a record with another revision, `gone` if there is none or a tombstone. May change the user and the external id.
   */
  update(
    key: string,
    record: StoredRecord,
    expectedRev: string,
    options?: WriteOptions,
  ): Promise<UpdateResult>

  /** Moves `lastSeen` and `expires` forward, each only if later. Never creates and never changes `rev`. False if there is no record. */
  touch(key: string, lastSeen: number, expires: number): Promise<boolean>

  /**
   * Ends the session for good and leaves a tombstone until `until`, which no `create`, `update` or `touch` gets past.
   * True if a record was there. Destroying what is absent or destroyed already changes nothing.
   */
  destroy(key: string, until: number, options?: WriteOptions): Promise<boolean>

  /** Sessions by the user they carry. Absent where the server cannot list. */
  readonly users?: SessionIndex
  /** Sessions by external id (the `sid` of an identity provider, for instance). */
  readonly externalIds?: SessionIndex

  /** All records, page by page, each at least once if it stays there throughout. Start without a cursor, go on until none comes back. */
  scan?(cursor: string | undefined, limit: number): Promise<Page>

  /**
   * Removes up to `limit` records and tombstones with `expires` (`until`) at or before `now`; how many it removed. Fewer than
   * `limit` means that none are left. Safe to run in several processes at once. Absent where the server expires by itself.
   */
  sweep?(now: number, limit: number): Promise<number>

  /**
   * Present on a store that keeps nothing, since the record travels with the client. Before each write the core asks for the text that
   * the cookie is to carry, seals it, and gives it to the next `load` as `carried`. `before` is what this session carried until now.
   */
  carry?(key: string, record: StoredRecord, before: string | undefined): Promise<string>

  /**
   * Called by each manager on the store. What no answer can carry (a cache that is down, a server that evicts) is to be told to `report`,
   * and becomes an `error` event.
   */
  reportTo?(report: StoreReport): void

  /**
   * For `sessions.check()`: what is wrong for sessions about the server, or about this kind of store where it runs. Changes nothing. `now` is the manager's
   * clock, to compare with the server's. Throws as the other operations do, if the server cannot be asked.
   */
  check?(now: () => number): Promise<readonly Finding[]>

  /** Closes what the store itself opened, nothing that it was handed. */
  close?(): Promise<void>
}

/** What a store keeps for a session. Times are milliseconds since 1970. */
export interface StoredRecord {
  /** Names this committed state; chosen by the core, at most 40 ASCII characters, never empty. */
  readonly rev: string
  /** Everything else about the session, as text that only the core reads. */
  readonly text: string
  /** Whose session it is. Indexed, where the store has `users`. */
  readonly user?: string
  /** Indexed, where the store has `externalIds`. */
  readonly externalId?: string
  readonly lastSeen: number
  /** The store may collect the record from then on, never before. At most `NEVER`. */
  readonly expires: number
}

/** What `destroy` leaves behind. */
export interface Tombstone {
  readonly destroyedUntil: number
}

/** Something weak about a deployment, and what to do about it. Plain data. */
export interface Finding {
  /** Names the kind of finding, for good: `cookie.insecure`, to be looked for by a program. */
  readonly id: string
  /** `error`: sessions are lost, or open to others, as it is. `warning`: under circumstances. `info`: to be known. */
  readonly severity: 'error' | 'warning' | 'info'
  /** What is wrong, in a sentence for whoever runs the site. */
  readonly finding: string
  /** What to do about it. */
  readonly cure: string
}

/** `operation`: what was being done, `load` for instance. */
export type StoreReport = (operation: string, error: Error) => void

/** What became of an update: done; the record has another revision; or there is no record. */
export type UpdateResult = 'ok' | 'conflict' | 'gone'

/** Records by what they carry besides their key: a user, or an external id. */
export interface SessionIndex {
  /** The live records that carry `value` now. Start without a cursor, go on until none comes back. */
  list(value: string, page?: { cursor?: string; limit?: number }): Promise<Page>
  /** Destroys the records that carry `value` at that moment, but for `except` (a key); how many. */
  destroy(value: string, until: number, options?: WriteOptions & { except?: string }): Promise<number>
}

/** A page of records, by their keys. */
export interface Page {
  readonly items: readonly (readonly [key: string, record: StoredRecord])[]
  /** Where the next page starts. Absent on the last one. */
  readonly cursor?: string
}

/** What the core tells a store about a read. */
export interface LoadOptions {
  /** Read past every cache and replica. */
  readonly fresh?: boolean
  /** What `carry` gave when the session was last written, if the client has brought it. */
  readonly carried?: string
}

/** What the core tells a store about a write. */
export interface WriteOptions {
  /** Answer only when the write would survive the loss of the machine that took it, as far as the store can. */
  readonly durable?: boolean
}

/** Thrown for what a store cannot do at all, and another could: no outage, and no use in trying again. */
export class UnsupportedError extends Error {
  override readonly name = 'UnsupportedError'
}

/** An `expires` for sessions that do not expire: the last moment that a JavaScript `Date` can name. */
export const NEVER = 8.64e15

/** Whether what a store found is the mark of a session that has been destroyed. */
export function isTombstone(found: StoredRecord | Tombstone | undefined): found is Tombstone {
  return found !== undefined && 'destroyedUntil' in found
}
