/**
 * Measures the memory store, in a process of its own: heap a session, and the longest stretch for which one call holds
 * the event loop. Prints JSON.
 *
 *   node --expose-gc --import tsx test/memory-heap.ts [sessions]
 */
import { randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Store } from '../src/store.ts'
import { memoryStore } from '../src/stores/memory.ts'

export interface Measurements {
  readonly sessions: number
  /** Bytes a session beyond its key and text. */
  readonly bytes: number
  readonly bytesWithUser: number
  /** Milliseconds. */
  readonly pauses: Readonly<Record<string, number>>
}

const RUNS = 3
const sessions = Number(process.argv[2] ?? 200_000)
const collectGarbage = globalThis.gc
if (collectGarbage === undefined) throw new Error('start node with --expose-gc')

const keys = Array.from({ length: sessions }, () => `id:${randomBytes(32).toString('base64url')}`)
const texts = keys.map(
  (_, i) => `{"v":1,"c":${Date.now()},"g":1,"login":{"at":${Date.now()}}}\n{"visits":${i}}`,
)

function recordOf(i: number, withUser: boolean) {
  const rev = `${i % 100}.${randomBytes(9).toString('base64url')}`
  const times = { lastSeen: Date.now() + i, expires: Date.now() + 86_400_000 + i }
  return withUser
    ? { rev, text: texts[i] as string, user: `user-${i}`, ...times }
    : { rev, text: texts[i] as string, ...times }
}

async function fill(store: Store, withUser: boolean): Promise<void> {
  for (let i = 0; i < sessions; i++) await store.create(keys[i] as string, recordOf(i, withUser))
}

function heapUsed(): number {
  collectGarbage?.()
  collectGarbage?.()
  return process.memoryUsage().heapUsed
}

async function bytesPerSession(withUser: boolean): Promise<number> {
  const before = heapUsed()
  const store = memoryStore()
  await fill(store, withUser)
  const bytes = (heapUsed() - before) / sessions
  // Only a store that is used afterwards is sure to have been on the heap.
  await store.load(keys[0] as string)
  return Math.round(bytes)
}

/**
 * The longest of many calls. Each call is timed in every run and its best time counts: what the store does, such as a
 * growing Map, comes again at the same call, whereas garbage collection and other processes strike elsewhere.
 */
class Calls {
  readonly #best = new Float64Array(sessions).fill(Number.POSITIVE_INFINITY)

  async time(call: (i: number) => Promise<unknown>): Promise<void> {
    for (let i = 0; i < sessions; i++) {
      const start = performance.now()
      const answer = call(i)
      const took = performance.now() - start
      await answer
      if (took < (this.#best[i] as number)) this.#best[i] = took
    }
  }

  longest(): number {
    return this.#best.reduce((longest, took) => Math.max(longest, took), 0)
  }
}

/** The longest wait for a turn of the event loop while a call goes on that gives turns. */
async function longestWait(call: () => Promise<unknown>): Promise<number> {
  let longest = 0
  let done = false
  const finished = call().finally(() => {
    done = true
  })
  let last = performance.now()
  while (!done) {
    await setImmediate()
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }
  await finished
  return longest
}

async function measurePauses(): Promise<Record<string, number>> {
  const [create, load, update, touch, destroy] = [
    new Calls(),
    new Calls(),
    new Calls(),
    new Calls(),
    new Calls(),
  ]
  const waits = new Map<string, number>()
  const wait = async (name: string, call: () => Promise<unknown>) => {
    collectGarbage?.()
    waits.set(name, Math.min(waits.get(name) ?? Number.POSITIVE_INFINITY, await longestWait(call)))
  }
  for (let run = 0; run < RUNS; run++) {
    const store = memoryStore()
    const records = keys.map((_, i) => ({ ...recordOf(i, true), externalId: `sid-${i}`, rev: 'first' }))
    await create.time((i) => store.create(keys[i] as string, records[i] as (typeof records)[number]))
    await load.time((i) => store.load(keys[i] as string))
    await touch.time((i) => store.touch(keys[i] as string, Date.now(), Date.now() + 90_000_000))
    // All to one user: the worst that an index can meet.
    await update.time((i) => store.update(keys[i] as string, { ...recordOf(i, true), user: 'one' }, 'first'))
    await wait('sweep of none', () => store.sweep(Date.now(), Number.POSITIVE_INFINITY))
    await wait('a page of a scan', () => store.scan('512/', 100))
    await wait('a page of one user', () => store.users.list('one', { limit: 100 }))
    await wait('a page of no user', () => store.users.list('nobody'))
    await wait('destroying all of one user', () => store.users.destroy('one', Date.now()))
    await wait('sweep of all', () => store.sweep(8.64e15, Number.POSITIVE_INFINITY))
    const again = memoryStore()
    await fill(again, true)
    await destroy.time((i) => again.destroy(keys[i] as string, Date.now()))
  }
  const calls = { create, load, update, touch, destroy }
  const longest = Object.entries(calls).map(([name, timed]) => [name, timed.longest()] as const)
  return Object.fromEntries([...longest, ...waits].map(([name, ms]) => [name, Number(ms.toFixed(2))]))
}

const measured: Measurements = {
  sessions,
  bytes: await bytesPerSession(false),
  bytesWithUser: await bytesPerSession(true),
  pauses: await measurePauses(),
}
console.log(JSON.stringify(measured))
