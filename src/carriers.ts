/**
 * What a manager has to remember about a request, kept on the request itself. In a WeakMap that lives as long as the manager, each
 * request and all that it leads to would survive every quick collection, which at some thousand requests a second costs more than
 * everything else about a session.
 */
export interface Carriers<T> {
  get(request: object): T | undefined
  set(request: object, value: T | undefined): void
}

export function createCarriers<T>(name: string): Carriers<T> {
  const slot = Symbol(`holdfast ${name}`)
  return {
    get: (request) => (request as { [slot]?: T })[slot],
    // An ordinary property: a hidden one, which defineProperty makes, costs a server 5 us a request.
    set(request, value) {
      ;(request as { [slot]?: T })[slot] = value
    },
  }
}

/** Frameworks wrap Node's or the web's request: `request.raw` in Fastify, `ctx.req` in Koa, `c.req.raw` in Hono. */
export function carriersOf(request: object): object[] {
  const { raw, req } = request as { raw?: object; req?: { raw?: object } }
  return [request, raw, req, req?.raw].filter((one) => typeof one === 'object')
}
