import { lasting, passing, type Remedy } from '../store-error.ts'
import type { SqlExecutor } from './executor.ts'

type Dialect = SqlExecutor['dialect']

/** What the database or driver says. Drivers may add statement and parameters to it, which are nobody's to log. */
export function messageOf(thrown: unknown): string {
  const error = withoutPool(thrown)
  if (!(error instanceof Error)) return String(error)
  const { sqlMessage, errors } = error as { sqlMessage?: unknown; errors?: unknown }
  if (typeof sqlMessage === 'string') return sqlMessage
  // What Node throws if a name has several addresses, none of which answers, has no message of its own.
  if (error.message === '' && Array.isArray(errors)) return errors.map(messageOf).join(', ')
  return error.message
}

/** The pool of mariadb has one answer to everything, after a while: that it gave up. Why is in the cause. */
function withoutPool(error: unknown): unknown {
  const { errno, cause } = Object(error) as { errno?: unknown; cause?: unknown }
  return errno === 45028 && cause instanceof Error ? cause : error
}

/** MySQL's number of the error, else PostgreSQL's or Node's code. Query builders hide it in causes. */
function codeOf(error: unknown): string {
  for (
    let each = withoutPool(error), depth = 0;
    each instanceof Error && depth < 5;
    each = each.cause, depth++
  ) {
    const { errno, code } = each as { errno?: unknown; code?: unknown }
    if (typeof errno === 'number' && errno > 0) return String(errno)
    if (typeof code === 'string') return code
  }
  return ''
}

/** Whether the database gave a statement up in favour of another one, and undid it. */
export function isTransient(dialect: Dialect, error: unknown): boolean {
  return TRANSIENT[dialect].includes(codeOf(error))
}

const TRANSIENT: Record<Dialect, readonly string[]> = {
  sqlite: [],
  // Deadlock; conflict, where transactions are isolated more than by default.
  postgres: ['40P01', '40001'],
  // Deadlock; lock wait timeout; conflict, where snapshots are isolated.
  mysql: ['1213', '1205', '1020'],
}

/** Whether a row, a table or an index could not be made because it is there. */
export function wasAlreadyThere(dialect: Dialect, error: unknown): boolean {
  return THERE[dialect].includes(codeOf(error))
}

const THERE: Record<Dialect, readonly string[]> = {
  sqlite: [],
  // XX000: "tuple concurrently updated", of two that make an index on one table.
  postgres: ['23505', '42P07', '42710', 'XX000'],
  mysql: ['1062'],
}

/** What can be done about an error, if it is a known one. */
export function remedyFor(dialect: Dialect, error: unknown): Remedy | undefined {
  if (dialect === 'sqlite') return undefined
  const code = codeOf(error)
  const [, remedy] = REMEDIES[dialect].find(([codes]) => codes.test(code)) ?? []
  return remedy ?? BY_MESSAGE.find(([message]) => message.test(messageOf(error)))?.[1]
}

const UNREACHABLE = passing(
  'The server cannot be reached: check that it runs, and host, port and firewall. The next operation tries again.',
)
const LOST = passing(
  'The connection was lost: the server shuts down, restarts or ended it. A pool connects again with the next operation; a single connection does not.',
)
const PASSWORD = lasting('Check the user and the password, and that the server lets this user in from here.')
const DATABASE = lasting('Create the database, or name another one.')
const RIGHTS = lasting(
  'This user needs SELECT, INSERT, UPDATE and DELETE on the table, and to make it also CREATE; or let its owner run what schema() prints.',
)
const DROPPED = lasting(
  'The table has gone since the store was opened. If it was renamed, rename it back; else `npx holdfast init`, or createTables(), makes an empty one.',
)
const CROWDED = passing(
  'The server has no connection left: lower the size of the pools, or raise its max_connections, or the limit of this user or database.',
)
/** During a failover a primary is one for a moment. */
const READ_ONLY = passing(
  'The server takes no writes. Is it a replica: name the primary. Else turn read_only, or default_transaction_read_only, off; hosted servers turn it on when their disk is full.',
)
const DISK_FULL = lasting('The disk of the server is full; nothing was written.')
const BUSY = passing('Another transaction kept its lock too long: look for one that was left open.')

const NETWORK: readonly [RegExp, Remedy] = [
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOENT|CONNECT_TIMEOUT)$/,
  UNREACHABLE,
]
const BROKEN: readonly [RegExp, Remedy] = [
  /^(ECONNRESET|EPIPE|PROTOCOL_CONNECTION_LOST|CONNECTION_\w+)$/,
  LOST,
]

const REMEDIES: Record<'postgres' | 'mysql', readonly (readonly [codes: RegExp, remedy: Remedy])[]> = {
  postgres: [
    NETWORK,
    BROKEN,
    [/^(57P0[12]|08...)$/, LOST],
    [/^57P03$/, passing('The server is starting up or shutting down: try again in a moment.')],
    [/^28...$/, PASSWORD],
    [/^3D000$/, DATABASE],
    [/^3F000$/, lasting('Create the schema, or name another one: schema() prints what goes into it.')],
    [/^42501$/, RIGHTS],
    [/^42P01$/, DROPPED],
    [/^53300$/, CROWDED],
    [/^53100$/, DISK_FULL],
    [/^25006$/, READ_ONLY],
    [/^(55P03|57014)$/, BUSY],
    [
      /^(26000|42P05)$/,
      lasting(
        'Prepared statements do not get through the pooler: leave out { prepare }, and with postgres.js set { prepare: false }.',
      ),
    ],
    [/^22P05$/, lasting('The database cannot keep every character: create it with ENCODING UTF8.')],
    [/^22021$/, lasting('Users and external ids are text without the character U+0000.')],
    [/^54000$/, lasting('A user or an external id is too long for an index: keep them under 2,000 bytes.')],
  ],
  mysql: [
    NETWORK,
    BROKEN,
    [/^(1053|1927|4031|45009|45013|45026)$/, LOST],
    [/^(45012|45028)$/, UNREACHABLE],
    [/^(1045|1698)$/, PASSWORD],
    [/^(1049|1046)$/, DATABASE],
    [/^(1044|1142|1143|1227)$/, RIGHTS],
    [/^1146$/, DROPPED],
    [/^(1040|1203)$/, CROWDED],
    [/^(1114|1021)$/, DISK_FULL],
    [/^(1290|1792|1836)$/, READ_ONLY],
    [/^(1205|1213|1969|3024)$/, BUSY],
    [/^1153$/, lasting('Raise max_allowed_packet of the server, or lower maxBytes.')],
    [/^1461$/, lasting('Raise max_prepared_stmt_count of the server, or lower the size of the pools.')],
  ],
}

/** Some drivers make errors of their own, without a code. */
const BY_MESSAGE: readonly (readonly [message: RegExp, remedy: Remedy])[] = [
  [/connection timeout|timeout exceeded when trying to connect/i, UNREACHABLE],
  [/connection terminated|connection error and is not queryable|connection is in closed state/i, LOST],
  [/client password must be a/i, PASSWORD],
  [
    /does not support (ssl|secure)/i,
    lasting(
      'The server speaks no TLS: turn it on there, or leave it out of the URL on a network that you trust.',
    ),
  ],
  [
    /after calling end on the pool|pool is closed|was closed and is not queryable/i,
    lasting('It was closed before the store was: close it after the last request.'),
  ],
]
