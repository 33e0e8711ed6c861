import { setTimeout as sleep } from 'node:timers/promises'
import type {
  Finding,
  Page,
  SessionIndex,
  Store,
  StoredRecord,
  Tombstone,
  UpdateResult,
  WriteOptions,
} from '../../store.ts'
import { type Remedy, StoreError } from '../store-error.ts'
import { isTransient, messageOf, remedyFor, wasAlreadyThere } from './errors.ts'
import type { SqlExecutor, SqlResult, SqlValue } from './executor.ts'
import { checkName, LONGEST_TABLE } from './names.ts'
import { faultsIn, MYSQL_LIMITS, schemaOf, type TableSchema } from './schema.ts'
import { BATCH, bound, type Statement, type Statements, statementsFor } from './statements.ts'

/**
 * The store over any database that an executor reaches: for query builders and drivers that have no function of their
 * own here.
 *
 * @param table as in `SqliteOptions`, `PostgresOptions` or `MysqlOptions`
 * @param schema for PostgreSQL: where the table is, if not on the search path
 *
 * @example
 * ```ts
 * import { type SqlExecutor, sqlStore } from 'holdfast/stores/sql'
 *
 * export const storeOn = (executor: SqlExecutor) => sqlStore(executor, 'sessions')
 * ```
 *
 * @throws RangeError for a table or schema that is no plain name, and for a schema where the database has none.
 */
export function sqlStore(executor: SqlExecutor, table: string, schema?: string): SqlStore {
  checkName('sqlStore', 'table', table, LONGEST_TABLE[executor.dialect])
  if (schema !== undefined) checkName('sqlStore', 'schema', schema, 63)
  if (schema !== undefined && executor.dialect !== 'postgres') {
    throw new RangeError('sqlStore: only PostgreSQL has schemas; elsewhere, connect to another database')
  }
  return new SqlStore(executor, table, schema)
}

export type { SqlStore }

const PAGE_SIZE = 100
const HOUR_MS = 3_600_000

/** How often a statement is run again that the database has given up in favour of another, and changed nothing. */
const RETRIES = 3

/** How often several processes that make one table at once may get into each other's way. */
const ATTEMPTS_TO_CREATE = 10

/** What `sqliteStore`, `postgresStore` and `mysqlStore` make. */
class SqlStore implements Store {
  readonly name: string
  readonly compareAndSet = true
  readonly inProcess: boolean
  readonly users: SessionIndex = this.#sessionIndex('users', 'user_id')
  readonly externalIds: SessionIndex = this.#sessionIndex('externalIds', 'external_id')

  readonly #executor: SqlExecutor
  readonly #table: string
  readonly #schema: TableSchema
  readonly #sql: Statements
  #isReady = false
  #gettingReady: Promise<void> | undefined
  #isClosed = false

  constructor(executor: SqlExecutor, table: string, schema: string | undefined) {
    this.name = executor.dialect
    this.inProcess = executor.inProcess ?? false
    this.#executor = executor
    this.#table = table
    this.#schema = schemaOf[executor.dialect](table, schema)
    this.#sql = statementsFor(executor.dialect, table, schema)
  }

  async load(key: string): Promise<StoredRecord | Tombstone | undefined> {
    const { rows } = await this.#run('load', this.#sql.load, { key })
    return rows[0] && fromRow(Object.values(rows[0]))
  }

