import { inTime, noAnswerWithin } from '../in-time.ts'
import { describePassed, refuseRest } from '../passed.ts'
import { ANSWER_TIMEOUT_MS, checkUrl, connectionsOf, has, owning, type TellingPool } from './driver.ts'
import type { SqlExecutor, SqlValue } from './executor.ts'
import { type SqlStore, sqlStore } from './store.ts'

/** Which table `mysqlStore` uses. */
export interface MysqlOptions {
  /** A letter or underscore, then up to 62 letters, digits or underscores. `holdfast_sessions` by default. */
  readonly table?: string
}

interface PlainStatement {
  readonly sql: string
  readonly rowsAsArray: boolean
  readonly nestTables: boolean
}

/** Whatever the connection is set to otherwise. */
const PLAIN = { rowsAsArray: true, nestTables: false }

/** A pool or connection of `mysql2` or `mariadb`. */
export type MysqlHandle = Mysql2Handle | Mysql2CallbackHandle | MariadbHandle

/** What is used of a pool or connection of `mysql2/promise`. */
export interface Mysql2Handle {
  execute(statement: PlainStatement & { values: SqlValue[] }): Promise<[unknown, unknown]>
}

/** What is used of a pool or connection of `mysql2`. */
export interface Mysql2CallbackHandle {
  promise(): Mysql2Handle
}

/** What is used of a pool or connection of `mariadb`. */
export interface MariadbHandle {
  batch(...args: never[]): unknown
  execute(
    statement: PlainStatement & { metaAsArray: boolean; logParam: boolean },
    values: SqlValue[],
  ): Promise<unknown>
}

/**
 * Keeps sessions in a table of a MySQL or MariaDB database (InnoDB).
 *
 * `source` is a URL, for which a pool is opened with the package `mysql2`, else with `mariadb`; or a pool or connection
 * of either that is there already, which stays open when the store closes. It must have `autocommit` on and the
 * character set utf8mb4, as both have by default, and must not be left in a transaction.
 *
 * A write is acknowledged when it is as safe as the server's `innodb_flush_log_at_trx_commit` says; on disk, by
 * default. That is not a connection's to choose, so `durable` means nothing more here. Users and external ids take up
 * to 1,020 bytes.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { mysqlStore } from 'holdfast/stores/sql'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: mysqlStore('mysql://app@localhost/shop') })
 * ```
 *
 * @throws RangeError for a table name that is none. TypeError for a source that is none. Whether the server can be
 * reached shows with the first operation, or with `createTables()`.
 */
export function mysqlStore(source: string | MysqlHandle, options: MysqlOptions = {}): SqlStore {
  const { table = 'holdfast_sessions', ...unknown } = options
  refuseRest('mysqlStore', unknown, 'table')
  const executor: SqlExecutor =
    typeof source === 'string' ? open(source) : { dialect: 'mysql', run: runnerOn(source) }
  return sqlStore(executor, table)
}

type Run = SqlExecutor['run']

function runnerOn(handle: MysqlHandle): Run {
  if (has(handle, 'promise', 'execute')) return throughMysql2((handle as Mysql2CallbackHandle).promise())
  if (has(handle, 'execute', 'batch', 'query')) return throughMariadb(handle as MariadbHandle)
  if (has(handle, 'execute', 'query')) return throughMysql2(handle as Mysql2Handle)
  throw new TypeError(unsupported(handle))
}

function unsupported(handle: unknown): string {
  return (
    `mysqlStore: cannot use ${describePassed(handle)}. Pass a URL, or a pool or connection of mysql2 or ` +
    'mariadb (with promises); for anything else there is sqlStore.'
  )
}

/** Statements are prepared: escaping in the client is only as right as its guess at the server's `sql_mode`. */
function throughMysql2(handle: Mysql2Handle): Run {
  return async (sql, params) => {
    const [result] = await handle.execute({ ...PLAIN, sql, values: [...params] })
    return resultOf(result)
  }
}

function throughMariadb(handle: MariadbHandle): Run {
  return async (sql, params) => {
    const answer: unknown = handle.execute({ ...PLAIN, metaAsArray: false, logParam: false, sql }, [
      ...params,
    ])
    // Those of mariadb/callback look the same until they are used.
    if (!has(answer, 'then')) throw new TypeError(unsupported(handle))
    return resultOf(await (answer as unknown as Promise<unknown>))
  }
}

