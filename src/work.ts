import type { Events } from './events.ts'
import { managerClosed } from './refusals.ts'
import { timersEndWithRequest } from './runtime.ts'

/** All that a manager has under way: `close()` waits for it, and refuses what begins later. */
export interface Work {
  readonly isClosing: boolean
  /** @throws StoreUnavailableError after `close()` */
  run<T>(work: () => Promise<T>): Promise<T>
  /** Has `close()` wait for what has begun; the failure is for whoever began it. */
  count<T>(begun: Promise<T>): Promise<T>
  /** What no answer waits for, not even for its start. Its failures are events. After `close()` it is left undone: the next use will do. */
  inBackground(operation: string, work: () => Promise<unknown>): void
  /** From now on nothing may begin. Resolves when nothing is under way any more. */
  close(): Promise<void>
}

export function createWork(name: string, events: Events): Work {
  let underWay = 0
  let isClosing = false
  let isOver = false
  let becomeIdle = () => {}

  const end = () => {
    if (--underWay === 0) becomeIdle()
  }
  function count<T>(begun: Promise<T>): Promise<T> {
    underWay++
    begun.then(end, end)
    return begun
  }

  return {
    get isClosing() {
      return isClosing
    },
    count,
    async run(work) {
      if (isClosing) throw managerClosed(name)
      return count(work())
    },
    inBackground(operation, work) {
      // What is under way may still leave such work behind, until it is done.
      if (isOver) return
      // A turn that comes after the request, where a request takes its timers with it, would never come.
      const begun = timersEndWithRequest ? work() : new Promise(setImmediate).then(work)
      void count(begun.catch((error) => events.emit('error', { operation, error })))
    },
    async close() {
      isClosing = true
      while (underWay > 0) await new Promise<void>((resolve) => (becomeIdle = resolve))
      isOver = true
    },
  }
}
