import type { IncomingMessage, ServerResponse } from 'node:http'

/** A handler of requests that are its own; nothing for all others. */
export type OwnHandler = (request: IncomingMessage) => Promise<Response | undefined>

/** The same for Express, connect and `node:http`. */
export function createNodeHandler(
  handle: OwnHandler,
): (request: IncomingMessage, response: ServerResponse, next: () => void) => Promise<void> {
  return async (request, response, next) => {
    const answer = await handle(request)
    if (answer === undefined) next()
    else await send(answer, response)
  }
}

async function send(answer: Response, response: ServerResponse): Promise<void> {
  const body = new Uint8Array(await answer.arrayBuffer())
  if (response.headersSent) return // somebody has answered meanwhile, a time limit for instance
  response.statusCode = answer.status
  for (const [name, value] of answer.headers) response.setHeader(name, value)
  response.end(body)
}