  async create(key: string, record: StoredRecord, options?: WriteOptions): Promise<boolean> {
    const values = this.#valuesOf('create', key, record)
    try {
      return (await this.#write('create', this.#sql.create, values, options)) > 0
    } catch (error) {
      // MySQL has no INSERT that ignores a taken key and nothing else.
      if (this.name === 'mysql' && wasAlreadyThere('mysql', error)) return false
      throw error
    }
  }

  async update(
    key: string,
    record: StoredRecord,
    expectedRev: string,
    options?: WriteOptions,
  ): Promise<UpdateResult> {
    const values = { ...this.#valuesOf('update', key, record), expectedRev }
    const { unindexed, update } = this.#sql
    if (unindexed && (await this.#write('update', unindexed.update, values, options))) return 'ok'
    if (await this.#write('update', update, values, options)) return 'ok'
    return (await this.#exists('update', key)) ? 'conflict' : 'gone'
  }

  async touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    const values = { key, lastSeen, expires, hour: hourOf(expires) }
    const { unindexed, touch } = this.#sql
    if (unindexed && (await this.#write('touch', unindexed.touch, values))) return true
    if (await this.#write('touch', touch, values)) return true
    // A connection to MySQL may be set to count the rows that were changed, and not those that matched.
    return this.name === 'mysql' && this.#exists('touch', key)
  }

  async destroy(key: string, until: number, options?: WriteOptions): Promise<boolean> {
    const values = { key, until, hour: hourOf(until) }
    return (await this.#write('destroy', this.#sql.destroy, values, options)) > 0
  }

  async scan(cursor: string | undefined, limit: number): Promise<Page> {
    return this.#page('scan', this.#sql.scan, { cursor: cursor ?? '' }, limit)
  }

  async sweep(now: number, limit: number): Promise<number> {
    const values = { now, hour: hourOf(now) }
    const { sweep, batches } = this.#sql
    if (!batches) return this.#write('sweep', sweep, { ...values, limit })
    let removed = 0
    while (removed < limit) {
      const size = Math.min(BATCH, limit - removed)
      const keys = await this.#keys('sweep', batches.findExpired, { ...values, limit: size })
      if (keys.length > 0) removed += await this.#write('sweep', batches.remove, { ...numbered(keys), now })
      if (keys.length < size) break
    }
    return removed
  }

  /**
   * Makes the table and its indexes where they are missing, and needs the right to do so only then. The first operation
   * does so by itself; call it when you would rather learn of a problem at the start.
   *
   * @throws StoreError if another table has that name.
   */
  async createTables(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#createWhatIsMissing()
      } catch (error) {
        // IF NOT EXISTS does not keep processes that start at once from colliding. Some other has been faster.
        if (attempt === ATTEMPTS_TO_CREATE || !wasAlreadyThere(this.#executor.dialect, error)) throw error
        await sleep(Math.random() * 20 * attempt)
      }
    }
  }

  async #createWhatIsMissing(): Promise<void> {
    const { createTable, createIndexes, listColumns, listIndexes } = this.#schema
    const query = async (sql: string) => (await this.#execute('createTables', sql, [])).rows
    let columns = await query(listColumns)
    if (columns.length === 0) {
      await query(createTable)
      columns = await query(listColumns)
    }
    this.#checkColumns(columns)
    const indexes = (await query(listIndexes)).map((row) => String(Object.values(row)[0]))
    for (const [name, createIndex] of Object.entries(createIndexes)) {
      if (!indexes.includes(name)) await query(createIndex)
    }
  }

  async check(now: () => number): Promise<readonly Finding[]> {
    const { findingsOf } = await import('./findings.ts')
    const { dialect } = this.#executor
    return findingsOf(
      {
        dialect,
        inProcess: this.inProcess,
        schema: this.#schema,
        clock: this.#sql.clock?.sql,
        query: async (sql) => (await this.#execute('check', sql, [])).rows,
      },
      now,
    )
  }

  /** The SQL that `createTables` runs, for those who keep their schema in migrations. */
  schema(): string {
    return [this.#schema.createTable, ...Object.values(this.#schema.createIndexes)]
      .map((sql) => `${sql};\n`)
      .join('')
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#executor.close?.()
  }

  #sessionIndex(name: 'users' | 'externalIds', column: 'user_id' | 'external_id'): SessionIndex {
    return {
      list: async (value, { cursor = '', limit = PAGE_SIZE } = {}) =>
        this.#page(`${name}.list`, this.#sql.listBy[column], { value, cursor }, limit),
      // No key is empty, so without an exception this excepts none.
      destroy: async (value, until, { except = '', ...options } = {}) => {
        const operation = `${name}.destroy`
        const values = { value, until, hour: hourOf(until), except }
        const { destroyBy, batches } = this.#sql
        if (!batches) return this.#write(operation, destroyBy[column], values, options)
        let destroyed = 0
        let cursor = ''
        for (;;) {
          const keys = await this.#keys(operation, batches.findBy[column], { value, except, cursor })
          if (keys.length === 0) return destroyed
          const batch = { ...values, ...numbered(keys) }
          destroyed += await this.#write(operation, batches.destroy[column], batch, options)
          if (keys.length < BATCH) return destroyed
          cursor = keys.at(-1) as string
        }
      },
    }
  }

  #valuesOf(operation: string, key: string, record: StoredRecord) {
    const { rev, text, user = null, externalId = null, lastSeen, expires } = record
    const values = { key, rev, text, user, externalId, lastSeen, expires, hour: hourOf(expires) }
    if (this.name === 'mysql') this.#checkSizes(operation, values)
    return values
  }

  #checkSizes(operation: string, values: Readonly<Record<keyof typeof MYSQL_LIMITS, string | null>>): void {
    for (const [name, limit] of Object.entries(MYSQL_LIMITS)) {
      const value = values[name as keyof typeof MYSQL_LIMITS] ?? ''
      if (value.length * 3 <= limit || Buffer.byteLength(value) <= limit) continue
      const problem = `the ${name} takes ${Buffer.byteLength(value)} bytes, and the table has room for ${limit}`
      throw new StoreError(this.name, operation, problem, { retryable: false })
    }
  }

  async #exists(operation: string, key: string): Promise<boolean> {
    return (await this.#run(operation, this.#sql.exists, { key })).rows.length > 0
  }

  async #keys(operation: string, statement: Statement, values: Values): Promise<string[]> {
    const { rows } = await this.#run(operation, statement, values)
    return rows.map((row) => String(Object.values(row)[0])).sort()
  }

  /** One row too many is asked for, to know whether there is a next page. */
  async #page(operation: string, statement: Statement, values: Values, limit: number): Promise<Page> {
    const { rows } = await this.#run(operation, statement, { ...values, limit: limit + 1 })
    const items = rows.slice(0, limit).map((row) => {
      const [key, ...record] = Object.values(row)
      return [String(key), recordOf(record)] as const
    })
    return rows.length > limit ? { items, cursor: items.at(-1)?.[0] } : { items }
  }

  async #write(
    operation: string,
    statement: Statement,
    values: Values,
    options?: WriteOptions,
  ): Promise<number> {
    return (await this.#run(operation, statement, values, options?.durable)).affected
  }

  async #run(operation: string, statement: Statement, values: Values, durable?: boolean): Promise<SqlResult> {
    if (!this.#isReady && !this.#isClosed) await this.#getReady()
    const [sql, params] = bound(statement, values)
    return this.#execute(operation, durable ? sql + this.#sql.durably : sql, params, durable)
  }

  #getReady(): Promise<void> {
    this.#gettingReady ??= this.createTables()
      .then(() => {
        this.#isReady = true
      })
      .finally(() => {
        this.#gettingReady = undefined
      })
    return this.#gettingReady
  }

  async #execute(
    operation: string,
    sql: string,
    params: readonly SqlValue[],
    durable?: boolean,
  ): Promise<SqlResult> {
    const { dialect } = this.#executor
    for (let retries = 0; ; retries++) {
      if (this.#isClosed) {
        const problem = 'the store has been closed. Close it after the last request.'
        throw new StoreError(this.name, operation, problem, { retryable: false })
      }
      try {
        return await this.#executor.run(sql, params, durable)
      } catch (cause) {
        if (retries < RETRIES && isTransient(dialect, cause)) {
          await sleep(Math.random() * 10 * (retries + 1))
          continue
        }
        throw this.#failure(operation, cause)
      }
    }
  }

  #failure(operation: string, cause: unknown): StoreError {
    if (cause instanceof StoreError) return cause
    const problem = messageOf(cause)
    const { cure, retryable } =
      this.#executor.remedy?.(cause) ?? remedyFor(this.#executor.dialect, cause) ?? UNKNOWN
    return new StoreError(this.name, operation, cure ? `${problem}. ${cure}` : problem, { cause, retryable })
  }

  #checkColumns(rows: SqlResult['rows']): void {
    const faults = faultsIn(rows)
    if (faults.length === 0) return
    throw new StoreError(
      this.name,
      'createTables',
      `there is a table ${this.#table} that was made for something else (${faults.join('; ')}). ` +
        'Give the store another { table }, or rename or drop this one.',
      { retryable: false },
    )
  }
}

const UNKNOWN: Partial<Remedy> = {}

type Values = Readonly<Record<string, SqlValue>>

function numbered(keys: readonly string[]): Values {
  return Object.fromEntries(Array.from({ length: BATCH }, (_, i) => [`key${i}`, keys[i] ?? keys.at(-1)!]))
}

function hourOf(time: number): number {
  return Math.floor(time / HOUR_MS)
}

function fromRow(row: readonly unknown[]): StoredRecord | Tombstone {
  return String(row[0]) === '' ? { destroyedUntil: Number(row[5]) } : recordOf(row)
}

/** Times may come as a number, as a bigint or as text, and text as bytes: that is the driver's choice. */
function recordOf([rev, text, user, externalId, lastSeen, expires]: readonly unknown[]): StoredRecord {
  return {
    rev: String(rev),
    text: String(text),
    ...(user != null && { user: String(user) }),
    ...(externalId != null && { externalId: String(externalId) }),
    lastSeen: Number(lastSeen),
    expires: Number(expires),
  }
}
