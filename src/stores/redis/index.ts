import { inspect } from 'node:util'
import { refuseRest } from '../passed.ts'
import { adopt, type RedisClient } from './clients.ts'
import { connectLazily } from './connect.ts'
import { RedisStore } from './store.ts'

export { StoreError } from '../store-error.ts'
export type {
  GlideClient,
  GlideCluster,
  IoredisClient,
  IoredisNode,
  NodeRedisClient,
  NodeRedisCluster,
  NodeRedisSentinel,
  RedisClient,
} from './clients.ts'
export type { RedisStore } from './store.ts'

/** Under which keys `redisStore` keeps sessions, and which writes wait for replicas. */
export interface RedisStoreOptions {
  /**
   * Begins every key: `h:<key>` is a session, `h@<user>` and `h#<external id>` are its indexes. Up to 64 letters,
   * digits, `_`, `.`, `-` and `:`, the last one not a `:`. Short by default (`h`), since it is sent with each command
   * and kept with each session.
   */
  readonly prefix?: string
  /** What `durable` writes wait for: logins, step-ups, and whatever ends a session. Absent: for the primary alone. */
  readonly wait?: RedisWait
}

/** How many replicas must confirm a durable write, and how soon. */
export interface RedisWait {
  /** How many replicas must have confirmed the write: 1 or more. */
  readonly replicas: number
  /**
   * How long to wait for them, in milliseconds: 1 to 60,000. 200 by default. Other commands on the connection wait as well, so keep it well
   * below `deadlines.load`: or a replica that is down is an outage at each login.
   */
  readonly timeout?: number
}

/**
 * Keeps sessions in Redis or Valkey (6.2 and newer): one server, Sentinel, or Cluster.
 *
 * `source` is a client that you have, which is used as it is and never closed: of `redis` (client, pool, cluster,
 * sentinel), `ioredis` or `iovalkey` (Redis, Cluster), or `@valkey/valkey-glide` (both). Or it is a URL: `redis://host:6379/0`,
 * `redis+cluster://a,b`, `redis+sentinel://a,b/primaryName/0`, with `rediss` for TLS and `user:password@` before the hosts. Then
 * the store loads `ioredis`, or else `redis`, connects when it is first used, and closes the connection in `close`.
 *
 * Reading, updating and touching take one round trip each; creating takes two if the session has a user or an external
 * id, and one otherwise. Whatever else changes the user takes two or three more.
 *
 * Records are read from primaries, unless a client of valkey-glide is told to prefer replicas. Listing reads the whole index of a user
 * for each page. An index entry is removed with its record, or, if the record merely expires, after as much time again as it had, at most 25 days.
 *
 * The server must not evict (`maxmemory-policy noeviction`): an `error` event says so once if it may. Replicas follow behind:
 * a write that the primary confirmed is lost if it dies before them, unless it was `durable` and `wait` is set.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { redisStore } from 'holdfast/stores/redis'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: redisStore('redis://localhost:6379') })
 * ```
 *
 * @throws TypeError for a source that is none. RangeError for an option that cannot be. Operations throw StoreError, which says what can be done.
 */
export function redisStore(source: string | RedisClient, options: RedisStoreOptions = {}): RedisStore {
  const { prefix = 'h', wait, ...unknown } = options
  refuseRest('redisStore', unknown, 'prefix, wait')
  if (typeof prefix !== 'string' || !/^[\w.:-]{0,63}[\w.-]$/.test(prefix)) {
    throw new RangeError(
      `redisStore: the prefix ${inspect(prefix)} is not 1 to 64 letters, digits, '_', '.', '-' and ':', the last one not a ':'`,
    )
  }
  const resolved = wait && { replicas: wait.replicas, timeout: wait.timeout ?? 200 }
  if (resolved && !(isCount(resolved.replicas, 1000) && isCount(resolved.timeout, 60_000))) {
    throw new RangeError(
      `redisStore: wait ${inspect(wait)} is not { replicas: 1 or more, timeout: 1 to 60000 milliseconds }`,
    )
  }
  const commander = typeof source === 'string' ? connectLazily(source, resolved?.timeout) : adopt(source)
  if (resolved && commander.isPool) {
    throw new TypeError(
      'redisStore: `wait` cannot be kept over a pool, where each command may take another connection. Pass a client.',
    )
  }
  return new RedisStore(commander, prefix, resolved)
}

function isCount(value: unknown, most: number): boolean {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most
}
