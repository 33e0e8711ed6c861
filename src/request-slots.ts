/** What a manager remembers about one request. */
export interface Remembered {
  /** A copy of the request, or an object that inherits from it, has the property too, and is another request. */
  isOf(request: object): boolean
}

/**
 * What a manager has to remember about a request, kept on the request itself. In a WeakMap that lives as long as the manager, each
 * request and all that it leads to would survive every quick collection, which at some thousand requests a second costs more than
 * everything else about a session.
 */
export interface RequestSlots<T extends Remembered> {
  get(request: object): T | undefined
  set(request: object, value: T | undefined): void
}

export function createRequestSlots<T extends Remembered>(name: string): RequestSlots<T> {
  const slot = Symbol(`holdfast ${name}`)
  const ofFrozen = new WeakMap<object, T | undefined>()
  return {
    get(request) {
      const found = (request as { [slot]?: T })[slot] ?? ofFrozen.get(request)
      return found?.isOf(request) ? found : undefined
    },
    // An ordinary property: a hidden one, which defineProperty makes, costs a server some microseconds a request.
    set(request, value) {
      if (Object.isExtensible(request)) (request as { [slot]?: T })[slot] = value
      else ofFrozen.set(request, value)
    },
  }
}

/** Frameworks wrap Node's or the web's request: `request.raw` in Fastify, `ctx.req` in Koa, `c.req.raw` in Hono. */
export function layersOf(request: object): object[] {
  const { raw, req } = request as { raw?: object; req?: { raw?: object } }
  return [request, raw, req, req?.raw].filter((one) => typeof one === 'object')
}
