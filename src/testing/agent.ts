import type { Answered } from './answered.ts'

/** A visitor's: what a request sends, and what takes in its response. */
interface Cookies {
  readonly cookie: string
  keep(response: Answered): unknown
}

interface TestRequest {
  /** Where it goes; after a redirect, where that leads. */
  readonly url: string
  set(header: string, value: string): unknown
  unset(header: string): unknown
  on(event: 'redirect' | 'request' | 'response', listener: (response: Answered) => void): unknown
}

/**
 * `supertest(app)` whose requests send the visitor's cookies and keep what comes back. Supertest's own agent leaves out Secure cookies
 * over plain http; browsers do not on localhost.
 */
export function agent<R extends object>(request: R, visitor: Cookies): R {
  return new Proxy(request, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name, target)
      if (typeof method !== 'function') return method
      return (...args: unknown[]) => {
        const sent: unknown = method.apply(target, args)
        if (!isTestRequest(sent)) return sent
        carryCookies(sent, visitor)
        return sent
      }
    },
  })
}

/** Over redirects too, but to no other origin, and from none. */
function carryCookies(request: TestRequest, visitor: Cookies): void {
  let home: string | undefined // known once supertest has started the server
  let isAtHome = true
  const give = () => (visitor.cookie === '' ? request.unset('Cookie') : request.set('Cookie', visitor.cookie))
  const keep = (response: Answered) => {
    if (isAtHome) visitor.keep(response)
  }
  give()
  request.on('request', () => (home ??= new URL(request.url).origin))
  request.on('response', keep)
  request.on('redirect', (response) => {
    keep(response)
    isAtHome = new URL(request.url).origin === home
    if (isAtHome) give()
  })
}

function isTestRequest(value: unknown): value is TestRequest {
  return typeof value === 'object' && value !== null && 'set' in value && 'on' in value
}