function resultOf(result: unknown): { rows: object[]; affected: number } {
  if (Array.isArray(result)) return { rows: result, affected: 0 }
  return { rows: [], affected: Number((result as { affectedRows: number | bigint }).affectedRows) }
}

interface Mysql2Module {
  createPool(options: {
    uri: string
    connectTimeout: number
    charset: string
  }): TellingPool<Mysql2Connection> & { promise(): Mysql2Pool }
}

interface Mysql2Connection {
  once(event: 'end', listener: () => void): unknown
  /** Its own `destroy` says goodbye first, and waits for the other side to do so. */
  readonly stream: { destroy(): void }
}

interface Mysql2Pool {
  getConnection(): Promise<Mysql2Handle & Mysql2PoolConnection>
  end(): Promise<void>
}

interface Mysql2PoolConnection {
  release(): void
  destroy(): void
  readonly connection: { readonly stream: { destroy(): void } }
}

interface MariadbModule {
  createPool(url: string): MariadbPool
}

interface MariadbPool extends TellingPool<MariadbConnection> {
  getConnection(): Promise<MariadbHandle & MariadbPoolConnection>
  end(): Promise<void>
}

interface MariadbPoolConnection {
  release(): Promise<void>
  destroy(): void
}

interface MariadbConnection {
  once(event: 'end', listener: () => void): unknown
  destroy(): void
}

const CONNECT_TIMEOUT_MS = 5_000

function open(url: string): SqlExecutor {
  checkUrl('mysqlStore', url, ['mysql:', 'mariadb:'])
  return owning('mysql', {
    mysql2(driver: Mysql2Module) {
      const pool = driver.createPool({ uri: url, connectTimeout: CONNECT_TIMEOUT_MS, charset: 'utf8mb4' })
      const connections = connectionsOf(pool, 'connection')
      return {
        run: throughOwn(pool.promise(), throughMysql2, giveUpMysql2),
        close: () => pool.promise().end(),
        breakOff: () => connections.forEach((connection) => void connection.stream.destroy()),
      }
    },
    mariadb(driver: MariadbModule) {
      const own = new URL(url.replace(/^mysql:/, 'mariadb:'))
      for (const timeout of ['connectTimeout', 'acquireTimeout']) {
        if (!own.searchParams.has(timeout)) own.searchParams.set(timeout, String(CONNECT_TIMEOUT_MS))
      }
      const pool = tryToOpen(driver, own.href)
      const connections = connectionsOf(pool, 'connection')
      return {
        run: throughOwn(pool, throughMariadb, (connection) => connection.destroy()),
        close: () => pool.end(),
        breakOff: () => connections.forEach((connection) => void connection.destroy()),
      }
    },
  })
}

/** As the pool itself does it, which would wait for ever. */
function throughOwn<Connection extends { release(): unknown }>(
  pool: { getConnection(): Promise<Connection> },
  through: (connection: Connection) => Run,
  giveUp: (connection: Connection) => void,
): Run {
  return async (sql, params) => {
    const connection = await pool.getConnection()
    try {
      const answer = through(connection)(sql, params)
      const result = await inTime(ANSWER_TIMEOUT_MS, answer, () => noAnswerWithin(ANSWER_TIMEOUT_MS))
      connection.release()
      return result
    } catch (error) {
      if (isUsableAfter(error)) connection.release()
      else giveUp(connection)
      throw error
    }
  }
}

/** What the server answers leaves the connection as it was; but one that takes no writes any more is not the server to be connected to. */
function isUsableAfter(error: unknown): boolean {
  const { sqlState, errno } = error as { sqlState?: unknown; errno?: unknown }
  return sqlState !== undefined && errno !== 1290 && errno !== 1792 && errno !== 1836
}

/** To destroy it alone would wait for the other side to hear of that. */
function giveUpMysql2(pooled: Mysql2PoolConnection): void {
  pooled.destroy()
  pooled.connection.stream.destroy()
}

function tryToOpen(driver: MariadbModule, url: string): MariadbPool {
  try {
    return driver.createPool(url)
  } catch {
    // Not even as a cause: it repeats the URL, password and all.
    throw new TypeError('the package mariadb takes no such URL; it has to name a database')
  }
}
