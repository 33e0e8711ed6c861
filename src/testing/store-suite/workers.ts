import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import type { Answer, Order, Task } from './worker.ts'

export interface Worker {
  /** What the worker answers to the task; rejects if it fails or dies. */
  run(task: Task): Promise<readonly string[]>
  kill(): Promise<void>
}

export async function withWorkers(
  count: number,
  opener: string,
  config: unknown,
  body: (workers: Worker[]) => Promise<void>,
): Promise<void> {
  const workers = Array.from({ length: count }, startWorker)
  try {
    // All are open before any begins, so that they do race.
    await Promise.all(workers.map((worker) => worker.run({ do: 'open', opener, config })))
    await body(workers)
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()))
  }
}

function startWorker(): Worker {
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
  let lastId = 0
  return {
    run(task) {
      return new Promise((resolve, reject) => {
        const order: Order = { id: ++lastId, task }
        waiting.set(order.id, { resolve, reject })
        child.send(order)
      })
    },
    async kill() {
      if (child.pid !== undefined && child.exitCode === null) child.kill('SIGKILL')
      await exited
    },
  }
}
