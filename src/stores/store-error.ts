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
  /**
   * False if it fails until somebody acts: a wrong password, a missing right, a full server, a value that is too large, a closed store.
   * By default what the cause says of itself, else true.
   */
  readonly retryable: boolean

  constructor(
    store: string,
    operation: string,
    problem: string,
    options: ErrorOptions & { readonly retryable?: boolean | undefined } = {},
  ) {
    super(`${store} store: ${operation} failed: ${problem}`, options)
    this.store = store
    this.operation = operation
    this.retryable =
      options.retryable ?? (options.cause as Partial<StoreError> | undefined)?.retryable ?? true
  }
}

/** What can be done about an error, and whether it may be gone in a moment without that. */
export interface Remedy {
  readonly cure: string
  readonly retryable: boolean
}

export function passing(cure: string): Remedy {
  return { cure, retryable: true }
}

/** Somebody has to act: to try again is no use. */
export function lasting(cure: string): Remedy {
  return { cure, retryable: false }
}

/** None of the packages is there that could reach the server. */
export class MissingDriverError extends Error {
  override readonly name = 'MissingDriverError'
  readonly retryable = false
}
