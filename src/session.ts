import type { Duration } from './duration.ts'
import type { Presented } from './visit.ts'

/**
 * One visitor's session, as a handler holds it. `data` is a plain object: change it as you like, nested or not, and it is saved before
 * the first byte of the response leaves. What a method began is waited for by the response, awaited or not.
 */
export interface Session<Data extends object = Record<string, unknown>> {
  /**
   * What the application keeps. Objects in it stay the same objects when other requests' changes come in.
   * @throws NotLoadedError on a session opened with `lazy`, before `load()`
   */
  data: Data
  /** The session's public name, safe in logs, lists and URLs. The same for the life of the session. */
  readonly handle: string
  /** Whether there is no record yet: nothing has been kept for this visitor. */
  readonly isNew: boolean
  /**
   * The store is not to be had, and this request goes on without its session (`onStoreFailure: 'anonymous'`): `data` is empty, nobody seems logged
   * in, and every change throws `StoreUnavailableError`.
   */
  readonly isUnavailable: boolean
  /** Who logged in. */
  readonly userId: string | undefined
  /** What the client's cookie was worth: none came, it named this session, its session has ended, or we never made it. */
  readonly presented: Presented
  /** When the session began; for another user than before, when that one logged in. */
  readonly createdAt: Date
  /** When the session was last used before this request. Written at most every `touchEvery`. */
  readonly lastSeenAt: Date
  /** When it ends if it is not used again. */
  readonly expiresAt: Date
  /** When the user logged in last, from which `absolute` counts. `elevate` does not move it. */
  readonly authenticatedAt: Date | undefined
  /** What `elevate` or `login` set, while it holds. */
  readonly level: string | undefined
  /** Which of the session's tokens is the newest: 1 for the first, one more for each rotation, login and `elevate`. */
  readonly generation: number

  /**
   * Makes this the session of `userId`, with a new token; the old one is dead when the response leaves or `commit()` resolves.
   * The data stays, unless it was another user's.
   * @throws HeadersSentError when the headers have left
   * @throws SessionLimitError (409) where `maxSessionsPerUser` rejects, or the commit does: of logins at the same moment, some find out only then
   */
  login(userId: string, options?: LoginOptions): Promise<void>
  /** Ends the session at once. Afterwards this is a new anonymous session, so that `flash('info', 'Signed out')` works. */
  logout(options?: LogoutOptions): Promise<void>
  /**
   * A new token for the same session. False when there is nothing to do: no record yet, or a parallel request has just done it.
   * Tokens before the last one end then: the predecessor works on for `grace`.
   * @throws HeadersSentError when the headers have left
   */
  rotate(): Promise<boolean>
  /**
   * Reads, changes and commits in one step: `const left = await session.update((data) => --data.credits)`. `change` must be synchronous
   * and without side effects, since it runs again when another commit came first. Pending changes are saved along.
   * @throws ConflictError, SessionEndedError, StoreUnavailableError, DataError; `data` is then as it was
   */
  update<R>(change: (data: Data) => R extends PromiseLike<unknown> ? never : R): Promise<R>
  /** Saves now what is pending: before a redirect elsewhere, in a WebSocket, during a long job, after the headers have left. */
  commit(): Promise<void>
  /** Loads a session that was opened with `lazy`. */
  load(): Promise<void>
  /** Takes in what others committed since. @throws SessionEndedError when the session has ended */
  reload(): Promise<void>
  /** After a second factor: a new token, and `level` for as long as `ttl`. It is no login and moves none of its times. @throws AuthenticationRequiredError without a user */
  elevate(level: string, options?: { ttl?: Duration }): Promise<void>
  /** @throws AuthenticationRequiredError (401) unless the session has this level now */
  requireLevel(level: string): void
  /** @throws AuthenticationRequiredError (401) unless the user logged in within `age` */
  requireRecentLogin(age: Duration): void
  /**
   * Whether the login was made with this stamp: `login(id, { stamp: user.passwordHash })`, and a changed password ends the sessions that
   * hold the old one. If not, the session has been ended. Only a hash of the stamp is kept.
   */
  verifyStamp(value: string): Promise<boolean>
  /**
   * A token for a form or a script, for those who need more than `csrf: true`: browsers from before 2020, forms that pages of other origins send. Another
   * text each time; all are good until the next login or logout. Nothing is stored for it.
   *
   * @example
   * ```ts
   * import { createServer } from 'node:http'
   * import { text } from 'node:stream/consumers'
   * import { createSessions } from 'holdfast'
   * import { nodeSessions } from 'holdfast/node'
   *
   * const sessions = createSessions({ secret: process.env.SESSION_SECRET, csrf: true })
   *
   * createServer(
   *   nodeSessions(sessions, async (request, response, session) => {
   *     if (session.userId === undefined) return response.writeHead(401).end()
   *     if (request.method !== 'POST') {
   *       return response.end(`<form method="post"><input type="hidden" name="csrf" value="${session.csrfToken()}"><button>Pay</button></form>`)
   *     }
   *     const form = new URLSearchParams(await text(request))
   *     if (!session.verifyCsrfToken(form.get('csrf'))) return response.writeHead(403).end()
   *     response.end('paid')
   *   }),
   * )
   * ```
   * @throws NotSavedError for a session without a record, or with a login that is not saved yet: it would be bound to nothing that the client holds.
   * @throws StoreUnavailableError while the session is not to be had
   */
  csrfToken(): string
  /**
   * Whether `csrfToken()` gave this to the same login of this session; false for all else, whatever it is. Compared in constant time.
   * @throws StoreUnavailableError while the session is not to be had
   */
  verifyCsrfToken(value: unknown): boolean
  /** Keeps a message for the user until it is taken, by this request or a later one. */
  flash(category: string, message: string): void
  /** The messages kept, in order, of these categories or all; they are gone once this response is out. */
  takeFlashes(...categories: string[]): FlashMessage[]
  /** As `takeFlashes`, but they stay. */
  peekFlashes(...categories: string[]): FlashMessage[]
  /**
   * Limits for this session alone. 'Remember me' is `setLifetime({ persistent: true, idle: '30d', absolute: '30d' })`: the cookie lasts as long as
   * `absolute`, but without use the session ends after `idle`. `absolute` may be a moment.
   * @throws HeadersSentError when the cookie would change and the headers have left
   */
  setLifetime(lifetime: SessionLifetime): void
}

