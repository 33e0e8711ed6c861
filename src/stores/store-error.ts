/** A store could not do what it was asked. The message says what to do about it; `cause` is what the store met. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  /** The name of the store: `file`, `sqlite`, … */
  readonly store: string
  /** What it was doing: `load`, `create`, `update`, … */
  readonly operation: string

  constructor(store: string, operation: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.store = store
    this.operation = operation
  }
}
