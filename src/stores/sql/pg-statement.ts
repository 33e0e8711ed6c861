import { has } from './driver.ts'
import type { SqlResult, SqlValue } from './executor.ts'

/** What a client of `pg` gives a statement to send itself with. */
interface PgConnection {
  readonly stream: { cork?(): void; uncork?(): void }
  /** By name, the text of each statement that the server has parsed on this connection. */
  readonly parsedStatements: Readonly<Record<string, string>>
  parse(message: { text: string; name: string | undefined }): void
  bind(message: { statement: string | undefined; values: readonly (string | null)[] }): void
  execute(message: object): void
  sync(): void
}

/** A `Pool` or `Client` of `pg` that takes such a statement. */
interface PgStatementHandle {
  query(statement: PgStatement, callback: Callback): unknown
}

type Callback = (error: Error | null | undefined) => void

/**
 * A statement that sends itself and takes its own answer, as `pg` lets any object do, pg-cursor for instance. The one
 * of `pg` asks for a description of the columns with each execution and converts by it, which is a third of a read;
 * here a value is text, and which is which is known.
 *
 * No field is private, as tracers put objects in between that inherit from this one.
 */
export class PgStatement implements SqlResult {
  readonly text: string
  readonly values: readonly (string | null)[]
  readonly name: string | undefined
  readonly rows: (string | null)[][] = []
  affected = 0
  /** Set by the client to what it or its pool was handed together with this. */
  callback: Callback | undefined = undefined

  constructor(text: string, params: readonly SqlValue[], name: string | undefined) {
    this.text = text
    this.values = params.map((param) => (param === null ? null : String(param)))
    this.name = name
  }

  runOn(handle: PgStatementHandle): Promise<SqlResult> {
    return new Promise((resolve, reject) =>
      handle.query(this, (error) => (error ? reject(error) : resolve(this))),
    )
  }

  submit(connection: PgConnection): void {
    const { text, values, name } = this
    const { stream } = connection
    // In one packet.
    stream.cork?.()
    if (name === undefined || connection.parsedStatements[name] === undefined)
      connection.parse({ text, name })
    connection.bind({ statement: name, values })
    connection.execute({})
    connection.sync()
    stream.uncork?.()
  }

  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    this.rows.push(fields)
  }

  /** The text is `INSERT 0 1`, `UPDATE 1`, `SELECT 1`, `CREATE TABLE`. */
  handleCommandComplete({ text }: { text: string }): void {
    this.affected = Number(text.slice(text.lastIndexOf(' ') + 1)) || 0
  }

  handleError(error: Error): void {
    this.callback?.(error)
  }

  handleReadyForQuery(): void {
    this.callback?.(null)
  }
}

/**
 * Whether clients of `pg` behind this `Pool` or `Client` take such a statement. Those of pg-native do not, nor do those
 * that are set to send statements before the ones ahead are answered.
 */
export function takesPgStatements(handle: object): handle is PgStatementHandle {
  const { Client = handle.constructor, options = handle } = handle as {
    readonly Client?: unknown
    readonly options?: object
  }
  const { Query } = Client as { readonly Query?: { readonly prototype?: object } }
  const isPipelining = (options as { readonly pipeline?: boolean }).pipeline === true
  return has(Query?.prototype, 'submit', 'handleDataRow') && !isPipelining
}