/** What `login` keeps of a login, and what it ends with it. */
export interface LoginOptions {
  /** Something that changes with the password, for `verifyStamp`. */
  stamp?: string
  /** A name that another system has for this login, for `revoke({ externalId })`. */
  externalId?: string
  /** What `session.level` is from now on, without an end: for a login with a second factor. Default: none, whatever it was. */
  level?: string
  /**
   * End all other sessions of this user with it: after a changed password, `login(id, { stamp: newHash, revokeOthers: true })` in one call. They
   * have ended when the response leaves or `commit()` resolves. Default: false.
   * @throws UnsupportedError from `login`, on a store that cannot find sessions by user: there `verifyStamp` ends them, at their next request
   */
  revokeOthers?: boolean
}

/** What `logout` tells the browser besides. */
export interface LogoutOptions {
  /**
   * Tell the browser to clear what it keeps of this site: `Clear-Site-Data: "cache", "cookies", "storage"` (https://www.w3.org/TR/clear-site-data/). That
   * includes all cookies of the site and its subdomains, and those that this response sets: a flash message kept after it is lost. Browsers heed
   * it over https and on localhost. Default: false.
   * @throws HeadersSentError when the headers have left; the session has been ended all the same
   */
  clearSiteData?: boolean
}

/** Limits of one session, in place of those of the manager: what `setLifetime` takes. What is left out stays. */
export interface SessionLifetime {
  /** The session ends this long after its last use; `false` for no such limit. */
  idle?: Duration | false
  /** The session ends this long after the login, or after it began without one; or at a moment. `false` for no such limit. */
  absolute?: Duration | Date | false
  /** Whether the cookie survives the end of the browser. */
  persistent?: boolean
}

/** A message for the next page: what `flash` keeps and `takeFlashes` gives. */
export interface FlashMessage {
  readonly category: string
  readonly message: string
}

/** Where a view of a session keeps the session itself, so that the view will do for it: docs/decisions/031-passport.md. */
export const behind = Symbol('holdfast: the session itself')
