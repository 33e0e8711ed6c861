import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import type { Answerer } from './answer.ts'
import type { Committer } from './commit.ts'
import type { Core } from './core.ts'
import { handleOf, initialData, replaceData } from './core.ts'
import { AuthenticationRequiredError, HeadersSentError, NotLoadedError, OptionsError } from './errors.ts'
import { expiry, mayRotate } from './lifetime.ts'
import type { Opener } from './open.ts'
import type { Operation } from './operations.ts'
import type { Duration } from './options.ts'
import { duration, limit } from './options.ts'
import type { Presented, Visit } from './visit.ts'
import { addOperation, Begun, handOut, inTurn } from './visit.ts'

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
  /** Who logged in. */
  readonly userId: string | undefined
  /** What the client's cookie was worth: none came, it named this session, its session has ended, or we never made it. */
  readonly presented: Presented
  readonly createdAt: Date
  /** When the session was last used before this request. Written at most every `touchEvery`. */
  readonly lastSeenAt: Date
  /** When it ends if it is not used again. */
  readonly expiresAt: Date
  readonly authenticatedAt: Date | undefined
  /** What `elevate` or `login` set, while it holds. */
  readonly level: string | undefined
  /** How often the session has had its token replaced. */
  readonly generation: number

  /**
   * Makes this the session of `userId`, with a new token; the old one is dead when the response leaves or `commit()` resolves.
   * The data stays, unless it was another user's.
   * @throws HeadersSentError when the headers have left
   */
  login(userId: string, options?: LoginOptions): Promise<void>
  /** Ends the session at once. Afterwards this is a new anonymous session, so that `flash('info', 'Signed out')` works. */
  logout(): Promise<void>
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
  /** After a second factor or a password asked again: a new token, and `level` for as long as `ttl`. @throws AuthenticationRequiredError without a user */
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
  /** Keeps a message for the user until it is taken, by this request or a later one. */
  flash(category: string, message: string): void
  /** The messages kept, in order, of these categories or all; they are gone once this response is out. */
  takeFlashes(...categories: string[]): FlashMessage[]
  /** As `takeFlashes`, but they stay. */
  peekFlashes(...categories: string[]): FlashMessage[]
  /**
   * Limits for this session alone. `persistent: true` is 'remember me'. `absolute` may be a moment.
   * @throws HeadersSentError when the cookie would change and the headers have left
   */
  setLifetime(lifetime: SessionLifetime): void
}

export interface LoginOptions {
  /** Something that changes with the password, for `verifyStamp`. */
  stamp?: string
  /** A name that another system has for this login, for `revoke({ externalId })`. */
  externalId?: string
  level?: string
}

export interface SessionLifetime {
  idle?: Duration | false
  absolute?: Duration | Date | false
  persistent?: boolean
}

export interface FlashMessage {
  readonly category: string
  readonly message: string
}

/** What a session needs from its manager. */
export interface SessionParts {
  readonly core: Core
  readonly opener: Opener
  readonly committer: Committer
  readonly answerer: Answerer
  readonly stampOf: (value: string) => string
}

/** For the manager: the visit behind a session. */
export let visitOf: (session: Session<never> | Session<object>) => Visit
/** @throws NotLoadedError */
export let loadedVisitOf: typeof visitOf

export class HeldSession<Data extends object> implements Session<Data> {
  readonly #visit: Visit
  readonly #parts: SessionParts

  static {
    visitOf = (session) => {
      if (session instanceof HeldSession) return session.#visit
      throw new TypeError('this is not a session that this copy of Holdfast opened')
    }
    loadedVisitOf = (session) => {
      visitOf(session)
      return (session as HeldSession<object>).#loaded()
    }
  }

  constructor(visit: Visit, parts: SessionParts) {
    this.#visit = visit
    this.#parts = parts
  }

