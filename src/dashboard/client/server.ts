import type { Overview, Revoked, SessionData, SessionDetail, SessionList } from '../wire.ts'

/** What the server said instead of an answer. */
export class ServerError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** Which of the managers is shown. */
let manager = 0

export function setManager(index: number): void {
  manager = index
}

type Parameters = Readonly<Record<string, string | undefined>>

export const server = {
  overview: (range: string) => ask<Overview>('GET', 'overview', { range }),
  sessions: (page: { user?: string | undefined; cursor?: string | undefined }) =>
    ask<SessionList>('GET', 'sessions', page),
  session: (handle: string) => ask<SessionDetail>('GET', 'session', { handle }),
  data: (handle: string) => ask<SessionData>('GET', 'data', { handle }),
  revoke: (target: { handle: string } | { user: string } | { all: string }) =>
    ask<Revoked>('POST', 'revoke', target),
}

/** The parameters go in a header, so that no user id gets into a log of addresses. */
async function ask<T>(method: 'GET' | 'POST', path: string, parameters: Parameters): Promise<T> {
  const sent = new URLSearchParams({ manager: String(manager) })
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) sent.set(name, value)
  let response: Response
  try {
    response = await fetch(`api/${path}`, {
      method,
      headers: { 'Holdfast-Dashboard': sent.toString() },
      credentials: 'same-origin',
      redirect: 'error',
    })
  } catch {
    throw new ServerError(0, 'The server does not answer.')
  }
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false
  const body = isJson ? await response.json() : undefined
  if (response.ok && isJson) return body as T
  const line =
    response.status === 403
      ? 'You may not see this. Perhaps you have been signed out.'
      : 'Something failed on the server; its log says what.'
  throw new ServerError(response.status, (body as { error?: string } | undefined)?.error ?? line)
}
