import type { IncomingMessage, ServerResponse } from 'node:http'
import { HoldfastError, StoreUnavailableError } from '../errors.ts'
import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import { checkMounting } from './adapter-options.ts'
import { holdResponse } from './node-response.ts'

/** What `nodeSessions` can be told. */
export interface NodeSessionsOptions {
  /** Load on `await session.load()` only. */
  lazy?: boolean
  /** Answers when the session cannot be loaded or saved, or the handler failed before it answered. Default: the error's status and a line of text. */
  onError?: (error: unknown, request: IncomingMessage, response: ServerResponse) => void
}

/**
 * Sessions for a plain `node:http` server. The session comes as the third argument.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { createSessions } from 'holdfast'
 * import { nodeSessions } from 'holdfast/node'
 *
 * const sessions = createSessions<{ visits?: number }>()
 *
 * createServer(
 *   nodeSessions(sessions, (request, response, session) => {
 *     session.data.visits = (session.data.visits ?? 0) + 1
 *     response.end(`Total visits: ${session.data.visits}`)
 *   }),
 * ).listen(3000)
 * ```
 */
export function nodeSessions<Data extends object>(
  sessions: Sessions<Data>,
  handler: (request: IncomingMessage, response: ServerResponse, session: Session<Data>) => unknown,
  options: NodeSessionsOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  checkMounting('nodeSessions', sessions, options, ['onError'])
  const { lazy = false, onError = answerError } = options
  return async (request, response) => {
    const fail = (error: unknown) => onError(error, request, response)
    try {
      const session = await openOnNode(sessions, request, response, { lazy, fail })
      await handler(request, response, session)
    } catch (error) {
      if (response.headersSent) response.destroy(error as Error)
      else fail(error)
    }
  }
}

/** Opens the request's session and makes the response wait for it. What adapters for frameworks on `node:http` build on. */
export async function openOnNode<Data extends object>(
  sessions: Sessions<Data>,
  request: IncomingMessage,
  response: ServerResponse,
  { lazy, fail }: { lazy: boolean; fail: (error: unknown) => void },
): Promise<Session<Data>> {
  const session = await sessions.open(request, { lazy })
  holdResponse(response, {
    beforeHeaders(status) {
      const answer = sessions.commit(session, { status })
      return answer instanceof Promise ? answer.then(({ headers }) => headers) : answer.headers
    },
    failed: fail,
    stillDue() {
      const answer = sessions.commit(session, { discard: true })
      return answer instanceof Promise ? [] : answer.headers // a promise only if the handler goes on after its own answer
    },
    closed: () => sessions.closed(session),
  })
  return session
}

/** Not to be replaced: in other libraries `req.session = null` is a logout, here it would be nothing. */
export function mount(carrier: object, property: string, session: object): void {
  Object.defineProperty(carrier, property, { value: session, enumerable: true, configurable: true })
}

function answerError(error: unknown, _request: IncomingMessage, response: ServerResponse): void {
  const known = error instanceof HoldfastError ? error : new HoldfastError('Internal Server Error')
  if (known.status >= 500) console.error(error)
  response.statusCode = known.status
  response.setHeader('Content-Type', 'text/plain; charset=utf-8')
  if (known instanceof StoreUnavailableError) {
    for (const [name, value] of Object.entries(known.headers)) response.setHeader(name, value)
  }
  response.end(known.expose ? known.message : 'The server could not answer this request.')
}
