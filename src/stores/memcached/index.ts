import type { ConnectionOptions } from 'node:tls'
import { inspect } from 'node:util'
import { refuseRest } from '../passed.ts'
import { Connection } from './connection.ts'
import { ketamaRing } from './ring.ts'
import { type MemcachedServers, parseServers } from './servers.ts'
import { MemcachedStore } from './store.ts'

export { StoreError } from '../store-error.ts'
export { MemcachedError } from './connection.ts'
export type { MemcachedServer, MemcachedServers } from './servers.ts'
export type { MemcachedStore } from './store.ts'

/** How `memcachedStore` talks to its servers. */
export interface MemcachedOptions {
  /** Before every key: up to 100 printable ASCII characters without a space. `holdfast:` by default. */
  readonly prefix?: string
  /**
   * Milliseconds that a command may take, connecting included; then the connection is given up. 1,500 by default, so that the deadlines of
   * the core come first. An operation is one command or two, more if others change the session meanwhile.
   */
  readonly timeout?: number
  /** For servers that were started with an `-Y` file. May stand in the URL instead, percent-encoded. */
  readonly username?: string
  readonly password?: string
  /** TLS, with the options of `tls.connect`, such as `{ ca }`. `memcacheds://` is short for `true`. */
  readonly tls?: boolean | ConnectionOptions
}

/**
 * Keeps sessions in memcached, **a cache: it drops sessions silently when its memory is full, and all of them when it
 * restarts.** Use it where a lost session costs little, or in front of a database; not for logins that must last.
 *
 * Needs memcached 1.6 or newer with CAS (no `-C`), and no client package. A load is one round trip, and so are an
 * update, a touch or a destroy of a session that this process has just loaded. Sessions cannot be listed by user; memcached
 * expires them by itself.
 *
 * With several servers, each keeps its share of the sessions (ketama, as libmemcached does it with weights). All processes must name
 * the servers alike. A server that is down is an error for its share, never replaced by the next one: old copies would
 * come back when it returns.
 *
 * There is one connection to each server. It is opened by the first operation, made again after a failure, and keeps no process
 * alive while nothing is under way; `close()` ends it at once.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { memcachedStore } from 'holdfast/stores/memcached'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: memcachedStore('localhost:11211') })
 * ```
 *
 * @example
 * ```ts
 * import { readFileSync } from 'node:fs'
 * import { memcachedStore } from 'holdfast/stores/memcached'
 *
 * const password = process.env.MEMCACHED_PASSWORD ?? ''
 * const two = memcachedStore(['10.0.0.1:11211', '10.0.0.2:11211 2'], { username: 'web', password })
 * const byTls = memcachedStore('memcacheds://cache-1.internal,cache-2.internal', { tls: { ca: readFileSync('ca.pem') } })
 * ```
 *
 * @throws TypeError or RangeError for servers or options that are none. Its operations throw `StoreError`; the cause is a `MemcachedError`
 * that tells whether a write may have been applied.
 */
export function memcachedStore(servers: MemcachedServers, options: MemcachedOptions = {}): MemcachedStore {
  const parsed = parseServers(servers)
  const { prefix = 'holdfast:', timeout = 1_500, tls = parsed.isTls, ...rest } = options
  const { username = parsed.username, password = parsed.password, ...unknown } = rest
  refuseRest('memcachedStore', unknown, 'prefix, timeout, username, password, tls')
  if (typeof prefix !== 'string' || !/^[\x21-\x7e]{0,100}$/.test(prefix)) {
    throw new RangeError(
      `memcachedStore: the prefix ${inspect(prefix)} is not up to 100 printable ASCII characters without a space.`,
    )
  }
  if (!Number.isInteger(timeout) || timeout < 1 || timeout > 3_600_000) {
    throw new RangeError(
      `memcachedStore: the timeout ${inspect(timeout)} is not a whole number of milliseconds.`,
    )
  }
  if (typeof tls !== 'boolean' && (typeof tls !== 'object' || tls === null)) {
    throw new TypeError(
      `memcachedStore: tls is true, false or the options of tls.connect, and no ${typeof tls}.`,
    )
  }
  if (parsed.isTls && tls === false) {
    throw new TypeError('memcachedStore: memcacheds:// asks for TLS, and { tls: false } for none. Drop one.')
  }
  if ((username === undefined) !== (password === undefined) || !isName(username) || !isPassword(password)) {
    throw new TypeError(
      'memcachedStore: username and password are given together, each a line of text as in the -Y file, without spaces and the name without a colon.',
    )
  }
  const settings = { timeout, username, password, ...(tls && { tls: tls === true ? {} : tls }) }
  const connections = parsed.servers.map((server) => new Connection(server, settings))
  return new MemcachedStore({ connections, indexOf: ketamaRing(parsed.servers) }, prefix)
}

/** memcached ends the name at a space when we send it, and at a colon when it reads its file; the password at the end of the line. */
function isName(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && /^[^\p{Cc}\s:]+$/u.test(value))
}

function isPassword(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && /^[^\p{Cc}\s]+$/u.test(value))
}
