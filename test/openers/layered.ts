import { fileStore } from '../../src/stores/file.ts'
import { layeredStore } from '../../src/stores/layered.ts'
import { sqliteStore } from '../../src/stores/sql/index.ts'

/** Opens, in another process, the store of `test/layered-store.test.ts` whose cache and database are shared. */
export default (config: unknown) => {
  const { cache, database } = config as { cache: string; database: string }
  return layeredStore({
    cache: fileStore(cache),
    database: sqliteStore(database),
    // Processes that fight over two cores are slow, not out.
    cacheTimeout: 10_000,
  })
}
