import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

/** A server that a test has started, in a folder and on a port of its own. */
export interface ServerProcess {
  readonly child: ChildProcess
  /** SIGTERM (or what else asks it to end), then SIGKILL if it takes longer than five seconds; resolves when it has ended. */
  stop(ending?: NodeJS.Signals): Promise<void>
  /** SIGKILL, to all of its processes. */
  kill(): Promise<void>
  /** SIGSTOP, to all of its processes: connections stay, and nobody answers. */
  freeze(): void
  /** SIGCONT. */
  thaw(): void
}

/** A server that starts again on its port, with what it has kept. */
export interface RestartableServer {
  stop(): Promise<void>
  /** Asks it to end, which it does in good order. What it keeps stays. */
  end(): Promise<void>
  kill(): Promise<void>
  freeze(): void
  thaw(): void
  /** Ends it, if it has not ended, and starts it again. */
  restart(): Promise<void>
}

export async function restartable(start: () => Promise<ServerProcess>): Promise<RestartableServer> {
  let server = await start()
  return {
    stop: () => server.stop(),
    end: () => server.stop(),
    kill: () => server.kill(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    async restart() {
      await server.stop()
      server = await start()
    },
  }
}

/** Starts a program and resolves once `isReady` does. @throws with what the program printed, if it ends or is not ready in 30 seconds */
export async function startServer(
  program: string,
  args: readonly string[],
  isReady: () => Promise<boolean>,
  options: SpawnOptions = {},
): Promise<ServerProcess> {
  const child = spawn(find(program), args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  const keep = (chunk: Buffer) => (printed = (printed + chunk).slice(-4000))
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  let hasEnded = false
  const ended = once(child, 'exit').then(() => {
    hasEnded = true
  })
  ended.catch((error: unknown) => (printed += String(error)))
  const deadline = performance.now() + 30_000
  while (!(await isReady().catch(() => false))) {
    if (hasEnded || performance.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`${program} ${hasEnded ? 'ended' : 'is not ready after 30 s'}: ${printed}`)
    }
    await sleep(20)
  }
  const signal = (name: NodeJS.Signals) => {
    if (hasEnded) return
    for (const pid of [child.pid!, ...childrenOf(child.pid!)]) send(pid, name)
  }
  return {
    child,
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    async stop(ending: NodeJS.Signals = 'SIGTERM') {
      signal('SIGCONT')
      child.kill(ending)
      const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await ended
      clearTimeout(timer)
    },
    async kill() {
      signal('SIGKILL')
      await ended
    },
  }
}

/** A process that has ended since it was listed needs no signal. */
function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (!isGone(error)) throw error
  }
}

/** Those of PostgreSQL are in groups of their own, so no signal to a group reaches them. */
function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return text.split(' ').filter(Boolean).map(Number)
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ESRCH' || code === 'ENOENT'
}

/** Where a program is. @throws saying what to install */
export function find(program: string): string {
  if (program.startsWith('/')) return program
  for (const folder of PATH.split(':')) {
    try {
      accessSync(`${folder}/${program}`, constants.X_OK)
      return `${folder}/${program}`
    } catch {}
  }
  throw new Error(
    `${program} is not installed: run \`node scripts/servers.mjs\` as root, or install it by hand`,
  )
}

/** A port of 127.0.0.1 that nobody used a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}
