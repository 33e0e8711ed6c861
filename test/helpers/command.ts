import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The built command `holdfast`. */
export interface BuiltCommand {
  readonly path: string
  start(
    args: readonly string[],
    options: { cwd: string; env?: Record<string, string> },
  ): { child: ChildProcess; ended: Promise<Ended> }
}

/** A build of the test's own, since other tests may be reading `dist`; where the package's dependencies are found. */
export function buildCommand(name: string): BuiltCommand {
  const built = join(root, '.cache', name)
  rmSync(built, { recursive: true, force: true })
  mkdirSync(built, { recursive: true })
  copyFileSync(join(root, 'package.json'), join(built, 'package.json'))
  execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json', '--outDir', join(built, 'dist')], { cwd: root })
  const path = join(built, 'dist/cli/holdfast.js')
  return { path, start: (args, options) => start([process.execPath, path, ...args], options) }
}

/** Runs a program without a terminal, and without what the environment says to `holdfast`. */
export function start(
  [program, ...args]: readonly string[],
  { cwd, env = {} }: { cwd: string; env?: Record<string, string> },
) {
  const child: ChildProcess = spawn(program!, args, {
    cwd,
    env: { ...process.env, HOLDFAST_STORE: '', HOLDFAST_SECRET: '', NO_COLOR: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.on('data', (chunk: Buffer) => (printed[name] += chunk))
  }
  const ended = once(child, 'close').then(([code]): Ended => ({ code, ...printed }))
  return { child, ended }
}
