import type { HeaderChange } from '../cookie.ts'
import { HoldfastError } from '../errors.ts'
import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import { checkMounting } from './adapter-options.ts'
import { applyHeaders } from './headers.ts'

/** A handler that is given the request's session. What else the framework passes comes behind it. */
export type SessionHandler<Data extends object, Rest extends unknown[]> = (
  request: Request,
  session: Session<Data>,
  ...rest: Rest
) => Response | Promise<Response>

/** What `webSessions` can be told. */
export interface WebSessionsOptions {
  /** Load on `await session.load()` only. */
  lazy?: boolean
  /**
   * Answers in place of what the handler, or the loading or saving of its session, threw. Default: what the client should know of is answered
   * with its status (401, 403, 409; 503 while the store is not to be had), and all else is thrown on, for the framework.
   */
  onError?: (error: unknown, request: Request) => Response | Promise<Response>
}

/**
 * Sessions for whatever takes a web `Request` and gives a `Response`: Next.js route handlers, Remix, Astro, Bun.serve,
 * Deno.serve. The response is handed on when the session is saved.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { webSessions } from 'holdfast/web'
 *
 * const sessions = createSessions<{ visits?: number }>()
 *
 * export const GET = webSessions(sessions, (request, session) => {
 *   session.data.visits = (session.data.visits ?? 0) + 1
 *   return new Response(`Total visits: ${session.data.visits}`)
 * })
 * ```
 */
export function webSessions<Data extends object, Rest extends unknown[]>(
  sessions: Sessions<Data>,
  handler: SessionHandler<Data, Rest>,
  options: WebSessionsOptions = {},
): (request: Request, ...rest: Rest) => Promise<Response> {
  checkMounting('webSessions', sessions, options, ['onError'])
  const { lazy = false, onError } = options
  return async (request, ...rest) => {
    let session: Session<Data> | undefined
    try {
      session = await sessions.open(request, { lazy })
      const response = await handler(request, session, ...rest)
      if (!(response instanceof Response))
        throw new TypeError('webSessions: the handler returned no Response')
      const { headers } = await sessions.commit(session, { status: response.status })
      return withHeaders(response, headers)
    } catch (error) {
      const response = await (onError ?? answerError)(error, request)
      const answer = session && (await sessions.commit(session, { discard: true }))
      return withHeaders(response, answer?.headers ?? [])
    }
  }
}

/** What the client should know of is answered. @throws all else */
export function answerError(error: unknown): Response {
  if (!(error instanceof HoldfastError) || error.status === 500) throw error
  if (error.status > 500) console.error(error)
  return error.getResponse()
}

/** The response itself where its headers can be changed; those of `fetch` and `Response.redirect` cannot. */
export function withHeaders(response: Response, changes: readonly HeaderChange[]): Response {
  if (changes.length === 0) return response
  try {
    change(response, changes)
    return response
  } catch {
    const copy = new Response(response.body, response)
    change(copy, changes)
    return copy
  }
}

function change({ headers }: Response, changes: readonly HeaderChange[]): void {
  applyHeaders(
    {
      get: (name) => headers.get(name) ?? undefined,
      set: (name, value) => headers.set(name, value),
      append: (name, value) => headers.append(name, value),
    },
    changes,
  )
}
