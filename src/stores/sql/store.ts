import type {
  Page,
  SessionIndex,
  Store,
  StoredRecord,
  Tombstone,
  UpdateResult,
  WriteOptions,
} from '../../store.ts'
import { StoreError } from '../store-error.ts'
import { COLUMNS, schemaOf, type TableSchema } from './schema.ts'

/** Runs statements: all that the store needs of a database and its driver. */
export interface SqlExecutor {
  readonly dialect: 'sqlite'
  /**
   * Runs one statement, with a `?` for each parameter, as a transaction of its own. `affected` counts the rows that an
   * INSERT, UPDATE or DELETE matched. `durable`: it must be on disk when the promise resolves.
   */
  run(sql: string, params: readonly SqlValue[], durable?: boolean): Promise<SqlResult>
  /** What can be done about an error that `run` threw, if it is a known one. */
  cure?(error: unknown): string | undefined
  /** Present if the connection is the executor's own. */
  close?(): Promise<void>
}

export type SqlValue = string | number | null

export interface SqlResult {
  readonly rows: readonly Record<string, unknown>[]
  readonly affected: number
}

/** The store over any database that an executor reaches. `table` is a plain identifier. */
export function sqlStore(executor: SqlExecutor, table: string): SqlStore {
  return new SqlStore(executor, table)
}

export type { SqlStore }

const PAGE_SIZE = 100
const HOUR_MS = 3_600_000

class SqlStore implements Store {
  readonly name: string
  readonly compareAndSet = true
  readonly users: SessionIndex = this.#sessionIndex('users', 'user_id')
  readonly externalIds: SessionIndex = this.#sessionIndex('externalIds', 'external_id')

  readonly #executor: SqlExecutor
  readonly #table: string
  readonly #schema: TableSchema
  readonly #sql: Statements
  #isReady = false
  #gettingReady: Promise<void> | undefined
  #isClosed = false

  constructor(executor: SqlExecutor, table: string) {
    this.name = executor.dialect
    this.#executor = executor
    this.#table = table
    this.#schema = schemaOf[executor.dialect](table)
    this.#sql = statementsFor(table)
  }

  async load(key: string): Promise<StoredRecord | Tombstone | undefined> {
    const { rows } = await this.#run('load', this.#sql.load, [key])
    return rows[0] && fromRow(rows[0])
  }

