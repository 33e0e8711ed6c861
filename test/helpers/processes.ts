import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { SessionOptions } from 'holdfast'

const worker = new URL('./server-process.ts', import.meta.url)

/** Three servers that share the sessions of one store. */
export interface Processes {
  readonly urls: readonly string[]
  /** One after the other, as a load balancer would choose. */
  anyUrl(): string
  /** Bytes in use after a collection; needs `--expose-gc`. */
  heaps(): Promise<number[]>
  stop(): Promise<void>
}

export async function startProcesses(
  storeUrl: string,
  flags: readonly string[] = [],
  program = worker,
  options: SessionOptions<object> = {},
): Promise<Processes> {
  const execArgv = ['--import', 'tsx', ...flags]
  const children = Array.from({ length: 3 }, () =>
    fork(fileURLToPath(program), [storeUrl, JSON.stringify(options)], { execArgv }),
  )
  const urls = await Promise.all(children.map(async (child) => (await nextMessage(child)) as string))
  let turn = 0
  return {
    urls,
    anyUrl: () => urls[turn++ % urls.length]!,
    heaps: () =>
      Promise.all(
        children.map((child) => {
          child.send('heap')
          return nextMessage(child) as Promise<number>
        }),
      ),
    async stop() {
      await Promise.all(
        children.map(async (child) => {
          if (child.exitCode !== null || child.signalCode !== null) return
          child.kill('SIGKILL')
          await once(child, 'exit')
        }),
      )
    },
  }
}

/** @throws when the process ends instead */
async function nextMessage(child: ChildProcess): Promise<unknown> {
  const ended = once(child, 'exit').then(() => {
    throw new Error('the server process ended')
  })
  const [message] = await Promise.race([once(child, 'message'), ended])
  ended.catch(() => {})
  return message
}
