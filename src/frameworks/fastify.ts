import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Answer } from '../answer.ts'
import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import type { AdapterOptions } from './adapter-options.ts'
import { checkMounting, taken } from './adapter-options.ts'
import type { HeaderTarget } from './headers.ts'
import { applyHeaders } from './headers.ts'

export type { AdapterOptions }

/** What the plugin is registered with: `sessions`, and the options of all adapters. */
export interface FastifySessionsOptions<Data extends object> extends AdapterOptions<FastifyRequestLike> {
  sessions: Sessions<Data>
}

/**
 * Sessions for Fastify 5: `request.session`. Opened in `onRequest`, before any body is read; saved in `onSend`, before the headers leave.
 * A failed save is Fastify's error, for your error handler. `reply.hijack()` bypasses it: call `await request.session.commit()` yourself.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { createSessions } from 'holdfast'
 * import { fastifySessions } from 'holdfast/fastify'
 *
 * const sessions = createSessions<{ visits?: number }>()
 * const app = Fastify()
 * await app.register(fastifySessions, { sessions })
 * app.get('/', (request) => {
 *   const { data } = sessions.of(request)
 *   data.visits = (data.visits ?? 0) + 1
 *   return `Total visits: ${data.visits}`
 * })
 * ```
 */
export const fastifySessions = Object.assign(plugin, {
  // What `fastify-plugin` would set: the hooks are for the whole application, not for a scope of the plugin's own.
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'holdfast',
  [Symbol.for('plugin-meta')]: { fastify: '5.x', name: 'holdfast' },
})

function plugin<Data extends object>(
  instance: object,
  options: FastifySessionsOptions<Data>,
  done: (error?: Error) => void,
): void {
  const { sessions, property = 'session', skip, lazy = false } = options
  const app = instance as FastifyLike
  try {
    checkMounting('fastifySessions', sessions, options, ['sessions', 'property', 'skip', 'prefix'])
    if (app.hasRequestDecorator(property)) throw taken('fastifySessions', property)
  } catch (error) {
    done(error as Error)
    return
  }
  const failed = new WeakSet<object>()

  app.decorateRequest(property, null)

  app.addHook('onRequest', (request, _reply, next) => {
    if (skip?.(request)) return next()
    sessions.open(request.raw, { lazy }).then((session) => {
      request[property] = session
      next()
    }, next)
  })

  app.addHook('onSend', (request, reply, payload, next) => {
    const session = request[property] as Session<Data> | null
    if (!session) return next(null, payload)
    const pass = ({ headers }: Answer) => {
      if (headers.length > 0) applyHeaders(new ReplyHeaders(reply), headers)
      // A body in one piece is out in a moment, and need not cost a listener (or `onResponse`, which is one).
      if (typeof payload === 'string' || payload instanceof Uint8Array) setImmediate(sessions.closed, session)
      else reply.raw.once('close', () => sessions.closed(session))
      next(null, payload)
    }
    /** The answer is an error in its place. A cookie that was due already leaves with that one. */
    const fail = (error: unknown, answer?: Answer) => {
      failed.add(request)
      for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name)
      if (answer) applyHeaders(new ReplyHeaders(reply), answer.headers)
      next(error as Error)
    }
    // Fastify writes the headers in `next`, and Node may refuse one of the application's.
    const deliver = (answer: Answer) => {
      try {
        pass(answer)
      } catch (error) {
        fail(error, answer)
      }
    }
    try {
      const status = reply.statusCode
      const answer = sessions.commit(session, failed.has(request) ? { status, discard: true } : { status })
      if (answer instanceof Promise) answer.then(deliver, fail)
      else deliver(answer)
    } catch (error) {
      fail(error)
    }
  })

  done()
}

class ReplyHeaders implements HeaderTarget {
  readonly #reply: FastifyReplyLike

  constructor(reply: FastifyReplyLike) {
    this.#reply = reply
  }

  get(name: string): string | undefined {
    return this.#reply.getHeader(name)?.toString()
  }

  set(name: string, value: string): void {
    this.#reply.header(name, value)
  }

  /** Fastify collects Set-Cookie by itself. */
  append(name: string, value: string): void {
    this.#reply.header(name, value)
  }
}

interface FastifyLike {
  hasRequestDecorator(property: string): boolean
  decorateRequest(property: string, value: null): unknown
  addHook(
    name: 'onRequest' | 'onResponse',
    hook: (request: FastifyRequestLike, reply: FastifyReplyLike, next: (error?: Error) => void) => void,
  ): unknown
  addHook(
    name: 'onSend',
    hook: (
      request: FastifyRequestLike,
      reply: FastifyReplyLike,
      payload: unknown,
      next: (error: Error | null, payload?: unknown) => void,
    ) => void,
  ): unknown
}

/** What is used of a Fastify request. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage
  [property: string]: unknown
}

interface FastifyReplyLike {
  readonly raw: ServerResponse
  readonly statusCode: number
  getHeader(name: string): number | string | string[] | undefined
  getHeaders(): Record<string, unknown>
  header(name: string, value: string): unknown
  removeHeader(name: string): unknown
}
