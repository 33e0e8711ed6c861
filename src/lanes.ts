import { NoAnswerError } from './breaker.ts'
import { StoreUnavailableError } from './errors.ts'
import type { Kept } from './vault.ts'

/**
 * In one process, commits of one session take turns, and each leaves behind what it committed, so that the next goes on from there
 * instead of finding out by a conflict. A lane lasts as long as somebody is in it.
 */
export interface Lanes {
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

export function createLanes(): Lanes {
  const queues = new Map<string, Queue>()
  return {
    async run(handle, work) {
      let queue = queues.get(handle)
      if (!queue) queues.set(handle, (queue = { latest: undefined, waiting: 0, tail: Promise.resolve() }))
      const mine = queue
      const start = () => work(mine)
      // A failure is for its own caller. But if the store does not answer, those who wait must not wait for that one after another.
      const next = (error: unknown) => (isUnanswered(error) ? Promise.reject(notTried(error)) : start())
      const turn = mine.waiting++ === 0 ? start() : mine.tail.then(start, next)
      mine.tail = turn
      try {
        return await turn
      } finally {
        if (--mine.waiting === 0) queues.delete(handle)
      }
    },
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