  async create(key: string, record: StoredRecord, options?: WriteOptions): Promise<boolean> {
    const { rev, text, user = null, externalId = null, lastSeen, expires } = record
    const values = [key, rev, text, user, externalId, lastSeen, expires, hourOf(expires)]
    return (await this.#write('create', this.#sql.create, values, options)) > 0
  }

  async update(
    key: string,
    record: StoredRecord,
    expectedRev: string,
    options?: WriteOptions,
  ): Promise<UpdateResult> {
    const { rev, text, user = null, externalId = null, lastSeen, expires } = record
    const hour = hourOf(expires)
    const unindexed = [rev, text, lastSeen, expires, key, expectedRev, user, externalId, hour]
    if (await this.#write('update', this.#sql.updateUnindexed, unindexed, options)) return 'ok'
    const all = [rev, text, lastSeen, expires, user, externalId, hour, key, expectedRev]
    if (await this.#write('update', this.#sql.update, all, options)) return 'ok'
    const { rows } = await this.#run('update', this.#sql.exists, [key])
    return rows.length > 0 ? 'conflict' : 'gone'
  }

  async touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    const hour = hourOf(expires)
    const times = [lastSeen, lastSeen, expires, expires]
    if (await this.#write('touch', this.#sql.touchUnindexed, [...times, key, hour])) return true
    return (await this.#write('touch', this.#sql.touch, [expires, hour, ...times, key])) > 0
  }

  async destroy(key: string, until: number, options?: WriteOptions): Promise<boolean> {
    return (await this.#write('destroy', this.#sql.destroy, [until, hourOf(until), key], options)) > 0
  }

  async scan(cursor: string | undefined, limit: number): Promise<Page> {
    return this.#page('scan', this.#sql.scan, [cursor ?? ''], limit)
  }

  async sweep(now: number, limit: number): Promise<number> {
    return this.#write('sweep', this.#sql.sweep, [hourOf(now), now, limit])
  }

  /**
   * Makes the table and its indexes where they are missing. The first operation does so by itself; call it when you
   * would rather learn of a problem at the start.
   *
   * @throws StoreError if another table has that name.
   */
  async createTables(): Promise<void> {
    const { createTable, createIndexes, listColumns } = this.#schema
    await this.#execute('createTables', createTable, [])
    this.#checkColumns((await this.#execute('createTables', listColumns, [])).rows)
    for (const createIndex of createIndexes) await this.#execute('createTables', createIndex, [])
  }

  /** The SQL that `createTables` runs, for those who keep their schema in migrations. */
  schema(): string {
    return [this.#schema.createTable, ...this.#schema.createIndexes].map((sql) => `${sql};\n`).join('')
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#executor.close?.()
  }

  #sessionIndex(name: string, column: 'user_id' | 'external_id'): SessionIndex {
    return {
      list: async (value, { cursor = '', limit = PAGE_SIZE } = {}) =>
        this.#page(`${name}.list`, this.#sql.listBy[column], [value, cursor], limit),
      // No key is empty, so without an exception this excepts none.
      destroy: async (value, until, { except = '', ...options } = {}) => {
        const params = [until, hourOf(until), value, except]
        return this.#write(`${name}.destroy`, this.#sql.destroyBy[column], params, options)
      },
    }
  }

  /** One row too many is asked for, to know whether there is a next page. */
  async #page(operation: string, sql: string, params: readonly SqlValue[], limit: number): Promise<Page> {
    const { rows } = await this.#run(operation, sql, [...params, limit + 1])
    const items = rows.slice(0, limit).map((row) => [String(row.session_key), recordOf(row)] as const)
    return rows.length > limit ? { items, cursor: items.at(-1)?.[0] } : { items }
  }

  async #write(
    operation: string,
    sql: string,
    params: readonly SqlValue[],
    options?: WriteOptions,
  ): Promise<number> {
    return (await this.#run(operation, sql, params, options?.durable)).affected
  }

  async #run(
    operation: string,
    sql: string,
    params: readonly SqlValue[],
    durable?: boolean,
  ): Promise<SqlResult> {
    if (!this.#isReady && !this.#isClosed) await this.#getReady()
    return this.#execute(operation, sql, params, durable)
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
    if (this.#isClosed) {
      throw new StoreError(
        this.name,
        operation,
        'the store has been closed. Close it after the last request.',
      )
    }
    try {
      return await this.#executor.run(sql, params, durable)
    } catch (cause) {
      const problem = cause instanceof Error ? cause.message : String(cause)
      const cure = this.#executor.cure?.(cause)
      throw new StoreError(this.name, operation, cure ? `${problem}. ${cure}` : problem, { cause })
    }
  }

  #checkColumns(found: SqlResult['rows']): void {
    const names = found.map((column) => column.name)
    const missing = COLUMNS.filter((name) => !names.includes(name))
    const foreign = found.filter(
      ({ name, must_be_given }) => must_be_given && !COLUMNS.includes(String(name)),
    )
    const isKeyed = found.some(({ name, is_key }) => is_key && name === 'session_key')
    const faults = [
      ...missing.map((name) => `it has no column ${name}`),
      ...foreign.map(({ name }) => `its column ${name} is foreign and must be given`),
      ...(isKeyed ? [] : ['session_key is not its primary key']),
    ]
    if (faults.length === 0) return
    throw new StoreError(
      this.name,
      'createTables',
      `there is a table ${this.#table} that was made for something else (${faults.join('; ')}). ` +
        'Give the store another { table }, or rename or drop this one.',
    )
  }
}

type Statements = ReturnType<typeof statementsFor>

/**
 * One statement for each operation, so that none needs a transaction. `update` and `touch` have two: the first leaves
 * every indexed column alone, which halves its cost, and so matches only if none of them changes. It nearly always
 * does: the second is for a login, and for an expiry that moves into another hour.
 */
function statementsFor(tableName: string) {
  const table = `"${tableName}"`
  const record = 'rev, text, user_id, external_id, last_seen, expires'
  const later = (column: string) => `${column} = CASE WHEN ${column} < ? THEN ? ELSE ${column} END`
  const toTombstone = `rev = '', text = '', user_id = NULL, external_id = NULL, expires = ?, expiry_hour = ?`
  const listBy = (column: string) =>
    `SELECT session_key, ${record} FROM ${table} WHERE ${column} = ? AND session_key > ? ORDER BY session_key LIMIT ?`
  const destroyBy = (column: string) =>
    `UPDATE ${table} SET ${toTombstone} WHERE ${column} = ? AND session_key <> ?`
  return {
    load: `SELECT ${record} FROM ${table} WHERE session_key = ?`,
    exists: `SELECT 1 FROM ${table} WHERE session_key = ? AND rev <> ''`,
    create:
      `INSERT INTO ${table} (session_key, ${record}, expiry_hour) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ` +
      'ON CONFLICT (session_key) DO NOTHING',
    updateUnindexed:
      `UPDATE ${table} SET rev = ?, text = ?, last_seen = ?, expires = ? ` +
      `WHERE session_key = ? AND rev = ? AND rev <> '' ` +
      'AND user_id IS NOT DISTINCT FROM ? AND external_id IS NOT DISTINCT FROM ? AND expiry_hour = ?',
    update:
      `UPDATE ${table} SET rev = ?, text = ?, last_seen = ?, expires = ?, user_id = ?, external_id = ?, expiry_hour = ? ` +
      `WHERE session_key = ? AND rev = ? AND rev <> ''`,
    touchUnindexed:
      `UPDATE ${table} SET ${later('last_seen')}, ${later('expires')} ` +
      `WHERE session_key = ? AND rev <> '' AND expiry_hour >= ?`,
    touch:
      // The hour first: MySQL assigns from left to right, and it must still see the old `expires`.
      `UPDATE ${table} SET expiry_hour = CASE WHEN expires < ? THEN ? ELSE expiry_hour END, ` +
      `${later('last_seen')}, ${later('expires')} WHERE session_key = ? AND rev <> ''`,
    destroy: `UPDATE ${table} SET ${toTombstone} WHERE session_key = ? AND rev <> ''`,
    listBy: { user_id: listBy('user_id'), external_id: listBy('external_id') },
    destroyBy: { user_id: destroyBy('user_id'), external_id: destroyBy('external_id') },
    scan: `SELECT session_key, ${record} FROM ${table} WHERE session_key > ? AND rev <> '' ORDER BY session_key LIMIT ?`,
    sweep:
      `DELETE FROM ${table} WHERE session_key IN ` +
      `(SELECT session_key FROM ${table} WHERE expiry_hour <= ? AND expires <= ? LIMIT ?)`,
  }
}

function hourOf(time: number): number {
  return Math.floor(time / HOUR_MS)
}

function fromRow(row: Record<string, unknown>): StoredRecord | Tombstone {
  return row.rev === '' ? { destroyedUntil: Number(row.expires) } : recordOf(row)
}

/** Times may come as a number, as a bigint or as text: that is the driver's choice. */
function recordOf(row: Record<string, unknown>): StoredRecord {
  return {
    rev: String(row.rev),
    text: String(row.text),
    ...(row.user_id !== null && { user: String(row.user_id) }),
    ...(row.external_id !== null && { externalId: String(row.external_id) }),
    lastSeen: Number(row.last_seen),
    expires: Number(row.expires),
  }
}
