<<<<<<< HEAD
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
=======
/** A store could not do what it was asked. The message says what to do about it; `cause` is what the store met. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  /** The name of the store: `file`, `sqlite`, … */
  readonly store: string
  /** What it was doing: `load`, `create`, `update`, … */
  readonly operation: string

  constructor(store: string, operation: string, message: string, options?: ErrorOptions) {
    super(message, options)
>>>>>>> 285f0be9551fc30fbb09dbee95a55924e216ecd0
    this.store = store
    this.operation = operation
  }
}
