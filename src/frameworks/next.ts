import type { Answer } from '../answer.ts'
import { HoldfastError, OptionsError, ReadOnlySessionError } from '../errors.ts'
import { checkTypes, refuseUnknown } from '../given.ts'
import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import { checkSessions } from './adapter-options.ts'
import { attributesToSet } from './cookie-attributes.ts'
import type { ReadonlySession } from './read-only.ts'
import { readOnly } from './read-only.ts'
import type { SessionHandler } from './web.ts'
import { answerError, webSessions, withHeaders } from './web.ts'

export type { ReadonlyData, ReadonlySession } from './read-only.ts'

/** What is used of `next/headers`, given by the application: `{ cookies, headers }`. */
export interface NextHeaders {
  cookies(): Promise<{ set(cookie: NextCookie): unknown }>
  headers(): Promise<NextRequestHeaders>
}

/** A cookie as Next.js is told of it. */
export interface NextCookie {
  name: string
  value: string
  path?: string
  domain?: string
  secure?: boolean
  httpOnly?: boolean
  sameSite?: 'strict' | 'lax' | 'none'
  partitioned?: boolean
  /** Seconds. */
  maxAge?: number
}

/** The request's headers. One object a request, which is how a request is told from another. */
export interface NextRequestHeaders {
  entries(): Iterable<[string, string]>
}

/** Sessions in the App Router: each of these belongs in one kind of place. */
export interface NextSessions<Data extends object> {
  /**
   * For Server Components, layouts, `generateMetadata` and helpers: the session, to read. It is loaded once a request, whoever asks. After a Server Action of
   * the same request it is what the action has saved. A rotation that is due is left to the next answer that can set a cookie.
   * @throws StoreUnavailableError
   */
  getSession(): Promise<ReadonlySession<Data>>
  /**
   * A Server Action that is given the session before its own arguments. What it changed is saved, and the cookie set, when its promise resolves, and
   * also before a `redirect()` or `notFound()` that it throws; any other error discards what is not saved yet. An error that says the session could not be
   * saved is thrown to the caller. Actions that call one another share the session of the outermost. Of those that
   * something else calls one after the other, in one request, the first sets the cookie: a login in a later one throws `HeadersSentError`.
   */
  action<Args extends unknown[], Result>(
    handler: (session: Session<Data>, ...args: Args) => Result | Promise<Result>,
  ): (...args: Args) => Promise<Result>
  /**
   * A Route Handler that is given the session as its second argument, and what Next.js passes behind it. `redirect()` and `notFound()` save and set the
   * cookie too. What the client should know of is answered with its status (401, 403, 409; 503 with `Retry-After` while the store is not to be had).
   */
  route<Incoming extends Request, Rest extends unknown[]>(
    handler: (request: Incoming, session: Session<Data>, ...rest: Rest) => Response | Promise<Response>,
  ): (request: Incoming, ...rest: Rest) => Promise<Response>
  /**
   * A proxy (`proxy.ts`) that is given the session to read. For a GET, its answer takes along what a page cannot send: the cookie of a rotation that is due,
   * or one that was lost. While the store is not to be had it answers 503 with `Retry-After`. Costs a load for each request that it matches.
   */
  proxy<Incoming extends Request, Rest extends unknown[]>(
    handler: (
      request: Incoming,
      session: ReadonlySession<Data>,
      ...rest: Rest
    ) => Response | Promise<Response>,
  ): (request: Incoming, ...rest: Rest) => Promise<Response>
}

/**
 * Sessions for the App Router of Next.js 16, on Node: see docs/next.md. It is given `cookies` and `headers` of `next/headers`.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { nextSessions } from 'holdfast/next'
 * import { cookies, headers } from 'next/headers'
 *
 * const sessions = createSessions<{ visits?: number }>({ secret: process.env.SESSION_SECRET, merge: { visits: 'sum' } })
 * export const { getSession, action, route, proxy } = nextSessions(sessions, { cookies, headers })
 *
 * // In a file of Server Actions:
 * export const count = action(async (session, by: number) => {
 *   session.data.visits = (session.data.visits ?? 0) + by
 * })
 * ```
 * @throws OptionsError when it is not given what it needs
 */
