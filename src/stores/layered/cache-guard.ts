import type { Store, StoreReport } from '../../store.ts'
import { inTime } from '../in-time.ts'
import { StoreError } from '../store-error.ts'

/** What a question to the cache comes to when the cache fails, or is being left alone. */
export const NO_ANSWER = Symbol('no answer')

/** After a failure the cache is left alone for so long; then one operation tries it, and the others go on without it until that one succeeds. */
const PAUSE_MS = 1000

/** Asks the cache, and bounds what its failures cost: nothing that it does or leaves undone makes a request fail. */
export class CacheGuard {
  readonly #store: Store
  readonly #timeout: number
  readonly #report: StoreReport
  #isOut = false
  #tryAgainAt = 0

  constructor(store: Store, timeout: number, report: StoreReport) {
    this.#store = store
    this.#timeout = timeout
    this.#report = report
  }

  async ask<T>(operation: string, work: (store: Store) => Promise<T>): Promise<T | typeof NO_ANSWER> {
    if (this.#isOut) {
      const now = performance.now()
      if (now < this.#tryAgainAt) return NO_ANSWER
      this.#tryAgainAt = now + PAUSE_MS
    }
    try {
      // What comes too late does no harm: see docs/decisions/016-layered.md.
      const answer = await inTime(
        this.#timeout,
        work(this.#store),
        () => new Silence(this.#store.name, operation, this.#timeout),
      )
      this.#isOut = false
      return answer
    } catch (error) {
      // A write can fail for itself: the value is too large, the cache is full. A load that fails, and silence, mean the cache.
      if (operation === 'load' || error instanceof Silence) {
        this.#isOut = true
        this.#tryAgainAt = performance.now() + PAUSE_MS
      }
      this.#report(operation, error as Error)
      return NO_ANSWER
    }
  }
}

class Silence extends StoreError {
  constructor(cache: string, operation: string, timeout: number) {
    super(
      'layered',
      operation,
      `the ${cache} cache did not answer within ${timeout} ms. The database is used without it meanwhile; ` +
        'see whether the cache is up, or give it longer with { cacheTimeout }',
    )
  }
}
