import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Sessions } from '../sessions.ts'
import type { AdapterOptions } from './adapter-options.ts'
import { checkMounting, taken } from './adapter-options.ts'
import { mount, openOnNode } from './node.ts'

export type { AdapterOptions }

/** What `expressSessions` can be told. */
export type ExpressSessionsOptions = AdapterOptions<IncomingMessage>

/**
 * Sessions for Express 4 and 5 (and connect): `req.session`. Saved before the first byte of the response, however the handler
 * answers; a failed load or save goes to the application's error handlers.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import { createSessions } from 'holdfast'
 * import { expressSessions } from 'holdfast/express'
 *
 * const sessions = createSessions<{ visits?: number }>()
 * const app = express()
 * app.use(expressSessions(sessions))
 * app.get('/', (req, res) => {
 *   const { data } = sessions.of(req)
 *   data.visits = (data.visits ?? 0) + 1
 *   res.send(`Total visits: ${data.visits}`)
 * })
 * ```
 */
export function expressSessions<Data extends object>(
  sessions: Sessions<Data>,
  options: ExpressSessionsOptions = {},
): (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void {
  checkMounting('expressSessions', sessions, options, ['property', 'skip'])
  const { property = 'session', skip, lazy = false } = options
  return (request, response, next) => {
    if (skip?.(request)) return next()
    if (Object.hasOwn(request, property)) {
      const there = request[property as keyof IncomingMessage] as unknown
      sessions
        .open(request, { lazy })
        .then((session) => next(session === there ? undefined : taken('expressSessions', property)), next)
      return
    }
    openOnNode(sessions, request, response, { lazy, fail: next }).then((session) => {
      mount(request, property, session)
      next()
    }, next)
  }
}
