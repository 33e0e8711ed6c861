import type { IncomingMessage, ServerResponse } from 'node:http'
import { HoldfastError } from '../errors.ts'
import { createNodeHandler } from '../frameworks/send-response.ts'
import { header } from '../request.ts'
import * as answers from './answers.ts'
import { createApi } from './api.ts'
import { loadFiles } from './files.ts'
import type { DashboardOptions, DashboardRequest } from './options.ts'
import { resolveDashboard } from './options.ts'

export type { AnySessions, DashboardOptions, DashboardRequest } from './options.ts'

/** What `dashboard` makes. Mount it behind the sessions, where `authorize` can see whose request it is. */
export interface Dashboard {
  /**
   * The answer to a request for the dashboard; nothing for all others. It reads no body, and it never fails: what goes wrong is an answer of 5xx, and an
   * `error` event.
   */
  handle(request: DashboardRequest): Promise<Response | undefined>
  /** The same for Express, connect and `node:http`: answers, or calls `next`. */
  node(request: IncomingMessage, response: ServerResponse, next: () => void): void
  /** It listens and counts no more, as after the close of its sessions. What it has seen stays there to be looked at. */
  close(): void
}

/**
 * A page for the people on call: what happens to sessions, which there are, one by one, and the end of one, of a user's, of everyone's.
 *
 * It is for whom `authorize` says, and for nobody else. No token is in it, since the store has none.
 *
 * @throws OptionsError without `authorize`, and for options that are wrong
 * @example
 * ```ts
 * import express from 'express'
 * import { createSessions } from 'holdfast'
 * import { dashboard } from 'holdfast/dashboard'
 * import { expressSessions } from 'holdfast/express'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET })
 * const admins = ['ann', 'bob']
 *
 * const app = express()
 * app.use(expressSessions(sessions))
 * const board = dashboard({
 *   sessions,
 *   authorize: (request) => admins.includes(sessions.of(request).userId ?? ''),
 *   path: '/admin/sessions',
 * })
 * app.use(board.node)
 * ```
 */
export function dashboard(options: DashboardOptions): Dashboard {
  const settings = resolveDashboard(options)
  const { shown, authorize, revealData, path } = settings
  const files = loadFiles()
  const api = createApi(shown)
  const { events } = shown[0].core

  async function isAllowed(
    ask: DashboardOptions['authorize'] | undefined,
    what: string,
    request: DashboardRequest,
  ): Promise<boolean> {
    try {
      return (await ask?.(request)) === true
    } catch (error) {
      // `requireRecentLogin()` is one way to say no.
      const isRefusal = error instanceof HoldfastError && error.expose
      if (!isRefusal) events.emit('error', { operation: `${what} of the dashboard`, error })
      return false
    }
  }

  async function handle(request: DashboardRequest): Promise<Response | undefined> {
    const asked = pathOf(request)
    if (asked !== path && !asked.startsWith(`${path}/`)) return undefined
    if (!(await isAllowed(authorize, 'authorize', request))) return answers.text(403, 'Forbidden')
    try {
      return await respond(asked.slice(path.length), request)
    } catch (error) {
      events.emit('error', { operation: 'answering for the dashboard', error })
      return answers.text(500, 'Internal Server Error')
    }
  }

  async function respond(below: string, request: DashboardRequest): Promise<Response> {
    // The page names its files from where it is, so that a proxy may have put it elsewhere.
    if (below === '') return answers.text(307, '', { Location: `${path.split('/').at(-1)}/` })
    const called = below.slice(1)
    if (called.startsWith('api/')) {
      return api.answer(called.slice('api/'.length), request, () =>
        isAllowed(revealData, 'revealData', request),
      )
    }
    const file = files.get(called, header(request, 'accept-encoding') ?? '')
    if (!file) return answers.text(404, 'Not Found')
    if (request.method === 'GET' || request.method === 'HEAD') return file
    return answers.text(405, 'Method Not Allowed', { Allow: 'GET, HEAD' })
  }

  return { handle, node: createNodeHandler(handle), close: api.close }
}

/** Express takes off `url` where a router is mounted. */
function pathOf(request: DashboardRequest): string {
  const { url = '', originalUrl = url } = request as { url?: string; originalUrl?: string }
  const path = originalUrl.split(/[?#]/, 1)[0]!
  if (path.startsWith('/')) return path
  return URL.canParse(path) ? new URL(path).pathname : ''
}
