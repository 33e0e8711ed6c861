import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import { type AdapterOptions, checkMounting } from './adapter-options.ts'
import { attributesToSet } from './cookie-attributes.ts'
import { mount } from './node.ts'
import { type WebSessionsOptions, webSessions } from './web.ts'

/** What is used of a SvelteKit event. */
export interface SvelteKitEvent {
  readonly request: Request
  readonly locals: object
  readonly isDataRequest: boolean
  readonly isRemoteRequest?: boolean
  readonly cookies: {
    set(name: string, value: string, options: SvelteKitCookieOptions): void
  }
}

interface SvelteKitCookieOptions {
  path: string
  domain?: string
  secure: boolean
  httpOnly: boolean
  sameSite: 'strict' | 'lax' | 'none'
  partitioned?: boolean
  maxAge?: number
  encode: (value: string) => string
}

export interface SvelteKitSessionsOptions extends AdapterOptions<SvelteKitEvent>, WebSessionsOptions {}

/**
 * Sessions for SvelteKit 2: the `handle` hook that puts `locals.session` there. It comes first, so that whatever other hooks, load functions, form actions and
 * endpoints change is saved before the response leaves; also when a hook throws a `redirect()`.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { svelteKitSessions } from 'holdfast/sveltekit'
 *
 * const sessions = createSessions<{ visits?: number }>({ secret: process.env.SESSION_SECRET })
 *
 * export const handle = svelteKitSessions(sessions)
 * ```
 */
export function svelteKitSessions<Data extends object>(
  sessions: Sessions<Data>,
  options: SvelteKitSessionsOptions = {},
) {
  checkMounting('svelteKitSessions', sessions, options, ['property', 'skip', 'onError'])
  const { property = 'session', skip, ...rest } = options
  return async <Event extends SvelteKitEvent>({
    event,
    resolve,
  }: {
    event: Event
    resolve: (event: Event) => Response | Promise<Response>
  }): Promise<Response> => {
    if (skip?.(event)) return resolve(event)
    let thrown: Redirect | undefined
    const handler = async (_request: Request, session: Session<Data>) => {
      mount(event.locals, property, session)
      try {
        return await resolve(event)
      } catch (error) {
        if (!isRedirect(error)) throw error
        if (isPlain(event))
          return new Response(null, { status: error.status, headers: { location: error.location } })
        // What scripts ask for, SvelteKit answers with JSON, for which it takes its own cookies and nothing of a response.
        await carry(event, session, error.status)
        thrown = error
        return new Response(null)
      }
    }
    const response = await webSessions(sessions, handler, rest)(event.request)
    if (thrown !== undefined) throw thrown
    return response
  }

  async function carry(event: SvelteKitEvent, session: Session<Data>, status: number): Promise<void> {
    const { cookie } = await sessions.commit(session, { status })
    if (!cookie) return
    event.cookies.set(cookie.name, cookie.value, {
      ...attributesToSet(cookie.attributes),
      encode: (value) => value,
    })
  }
}

/** What `redirect()` throws. */
interface Redirect {
  readonly status: number
  readonly location: string
}

function isRedirect(error: unknown): error is Redirect {
  const { status, location } = (error ?? {}) as Partial<Redirect>
  return !(error instanceof Error) && typeof location === 'string' && status! >= 300 && status! <= 308
}

/** Whether the browser asks, and not a script of SvelteKit's. */
function isPlain({ request, isDataRequest, isRemoteRequest }: SvelteKitEvent): boolean {
  return (request.method === 'GET' || request.method === 'HEAD') && !isDataRequest && !isRemoteRequest
}
