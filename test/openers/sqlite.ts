import { sqliteStore } from '../../src/stores/sql/index.ts'

/** Opens, in another process, the store of `test/sqlite-store.test.ts`. */
export default (config: unknown) => {
  const { path, table } = config as { path: string; table?: string }
  return sqliteStore(path, { table })
}