export function nextSessions<Data extends object>(
  sessions: Sessions<Data>,
  next: NextHeaders,
): NextSessions<Data> {
  checkSessions('nextSessions', sessions)
  refuseUnknown('nextSessions: ', next, ['cookies', 'headers'])
  checkTypes('nextSessions: ', next, { cookies: 'function', headers: 'function' })
  const { cookies, headers } = next
  if (!cookies || !headers) {
    throw new OptionsError('nextSessions: takes { cookies, headers }, both imported from next/headers')
  }
  /** By the headers of the request, which are the same object in an action and the page that is rendered after it. */
  const opened = new WeakMap<object, Opened<Data>>()

  async function getSession(): Promise<ReadonlySession<Data>> {
    const request = await headers()
    let known = opened.get(request)
    if (!known) opened.set(request, (known = { opening: openToRead(request), mayWrite: false }))
    return readOnly(await known.opening, refusedInComponent)
  }

  async function openToRead(request: NextRequestHeaders): Promise<Session<Data>> {
    const session = await sessions.open(sourceOf(request, 'GET'))
    session.data // before the answer, after which it would be watched for changes that get lost
    await sessions.commit(session, { discard: true })
    return session
  }

  function action<Args extends unknown[], Result>(
    handler: (session: Session<Data>, ...args: Args) => Result | Promise<Result>,
  ): (...args: Args) => Promise<Result> {
    return async (...args) => {
      const request = await headers()
      const known = opened.get(request)
      if (known?.mayWrite) return sharing(known, (session) => handler(session, ...args))
      const opening = sessions.open(sourceOf(request, 'POST'))
      const own: Opened<Data> = { opening, mayWrite: true }
      opened.set(request, own)
      const session = await opening
      try {
        const result = await savingBeforeSignals(session, () => handler(session, ...args), { discard: true })
        await save(session, {})
        return result
      } finally {
        own.isOver = true
      }
    }
  }

  /** One that is called by another saves with it; one that goes on when that is over, or comes after it, saves by itself. */
  async function sharing<Result>(
    known: Opened<Data>,
    work: (session: Session<Data>) => Result | Promise<Result>,
  ): Promise<Result> {
    const session = await known.opening
    try {
      const result = await work(session)
      if (known.isOver) await session.commit()
      return result
    } catch (error) {
      if (known.isOver && signalledStatus(error) !== undefined) await session.commit()
      throw error
    }
  }

  function route<Incoming extends Request, Rest extends unknown[]>(
    handler: (request: Incoming, session: Session<Data>, ...rest: Rest) => Response | Promise<Response>,
  ): (request: Incoming, ...rest: Rest) => Promise<Response> {
    const answer: SessionHandler<Data, [NextRequestHeaders, Rest]> = (request, session, incoming, rest) => {
      opened.set(incoming, { opening: Promise.resolve(session), mayWrite: true })
      return savingBeforeSignals(session, () => handler(request as Incoming, session, ...rest))
    }
    const answering = webSessions(sessions, answer)
    // First of all asks Next.js for the request: where it renders ahead of time, it stops here.
    return async (request, ...rest) => answering(request, await headers(), rest)
  }

  function proxy<Incoming extends Request, Rest extends unknown[]>(
    handler: (
      request: Incoming,
      session: ReadonlySession<Data>,
      ...rest: Rest
    ) => Response | Promise<Response>,
  ): (request: Incoming, ...rest: Rest) => Promise<Response> {
    return async (request, ...rest) => {
      try {
        const session = await sessions.open(request)
        const response = await handler(request, readOnly(session, refusedInProxy), ...rest)
        // An action, or a Route Handler, gives its own cookie. After a redirect() of an action Next.js fetches the new page itself, and hands on no cookie.
        const isSafe = request.method === 'GET' || request.method === 'HEAD'
        if (!isSafe || request.headers.has('x-action-redirect')) return response
        const answer = await sessions.commit(session, { status: response.status })
        return withHeaders(response, answer.headers)
      } catch (error) {
        return answerError(error)
      }
    }
  }

  /** What Next.js takes for an answer though it is thrown saves first. `otherwise`: how to save after any other error. */
  async function savingBeforeSignals<Result>(
    session: Session<Data>,
    work: () => Result | Promise<Result>,
    otherwise?: { discard: boolean },
  ): Promise<Result> {
    try {
      return await work()
    } catch (error) {
      const status = signalledStatus(error)
      // Next.js fetches the page behind a redirect itself, with the new cookie. If the client never got it, a token that rotation made would be in use all the same.
      if (status !== undefined) await save(session, { status, rotate: false })
      else if (otherwise) await setCookie(await sessions.commit(session, otherwise))
      throw error
    }
  }

  async function save(session: Session<Data>, how: { status?: number; rotate?: boolean }): Promise<void> {
    let answer: Answer
    try {
      answer = await sessions.commit(session, how)
    } catch (error) {
      await setCookie(await sessions.commit(session, { discard: true }))
      throw error
    }
    await setCookie(answer)
  }

  async function setCookie({ cookie, headers: changes }: Answer): Promise<void> {
    if (cookie) {
      const jar = await cookies()
      jar.set({ name: cookie.name, value: cookie.value, ...attributesToSet(cookie.attributes) })
    }
    const lost = changes.filter(([name]) => !NEXT_SAYS.has(name)).map(([name]) => name)
    if (changes.filter(([name]) => name === 'Set-Cookie').length > 1)
      lost.push('Set-Cookie (cookie.formerly)')
    if (lost.length === 0) return
    throw new HoldfastError(
      `the answer must carry ${lost.join(', ')}, and Next.js lets a Server Action, or a redirect() in a Route Handler, set one cookie of a name and no ` +
        'other header. Do this in a Route Handler that returns its Response: route((request, session) => …)',
    )
  }

  return { getSession, action, route, proxy }
}

