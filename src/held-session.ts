import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import type { Answerer } from './answer.ts'
import type { Committer } from './commit.ts'
import type { Core } from './core.ts'
import { replaceData } from './core.ts'
import { initialData } from './data.ts'
import type { Duration } from './duration.ts'
import { duration, limit } from './duration.ts'
import { endSession } from './end.ts'
import {
  AuthenticationRequiredError,
  DataError,
  NotLoadedError,
  NotSavedError,
  OptionsError,
} from './errors.ts'
import { checkTypes, refuseUnknown, typeOf } from './given.ts'
import { absoluteTimeout, expiry, mayRotate } from './lifetime.ts'
import type { LoginRules } from './login-rules.ts'
import type { Opener } from './open.ts'
import type { LifetimeOverrides, Operation } from './operations.ts'
import { isActive } from './operations.ts'
import { reload } from './rebase.ts'
import { tooLate, unavailable } from './refusals.ts'
import { viewOf } from './request.ts'
import type { CsrfSigner, Login } from './security/csrf-token.ts'
import type { FlashMessage, LoginOptions, LogoutOptions, Session, SessionLifetime } from './session.ts'
import { behind } from './session.ts'
import { refuseIdleOverAbsolute } from './settings/lifetime.ts'
import type { Presented, Visit } from './visit.ts'
import { addOperation, Begun, handleOf, handOut, inTurn, loginOf } from './visit.ts'

