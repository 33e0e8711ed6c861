import { OptionsError } from '../errors.ts'
import { checkTypes, refuseUnknown, typeOf } from '../given.ts'

/** What all adapters for frameworks can be told. */
export interface AdapterOptions<Carrier> {
  /** Where the request (Koa: the context; Hono: its variables) carries its session. Default: `session`. */
  property?: string
  /** Requests that need no session: no load, no cookie. */
  skip?: (request: Carrier) => boolean
  /** Load on `await session.load()` only. */
  lazy?: boolean
}

/** So that a mistake in mounting an adapter fails at the start, and not at each request. */
export function checkMounting(
  adapter: string,
  sessions: unknown,
  options: object,
  more: readonly string[] = [],
): void {
  checkSessions(adapter, sessions)
  refuseUnknown(`${adapter}: `, options, ['lazy', ...more])
  checkTypes(`${adapter}: `, options, {
    property: 'string',
    skip: 'function',
    lazy: 'boolean',
    onError: 'function',
  })
}

/** Something else is where the session is to be: another library's session, or that of another manager. To go on would be to serve the wrong one. */
export function taken(adapter: string, property: string): OptionsError {
  return new OptionsError(
    `${adapter}: there is a '${property}' already, of another session library or of another mount. Take that out, or mount this one with ` +
      "{ property: 'visit' } or another name",
  )
}

export function checkSessions(adapter: string, sessions: unknown): void {
  if (typeof (sessions as { open?: unknown } | undefined)?.open === 'function') return
  throw new OptionsError(`${adapter}: sessions must be what createSessions() made, not ${typeOf(sessions)}`)
}