  get data(): Data {
    return handOut(this.#watched()) as Data
  }

  set data(data: Data) {
    const visit = this.#watched()
    handOut(visit)
    visit.data = data
  }

  get handle(): string {
    return handleOf(this.#look())
  }
  get isNew(): boolean {
    return this.#loaded().standing !== 'live'
  }
  get userId(): string | undefined {
    return this.#loaded().record.user
  }
  get presented(): Presented {
    return this.#look().presented
  }
  get createdAt(): Date {
    return new Date(this.#loaded().record.createdAt)
  }
  get lastSeenAt(): Date {
    const visit = this.#loaded()
    return new Date(visit.kept?.lastSeen ?? visit.openedAt)
  }
  get expiresAt(): Date {
    const visit = this.#loaded()
    const lastSeen = Math.max(visit.kept?.lastSeen ?? 0, visit.openedAt)
    return new Date(expiry(visit.record, lastSeen, this.#settings.lifetime))
  }
  get authenticatedAt(): Date | undefined {
    const { authenticatedAt } = this.#loaded().record
    return authenticatedAt === undefined ? undefined : new Date(authenticatedAt)
  }
  get level(): string | undefined {
    const { level, levelUntil } = this.#loaded().record
    return levelUntil !== undefined && this.#now() >= levelUntil ? undefined : level
  }
  get generation(): number {
    return this.#loaded().record.generation
  }

  login(userId: string, options: LoginOptions = {}): Promise<void> {
    return this.#begin(async () => {
      checkName('userId', userId)
      if (options.externalId !== undefined) checkName('externalId', options.externalId)
      const visit = this.#beforeHeaders('log in')
      const { user } = visit.record
      if (user !== undefined && user !== userId) await this.#forgetUser(visit)
      this.#do({
        kind: 'login',
        user: userId,
        externalId: options.externalId,
        level: options.level,
        stamp: options.stamp === undefined ? undefined : this.#parts.stampOf(options.stamp),
        about: this.#settings.describe?.(visit.source),
      })
    })
  }

  logout(): Promise<void> {
    return this.#begin(async () => {
      const visit = this.#loaded()
      await this.#parts.committer.end(visit)
      if (visit.presented !== 'none') visit.cookie = 'clear'
    })
  }

  rotate(): Promise<boolean> {
    return this.#begin(async () => {
      const visit = this.#beforeHeaders('rotate')
      if (visit.standing !== 'live') return false
      if (!mayRotate(visit.generation, visit.record, this.#now(), this.#settings.lifetime)) return false
      this.#do({ kind: 'rotate' })
      return true
    })
  }

  update<R>(change: (data: Data) => R extends PromiseLike<unknown> ? never : R): Promise<R> {
    return this.#begin(() => this.#parts.committer.update(this.#loaded(), change as (data: object) => R))
  }

  commit(): Promise<void> {
    return this.#begin(async () => this.#parts.committer.commit(this.#look()))
  }

  load(): Promise<void> {
    return this.#begin(() => this.#parts.opener.load(this.#look()))
  }

  reload(): Promise<void> {
    return this.#begin(() => this.#parts.committer.reload(this.#loaded()))
  }

  elevate(level: string, { ttl }: { ttl?: Duration } = {}): Promise<void> {
    return this.#begin(async () => {
      const visit = this.#beforeHeaders('elevate')
      if (visit.record.user === undefined)
        throw new AuthenticationRequiredError('elevate: nobody is logged in')
      const until = ttl === undefined ? undefined : this.#now() + duration('ttl', ttl)
      this.#do({ kind: 'elevate', level, until })
    })
  }

  requireLevel(level: string): void {
    if (this.level !== level)
      throw new AuthenticationRequiredError(`this needs the level ${JSON.stringify(level)}`)
  }

  requireRecentLogin(age: Duration): void {
    const { authenticatedAt } = this.#loaded().record
    if (authenticatedAt === undefined || this.#now() - authenticatedAt > duration('age', age)) {
      throw new AuthenticationRequiredError('this needs a more recent login')
    }
  }

  verifyStamp(value: string): Promise<boolean> {
    return this.#begin(async () => {
      const visit = this.#loaded()
      if (visit.record.stamp === this.#parts.stampOf(value)) return true
      await this.#parts.committer.end(visit)
      return false
    })
  }

  flash(category: string, message: string): void {
    this.#loaded()
    this.#do({ kind: 'flash', flash: { id: randomBytes(6).toString('base64url'), category, message } })
  }

  takeFlashes(...categories: string[]): FlashMessage[] {
    const taken = this.#flashes(categories)
    if (taken.length > 0) this.#do({ kind: 'take', ids: taken.map(({ id }) => id) })
    return taken.map(({ category, message }) => ({ category, message }))
  }

  peekFlashes(...categories: string[]): FlashMessage[] {
    return this.#flashes(categories).map(({ category, message }) => ({ category, message }))
  }

  setLifetime({ idle, absolute, persistent }: SessionLifetime): void {
    const visit = this.#loaded()
    if (absolute !== undefined || persistent !== undefined)
      this.#beforeHeaders('change the life of the cookie')
    if (absolute instanceof Date && Number.isNaN(absolute.getTime()))
      throw new OptionsError('absolute: an invalid Date')
    this.#do({
      kind: 'lifetime',
      ...(idle === undefined ? {} : { idle: limit('idle', idle, false) }),
      ...(absolute === undefined
        ? {}
        : absolute instanceof Date
          ? { endsAt: absolute.getTime(), absolute: undefined }
          : { endsAt: undefined, absolute: limit('absolute', absolute, false) }),
      ...(persistent === undefined ? {} : { persistent }),
    })
    visit.looked = true
  }

  /** What a log or a response may show. */
  toJSON(): object {
    const { handle, presented } = this
    if (!this.#visit.loaded) return { handle, presented }
    const { isNew, userId, createdAt, lastSeenAt, expiresAt } = this
    return { handle, isNew, userId, presented, createdAt, lastSeenAt, expiresAt, data: this.#visit.data }
  }

  [inspect.custom](): string {
    return `Session ${inspect(this.toJSON())}`
  }

  get #settings(): Core['settings'] {
    return this.#parts.core.settings
  }

  #now(): number {
    return this.#settings.clock()
  }

  #look(): Visit {
    this.#visit.looked = true
    return this.#visit
  }

  #loaded(): Visit {
    const visit = this.#look()
    if (visit.loaded) return visit
    throw new NotLoadedError('this session was opened with lazy: true; call `await session.load()` first')
  }

  #watched(): Visit {
    const visit = this.#loaded()
    if (visit.answered) this.#parts.answerer.watch(visit)
    return visit
  }

  #beforeHeaders(what: string): Visit {
    const visit = this.#loaded()
    if (!visit.answered) return visit
    throw new HeadersSentError(
      `the headers have left, and to ${what} needs a cookie: do it before the response begins`,
    )
  }

  #do(operation: Operation): void {
    const visit = this.#visit
    addOperation(visit, operation, this.#now(), this.#settings.lifetime)
    if (visit.answered) this.#parts.answerer.watch(visit)
  }

  #begin<T>(work: () => Promise<T>): Promise<T> {
    const { events } = this.#parts.core
    return Begun.start(
      this.#visit,
      () => inTurn(this.#visit, work),
      (error) => events.emit('error', { operation: 'change after the answer', error }),
    )
  }

  #flashes(categories: readonly string[]) {
    const { flashes } = this.#loaded().record
    return categories.length === 0
      ? [...flashes]
      : flashes.filter(({ category }) => categories.includes(category))
  }

  /** What another user's session held is nothing for the one who logs in now. */
  async #forgetUser(visit: Visit): Promise<void> {
    const { base } = visit
    replaceData(visit, this.#parts.core, (await initialData(this.#parts.core)).text)
    visit.base = base
    visit.touched = true
    visit.operations = visit.operations.filter(({ kind }) => kind === 'confirm' || kind === 'advance')
  }
}

/** What a store can index exactly, whichever it is. */
function checkName(what: string, value: unknown): void {
  const isName =
    typeof value === 'string' &&
    value !== '' &&
    value.length <= 255 &&
    !value.includes('\0') &&
    value.isWellFormed()
  if (!isName) {
    throw new TypeError(
      `login: ${what} must be text of 1 to 255 characters without U+0000, not ${inspect(value)}`,
    )
  }
}