/** What a session needs from its manager. */
export interface SessionParts {
  readonly core: Core
  readonly opener: Opener
  readonly committer: Committer
  readonly logins: LoginRules
  readonly answerer: Answerer
  readonly csrf: CsrfSigner
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
    const heldBy = (session: object | undefined) => {
      const held = (session as { [behind]?: unknown } | undefined)?.[behind] ?? session
      if (held instanceof HeldSession) return held
      throw new TypeError('this is not a session that this copy of Holdfast opened')
    }
    visitOf = (session) => heldBy(session).#visit
    loadedVisitOf = (session) => heldBy(session).#loaded()
  }

  constructor(visit: Visit, parts: SessionParts) {
    this.#visit = visit
    this.#parts = parts
    // What is put beside data would be lost: it is an error.
    Object.preventExtensions(this)
  }

  get data(): Data {
    return handOut(this.#forData()) as Data
  }

  set data(data: Data) {
    const visit = this.#forData()
    if (typeof data !== 'object' || data === null || Array.isArray(data)) {
      throw new DataError(`data must be a plain object, not ${typeOf(data)}. To empty it, set data = {}.`)
    }
    handOut(visit)
    visit.data = data
  }

  get handle(): string {
    return handleOf(this.#look())
  }
  get isNew(): boolean {
    return this.#loaded().standing !== 'live'
  }
  get isUnavailable(): boolean {
    return this.#loaded().outage !== undefined
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
    return new Date(lastSeenOf(this.#loaded()))
  }
  get expiresAt(): Date {
    const visit = this.#loaded()
    const lastSeen = Math.max(lastSeenOf(visit), visit.openedAt)
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
      refuseUnknown('login: ', options, ['stamp', 'externalId', 'level', 'revokeOthers'])
      checkTypes('login: ', options, { stamp: 'string', level: 'string', revokeOthers: 'boolean' })
      if (options.externalId !== undefined) checkName('externalId', options.externalId)
      const visit = this.#beforeHeaders('log in')
      await this.#parts.logins.checkRoom(visit, userId, options)
      const { user } = visit.record
      const isAnotherUsers = user !== undefined && user !== userId
      const lifetimes = isAnotherUsers ? visit.operations.filter(({ kind }) => kind === 'lifetime') : []
      if (isAnotherUsers) await this.#forgetUser(visit)
      this.#do({
        kind: 'login',
        user: userId,
        externalId: options.externalId,
        level: options.level,
        ...(options.revokeOthers && { revokeOthers: true }),
        stamp: options.stamp === undefined ? undefined : this.#parts.stampOf(options.stamp),
        about: this.#settings.describe?.(viewOf(visit.source)),
        client: this.#parts.core.watch?.wordsOf(visit.source, userId),
      })
      // What this request said of the lifetime was meant for the login that it makes.
      for (const lifetime of lifetimes) this.#do(lifetime)
    })
  }

  logout(options: LogoutOptions = {}): Promise<void> {
    return this.#begin(async () => {
      refuseUnknown('logout: ', options, ['clearSiteData'])
      checkTypes('logout: ', options, { clearSiteData: 'boolean' })
      const visit = this.#loaded()
      await endSession(visit, this.#parts.core)
      if (visit.presented !== 'none' || visit.duplicate) visit.cookie = 'clear'
      if (options.clearSiteData) this.#beforeHeaders('ask for clearSiteData').clearSiteData = true
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
    return this.#begin(async () => {
      const visit = this.#loaded()
      const result = await this.#parts.committer.update(visit, change as (data: object) => R)
      this.#parts.answerer.noteUse(visit)
      return result
    })
  }

  commit(): Promise<void> {
    return this.#begin(async () => {
      const visit = this.#look()
      await this.#parts.committer.commit(visit)
      this.#parts.answerer.noteUse(visit)
    })
  }

  load(): Promise<void> {
    return this.#begin(() => this.#parts.opener.load(this.#look()))
  }

  reload(): Promise<void> {
    return this.#begin(() => reload(this.#loaded(), this.#parts.core))
  }

  elevate(level: string, { ttl }: { ttl?: Duration } = {}): Promise<void> {
    return this.#begin(async () => {
      checkTypes('elevate: ', { level: level ?? null }, { level: 'string' })
      const visit = this.#beforeHeaders('elevate')
      if (visit.record.user === undefined)
        throw new AuthenticationRequiredError('elevate: nobody is logged in')
      const until = ttl === undefined ? undefined : this.#now() + duration('ttl', ttl)
      this.#do({ kind: 'elevate', level, until })
    })
  }

  requireLevel(level: string): void {
    if (this.userId === undefined) throw new AuthenticationRequiredError('nobody is logged in')
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
      await endSession(visit, this.#parts.core)
      // Nothing else would keep the client from coming back with what it carries.
      if (this.#parts.core.vault.carry) visit.cookie = 'clear'
      return false
    })
  }

  csrfToken(): string {
    const visit = this.#available()
    if (visit.standing === 'live' && !loginOf(visit)) return this.#parts.csrf.sign(loginIn(visit))
    throw new NotSavedError(
      'csrfToken: this session has no record, or its login is not saved yet, so a token would be bound to nothing that the client holds. ' +
        'Put something into data, or log in, and `await session.commit()` first; forms of visitors without a session are covered by csrf: true',
    )
  }

  verifyCsrfToken(value: unknown): boolean {
    const visit = this.#available()
    return visit.standing === 'live' && this.#parts.csrf.verify(value, loginIn(visit))
  }

  flash(category: string, message: string): void {
    if (typeof category !== 'string' || typeof message !== 'string') {
      throw new TypeError(
        `flash: takes a category and a message, both text, not ${typeOf(category)} and ${typeOf(message)}`,
      )
    }
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

  setLifetime(lifetime: SessionLifetime): void {
    refuseUnknown('setLifetime: ', lifetime, ['idle', 'absolute', 'persistent'])
    checkTypes('setLifetime: ', lifetime, { persistent: 'boolean' })
    const { idle, absolute, persistent } = lifetime
    const visit = this.#loaded()
    if (absolute !== undefined || persistent !== undefined)
      this.#beforeHeaders('change the life of the cookie')
    if (absolute instanceof Date && Number.isNaN(absolute.getTime()))
      throw new OptionsError('setLifetime: absolute: an invalid Date')
    const given: LifetimeOverrides = {
      ...(idle === undefined ? {} : { idle: limit('setLifetime: idle', idle, false) }),
      ...(absolute === undefined
        ? {}
        : absolute instanceof Date
          ? { endsAt: absolute.getTime(), absolute: undefined }
          : { endsAt: undefined, absolute: limit('setLifetime: absolute', absolute, false) }),
      ...(persistent === undefined ? {} : { persistent }),
    }
    if (given.idle) {
      const whole = absoluteTimeout({ ...visit.record, ...given }, this.#settings.lifetime)
      refuseIdleOverAbsolute('setLifetime', { idle: given.idle, absolute: whole })
    }
    this.#do({ kind: 'lifetime', ...given })
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

  #available(): Visit {
    const visit = this.#loaded()
    if (visit.outage) throw unavailable(visit)
    return visit
  }

  #forData(): Visit {
    const visit = this.#loaded()
    if (visit.answered) this.#parts.answerer.checkLater(visit)
    return visit
  }

  #beforeHeaders(what: string): Visit {
    const visit = this.#loaded()
    if (!visit.answered) return visit
    throw tooLate(what)
  }

  #do(operation: Operation): void {
    const visit = this.#visit
    if (visit.outage) throw unavailable(visit)
    addOperation(visit, operation, this.#now(), this.#settings.lifetime)
    if (visit.answered) this.#parts.answerer.checkLater(visit)
  }

  #begin<T>(work: () => Promise<T>): Promise<T> {
    const { events, work: underWay } = this.#parts.core
    return Begun.start(
      this.#visit,
      () => underWay.run(() => inTurn(this.#visit, work)),
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
    visit.operations = visit.operations.filter((operation) => !isActive(operation))
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
  if (isName) return
  // Of a whole user the error must not hold the hash of the password.
  const shown = typeof value === 'object' ? typeOf(value) : inspect(value)
  throw new TypeError(
    `login: ${what} must be text of 1 to 255 characters without U+0000, not ${shown}${typeof value === 'string' ? '' : '; pass String(id)'}`,
  )
}

function loginIn(visit: Visit): Login {
  return { handle: handleOf(visit), userSince: visit.record.userSince }
}

/** A quiet visit knows a record, but not one that is its own. */
function lastSeenOf({ standing, kept, openedAt }: Visit): number {
  return standing === 'live' && kept ? kept.lastSeen : openedAt
}
