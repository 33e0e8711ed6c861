import type { Sessions } from '../sessions.ts'
import type { AdapterOptions } from './adapter-options.ts'
import { checkMounting, taken } from './adapter-options.ts'
import { applyHeaders } from './headers.ts'
import { withHeaders } from './web.ts'

export type { AdapterOptions }

/** What `honoSessions` can be told. */
export type HonoSessionsOptions = AdapterOptions<HonoContextLike>

/**
 * Sessions for Hono 4: `c.var.session`. Saved when the handler is done, before its response is handed on; a failed save goes to `app.onError`.
 *
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { createSessions } from 'holdfast'
 * import { honoSessions } from 'holdfast/hono'
 *
 * const sessions = createSessions<{ visits?: number }>()
 * const app = new Hono()
 * app.use(honoSessions(sessions))
 * app.get('/', (c) => {
 *   const { data } = sessions.of(c)
 *   data.visits = (data.visits ?? 0) + 1
 *   return c.text(`Total visits: ${data.visits}`)
 * })
 * ```
 */
export function honoSessions<Data extends object>(
  sessions: Sessions<Data>,
  options: HonoSessionsOptions = {},
) {
  checkMounting('honoSessions', sessions, options, ['property', 'skip'])
  const { property = 'session', skip, lazy = false } = options
  return async (c: HonoContextLike, next: () => Promise<void>): Promise<void> => {
    if (skip?.(c)) return next()
    const session = await sessions.open(c.req.raw, { lazy })
    const there = c.get(property)
    if (there !== undefined) {
      if (there !== session) throw taken('honoSessions', property)
      return next()
    }
    c.set(property, session)
    await next()
    try {
      const { headers } = await sessions.commit(session, { status: c.res.status })
      setResponse(c, withHeaders(c.res, headers))
    } catch (error) {
      forgetResponse(c)
      const { headers } = await sessions.commit(session, { discard: true })
      applyHeaders(targetOf(c), headers)
      throw error
    }
  }
}

/** Not by `c.header`, which copies a finished response for each header. Over another one, Hono would put the headers of that one. */
function setResponse(c: HonoContextLike, response: Response): void {
  if (response === c.res) return
  c.res = undefined as unknown as Response
  c.res = response
}

/** Or Hono would carry the headers of the response that is not sent over to that of the error. */
function forgetResponse(c: HonoContextLike): void {
  const names = [...c.res.headers.keys()]
  c.res = undefined as unknown as Response
  c.finalized = false
  for (const name of names) c.header(name, undefined)
}

function targetOf(c: HonoContextLike) {
  return {
    get: (name: string) => c.res.headers.get(name) ?? undefined,
    set: (name: string, value: string) => c.header(name, value),
    append: (name: string, value: string) => c.header(name, value, { append: true }),
  }
}

/** What is used of a Hono context. */
export interface HonoContextLike {
  readonly req: { readonly raw: Request }
  res: Response
  finalized: boolean
  get(name: string): unknown
  set(name: string, value: unknown): void
  header(name: string, value?: string, options?: { append?: boolean }): void
}
