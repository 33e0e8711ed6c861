import type { SqlExecutor } from './executor.ts'

/** How one table of sessions is made and looked at, in the words of one database. */
export interface TableSchema {
  /** As statements name it. */
  readonly name: string
  readonly createTable: string
  /** By the name of the index. Empty where `createTable` makes them too. */
  readonly createIndexes: Readonly<Record<string, string>>
  /**
   * Lists the columns that are there: the name; whether it alone is the primary key; whether an INSERT has to name it;
   * and what is wrong with its type, if anything. Nothing, if there is no table.
   */
  readonly listColumns: string
  /** Lists the names of the indexes that are there. */
  readonly listIndexes: string
}

const COLUMNS: readonly string[] = [
  'session_key',
  'rev',
  'text',
  'user_id',
  'external_id',
  'last_seen',
  'expires',
  'expiry_hour',
]

/** What is wrong about a table, by what `listColumns` found. */
export function faultsIn(columns: readonly object[]): string[] {
  const found = columns.map((row) => {
    const [name, isKey, mustBeGiven, fault] = Object.values(row)
    return { name: String(name), isKey: Number(isKey) === 1, mustBeGiven: Number(mustBeGiven) === 1, fault }
  })
  const missing = COLUMNS.filter((column) => !found.some(({ name }) => name === column))
  const foreign = found.filter(({ name, mustBeGiven }) => mustBeGiven && !COLUMNS.includes(name))
  const isKeyed = found.some(({ name, isKey }) => isKey && name === 'session_key')
  return [
    ...missing.map((name) => `it has no column ${name}`),
    ...foreign.map(({ name }) => `its column ${name} is foreign and must be given`),
    ...found.filter(({ fault }) => fault != null).map(({ name, fault }) => `its column ${name} ${fault}`),
    ...(isKeyed ? [] : ['session_key is not its primary key']),
  ]
}

/** What must compare exactly, as a list of SQL. */
const EXACT = `('session_key', 'rev', 'user_id', 'external_id')`

/** What MySQL can keep in a column, in bytes; beyond, it would cut in silence where its `sql_mode` is not strict. */
export const MYSQL_LIMITS = { key: 255, rev: 255, user: 1020, externalId: 1020, text: 16_777_215 } as const

/** The indexes of its table in MySQL, by their names. */
export const MYSQL_KEYS: Readonly<Record<string, string>> = {
  by_user: '(user_id, session_key)',
  by_external_id: '(external_id, session_key)',
  by_expiry_hour: '(expiry_hour)',
}

export const schemaOf: Record<
  SqlExecutor['dialect'],
  (table: string, schema: string | undefined) => TableSchema
> = { sqlite, postgres, mysql }

/** The table as statements name it. The names are plain identifiers, so that nothing in them needs escaping. */
export function quoted(dialect: SqlExecutor['dialect'], table: string, schema: string | undefined): string {
  const quote = dialect === 'mysql' ? '`' : '"'
  return [schema, table]
    .filter((name) => name !== undefined)
    .map((name) => quote + name + quote)
    .join('.')
}

/**
 * A tombstone is a row without `rev`, `text`, user and external id, whose `expires` is when it may go.
 *
 * `expiry_hour` is `expires` in whole hours, and stands in for it in the index: an index on `expires` would be
 * rewritten with every touch, which doubles the cost of one.
 */
function sqlite(table: string): TableSchema {
  return {
    name: `"${table}"`,
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
    createIndexes: indexes(table, `"${table}"`),
    listColumns: `SELECT name, pk = 1 AS is_key, "notnull" AND dflt_value IS NULL AS must_be_given, NULL AS fault FROM pragma_table_info('${table}')`,
    listIndexes: `SELECT name FROM pragma_index_list('${table}')`,
  }
}

/**
 * A touch changes no indexed column and finds room on its page, so that PostgreSQL need not touch an index either (a
 * HOT update): the pages are filled to 70 %. Columns that are compared use the collation "C", which is exact, fast,
 * and does not change with an update of the operating system, as others do, index and all.
 */
