import { createHash } from 'node:crypto'
import { connect as connectSocket, type Socket } from 'node:net'
import { patientFor } from '../in-time.ts'
import { describePassed, refuseRest } from '../passed.ts'
import {
  ANSWER_TIMEOUT_MS,
  checkUrl,
  connectionsOf,
  has,
  type OwnPool,
  owning,
  type TellingPool,
} from './driver.ts'
import type { SqlExecutor, SqlResult, SqlValue } from './executor.ts'
import { PgStatement, takesPgStatements } from './pg-statement.ts'
import { type SqlStore, sqlStore } from './store.ts'

/** Which table `postgresStore` uses, and how. */
export interface PostgresOptions {
  /** A letter or underscore, then up to 47 letters, digits or underscores. `holdfast_sessions` by default. */
  readonly table?: string
  /** Where the table is. By default the first schema on the search path, which as a rule is `public`. */
  readonly schema?: string
  /**
   * Names the statements, so that the server parses each once a connection: less to send and to do. Not behind a pooler
   * in transaction mode, unless it knows how (PgBouncer 1.21 with `max_prepared_statements`). By default `false`, and
   * with a handle of postgres.js what that is set to.
   */
  readonly prepare?: boolean
}

/** `Pool` or `Client` of `pg`, a `sql` of `postgres`, or a `PGlite`. */
export type PostgresHandle = PgHandle | PostgresJsHandle | PgliteHandle

/** What is used of a `Pool` or `Client` of `pg`. */
export interface PgHandle {
  connect(): unknown
  query(statement: { text: string; values: SqlValue[]; name?: string }): Promise<{
    readonly rows: object[]
    readonly rowCount: number | null
  }>
}

/** What is used of a `sql` of `postgres`. */
export interface PostgresJsHandle {
  readonly options: { readonly prepare: boolean }
  unsafe(
    sql: string,
    params: SqlValue[],
    options: { prepare: boolean },
  ): PromiseLike<readonly object[] & { readonly count: number }>
}

/** What is used of a `PGlite`. */
export interface PgliteHandle {
  readonly waitReady: Promise<void>
  query(
    sql: string,
    params: SqlValue[],
  ): Promise<{ readonly rows: unknown[]; readonly affectedRows?: number }>
}

/**
 * Keeps sessions in a table of a PostgreSQL database.
 *
 * `source` is a URL, for which a pool is opened with the package `pg`, else with `postgres`; or a handle that is there
 * already: a `Pool` or connected `Client` of `pg`, a `sql` of `postgres`, or a `PGlite`. Each operation is one
 * statement, without a transaction, a setting or a name that outlasts it: any pooler may be in between. A handle that
 * is passed in stays open when the store closes. A pool of `pg` needs a listener for its event `error`, or the process
 * ends with the server's next restart. A `Client` is for scripts: it does one thing at a time, does not connect again,
 * and must not be left in a transaction.
 *
 * A write is acknowledged when the server has it on disk, unless its `synchronous_commit` is set to less; one with
 * `durable` is so even then, and waits for the standby servers if there are synchronous ones. Users and external ids
 * are well-formed text without the character U+0000.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { postgresStore } from 'holdfast/stores/sql'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: postgresStore('postgres://app@localhost/shop') })
 * ```
 *
 * @throws RangeError for a table or schema name that is none. TypeError for a source that is none. Whether the server
 * can be reached shows with the first operation, or with `createTables()`.
 */
export function postgresStore(source: string | PostgresHandle, options: PostgresOptions = {}): SqlStore {
  const { table = 'holdfast_sessions', schema, prepare, ...unknown } = options
  refuseRest('postgresStore', unknown, 'table, schema, prepare')
  return sqlStore(typeof source === 'string' ? open(source, prepare) : adopt(source, prepare), table, schema)
}

type Run = SqlExecutor['run']

function adopt(handle: PostgresHandle, prepare: boolean | undefined): SqlExecutor {
  return { dialect: 'postgres', run: runnerOn(handle, prepare) }
}

function runnerOn(handle: PostgresHandle, prepare: boolean | undefined): Run {
  if (has(handle, 'unsafe') && 'options' in handle) return throughPostgresJs(handle, prepare)
  if ('waitReady' in Object(handle) && has(handle, 'query', 'exec'))
    return throughPglite(handle as PgliteHandle)
  // Connections of mysql2 have these two as well.
  if (has(handle, 'query', 'connect') && !has(handle, 'execute'))
    return throughPg(handle as PgHandle, prepare)
  throw new TypeError(
    `postgresStore: cannot use ${describePassed(handle)}. Pass a URL, a Pool or Client of pg, ` +
      'the sql function of postgres, or a PGlite; for anything else there is sqlStore.',
  )
}

function throughPg(handle: PgHandle, prepare = false): Run {
  const names = new Map<string, string>()
  const nameFor = (text: string) => (prepare ? nameOf(text, names) : undefined)
  if (takesPgStatements(handle)) {
    return (text, params) => new PgStatement(text, params, nameFor(text)).runOn(handle)
  }
  return async (text, params) => {
    const { rows, rowCount } = await handle.query({ text, values: [...params], name: nameFor(text) })
    return { rows, affected: rowCount ?? 0 }
  }
}

