import { NoAnswerError } from './breaker.ts'
import { Deadline } from './deadline.ts'
import { StoreUnavailableError } from './errors.ts'
import type { Kept } from './vault.ts'

/**
 * In one process, commits of one session take turns, and each leaves behind what it committed, so that the next goes on from there
 * instead of finding out by a conflict. A lane lasts as long as somebody is in it.
 */
export interface Lanes {
  /** @throws StoreUnavailableError if its turn does not come in time */
  run<T>(handle: string, work: (lane: Lane) => Promise<T>): Promise<T>
}

export interface Lane {
  /** What the store is known to hold. Undefined: nobody has committed here yet, or the outcome is unknown. */
  latest: Kept | 'gone' | undefined
}

interface Queue extends Lane {
  waiting: number
  tail: Promise<unknown>
}

/** `patience`: how long anybody waits for a turn, in milliseconds. */
export function createLanes(patience: number): Lanes {
  const queues = new Map<string, Queue>()
  return {
    run(handle, work) {
      let queue = queues.get(handle)
      if (!queue) queues.set(handle, (queue = { latest: undefined, waiting: 0, tail: Promise.resolve() }))
      const mine = queue
      const start = () => work(mine)
      const leave = () => {
        if (--mine.waiting === 0) queues.delete(handle)
      }
      if (mine.waiting++ === 0) {
        const turn = start()
        mine.tail = turn
        return turn.finally(leave)
      }
      return new Promise((resolve, reject) => {
        const wait = new Wait(patience, reject)
        // A failure is for its own caller. But if the store does not answer, those who wait must not wait for that one after another.
        const turn = mine.tail
          .catch((error) => {
            if (isUnanswered(error)) throw notTried(error)
          })
          .then(() => (wait.ends() ? start() : undefined))
        mine.tail = turn
        turn
          .finally(() => {
            wait.ends()
            leave()
          })
          .then(resolve as (value: unknown) => void, reject)
      })
    },
  }
}

/** For a turn. Who has given up lets the others pass. */
class Wait extends Deadline {
  private isOver = false
  private readonly patience: number
  private readonly reject: (error: Error) => void

  constructor(patience: number, reject: (error: Error) => void) {
    super(patience)
    this.patience = patience
    this.reject = reject
  }

  /** False if it has been given up. */
  ends(): boolean {
    if (this.isOver) return false
    this.met()
    return true
  }

  protected override expired(): void {
    this.isOver = true
    const message = `commit not tried: those before it, on the same session, took ${this.patience} ms (deadlines.request)`
    this.reject(new StoreUnavailableError(message, { maybeApplied: false, retryable: true }))
  }
}

function isUnanswered(error: unknown): error is StoreUnavailableError {
  return error instanceof StoreUnavailableError && error.cause instanceof NoAnswerError
}

function notTried({ cause }: StoreUnavailableError): StoreUnavailableError {
  return new StoreUnavailableError(
    'commit not tried: the one before it, on the same session, got no answer',
    {
      cause,
      maybeApplied: false,
      retryable: true,
    },
  )
}
