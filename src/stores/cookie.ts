import { hash } from 'node:crypto'
import type {
  Finding,
  LoadOptions,
  SessionIndex,
  Store,
  StoredRecord,
  Tombstone,
  UpdateResult,
  WriteOptions,
} from '../store.ts'
import { isTombstone, UnsupportedError } from '../store.ts'
import { refuseRest } from './passed.ts'

/** Whether sessions in cookies can be ended from the server. */
export interface CookieStoreOptions {
  /**
   * A small store on the server, with which sessions can be ended: it keeps what has been ended, and one number for each user who ever
   * ended all sessions. Each request with a session then reads it, once for a visitor and twice, at once, for a user; without it
   * nothing is read. It stays open when the manager is closed.
   */
  readonly revocations?: Store
  /**
   * How long it is remembered that a session was ended, in milliseconds: longer than any session lives. 400 days by default, which is
   * as long as browsers keep a cookie.
   */
  readonly rememberFor?: number
}

/**
 * Keeps sessions in the browser and nothing on the server. **It cannot revoke**: a copy of the cookie works until it expires, also after
 * logout. **It cannot compare and set**: of two parallel requests the answer that arrives last wins, with all its data. It cannot list.
 * With `revocations`, logout, revocation by handle and `revoke({ userId })` hold; the rest stays as it is. A login gives the session another handle.
 *
 * The cookie is sealed (AES-256-GCM, a key of its own for each value, by the manager's secrets), bound to its session and its token. All
 * of it must fit into 4096 bytes, which leaves about 2,700 for data: more is a `DataError` at the commit. It is sent again whenever the session
 * changes and, while the session is in use, once in `touchEvery`.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { cookieStore } from 'holdfast/stores/cookie'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: cookieStore() })
 * ```
 * @throws RangeError if `rememberFor` is not a positive number
 */
export function cookieStore(options: CookieStoreOptions = {}): CookieStore {
  const { revocations, rememberFor, ...unknown } = options
  refuseRest('cookieStore', unknown, 'revocations, rememberFor')
  if (revocations !== undefined && typeof revocations?.load !== 'function')
    throw new TypeError('cookieStore: revocations must be a store, such as memoryStore()')
  return new CookieStore(options)
}

export type { CookieStore }

const DAY_MS = 86_400_000

/** What `cookieStore` makes. */
class CookieStore implements Store {
  readonly name = 'cookie'
  readonly compareAndSet = false
  readonly inProcess: boolean
  /** Present with `revocations`. It ends sessions, and lists none. */
  readonly users?: SessionIndex
  readonly sweep?: NonNullable<Store['sweep']>
  readonly reportTo?: NonNullable<Store['reportTo']>

  readonly #revocations: Store | undefined
  readonly #rememberFor: number

  constructor({ revocations, rememberFor = 400 * DAY_MS }: CookieStoreOptions) {
    if (typeof rememberFor !== 'number' || !(rememberFor > 0)) {
      throw new RangeError(
        `cookieStore: rememberFor is ${rememberFor}; it must be a positive number of milliseconds`,
      )
    }
    this.#revocations = revocations
    this.inProcess = revocations === undefined || revocations.inProcess === true
    this.#rememberFor = rememberFor
    if (revocations?.sweep) this.sweep = revocations.sweep.bind(revocations)
    if (revocations?.reportTo) this.reportTo = revocations.reportTo.bind(revocations)
    if (revocations) {
      this.users = {
        list: () =>
          Promise.reject(
            new UnsupportedError('the cookie store cannot list: sessions are with their clients'),
          ),
        destroy: (user, _until, { except, ...write } = {}) => this.#raiseEpoch(user, except, write),
      }
    }
  }