function postgres(table: string, schema: string | undefined): TableSchema {
  const name = quoted('postgres', table, schema)
  return {
    name,
    createTable: `CREATE TABLE IF NOT EXISTS ${name} (
  session_key text COLLATE "C" NOT NULL PRIMARY KEY,
  rev text COLLATE "C" NOT NULL,
  text text NOT NULL,
  user_id text COLLATE "C",
  external_id text COLLATE "C",
  last_seen bigint NOT NULL,
  expires bigint NOT NULL,
  expiry_hour bigint NOT NULL
) WITH (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05,
  toast.autovacuum_vacuum_scale_factor = 0.05
)`,
    createIndexes: indexes(table, name),
    listColumns:
      `SELECT a.attname::text AS name, ` +
      `(EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND i.indkey::text = a.attnum::text))::int AS is_key, ` +
      `(a.attnotnull AND NOT a.atthasdef AND a.attidentity = '')::int AS must_be_given, ` +
      `CASE WHEN a.attname IN ${EXACT} AND a.atttypid <> 'text'::regtype THEN 'is no text' ` +
      `WHEN a.attname IN ('last_seen', 'expires', 'expiry_hour') AND a.atttypid <> 'bigint'::regtype THEN 'is no bigint' END AS fault ` +
      `FROM pg_attribute a WHERE a.attrelid = to_regclass('${name}') AND a.attnum > 0 AND NOT a.attisdropped`,
    listIndexes: `SELECT relname::text FROM pg_class JOIN pg_index ON oid = indexrelid WHERE indrelid = to_regclass('${name}')`,
  }
}

function indexes(table: string, name: string): Record<string, string> {
  const create = (suffix: string, columns: string) => ({
    [table + suffix]: `CREATE INDEX IF NOT EXISTS "${table}${suffix}" ON ${name} ${columns}`,
  })
  return {
    ...create('_by_user', '(user_id, session_key) WHERE user_id IS NOT NULL'),
    ...create('_by_external_id', '(external_id, session_key) WHERE external_id IS NOT NULL'),
    ...create('_by_expiry_hour', '(expiry_hour)'),
  }
}

/**
 * What is compared is VARBINARY: among the collations that MySQL and MariaDB share there is none that neither folds
 * letters nor ignores trailing blanks.
 */
function mysql(table: string): TableSchema {
  const ofTable = `table_schema = DATABASE() AND table_name = '${table}'`
  return {
    name: `\`${table}\``,
    createTable: `CREATE TABLE IF NOT EXISTS \`${table}\` (
  session_key VARBINARY(${MYSQL_LIMITS.key}) NOT NULL PRIMARY KEY,
  rev VARBINARY(${MYSQL_LIMITS.rev}) NOT NULL,
  text MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  user_id VARBINARY(${MYSQL_LIMITS.user}),
  external_id VARBINARY(${MYSQL_LIMITS.externalId}),
  last_seen BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  expiry_hour BIGINT NOT NULL,
${Object.entries(MYSQL_KEYS)
  .map(([key, columns]) => `  KEY ${key} ${columns}`)
  .join(',\n')}
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    createIndexes: {},
    listColumns:
      `SELECT column_name AS name, column_key = 'PRI' AND 1 = (SELECT COUNT(*) FROM information_schema.statistics WHERE ${ofTable} AND index_name = 'PRIMARY') AS is_key, ` +
      `is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%auto_increment%' AND extra NOT LIKE '%GENERATED%' AS must_be_given, ` +
      `CASE WHEN column_name IN ${EXACT} AND data_type <> 'varbinary' THEN 'is no varbinary, and so does not compare exactly' ` +
      `WHEN column_name IN ('last_seen', 'expires', 'expiry_hour') AND data_type <> 'bigint' THEN 'is no bigint' END AS fault ` +
      `FROM information_schema.columns WHERE ${ofTable}`,
    listIndexes: `SELECT DISTINCT index_name FROM information_schema.statistics WHERE ${ofTable}`,
  }
}
