/**
 * The goals of docs/performance.md, on the built package in a plain Node process, as its users run it. Holdfast and the floor take turns
 * in many rounds, the medians count, and CPU time, not what passes on the clock. Other tests on the same cores still cost caches, which
 * makes everything slower and nothing faster: hence up to three attempts.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'

const ATTEMPTS = 3
const ROUNDS = 11
/** Microseconds for a request to Fastify without sessions: 62,166 a second on one core of the machine that the goals were set on. */
const BARE_FASTIFY = 1_000_000 / 62_166
const root = fileURLToPath(new URL('..', import.meta.url))
const node = (...args: string[]) => promisify(execFile)(process.execPath, args, { cwd: root })

/** Microseconds of CPU time for a request. */
interface Cost {
  readonly floor: number
  readonly holdfast: number
  /** Median of the differences within a round. */
  readonly difference: number
}

function newestIn(folder: string): number {
  const files = readdirSync(join(root, folder), { recursive: true }) as string[]
  return Math.max(...files.map((file) => statSync(join(root, folder, file)).mtimeMs))
}

beforeAll(async () => {
  const isBuilt = existsSync(join(root, 'dist/index.js')) && newestIn('src') < newestIn('dist')
  if (!isBuilt) await node('node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json')
})

test('on Fastify as well, a session costs at most 6 us over the floor to read and 12 us to write', async () => {
  const within = { read: Number.POSITIVE_INFINITY, write: Number.POSITIVE_INFINITY }
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { stdout } = await node(
      ...['bench/http.mjs', '--frameworks', 'fastify', '--layers', 'bare,floor,holdfast'],
      ...['--scenarios', 'read,write', '--rounds', '3', '--processes', '4'],
    )
    type Layer = Record<'read' | 'write', { cpu: number; overFloor: number }>
    const { bare, holdfast } = JSON.parse(stdout).fastify as Record<'bare' | 'holdfast', Layer>
    // A slower machine takes longer for everything, and longer for a request without any session.
    const slowness = Math.max(1, bare.read.cpu / BARE_FASTIFY)
    within.read = Math.min(within.read, holdfast.read.overFloor / slowness)
    within.write = Math.min(within.write, holdfast.write.overFloor / slowness)
    if (within.read <= 6 && within.write <= 12) break
  }
  expect(within.read, 'us for a read, over the floor').toBeLessThanOrEqual(6)
  expect(within.write, 'us for a write, over the floor').toBeLessThanOrEqual(12)
}, 300_000)

test('a session costs at most 6 us over the floor to read, 12 us to write, and 3 us where there is no cookie', async () => {
  const within: Record<string, number> = {}
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { stdout } = await node('bench/in-process.mjs', String(ROUNDS))
    const costs: Record<string, Cost> = JSON.parse(stdout)
    for (const name of ['read counter', 'write counter']) {
      within[name] = Math.min(within[name] ?? Number.POSITIVE_INFINITY, costs[name]!.difference)
    }
    within.none = Math.min(within.none ?? Number.POSITIVE_INFINITY, costs.none!.holdfast)
    if (within['read counter']! <= 6 && within['write counter']! <= 12 && within.none <= 3) break
  }
  expect(within['read counter'], 'us for a read, over the floor').toBeLessThanOrEqual(6)
  expect(within['write counter'], 'us for a write, over the floor').toBeLessThanOrEqual(12)
  expect(within.none, 'us without a cookie').toBeLessThanOrEqual(3)
}, 60_000)
