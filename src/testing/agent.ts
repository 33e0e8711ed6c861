/** What is used of supertest and of the requests it makes. */
export type Agent = object

interface TestRequest {
  set(header: string, value: string): unknown
  on(event: 'response', listener: (response: { headers: Record<string, string | string[]> }) => void): unknown
}

/**
 * A browser for supertest: keeps cookies, and sends them also where supertest's own agent does not, since a Secure cookie
 * goes over no plain http there (browsers make an exception for localhost).
 *
 * @param request `supertest(app)`
 * @param cookie a Cookie header to start with, for instance from `signIn`
 * @example
 * ```ts
 * import express from 'express'
 * import { agent } from 'holdfast/testing'
 * import supertest from 'supertest'
 *
 * const browser = agent(supertest(express()))
 * await browser.get('/').expect(404)
 * ```
 */
export function agent<T extends Agent>(request: T, cookie = ''): T {
  const jar = new Map<string, string>()
  for (const pair of cookie.split('; ')) if (pair !== '') keep(jar, pair)

  return new Proxy(request, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name, target)
      if (typeof method !== 'function') return method
      return (...args: unknown[]) => {
        const sent: unknown = method.apply(target, args)
        if (isTestRequest(sent)) {
          if (jar.size > 0)
            sent.set('Cookie', Array.from(jar, ([key, value]) => `${key}=${value}`).join('; '))
          sent.on('response', ({ headers }) => {
            for (const line of headers['set-cookie'] ?? []) keep(jar, line)
          })
        }
        return sent
      }
    },
  })
}

function keep(jar: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split(/;\s*/)
  const at = pair.indexOf('=')
  const isCleared = attributes.some((attribute) => /^max-age=0$/i.test(attribute))
  if (isCleared) jar.delete(pair.slice(0, at))
  else jar.set(pair.slice(0, at), pair.slice(at + 1))
}

function isTestRequest(value: unknown): value is TestRequest {
  return typeof value === 'object' && value !== null && 'set' in value && 'on' in value
}
