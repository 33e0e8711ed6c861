/** Virtual time: nobody waits for it, and everybody who does is woken in order. */
export class Timeline {
  now = 1_800_000_000_000
  readonly #settle: () => Promise<void>
  readonly #sleepers: { at: number; wake: () => void }[] = []
  #failure: { error: unknown } | undefined

  /** @param settle resolves when all that could go on without time passing has done so */
  constructor(settle: () => Promise<void>) {
    this.#settle = settle
  }

  wait(milliseconds: number): Promise<void> {
    return new Promise((wake) => {
      const at = this.now + milliseconds
      let place = this.#sleepers.length
      while (place > 0 && this.#sleepers[place - 1]!.at > at) place--
      this.#sleepers.splice(place, 0, { at, wake })
    })
  }

  /** Lets `task` go on beside the others; if it fails, `run` does. */
  start(task: Promise<void>): void {
    task.catch((error) => {
      this.#failure ??= { error }
    })
  }

  /** Lets time pass until `task` is done. */
  async run(task: Promise<void>): Promise<void> {
    let isDone = false
    this.start(task.finally(() => (isDone = true)))
    for (;;) {
      await this.#settle()
      if (this.#failure) throw this.#failure.error
      if (isDone) return
      const next = this.#sleepers.shift()
      if (!next) throw new Error('everybody waits for something that never comes')
      this.now = next.at
      next.wake()
    }
  }

  /** Lets a minute pass in which nobody cares what fails, so that whoever waits for a deadline is done. */
  async runOut(): Promise<void> {
    const end = this.now + 60_000
    for (;;) {
      await this.#settle()
      const next = this.#sleepers.shift()
      if (!next || next.at > end) return
      this.now = next.at
      next.wake()
    }
  }
}
