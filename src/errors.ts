import { STATUS_CODES } from 'node:http'

/**
 * What Holdfast throws at applications. `status` and `statusCode` are what frameworks answer with when nobody catches
 * it; `expose` tells Koa and http-errors whether the message may be shown to the client. No message holds a token.
 */
export class HoldfastError extends Error {
  readonly status: number = 500
  readonly code: string = 'HOLDFAST'
  get statusCode(): number {
    return this.status
  }
  get expose(): boolean {
    return this.status < 500
  }
  /** What Next.js tells an error boundary in the browser, where it hides messages. */
  get digest(): string {
    return this.code
  }
  /** The error as a response, which Hono's default error handler asks for and a web handler may return. */
  getResponse(): Response {
    const text = this.expose ? this.message : (STATUS_CODES[this.status] ?? 'Internal Server Error')
    return new Response(text, {
      status: this.status,
      headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    })
  }
  override get name(): string {
    return this.constructor.name
  }
}

/** Error handlers write to errors (`err.statusCode ||= 500`), and a getter alone would make that an error of its own. */
function allowToSet(prototype: object, ...names: string[]): void {
  for (const name of names) {
    Object.defineProperty(prototype, name, {
      set(value: unknown) {
        Object.defineProperty(this, name, { value, writable: true, configurable: true })
      },
    })
  }
}
allowToSet(HoldfastError.prototype, 'statusCode', 'expose', 'digest', 'name')

/** An option is unknown, malformed or contradicts another one. Thrown at construction; names the option. */
export class OptionsError extends HoldfastError {
  override readonly code = 'HOLDFAST_OPTIONS'
}

/** Another request set the same thing and the merge rules refuse to choose, or this one could not get through before its deadline. 409. */
export class ConflictError extends HoldfastError {
  override readonly status = 409
  override readonly code = 'HOLDFAST_CONFLICT'
}

/** The session ended while the request was under way (logout, expiry, revocation, a login elsewhere): nothing was written. 409. */
export class SessionEndedError extends HoldfastError {
  override readonly status = 409
  override readonly code = 'HOLDFAST_SESSION_ENDED'
}

/** A cross-site request came without its cookie, as SameSite asks, and wanted to start a session. 409; redirect first, then write. */
export class CookieWithheldError extends HoldfastError {
  override readonly status = 409
  override readonly code = 'HOLDFAST_COOKIE_WITHHELD'
}

/** A page of another origin sent the request, and `csrf` lets none of those change anything. 403; nothing was loaded. */
export class CrossOriginError extends HoldfastError {
  override readonly status = 403
  override readonly code = 'HOLDFAST_CROSS_ORIGIN'
}

/** What was asked for needs a session that has been saved, and this one has not, or not since its login. */
export class NotSavedError extends HoldfastError {
  override readonly code = 'HOLDFAST_NOT_SAVED'
}

/** What was asked for needs a cookie, and the headers have left. */
export class HeadersSentError extends HoldfastError {
  override readonly code = 'HOLDFAST_HEADERS_SENT'
}

/** A write where no cookie can be set and nothing may change: while Next.js renders Server Components, and in its proxy. Says where to write. */
export class ReadOnlySessionError extends HoldfastError {
  override readonly code = 'HOLDFAST_READ_ONLY'
}

/** `data` was used before `await session.load()` on a session that was opened with `lazy`. */
export class NotLoadedError extends HoldfastError {
  override readonly code = 'HOLDFAST_NOT_LOADED'
}

/** `data` holds something that cannot be stored, or more than `maxBytes`. Names the path. */
export class DataError extends HoldfastError {
  override readonly code: string = 'HOLDFAST_DATA'
}

/** `data` does not fit the schema. Names the paths. */
export class SchemaError extends DataError {
  override readonly code = 'HOLDFAST_SCHEMA'
}

/** What the store holds under the key cannot be read as a session. */
export class InvalidRecordError extends HoldfastError {
  override readonly code = 'HOLDFAST_INVALID_RECORD'
}

/** The route needs a login, a more recent one, or a higher level. 401. */
export class AuthenticationRequiredError extends HoldfastError {
  override readonly status = 401
  override readonly code = 'HOLDFAST_AUTHENTICATION_REQUIRED'
}

/**
 * The user has as many sessions as `maxSessionsPerUser` allows, and it says to reject. 409, since the user can resolve it: by ending one of
 * them (RFC 9110, section 15.5.10). Nothing has changed, and the login may be tried again.
 */
export class SessionLimitError extends HoldfastError {
  override readonly status = 409
  override readonly code = 'HOLDFAST_SESSION_LIMIT'
}

/**
 * The store failed, or gave no answer in time. 503; `cause` is its error, if it gave one. Nothing is known to be lost: the session is as it
 * was when the store is back.
 */
export class StoreUnavailableError extends HoldfastError {
  override readonly status = 503
  override readonly code = 'HOLDFAST_STORE_UNAVAILABLE'
  /**
   * Whether the write, or an earlier attempt at it, may have reached the store all the same. Calling `commit()` again decides it by its revision,
   * unless others have written too often since: then the change is dropped, with this error and `retryable: false`.
   */
  readonly maybeApplied: boolean
  /** Whether the same may well succeed in a moment. If not, the store refuses it and says why: somebody has to act. */
  readonly retryable: boolean

  constructor(message: string, options: { cause?: unknown; maybeApplied: boolean; retryable: boolean }) {
    super(message, { cause: options.cause })
    this.maybeApplied = options.maybeApplied
    this.retryable = options.retryable
  }

  /** What frameworks add to the response when nobody catches it. */
  get headers(): Readonly<Record<string, string>> {
    return this.retryable ? { 'Retry-After': '1' } : {}
  }

  override getResponse(): Response {
    const response = super.getResponse()
    for (const [name, value] of Object.entries(this.headers)) response.headers.set(name, value)
    return response
  }
}
allowToSet(StoreUnavailableError.prototype, 'headers')
