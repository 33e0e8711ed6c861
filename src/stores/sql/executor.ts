import type { Remedy } from '../store-error.ts'

/** Runs statements: all that the store needs of a database and its driver. */
export interface SqlExecutor {
  readonly dialect: 'sqlite' | 'postgres' | 'mysql'
  /** As of a store: it waits for nobody. */
  readonly inProcess?: boolean
  /**
   * Runs one statement as a transaction of its own. Parameters are `$1`, `$2`, … for `postgres`, of which one may occur
   * more than once, and a `?` each for the others. `durable`: it must be on disk when the promise resolves; for
   * `postgres` the statement itself sees to that.
   */
  run(sql: string, params: readonly SqlValue[], durable?: boolean): Promise<SqlResult>
  /** What can be done about an error that `run` threw, if it is a known one. The usual ones of PostgreSQL and MySQL are known already. */
  remedy?(error: unknown): Remedy | undefined
  /** Present if the connection is the executor's own. */
  close?(): Promise<void>
}

/** What is bound to a statement, and what comes back. */
export type SqlValue = string | number | null

/** What a statement gave: its rows, or how many it changed. */
export interface SqlResult {
  /** The values of each row in the order of the SELECT, as an array or under any names. */
  readonly rows: readonly object[]
  /** How many rows an INSERT, UPDATE or DELETE matched. */
  readonly affected: number
}
