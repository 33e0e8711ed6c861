import { setTimeout as sleep } from 'node:timers/promises'

const LONGEST_REST_MS = 50

/**
 * Waits for a lock that another process holds. One statement at a time tries again and again, the others wait behind it, and between two attempts
 * this process does what else it has to do.
 */
export class ForeignLock {
  readonly #patience: number
  readonly #isLocked: (error: unknown) => boolean
  #waiting = 0
  /** What became of the last attempt: an error, if it was in vain. */
  #turn: Promise<unknown> = Promise.resolve()

  /** Nobody waits longer than `patience`, in milliseconds. `isLocked`: whether an error means that the lock is held. */
  constructor(patience: number, isLocked: (error: unknown) => boolean) {
    this.#patience = patience
    this.#isLocked = isLocked
  }

  /** Runs `attempt` at once, unless others wait for the lock already and it is not `eager`; again and again while the lock is held. */
  async run<T>(attempt: () => T, eager: boolean): Promise<T> {
    if (eager || this.#waiting === 0) {
      try {
        return attempt()
      } catch (error) {
        if (!this.#isLocked(error)) throw error
      }
    }
    const deadline = performance.now() + this.#patience
    this.#waiting++
    const done = this.#turn.then((refusal) => this.#insist(attempt, deadline, refusal))
    this.#turn = done.then(
      () => undefined,
      (error: unknown) => error,
    )
    try {
      return await done
    } finally {
      this.#waiting--
    }
  }

  /** Whoever has waited long enough behind another does not try in vain once more: each attempt holds everybody up. */
  async #insist<T>(attempt: () => T, deadline: number, before: unknown): Promise<T> {
    let refusal = this.#isLocked(before) ? before : undefined
    for (let rest = 1; ; rest = Math.min(2 * rest, LONGEST_REST_MS)) {
      if (refusal !== undefined && performance.now() >= deadline) throw refusal
      try {
        return attempt()
      } catch (error) {
        if (!this.#isLocked(error)) throw error
        refusal = error
      }
      await sleep(rest)
    }
  }
}
