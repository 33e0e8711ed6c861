/**
 * Thrown by a store that cannot do what it was asked: closed, full, locked, broken. The message says what can be done;
 * the error of the driver is the `cause`.
 */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  /** The name of the store: `sqlite`, … */
  readonly store: string
  /** What was being done: `load`, `update`, `users.list`, … */
  readonly operation: string

  constructor(store: string, operation: string, problem: string, options?: ErrorOptions) {
    super(`${store} store: ${operation} failed: ${problem}`, options)
    this.store = store
    this.operation = operation
  }
}
