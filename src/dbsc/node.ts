import type { ServerResponse } from 'node:http'
import type { DeviceBinding } from './index.ts'

export function createNodeHandler(handle: DeviceBinding['handle']): DeviceBinding['node'] {
  return async (request, response, next) => {
    const answer = await handle(request)
    if (answer === undefined) next()
    else await send(answer, response)
  }
}

async function send(answer: Response, response: ServerResponse): Promise<void> {
  const body = await answer.text()
  response.statusCode = answer.status
  for (const [name, value] of answer.headers) response.setHeader(name, value)
  response.end(body)
}