/** On one connection a name must always mean the same statement, whichever store it comes from. */
function nameOf(text: string, names: Map<string, string>): string {
  let name = names.get(text)
  if (name === undefined) {
    name = createHash('sha256').update(text).digest('base64url').slice(0, 8)
    names.set(text, name)
  }
  return name
}

/** What is not prepared takes postgres.js two round trips, so its own setting is the default. */
function throughPostgresJs(handle: PostgresJsHandle, prepare = handle.options.prepare): Run {
  return async (sql, params) => {
    const rows = await handle.unsafe(sql, [...params], { prepare })
    return { rows, affected: rows.count }
  }
}

/** PGlite takes a byte order mark off the front of every text, so what is read comes as JSON, where none is in front. */
function throughPglite(handle: PgliteHandle): Run {
  return async (sql, params): Promise<SqlResult> => {
    const isRead = sql.startsWith('SELECT')
    const text = isRead ? `SELECT row_to_json(r)::text AS row FROM (${sql}) r` : sql
    const { rows, affectedRows = 0 } = await handle.query(text, [...params])
    return {
      rows: isRead ? rows.map((each) => JSON.parse((each as { row: string }).row)) : [],
      affected: affectedRows,
    }
  }
}

interface PgModule {
  readonly Pool: new (options: {
    connectionString: string
    connectionTimeoutMillis: number
    query_timeout: number
  }) => PgHandle & TellingPool<PgConnection> & { end(): Promise<void> }
}

interface PgConnection {
  once(event: 'end', listener: () => void): unknown
  /** Breaks the connection off if an answer is outstanding. */
  end(): Promise<void>
}

type PostgresJsModule = (
  url: string,
  options: {
    connect_timeout: number
    fetch_types: boolean
    prepare: boolean
    onnotice: () => void
    socket?: (address: PostgresJsAddress) => Socket
  },
) => PostgresJsPool

interface PostgresJsAddress {
  readonly host: readonly string[]
  readonly port: readonly number[]
  readonly path?: string | false
}

interface PostgresJsPool extends PostgresJsHandle {
  /** With `timeout`, in seconds, it breaks off what has not ended by then. */
  end(options: { timeout: number }): Promise<void>
}

const CONNECT_TIMEOUT_S = 5

function open(url: string, prepare = false): SqlExecutor {
  checkUrl('postgresStore', url, ['postgres:', 'postgresql:'])
  return owning('postgres', {
    pg({ Pool }: PgModule) {
      const pool = new Pool({
        connectionString: url,
        connectionTimeoutMillis: CONNECT_TIMEOUT_S * 1000,
        query_timeout: ANSWER_TIMEOUT_MS,
      })
      // Of a connection that breaks while idle. The pool replaces it; without a listener the process would end.
      pool.on('error', () => undefined)
      const connections = connectionsOf(pool, 'connect')
      return {
        run: throughPg(pool, prepare),
        close: () => pool.end(),
        breakOff: () => connections.forEach((connection) => void connection.end()),
      }
    },
    postgres: (connect: PostgresJsModule) =>
      replacing(
        (socket) =>
          connect(url, {
            connect_timeout: CONNECT_TIMEOUT_S,
            fetch_types: false,
            prepare,
            onnotice: () => undefined,
            // Of several hosts it chooses, so it must connect to them itself.
            ...(!url.includes(',') && { socket }),
          }),
        prepare,
      ),
  })
}

/** One connection of postgres.js cannot be given up, so the whole pool is: another takes its place, and what is under way on it finishes. */
function replacing(
  open: (socket: (address: PostgresJsAddress) => Socket) => PostgresJsPool,
  prepare: boolean,
): OwnPool {
  const ends = new Set<(timeout: number) => Promise<void>>()
  let current: Run | undefined
  const openAnother = (): Run => {
    const sockets = new Set<Socket>()
    const sql = open(({ host: [host = ''], port: [port = 0], path }) => {
      const socket = path ? connectSocket(path) : connectSocket(port, host)
      sockets.add(socket)
      return socket.once('close', () => sockets.delete(socket))
    })
    const run = throughPostgresJs(sql, prepare)
    const end = async (timeout: number) => {
      await sql.end({ timeout })
      // It has taken leave of the server, and waits for ever for one that does not answer.
      for (const socket of sockets) socket.destroy()
      ends.delete(end)
    }
    ends.add(end)
    const leave = async () => {
      current = undefined
    }
    const patiently = patientFor(ANSWER_TIMEOUT_MS, leave, () => void end(0))
    return (...statement) => patiently(run(...statement))
  }
  const endAll = (timeout: number) => Promise.all([...ends].map((end) => end(timeout)))
  return {
    run: (...statement) => (current ??= openAnother())(...statement),
    close: async () => void (await endAll(CONNECT_TIMEOUT_S)),
    breakOff: () => void endAll(0),
  }
}
