import type { SqlExecutor, SqlValue } from './executor.ts'
import { quoted } from './schema.ts'

/** A statement, with the names of its parameters in their order. */
export interface Statement {
  readonly sql: string
  readonly names: readonly string[]
}

export type Statements = ReturnType<typeof statementsFor>

/** So many keys a statement on MySQL; with fewer, the last is repeated, so that the statement stays the same one. */
export const BATCH = 100

/**
 * One statement for each operation, so that none needs a transaction. A parameter is written `:name`; PostgreSQL gets
 * each once, however often it is used.
 */
export function statementsFor(
  dialect: SqlExecutor['dialect'],
  tableName: string,
  schema: string | undefined,
) {
  const table = quoted(dialect, tableName, schema)
  const compile = (sql: string) => compiled(dialect, sql)
  const greatest = dialect === 'sqlite' ? 'max' : 'GREATEST'
  // PostgreSQL's drivers read a bigint each in their way, one of them wrongly; they agree on text.
  const time = (column: string) => (dialect === 'postgres' ? `${column}::text` : column)
  // A parameter less to send, where the database divides integers as such whatever the driver makes of them.
  const hourOf = (time: string) => (dialect === 'postgres' ? `${time}::bigint / 3600000` : ':hour')
  const record = `rev, text, user_id, external_id, ${time('last_seen')}, ${time('expires')}`
  const later = (column: string, value: string) => `${column} = ${greatest}(${column}, ${value})`
  const laterTimes = `${later('last_seen', ':lastSeen')}, ${later('expires', ':expires')}`
  const times = 'last_seen = :lastSeen, expires = :expires'
  const carried = `user_id = :user, external_id = :externalId, expiry_hour = ${hourOf(':expires')}`
  const toTombstone = `rev = '', text = '', user_id = NULL, external_id = NULL, expires = :until, expiry_hour = ${hourOf(':until')}`
  const expired = `expiry_hour <= ${hourOf(':now')} AND expires <= :now`

  const listBy = (column: string) =>
    compile(
      `SELECT session_key, ${record} FROM ${table} WHERE ${column} = :value AND session_key > :cursor ORDER BY session_key LIMIT :limit`,
    )
  const destroyBy = (column: string) =>
    compile(`UPDATE ${table} SET ${toTombstone} WHERE ${column} = :value AND session_key <> :except`)

  return {
    load: compile(`SELECT ${record} FROM ${table} WHERE session_key = :key`),
    exists: compile(`SELECT 1 FROM ${table} WHERE session_key = :key AND rev <> ''`),
    create: compile(
      `INSERT INTO ${table} (session_key, rev, text, user_id, external_id, last_seen, expires, expiry_hour) ` +
        `VALUES (:key, :rev, :text, :user, :externalId, :lastSeen, :expires, ${hourOf(':expires')})` +
        (dialect === 'mysql' ? '' : ' ON CONFLICT (session_key) DO NOTHING'),
    ),
    update: compile(
      `UPDATE ${table} SET rev = :rev, text = :text, ${times}, ${carried} WHERE session_key = :key AND rev = :expectedRev AND rev <> ''`,
    ),
    touch: compile(
      `UPDATE ${table} SET ${laterTimes}, ${later('expiry_hour', hourOf(':expires'))} WHERE session_key = :key AND rev <> ''`,
    ),
    destroy: compile(`UPDATE ${table} SET ${toTombstone} WHERE session_key = :key AND rev <> ''`),
    listBy: { user_id: listBy('user_id'), external_id: listBy('external_id') },
    destroyBy: { user_id: destroyBy('user_id'), external_id: destroyBy('external_id') },
    scan: compile(
      `SELECT session_key, ${record} FROM ${table} WHERE session_key > :cursor AND rev <> '' ORDER BY session_key LIMIT :limit`,
    ),
    sweep: compile(
      dialect === 'postgres'
        ? // An array, as a mere IN may be evaluated for each row, and then removes more than the limit.
          `DELETE FROM ${table} WHERE session_key = ANY (ARRAY(SELECT session_key FROM ${table} WHERE ${expired} LIMIT :limit FOR UPDATE SKIP LOCKED))`
        : `DELETE FROM ${table} WHERE session_key IN (SELECT session_key FROM ${table} WHERE ${expired} LIMIT :limit)`,
    ),
    unindexed: dialect === 'sqlite' ? unindexed(compile, table, times, laterTimes) : undefined,
    batches: dialect === 'mysql' ? batches(compile, table, toTombstone, expired) : undefined,
    /** The server's, in milliseconds since 1970. */
    clock: dialect === 'sqlite' ? undefined : compile(CLOCK[dialect]),
    /** What makes a write wait for the disk although the connection may not: evaluated with it, for its transaction only. */
    durably:
      dialect === 'postgres'
        ? ` RETURNING set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)`
        : '',
  }
}

