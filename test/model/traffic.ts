import { inRealTime } from './virtual-time.ts'

/** What real stores are at work on. Virtual time stands still meanwhile. */
export class Traffic {
  #underWay = 0
  #idle: (() => void) | undefined

  async run<T>(work: () => Promise<T>): Promise<T> {
    this.#underWay++
    try {
      return await inRealTime(work)
    } finally {
      if (--this.#underWay === 0) {
        this.#idle?.()
        this.#idle = undefined
      }
    }
  }

  /** Until no store is at work, and nobody has anything more to do at this moment: work in the background begins in the next turn of the event loop. */
  async settle(): Promise<void> {
    do {
      if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
      for (let i = 0; i < 2; i++) await new Promise(setImmediate)
    } while (this.#underWay > 0)
  }
}
