import type { Codec } from './codec.ts'
import type { Duration } from './duration.ts'
import type { MergeRule } from './merge.ts'
import type { RequestView } from './request.ts'
import type { StandardSchema } from './schema.ts'
import type { Store } from './store.ts'

/** What `createSessions` takes. Everything is optional but the secret in production. */
export interface SessionOptions<Data extends object = Record<string, unknown>> {
  /**
   * Signs the tokens: at least 32 bytes that nobody can guess, or a list of them, the newest first. The first one signs, all
   * verify. Outside production a random one is made when it is missing, with a warning, and nobody stays logged in over a restart.
   */
  secret?: Secret | readonly Secret[] | undefined
  /** Where the sessions are kept. Default: `memoryStore()`, which forgets them with the process. */
  store?: Store
  /** How long sessions live, or the name of a preset from NIST SP 800-63B-4. */
  lifetime?: LifetimeOptions | LifetimePreset
  /** Name and attributes of the session cookie. Default: `__Host-id`, `Secure`, `HttpOnly`, `SameSite=Lax`, until the browser ends. */
  cookie?: CookieOptions
  /**
   * Refuse requests that pages of other origins send and that could change something: every method but GET, HEAD, OPTIONS and TRACE, and
   * WebSocket upgrades, with a session or without one. They fail with `CrossOriginError`, status 403, before anything is loaded. No tokens, and
   * nothing to add to forms. Default: false. See docs/csrf.md.
   */
  csrf?: boolean | CsrfOptions
  /** A Standard Schema (zod, valibot, arktype, …) that types `data` and validates it when it is loaded and when it is saved. */
  schema?: StandardSchema<unknown, Data>
  /**
   * What becomes of a stored session that cannot be read or no longer fits the schema: `'anonymous'` (the default: a new session, the
   * record left as it is, an `invalid` event), `'error'`, or a function that gives repaired data, or undefined for anonymous.
   */
  onInvalid?: 'anonymous' | 'error' | ((data: unknown, error: Error) => Data | undefined)
  /**
   * What a token does that is used after rotation has replaced it, which nobody does who has the newer one: two parties hold this login. The `reuse`
   * event tells of it in any case. `'end'` (the default): the session ends for both, since nobody knows which of them is the thief. `'reject'`: the token is
   * worth nothing, and whoever has the newer one goes on, be it the thief. `'event'`: it is let in, to see what would happen; not if a login or a
   * step-up has retired it.
   *
   * @example
   * ```ts
   * import { createSessions } from 'holdfast'
   *
   * const sessions = createSessions({ secret: process.env.SESSION_SECRET, onReuse: 'reject' })
   * sessions.on('reuse', ({ handle, userId }) => console.warn('a stolen token?', handle, userId))
   * ```
   */
  onReuse?: OnReuse
  /** Turns data into text in place of JSON. */
  codec?: Codec
  /** What parallel changes of one key mean, by dotted path: `{ visits: 'sum', cart: 'sum', tags: 'union' }`. Default: the later one wins, with an `overwritten` event. */
  merge?: MergeRulesFor<Data>
  /** Encrypt what the store keeps (AES-256-GCM under a key derived from the secret). Default: false. */
  seal?: boolean
  /** Limit for encoded data, in bytes. Default: 32768. */
  maxBytes?: number
  /** A few words about a request, kept from the login on for the user's list of devices. Default: nothing is kept. */
  describe?: (request: RequestView) => Record<string, string>
  /**
   * How many sessions a user may have at a time, and what a login does that would be one too many (ASVS 7.1.2). Needs a store that lists by user.
   * Default: no limit.
   *
   * @example
   * ```ts
   * import { createSessions } from 'holdfast'
   *
   * const sessions = createSessions({
   *   secret: process.env.SESSION_SECRET,
   *   maxSessionsPerUser: { limit: 3, onLimit: 'evict-oldest' },
   * })
   * ```
   */
  maxSessionsPerUser?: SessionLimit
  /**
   * Tell when a logged-in session is used by a very different client than before: another browser or system, another network (the first 24 bits of an
   * IPv4 address, 48 of an IPv6 one). A `clientChanged` event and nothing else: people change networks all the time, so no request is refused. From the
   * login on the session's record holds a keyed hash of both, cut to 48 bits, and no other record or log does (NIST SP 800-63B-4, section 5.3: assess what that means for privacy).
   * Behind a proxy, say where the address is: `{ address: (request) => request.header('x-real-ip') }`. Default: false, nothing is kept.
   */
  watchClient?: boolean | { readonly address: (request: RequestView) => string | undefined }
  /** Save what a handler changed before it failed with an exception or a status of 500 or more. Default: false, as Django does. */
  saveOnError?: boolean
  /** Milliseconds since 1970. Default: `Date.now`; for tests. */
  clock?: () => number
  /** Tells managers apart: cookie, keys in the store, tokens. Default: `'id'`. */
  name?: string
  /**
   * How long a store may take, each counted to the next twentieth of a second. What is not done by then fails with `StoreUnavailableError`.
   * Stores in this process (memory, SQLite) have none.
   */
  deadlines?: {
    /** For reading a session. Default: 500 ms. */
    load?: Duration
    /** For each attempt to write one. Default: 1 s. */
    write?: Duration
    /** For all attempts of a commit when others keep changing the same session, and for what lists or ends many. Default: 5 s. */
    request?: Duration
  }
  /**
   * What a request does whose session cannot be loaded since the store is not to be had: `'error'` (the default) fails with
   * `StoreUnavailableError`, status 503; `'anonymous'` goes on with an empty session that refuses changes and never touches the
   * cookie; or a function that chooses by the request.
   */
  onStoreFailure?: OnStoreFailure | ((request: RequestView) => OnStoreFailure)
  /** Remove expired records this often, in small batches, where the store does not do it by itself; `false` to call `sweep()` yourself. Default: 10 min. */
  sweepEvery?: Duration | false
  /** Where warnings go, and errors that nobody listens for. Default: the console. For pino, `loggerOver(pino())` of `holdfast/log`. */
  logger?: Logger
}

