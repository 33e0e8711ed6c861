export { StoreError } from '../store-error.ts'
export { type SqliteHandle, type SqliteOptions, type SqliteStatement, sqliteStore } from './sqlite.ts'
export { type SqlExecutor, type SqlResult, type SqlStore, type SqlValue, sqlStore } from './store.ts'
