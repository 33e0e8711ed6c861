import type { Store } from '../store.ts'
import { cookieStore } from './cookie.ts'
import { fileStore } from './file.ts'
import { layeredStore } from './layered.ts'
import { memcachedStore } from './memcached/index.ts'
import { memoryStore } from './memory.ts'
import { migratingStore } from './migrating.ts'
import { describePassed } from './passed.ts'
import { redisStore } from './redis/index.ts'
import { mysqlStore, postgresStore, sqliteStore } from './sql/index.ts'
import { LAYERED, MIGRATING, partsOf } from './url-parts.ts'

/**
 * Opens the store that a URL names, so that configuration alone chooses the engine:
 *
 * | URL | store |
 * |---|---|
 * | `memory:` | `memoryStore()` |
 * | `file:./sessions` | `fileStore('./sessions')` |
 * | `sqlite:./sessions.db`, `sqlite::memory:` | `sqliteStore(…)` |
 * | `redis://`, `rediss://`, `redis+cluster://a,b`, `redis+sentinel://a,b/primary` | `redisStore(url)` |
 * | `memcached://a,b`, `memcacheds://a` | `memcachedStore(url)` |
 * | `postgres://`, `postgresql://` | `postgresStore(url)` |
 * | `mysql://`, `mariadb://` | `mysqlStore(url)` |
 * | `layered:?cache=…&database=…` | `layeredStore(…)`, both URLs percent-encoded |
 * | `migrating:?from=…&to=…` | `migratingStore(…)`, likewise; `&moves=false` for the first of two deployments |
 * | `cookie:` | `cookieStore()` |
 *
 * `?table=` (and for PostgreSQL `?schema=`) and `?prefix=` are passed to stores that have such an option. What else a database's URL carries is its
 * driver's. Nothing is connected before the first operation; the store closes what it opened.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { openStore } from 'holdfast/stores'
 *
 * const sessions = createSessions({ store: openStore(process.env.SESSION_STORE ?? 'file:./sessions') })
 * ```
 * @throws TypeError for a URL that names no store; what the store's own function throws. A driver that is not installed is an error of
 * the first operation, with the command that installs it.
 */
export function openStore(url: string): Store {
  const scheme = typeof url === 'string' ? /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase() : undefined
  const open = scheme === undefined ? undefined : OPENERS[scheme]
  if (!open) {
    throw new TypeError(
      `openStore: ${scheme === undefined ? nameless(url) : `'${scheme}:' names no store`}; ` +
        `begin with one of ${Object.keys(OPENERS)
          .map((one) => `${one}:`)
          .join(' ')}`,
    )
  }
  return open(url)
}

/** It may hold a password, so it is not shown. */
function nameless(url: unknown): string {
  if (url === undefined || url === '')
    return `the URL is ${url === '' ? 'empty' : 'undefined'}, as of a variable that is not set`
  return typeof url === 'string' ? 'this text is no URL' : `a URL must be text, not ${describePassed(url)}`
}

const redis = (url: string) => withOptions(url, ['prefix'], redisStore)
const postgres = (url: string) => withOptions(url, ['table', 'schema'], postgresStore)
const mysql = (url: string) => withOptions(url, ['table'], mysqlStore)
const memcached = (url: string) => withOptions(url, ['prefix'], memcachedStore)

const OPENERS: Readonly<Record<string, (url: string) => Store>> = {
  memory: () => memoryStore(),
  file: (url) => fileStore(pathOf(url)),
  sqlite: (url) => withOptions(pathOf(url), ['table'], sqliteStore),
  redis,
  rediss: redis,
  'redis+cluster': redis,
  'rediss+cluster': redis,
  'redis+sentinel': redis,
  'rediss+sentinel': redis,
  memcached,
  memcacheds: memcached,
  postgres,
  postgresql: postgres,
  mysql,
  mariadb: mysql,
  layered,
  migrating,
  cookie: () => cookieStore(),
}

function layered(url: string): Store {
  const { cache, database } = partsOf(url, LAYERED)
  return layeredStore({ cache: openStore(cache), database: openStore(database) })
}

function migrating(url: string): Store {
  const { from, to, moves } = partsOf(url, MIGRATING)
  return migratingStore({ from: openStore(from), to: openStore(to), moves: moves !== 'false' })
}

/** `file:./a`, and as other programs write it, `file:///srv/a` or `sqlite:///srv/a`. */
function pathOf(url: string): string {
  const path = url.slice(url.indexOf(':') + 1)
  return path.startsWith('///') ? path.slice(2) : path
}

/** Takes the options that are ours out of the URL; what else stands after its question mark is the driver's. */
function withOptions(
  url: string,
  names: readonly string[],
  open: (url: string, options: Record<string, string>) => Store,
): Store {
  const [base = '', query] = url.split(/\?(.*)/s, 2)
  if (query === undefined) return open(url, {})
  const others = new URLSearchParams(query)
  const options: Record<string, string> = {}
  for (const name of names) {
    const value = others.get(name)
    if (value !== null) options[name] = value
    others.delete(name)
  }
  return open(others.size > 0 ? `${base}?${others}` : base, options)
}
