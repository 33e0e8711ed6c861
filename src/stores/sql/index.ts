export { type Remedy, StoreError } from '../store-error.ts'
export type { SqlExecutor, SqlResult, SqlValue } from './executor.ts'
export {
  type MariadbHandle,
  type Mysql2CallbackHandle,
  type Mysql2Handle,
  type MysqlHandle,
  type MysqlOptions,
  mysqlStore,
} from './mysql.ts'
export {
  type PgHandle,
  type PgliteHandle,
  type PostgresHandle,
  type PostgresJsHandle,
  type PostgresOptions,
  postgresStore,
} from './postgres.ts'
export { type SqliteHandle, type SqliteOptions, type SqliteStatement, sqliteStore } from './sqlite.ts'
export { type SqlStore, sqlStore } from './store.ts'