const CLOCK = {
  postgres: 'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::text AS now',
  mysql: "SELECT FLOOR(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) / 1000) AS now",
}

/**
 * SQLite rewrites an index whenever its column is assigned, which doubles the cost. So these leave every indexed column
 * alone, and match only if none of them changes. They nearly always do: the others are for a login, and for an expiry
 * that moves into another hour.
 */
function unindexed(compile: Compile, table: string, times: string, laterTimes: string) {
  return {
    update: compile(
      `UPDATE ${table} SET rev = :rev, text = :text, ${times} WHERE session_key = :key AND rev = :expectedRev AND rev <> '' ` +
        'AND user_id IS NOT DISTINCT FROM :user AND external_id IS NOT DISTINCT FROM :externalId AND expiry_hour = :hour',
    ),
    touch: compile(
      `UPDATE ${table} SET ${laterTimes} WHERE session_key = :key AND rev <> '' AND expiry_hour >= :hour`,
    ),
  }
}

/**
 * InnoDB locks every row and gap that a statement walks through, matching or not. So what goes by another index is
 * looked up first, which locks nothing, and then changed by primary key, checking again, in ascending order.
 */
function batches(compile: Compile, table: string, toTombstone: string, expired: string) {
  const keys = Array.from({ length: BATCH }, (_, i) => `:key${i}`).join(', ')
  const byKey = `FORCE INDEX (PRIMARY)`
  const find = (column: string) =>
    compile(
      `SELECT session_key FROM ${table} WHERE ${column} = :value AND session_key > :cursor AND session_key <> :except ORDER BY session_key LIMIT ${BATCH}`,
    )
  const destroy = (column: string) =>
    compile(
      `UPDATE ${table} ${byKey} SET ${toTombstone} WHERE session_key IN (${keys}) AND ${column} = :value`,
    )
  return {
    findBy: { user_id: find('user_id'), external_id: find('external_id') },
    destroy: { user_id: destroy('user_id'), external_id: destroy('external_id') },
    findExpired: compile(`SELECT session_key FROM ${table} WHERE ${expired} LIMIT :limit`),
    remove: compile(
      `DELETE ${table} FROM ${table} ${byKey} WHERE session_key IN (${keys}) AND expires <= :now`,
    ),
  }
}

type Compile = (sql: string) => Statement

function compiled(dialect: SqlExecutor['dialect'], text: string): Statement {
  const names: string[] = []
  const sql = text.replace(/(?<!:):(\w+)/g, (written, name: string) => {
    // MySQL takes no number there that a driver sends as a floating point one, and they do.
    if (dialect === 'mysql' && name === 'limit') return written
    if (dialect !== 'postgres') {
      names.push(name)
      return '?'
    }
    if (!names.includes(name)) names.push(name)
    return `$${names.indexOf(name) + 1}`
  })
  return { sql, names }
}

/** SQL and parameters as the executor takes them. */
export function bound(
  { sql, names }: Statement,
  values: Readonly<Record<string, SqlValue>>,
): [sql: string, params: SqlValue[]] {
  const params = names.map((name) => values[name] as SqlValue)
  if (!sql.endsWith(':limit')) return [sql, params]
  return [sql.replace(':limit', String(Math.trunc(Number(values.limit)))), params]
}