interface Opened<Data extends object> {
  readonly opening: Promise<Session<Data>>
  readonly mayWrite: boolean
  /** Its answer is made. */
  isOver?: boolean
}

/** What an answer to an action says in any case, or says better: it is a POST, and `no-store`. */
const NEXT_SAYS = new Set(['Set-Cookie', 'Vary', 'Cache-Control'])

/** The cookie as the client sent it. That of `cookies()` may be one that the client does not have yet. */
function sourceOf(request: NextRequestHeaders, method: string) {
  return { headers: Object.fromEntries(request.entries()), method, url: undefined }
}

/** The status that Next.js makes of what `redirect()`, `notFound()`, `forbidden()` and `unauthorized()` throw. */
function signalledStatus(error: unknown): number | undefined {
  const digest: unknown = typeof error === 'object' && error !== null && 'digest' in error && error.digest
  if (typeof digest !== 'string') return undefined
  if (digest.startsWith('NEXT_REDIRECT;')) return 303
  return digest.startsWith('NEXT_HTTP_ERROR_FALLBACK;') ? Number(digest.split(';')[1]) : undefined
}

const WRITE_ELSEWHERE =
  'Write in a Server Action, action((session, …) => …), or in a Route Handler, route((request, session) => …)'

function refusedInComponent(what: string): ReadOnlySessionError {
  return new ReadOnlySessionError(
    `${what}: what getSession() gives is to be read, since a Server Component can set no cookie and may be rendered more than once. ` +
      WRITE_ELSEWHERE,
  )
}

function refusedInProxy(what: string): ReadOnlySessionError {
  return new ReadOnlySessionError(
    `${what}: a proxy is given the session to read, since what it passes the request on to has the same session. ` +
      WRITE_ELSEWHERE,
  )
}
