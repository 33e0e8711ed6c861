import type { Answered, Visitor } from './visitor.ts'

interface TestRequest {
  set(header: string, value: string): unknown
  on(event: 'response', listener: (response: Answered) => void): unknown
}

/**
 * `supertest(app)` whose requests send the visitor's cookies and keep what comes back. Supertest's own agent leaves out Secure cookies
 * over plain http; browsers do not on localhost.
 */
export function agent<R extends object>(request: R, visitor: Pick<Visitor, 'cookie' | 'keep'>): R {
  return new Proxy(request, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name, target)
      if (typeof method !== 'function') return method
      return (...args: unknown[]) => {
        const sent: unknown = method.apply(target, args)
        if (!isTestRequest(sent)) return sent
        if (visitor.cookie !== '') sent.set('Cookie', visitor.cookie)
        sent.on('response', visitor.keep)
        return sent
      }
    },
  })
}

function isTestRequest(value: unknown): value is TestRequest {
  return typeof value === 'object' && value !== null && 'set' in value && 'on' in value
}