  async check(now: () => number): Promise<readonly Finding[]> {
    if (this.#revocations) return (await this.#revocations.check?.(now)) ?? []
    return [
      {
        id: 'cookie-store.no-revocations',
        severity: 'error',
        finding:
          'Nothing can end a session before its time: a copy of the cookie works after logout and after a changed password.',
        cure: 'Give cookieStore({ revocations }) a small store on the server, or keep sessions there altogether.',
      },
    ]
  }

  async load(key: string, options: LoadOptions = {}): Promise<StoredRecord | Tombstone | undefined> {
    if (options.carried === undefined) return undefined
    const { record, epoch } = parse(options.carried)
    if (this.#revocations === undefined) return record
    const [ended, now] = await Promise.all([
      this.#revocations.load(endedKey(key), { fresh: options.fresh ?? false }),
      record.user === undefined ? NO_EPOCH : this.#epochOf(record.user),
    ])
    // It is remembered far longer than the browser is to be kept waiting for its next cookie.
    if (isTombstone(ended)) return { destroyedUntil: ended.destroyedUntil - this.#rememberFor }
    // Whether it was a moment or a year ago, nobody knows: to the core it is a session that never was.
    const isSpared = now.spared === key && epoch >= now.sparedFrom
    return epoch < now.epoch && !isSpared ? undefined : record
  }

  async carry(_key: string, record: StoredRecord, before: string | undefined): Promise<string> {
    const { rev, text, user, externalId, lastSeen, expires } = record
    const was = before === undefined ? undefined : parse(before)
    // The epoch of the login, which no later request of the session renews: one that was on its way when the user ended all
    // sessions must not make its own a new one.
    const epoch = was && was.record.user === user ? was.epoch : await this.#epochAtLogin(user)
    const fields: Fields = [rev, lastSeen, expires, epoch, user ?? null, externalId ?? null, text]
    return JSON.stringify(fields)
  }

  async create(): Promise<boolean> {
    return true
  }

  async update(): Promise<UpdateResult> {
    return 'ok'
  }

  async touch(): Promise<boolean> {
    return true
  }

  async destroy(key: string, until: number, options?: WriteOptions): Promise<boolean> {
    const store = this.#revocations
    if (store === undefined) return false
    const now = Date.now()
    const expires = until + this.#rememberFor
    await store.create(endedKey(key), { rev: '1', text: '', lastSeen: now, expires })
    return store.destroy(endedKey(key), expires, options)
  }

  async #epochAtLogin(user: string | undefined): Promise<number> {
    if (user === undefined) return 0
    const { epoch } = await this.#epochOf(user)
    return epoch
  }

  async #epochOf(user: string): Promise<Epoch> {
    const found = await this.#revocations?.load(epochKey(user), { fresh: true })
    return found === undefined || isTombstone(found) ? NO_EPOCH : JSON.parse(found.text)
  }

  /** Ends all sessions of a user that began before, but for one. How many there are, nobody knows: one, for all of them. */
  async #raiseEpoch(user: string, spared: string | undefined, options: WriteOptions): Promise<number> {
    const store = this.#revocations as Store
    const key = epochKey(user)
    for (;;) {
      const found = await store.load(key, { fresh: true })
      const known = found === undefined || isTombstone(found) ? undefined : found
      const last = known ? (JSON.parse(known.text) as Epoch) : NO_EPOCH
      // Later than any that has been forgotten.
      const next: Epoch = { epoch: Math.max(last.epoch + 1, Date.now()), ...sparing(spared, last) }
      const now = Date.now()
      const record: StoredRecord = {
        rev: String(next.epoch),
        text: JSON.stringify(next),
        lastSeen: now,
        expires: now + this.#rememberFor,
      }
      const isDone = known
        ? (await store.update(key, record, known.rev, options)) === 'ok'
        : await store.create(key, record, options)
      if (isDone) return 1
    }
  }
}

interface Epoch {
  readonly epoch: number
  /** The session that the last raise left alone, if it was alive: of this epoch, or a later one. */
  readonly spared?: string
  readonly sparedFrom: number
}

const NO_EPOCH: Epoch = { epoch: 0, sparedFrom: 0 }

/** A session that an earlier raise has ended is not spared by one that it asks for itself, with a request that was on its way. */
function sparing(spared: string | undefined, last: Epoch): Pick<Epoch, 'spared' | 'sparedFrom'> {
  if (spared === undefined) return { sparedFrom: 0 }
  return { spared, sparedFrom: last.spared === spared ? last.sparedFrom : last.epoch }
}

type Fields = [
  rev: string,
  lastSeen: number,
  expires: number,
  epoch: number,
  user: string | null,
  externalId: string | null,
  text: string,
]

/** It was sealed, so nobody but `carry` has written it. */
function parse(carried: string): { record: StoredRecord; epoch: number } {
  const [rev, lastSeen, expires, epoch, user, externalId, text] = JSON.parse(carried) as Fields
  const record = {
    rev,
    text,
    lastSeen,
    expires,
    ...(user !== null && { user }),
    ...(externalId !== null && { externalId }),
  }
  return { record, epoch }
}

function endedKey(key: string): string {
  return `ended:${key}`
}

/** Hashed, since a name may be longer than a key, and of any characters. */
function epochKey(user: string): string {
  return `epoch:${hash('sha256', user, 'base64url')}`
}
