import { lasting, passing, type Remedy } from '../store-error.ts'

/** What the server or its client said, followed by what can be done about it, if that is known. */
export function explain(problem: string, prefix: string): { problem: string; retryable?: boolean } {
  const remedy = remedyFor(problem, prefix)
  if (remedy === undefined) return { problem }
  return { problem: `${problem.replace(/[.\s]+$/, '')}. ${remedy.cure}`, retryable: remedy.retryable }
}

export function remedyFor(problem: string, prefix: string): Remedy | undefined {
  const [, remedy] = KNOWN.find(([pattern]) => pattern.test(problem)) ?? []
  return typeof remedy === 'function' ? remedy(prefix) : remedy
}

const KNOWN: readonly (readonly [RegExp, Remedy | ((prefix: string) => Remedy)])[] = [
  [
    /\bOOM\b/,
    lasting(
      'The server is full, and its maxmemory-policy forbids evicting. Raise `maxmemory`, or make room; destroying and touching still work.',
    ),
  ],
  [
    /WRONGPASS|invalid password/i,
    lasting('Look at the user name and the password in the URL or in the options of the client.'),
  ],
  [
    /NOAUTH|Authentication required/i,
    lasting('The server wants a password: redis://user:password@host, or an option of the client.'),
  ],
  [
    /NOPERM/,
    (prefix) =>
      lasting(
        `The user needs: ~${prefix}:* ~${prefix}@* ~${prefix}#* +get +set +del +persist +pexpireat +zadd +zrem +zremrangebyscore +zrange ` +
          '+eval +evalsha +time +scan +info, and +wait +client|info (in a Cluster +cluster|keyslot too) for durable writes.',
      ),
  ],
  [
    /DB index is out of range|invalid DB index|SELECT is not allowed/i,
    lasting(
      'The server has no database of this number: `databases` in redis.conf says how many there are, and a Cluster has only 0.',
    ),
  ],
  // During a failover it is a replica for a moment, or no longer one.
  [
    /READONLY|You can't write against a read only/i,
    passing('This is a replica. Connect to the primary, or through Sentinel, which finds it.'),
  ],
  [
    /MASTERDOWN/,
    passing(
      'This is a replica that has lost its primary: bring that one back, or have Sentinel or the Cluster promote a replica.',
    ),
  ],
  [
    /NOREPLICAS/,
    passing(
      'The primary has fewer replicas than `min-replicas-to-write` asks for: bring one back, or lower it.',
    ),
  ],
  [
    /No such master with that name|None of the sentinels are available/,
    passing(
      'No Sentinel that answers watches a primary of this name. `redis-cli -p 26379 SENTINEL MASTERS` lists those that there are; the URL has it as redis+sentinel://host/name.',
    ),
  ],
  [
    /too many Cluster redirections/i,
    passing('The Cluster is moving this key, or its nodes do not agree where it is. Try again in a moment.'),
  ],
  [
    /\bMOVED\b|CROSSSLOT|\bASK\b/,
    lasting('The server is part of a Cluster: use redis+cluster://, or a client made for a Cluster.'),
  ],
  [
    /CLUSTERDOWN/,
    passing('Some part of the Cluster has no primary. `redis-cli --cluster check` says which.'),
  ],
  [/\bLOADING\b/, passing('The server has just started and is reading its data. Try again in a moment.')],
  [/MISCONF/, lasting('The server cannot save its data. Look at its log and at the space on its disk.')],
  [
    /RESP type|Protocol error/i,
    lasting('What answers at this address is no Redis: look at the host and the port.'),
  ],
  [
    /cluster support disabled/i,
    lasting('This server is no part of a Cluster: use redis://, or a client made for one server.'),
  ],
  [
    /FOREIGN|WRONGTYPE/,
    (prefix) =>
      lasting(
        `What is under this key was not written by this store. Give the store another { prefix } than '${prefix}', which something else uses.`,
      ),
  ],
  [
    /client is closed|client was closed|must be connected/i,
    lasting(
      'The client is not connected: `await client.connect()` before the first request, and close it after the last.',
    ),
  ],
  [
    /ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|EPIPE|timed? ?out|Connection is closed|max retries|Socket closed|offline|sentinels? (are|is) unreachable|refresh slots cache|startup nodes|root nodes|no answer/i,
    passing(
      'The server cannot be reached. Is it running, is this its address, and does a firewall let this machine through?',
    ),
  ],
]

/**
 * The error of a driver without the command that it was about: its arguments are what sessions hold, or a password.
 */
export function withoutArguments(error: unknown): unknown {
  const seen = new Set<unknown>()
  for (let each = error; each instanceof Error && !seen.has(each); each = inner(each)) {
    seen.add(each)
    if ('command' in each) delete each.command
  }
  return error
}

function inner(error: Error): unknown {
  return 'lastNodeError' in error ? error.lastNodeError : error.cause
}
