/**
 * Measures the memory store, in a process of its own: heap a session, and the longest stretch for which one call holds
 * the event loop. Prints JSON.
 *
 *   node --expose-gc --single-threaded-gc --import tsx test/memory-heap.ts [sessions]
 */
import { createHash, randomBytes } from 'node:crypto'
import { PerformanceObserver } from 'node:perf_hooks'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
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
/** Calls that make no map grow are timed this often. */
const SAMPLE = 20_000
const sessions = Number(process.argv[2] ?? 200_000)
const collectGarbage = globalThis.gc
if (collectGarbage === undefined) throw new Error('start node with --expose-gc')

const keys = Array.from({ length: sessions }, () => `id:${randomBytes(32).toString('base64url')}`)
const texts = keys.map((_, i) => `A${Date.now().toString(36)}L${i}\n{"visits":${i}}`)

function recordOf(i: number, withUser: boolean) {
  const rev = `${i % 100}.${Math.random().toString(36).slice(2, 14)}`
  const times = { lastSeen: Date.now() + i, expires: Date.now() + 86_400_000 + i }
  return withUser
    ? { rev, text: texts[i] as string, user: `user-${i}`, ...times }
    : { rev, text: texts[i] as string, ...times }
}

/** Key and text are put together from pieces here, as the core does it; they count as what they are in one piece. */
async function bytesPerSession(withUser: boolean): Promise<number> {
  const store = memoryStore()
  let ownSize = 0
  const before = heapUsed()
  for (let i = 0; i < sessions / 2; i++) {
    const key = `id:${createHash('sha256').update(`${withUser} ${i}`).digest('base64url')}`
    const text = `${texts[i]}\n${JSON.stringify({ visits: i, cart: { tea: i, cups: 2 } })}`
    ownSize += stringSize(key) + stringSize(text)
    await store.create(key, { ...recordOf(i, withUser), text })
  }
  const bytes = (heapUsed() - before - ownSize) / (sessions / 2)
  // Only a store that is used afterwards is sure to have been on the heap.
  await store.load('any')
  return Math.round(bytes)
}

/** Of a string of Latin-1 characters in one piece: a header of 16 bytes, then a byte a character, in words. */
function stringSize(text: string): number {
  return 16 + Math.ceil(text.length / 8) * 8
}

function heapUsed(): number {
  // Twice, since what the first one joins only the second one lets go.
  collectGarbage?.()
  collectGarbage?.()
  return process.memoryUsage().heapUsed
}

/**
 * The longest of many calls. Each call is timed in every run and its best time counts: what the store does, such as a
 * growing Map, comes again at the same call, whereas garbage collection strikes elsewhere.
 */
class Calls {
  readonly #best = new Float64Array(sessions).fill(Number.POSITIVE_INFINITY)

  async time(call: (i: number) => Promise<unknown>, count = sessions): Promise<void> {
    for (let i = 0; i < count; i++) {
      const [start, processor] = [performance.now(), processorTime()]
      const answer = call(i)
      const took = Math.min(performance.now() - start, processorTime() - processor)
      await answer
      if (took < (this.#best[i] as number)) this.#best[i] = took
    }
  }

  longest(): number {
    return this.#best.filter(Number.isFinite).reduce((longest, took) => Math.max(longest, took), 0)
  }
}

interface Span {
  readonly start: number
  readonly end: number
}

const garbageCollections: Span[] = []
new PerformanceObserver((list) => {
  for (const { startTime, duration } of list.getEntries()) {
    garbageCollections.push({ start: startTime, end: startTime + duration })
  }
}).observe({ entryTypes: ['gc'] })

/**
 * The longest stretch between two turns of the event loop while a call goes on that gives turns, without the garbage
 * collections in it. By the processor time of this process where that is less: others take the processor away.
 */
async function longestStretch(call: () => Promise<unknown>): Promise<number> {
  const stretches: (Span & { readonly processor: number })[] = []
  let done = false
  const finished = call().finally(() => {
    done = true
  })
  let [start, processor] = [performance.now(), processorTime()]
  while (!done) {
    await setImmediate()
    const [end, processorNow] = [performance.now(), processorTime()]
    stretches.push({ start, end, processor: processorNow - processor })
    start = end
    processor = processorNow
  }
  await finished
  // The observer hears of the last collections a little later.
  await sleep(20)
  const lengths = stretches.map((stretch) => Math.min(withoutCollections(stretch), stretch.processor))
  return Math.max(...lengths)
}

function withoutCollections({ start, end }: Span): number {
  const collected = garbageCollections.map((gc) => Math.min(end, gc.end) - Math.max(start, gc.start))
  return end - start - collected.filter((overlap) => overlap > 0).reduce((sum, overlap) => sum + overlap, 0)
}

/** Of the main thread alone, as long as the garbage collector has no other. */
function processorTime(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
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
    waits.set(name, Math.min(waits.get(name) ?? Number.POSITIVE_INFINITY, await longestStretch(call)))
  }
  for (let run = 0; run < RUNS; run++) {
    const store = memoryStore()
    const records = keys.map((_, i) => ({ ...recordOf(i, true), rev: 'first' }))
    await create.time((i) => store.create(keys[i] as string, records[i] as (typeof records)[number]))
    await load.time((i) => store.load(keys[i] as string), SAMPLE)
    await touch.time((i) => store.touch(keys[i] as string, Date.now(), Date.now() + 90_000_000), SAMPLE)
    // All to one user: the worst that an index can meet.
    await update.time((i) => store.update(keys[i] as string, { ...recordOf(i, true), user: 'one' }, 'first'))
    await wait('sweep of none', () => store.sweep(Date.now(), Number.POSITIVE_INFINITY))
    await wait('a page of a scan', () => store.scan('512/', 100))
    await wait('a page of one user', () => store.users.list('one', { limit: 100 }))
    await wait('a page of no user', () => store.users.list('nobody'))
    await destroy.time((i) => store.destroy(keys[i] as string, Date.now()), SAMPLE)
    await wait('destroying all of one user', () => store.users.destroy('one', Date.now()))
    await wait('sweep of all', () => store.sweep(8.64e15, Number.POSITIVE_INFINITY))
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
