import type { SqlExecutor } from './store.ts'

/** How one table of sessions is made and looked at, in the words of one database. */
export interface TableSchema {
  readonly createTable: string
  readonly createIndexes: readonly string[]
  /** Lists the columns that are there: `name`, `is_key`, and `must_be_given` if an INSERT has to name it. */
  readonly listColumns: string
}

export const COLUMNS: readonly string[] = [
  'session_key',
  'rev',
  'text',
  'user_id',
  'external_id',
  'last_seen',
  'expires',
  'expiry_hour',
]

export const schemaOf: Record<SqlExecutor['dialect'], (table: string) => TableSchema> = { sqlite }

/**
 * A tombstone is a row without `rev`, `text`, user and external id, whose `expires` is when it may go.
 *
 * `expiry_hour` is `expires` in whole hours, and stands in for it in the index: an index on `expires` would be
 * rewritten with every touch, which doubles the cost of one.
 */
function sqlite(table: string): TableSchema {
  return {
    createTable: `CREATE TABLE IF NOT EXISTS "${table}" (
  session_key TEXT NOT NULL PRIMARY KEY,
  rev TEXT NOT NULL,
  text TEXT NOT NULL,
  user_id TEXT,
  external_id TEXT,
  last_seen INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  expiry_hour INTEGER NOT NULL
)`,
    createIndexes: [
      `CREATE INDEX IF NOT EXISTS "${table}_by_user" ON "${table}" (user_id, session_key) WHERE user_id IS NOT NULL`,
      `CREATE INDEX IF NOT EXISTS "${table}_by_external_id" ON "${table}" (external_id, session_key) WHERE external_id IS NOT NULL`,
      `CREATE INDEX IF NOT EXISTS "${table}_by_expiry_hour" ON "${table}" (expiry_hour)`,
    ],
    listColumns: `SELECT name, pk = 1 AS is_key, "notnull" AND dflt_value IS NULL AS must_be_given FROM pragma_table_info('${table}')`,
  }
}
