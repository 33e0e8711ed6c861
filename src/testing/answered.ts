/** A response of any tool: a web `Response`, or one with Node's headers, as those of Fastify's `inject` and of supertest. */
export interface Answered {
  readonly headers: Headers | Readonly<Record<string, number | string | readonly string[] | undefined>>
}

export function setCookies({ headers }: Answered): readonly string[] {
  if (isHeaders(headers)) return headers.getSetCookie()
  const lines = headers['set-cookie'] ?? []
  return Array.isArray(lines) ? lines : [String(lines)]
}

/** By what it can do: test environments bring classes of their own. */
function isHeaders(headers: Answered['headers']): headers is Headers {
  return typeof headers.getSetCookie === 'function'
}
