import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import type { Answer, Order, Task } from './worker.ts'

export interface Worker {
  /** What the worker answers to the task; rejects if it fails or dies. */
  run(task: Task): Promise<readonly string[]>
  kill(): Promise<void>
}

interface Process extends Worker {
  /** Whether it lives and has answered all that it was asked. */
  isFree(): boolean
  /** Whether it keeps this process alive. */
  hold(isHeld: boolean): void
}

/** Other processes on the store of a test. They are used again by the next one: to start one takes longer than a race. */
export class Workers {
  readonly #opener: string
  #idle: Process[] = []

  constructor(opener: string) {
    this.#opener = opener
  }

  /** The body has so many of them, each with the store open. Those that it leaves alive and at rest are used again. */
  async race(
    count: number,
    config: unknown,
    body: (workers: readonly Worker[]) => Promise<void>,
  ): Promise<void> {
    const workers = Array.from({ length: count }, () => this.#take())
    let hasPassed = false
    try {
      // All are open before any begins, so that they do race.
      await Promise.all(workers.map((worker) => worker.run({ do: 'open', opener: this.#opener, config })))
      await body(workers)
      hasPassed = true
    } finally {
      await Promise.all(workers.map((worker) => (hasPassed ? this.#giveBack(worker) : worker.kill())))
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((worker) => worker.kill()))
  }

  #take(): Process {
    this.#idle = this.#idle.filter((worker) => worker.isFree())
    const worker = this.#idle.pop() ?? startWorker()
    worker.hold(true)
    return worker
  }

  async #giveBack(worker: Process): Promise<void> {
    if (!worker.isFree()) return worker.kill()
    try {
      await worker.run({ do: 'close' })
    } catch (error) {
      await worker.kill()
      throw error
    }
    worker.hold(false)
    this.#idle.push(worker)
  }
}

function startWorker(): Process {
  const fromSources = import.meta.url.endsWith('.ts')
  const file = new URL(fromSources ? './worker.ts' : './worker.js', import.meta.url)
  const child: ChildProcess = fork(file, { execArgv: fromSources ? ['--import', 'tsx'] : process.execArgv })
  const waiting = new Map<
    number,
    { resolve: (result: readonly string[]) => void; reject: (e: Error) => void }
  >()
  const fail = (error: Error) => {
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }
  child.on('message', (answer: Answer) => {
    const { resolve, reject } = waiting.get(answer.id) ?? {}
    waiting.delete(answer.id)
    if (answer.error === undefined) resolve?.(answer.result ?? [])
    else reject?.(new Error(`in another process: ${answer.error}`))
  })
  child.on('error', fail)
  const exited = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      fail(new Error(`the other process ended early (${signal ?? `exit code ${code}`})`))
      resolve()
    })
  })
  const isAlive = () => child.exitCode === null && child.signalCode === null
  let lastId = 0
  return {
    isFree: () => isAlive() && waiting.size === 0,
    hold(isHeld) {
      const how = isHeld ? 'ref' : 'unref'
      child[how]()
      // Bun has no such functions of a channel.
      child.channel?.[how]?.()
    },
    run(task) {
      return new Promise((resolve, reject) => {
        const order: Order = { id: ++lastId, task }
        waiting.set(order.id, { resolve, reject })
        child.send(order)
      })
    },
    async kill() {
      if (child.pid !== undefined && isAlive()) child.kill('SIGKILL')
      await exited
    },
  }
}