/** How many sessions a user may have at a time, and what a login does that would be one too many. */
export interface SessionLimit {
  /** A whole number from 1 up. */
  readonly limit: number
  /**
   * `'evict-oldest'`: the session ends whose login is the longest ago, with a `revoked` event. `'reject'`: the login fails with
   * `SessionLimitError` and a `refused` event, and leaves the visitor's session as it was; but for another user's, which ends if the room was taken in the same moment.
   */
  readonly onLimit: 'evict-oldest' | 'reject'
}

/** Merge rules by the paths that the data can have. */
export type MergeRulesFor<Data extends object> = {
  readonly [Path in '*' | (keyof Data & string) | `${keyof Data & string}.${string}`]?: MergeRule
}

/** What a request does whose session cannot be loaded. */
export type OnStoreFailure = 'error' | 'anonymous'

/** What a token does that is used after rotation has replaced it. */
export type OnReuse = 'end' | 'reject' | 'event'

/** What tokens are signed with: text or bytes, at least 32 of them. */
export type Secret = string | Uint8Array

/** The limits of NIST SP 800-63B-4, absolute and idle: `aal1` 30 days and none, `aal2` 24 hours and 1 hour, `aal3` 12 hours and 15 minutes. */
export type LifetimePreset = 'aal1' | 'aal2' | 'aal3'

/** How long sessions live, and how often their tokens are replaced. All of it is enforced on the server. */
export interface LifetimeOptions {
  /** Ends a session this long after its last use. Default: 24 h. */
  idle?: Duration | false
  /** Ends a session this long after login, or creation. Default: 14 d. */
  absolute?: Duration | false
  /** Other limits for sessions without a user. Default: the same. */
  anonymous?: { idle?: Duration | false; absolute?: Duration | false }
  /** Give logged-in sessions a new token this often. Default: 15 min. */
  rotateEvery?: Duration | false
  /** How long the token before a rotation still works once the new one is in use. Default: 5 min. */
  grace?: Duration
  /** How often the time of last use is written, at most (and a tenth of `idle`, if that is shorter). Default: 60 s. */
  touchEvery?: Duration
  /** Whether the cookie survives the end of the browser. Default: false. For one session alone: `setLifetime({ persistent: true, idle: '30d', absolute: '30d' })`. */
  persistent?: boolean
}

/** The attributes of the session cookie. `HttpOnly` is always set. */
export interface CookieOptions {
  /** Default: the manager's name. `__Host-` or `__Secure-` goes in front where the attributes allow it. */
  name?: string
  /** Default: `/`. */
  path?: string
  /** Share the session with all subdomains of this one. Default: only the host itself. */
  domain?: string
  /** Default: `'lax'`. */
  sameSite?: 'strict' | 'lax' | 'none'
  /** Default: true. False only for plain http on anything but localhost (and for localhost in Safari). */
  secure?: boolean
  /** For pages embedded in other sites; implies `sameSite: 'none'`. */
  partitioned?: boolean
  /** Cookies that earlier versions of the site set, cleared at a login that finds two sessions in one request. */
  formerly?: readonly { name: string; domain?: string; path?: string }[]
}

/** Which requests of other origins `csrf` lets through, and which of old browsers it refuses. */
export interface CsrfOptions {
  /**
   * Origins whose pages may send requests all the same, exactly as browsers send them: `['https://app.shop.example']`. Also this site's own, where a
   * proxy puts another name into `Host` and old browsers are to be served. Default: none.
   */
  trustedOrigins?: readonly string[]
  /**
   * Refuse also what brings a session cookie and neither `Sec-Fetch-Site` nor `Origin`: a browser from before 2020, or a program that has copied a
   * cookie. Default: false.
   */
  strict?: boolean
}

/** Where warnings and errors go; the console is one. */
export interface Logger {
  warn(message: string): void
  error(message: string, error?: unknown): void
}
