import { mysqlStore } from 'holdfast/stores/sql'

/** Opens the store of a test again, in another process. */
export default (config: unknown) => {
  const { url, table } = config as { url: string; table: string }
  return mysqlStore(url, { table })
}
