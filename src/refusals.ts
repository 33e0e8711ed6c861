import {
  CookieWithheldError,
  HeadersSentError,
  SessionEndedError,
  SessionLimitError,
  StoreUnavailableError,
} from './errors.ts'
import { routeOf } from './request.ts'
import type { Visit } from './visit.ts'
import { handleOf } from './visit.ts'

/** What needs a cookie, and there is no way to send one any more. */
export function tooLate(what: string): HeadersSentError {
  return new HeadersSentError(
    `the headers have left, so there is no way to send a cookie: ${what} before the response begins`,
  )
}

/** A session may not begin here, since the visitor may well have one. */
export function withheld(visit: Visit): CookieWithheldError {
  return new CookieWithheldError(
    `${routeOf(visit.source)}: another site sent this request, so the browser kept the session cookie back. ` +
      'Redirect to a page of your own first and change the session there; only login() may start one here.',
  )
}

/** The token is dead, or does not suffice, and a change made with it is not saved. */
export function ended(visit: Visit): NonNullable<Visit['refusal']> {
  if (visit.refusal) return visit.refusal
  return new SessionEndedError(
    `session ${handleOf(visit)} ended or got a new token while this request was under way, so what the request changed was not saved`,
  )
}

/** One login more than the user may have sessions. */
export function tooMany(limit: number): SessionLimitError {
  return new SessionLimitError(
    `there may be ${limit} sessions of one user at a time (maxSessionsPerUser), and this login would have been one more: sign out elsewhere first`,
  )
}

/** The manager was closed before this began. Another instance may well answer, or this one's successor. */
export function managerClosed(name: string): StoreUnavailableError {
  return new StoreUnavailableError(
    `the sessions of '${name}' have been closed, so none can be opened or changed any more. ` +
      'Stop taking requests first, and close the sessions once the last one is answered: server.close(() => sessions.close())',
    { maybeApplied: false, retryable: true },
  )
}

/** The request goes on without its session (`onStoreFailure: 'anonymous'`), of which nobody knows what it holds. */
export function unavailable({ outage }: Visit): StoreUnavailableError {
  return new StoreUnavailableError('the session could not be loaded, so this request cannot change it', {
    cause: outage,
    maybeApplied: false,
    retryable: outage!.retryable,
  })
}

/** What failed now wrote nothing perhaps, but an earlier attempt at the same may have. */
export function stillUnknown(error: unknown): never {
  if (!(error instanceof StoreUnavailableError) || error.maybeApplied) throw error
  const { message, cause, retryable } = error
  throw new StoreUnavailableError(message, { cause, maybeApplied: true, retryable })
}

/** A write got no answer, and what it left behind, if anything, is no longer to be seen. To do it again might do it twice. */
export function notTold(visit: Visit): StoreUnavailableError {
  return new StoreUnavailableError(
    `session ${handleOf(visit)}: a write got no answer, and others have written so often since that nobody can tell whether it was done. ` +
      'What was to be changed has been dropped: look at what the session holds, after reload() or in a new request, and change that',
    { maybeApplied: true, retryable: false },
  )
}
