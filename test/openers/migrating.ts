import { fileStore } from '../../src/stores/file.ts'
import { migratingStore } from '../../src/stores/migrating.ts'
import { sqliteStore } from '../../src/stores/sql/index.ts'

export interface MigratingConfig {
  readonly from: string
  readonly to: string
  readonly moves?: boolean
}

/** Opens, in another process, a store of `test/migrating-store.test.ts`, both sides of which are shared. */
export default (config: unknown) => {
  const { from, to, moves } = config as MigratingConfig
  return migratingStore({ from: fileStore(from), to: sqliteStore(to), moves })
}
