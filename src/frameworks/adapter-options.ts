/** What all adapters for frameworks can be told. */
export interface AdapterOptions<Carrier> {
  /** Where the request (Koa: the context; Hono: its variables) carries its session. Default: `session`. */
  property?: string
  /** Requests that need no session: no load, no cookie. */
  skip?: (request: Carrier) => boolean
  /** Load on `await session.load()` only. */
  lazy?: boolean
}
