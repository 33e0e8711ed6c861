import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { duration } from '../duration.ts'
import { createSessions, type Sessions } from '../sessions.ts'
import type { Store } from '../store.ts'
import { type Command, DONE, FAILED, type Given, messageOf, UsageError } from './command.ts'
import { countOf, printJson, printLine } from './output.ts'
import { format } from './progress.ts'
import { JSON_HELP, refusePositionals, SITE_OPTIONS, STORE_HELP, withSite } from './site.ts'
import { exitCodeOf, stopSignal } from './stop.ts'

const USUAL_CONCURRENCY = 10

export const bench: Command = {
  summary: 'measures how many page views a store carries, with sessions of its own',
  options: {
    store: SITE_OPTIONS.store,
    json: SITE_OPTIONS.json,
    for: { type: 'string' },
    concurrency: { type: 'string' },
  },
  help: `Usage: holdfast bench [options]

Loads the store for a minute as a site would: each page view opens a session by its cookie, and one in ten changes it. Its sessions are of a
manager of its own, whose name nobody else has, so that it touches none of the site's; it removes all that it made, also after Ctrl-C. Beside
live traffic it slows that down.

  holdfast bench --store redis://localhost
  holdfast bench --for 10s --concurrency 50 --json | jq .pageViewsPerSecond     # the store is in HOLDFAST_STORE

Options:
${STORE_HELP}
      --for <time>        how long: 10s, 1m; 60s by default
      --concurrency <n>   how many page views at once; ${USUAL_CONCURRENCY} by default
${JSON_HELP}

JSON: { store, seconds, concurrency, reads: { perSecond, p50, p99 }, writes: { perSecond, p50, p99 }, pageViewsPerSecond, errors, removed }; p50
and p99 in milliseconds, of page views that change nothing and of those that do; null where there were none. errors are page views that failed.

If it is killed, its sessions expire within an hour.
Exit codes: 0 done, 1 failed, or a page view did, 2 wrong usage, 130 stopped by Ctrl-C (143 by SIGTERM).
`,

  async run(given) {
    refusePositionals(given)
    const { values } = given
    const time = timeOf(values)
    const concurrency = concurrencyOf(values)
    return withSite(given, async ({ store }) => {
      if (store.carry) {
        throw new UsageError(`the ${store.name} store keeps nothing, so there is nothing to load`)
      }
      const signal = stopSignal()
      process.stderr.write(
        `Loading the ${store.name} store for ${time / 1000} s, ${concurrency} at once; Ctrl-C ends it sooner\n`,
      )
      const name = `bench-${randomBytes(6).toString('hex')}`
      const handles: string[] = []
      const measured = await measure(store, name, handles, concurrency, time, signal).catch(async (error) => {
        // Why it failed says more than why nothing can be removed either.
        await remove(store, name, handles).catch(() => {})
        throw error
      })
      const removed = await remove(store, name, handles)
      report(measured, { store: store.name, concurrency, removed, json: values.json === true })
      if (signal.aborted) return exitCodeOf(signal)
      return measured.errors > 0 ? FAILED : DONE
    })
  },
}

const SESSIONS_EACH = 20
/** As much as a site keeps, with a small basket. */
const DATA = { basket: 'x'.repeat(400), views: 0 }
/** One page view in so many changes its session. */
const WRITES = 10
const BATCH = 50

type BenchSessions = Sessions<Partial<typeof DATA>>

function managerNamed(store: Store, name: string): BenchSessions {
  const sessions = createSessions<typeof DATA>({
    store,
    name,
    secret: randomBytes(32),
    sweepEvery: false,
    // So that what is left of a command that was killed goes by itself.
    lifetime: { idle: '1h', absolute: '1h' },
    logger: { warn() {}, error() {} },
  })
  // Each fails a page view, which is counted.
  sessions.on('error', () => {})
  return sessions
}

async function measure(
  store: Store,
  name: string,
  handles: string[],
  concurrency: number,
  time: number,
  signal: AbortSignal,
): Promise<Measured> {
  const sessions = managerNamed(store, name)
  const cookies = await fill(sessions, concurrency * SESSIONS_EACH, handles, signal)
  return load(sessions, cookies, concurrency, time, signal)
}

/** Logged-in sessions, each of a user of its own; their cookies. The handles are told before anything is written. */
async function fill(
  sessions: BenchSessions,
  count: number,
  handles: string[],
  signal: AbortSignal,
): Promise<string[]> {
  const cookies: string[] = []
  while (cookies.length < count && !signal.aborted) {
    const made = Array.from({ length: Math.min(BATCH, count - cookies.length) }, async () => {
      const session = await sessions.open(undefined)
      handles.push(session.handle)
      Object.assign(session.data, DATA)
      await session.login(`bench-${handles.length}`)
      const { cookie } = await sessions.commit(session)
      return `${cookie!.name}=${cookie!.value}`
    })
    const settled = await Promise.allSettled(made)
    for (const each of settled) {
      if (each.status === 'rejected') throw each.reason
      cookies.push(each.value)
    }
    await turn()
  }
  return cookies
}

interface Measured {
  readonly reads: readonly number[]
  readonly writes: readonly number[]
  readonly errors: number
  /** Why the last one failed. */
  readonly problem: string
  readonly milliseconds: number
}

async function load(
  sessions: BenchSessions,
  cookies: readonly string[],
  concurrency: number,
  time: number,
  signal: AbortSignal,
): Promise<Measured> {
  const [reads, writes]: [number[], number[]] = [[], []]
  let errors = 0
  let problem = ''
  let views = 0
  const began = performance.now()
  const isOver = () => signal.aborted || performance.now() - began >= time
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (!isOver()) {
        const isWrite = ++views % WRITES === 0
        const cookie = cookies[Math.floor(Math.random() * cookies.length)]
        const start = performance.now()
        try {
          const session = await sessions.open(cookie)
          if (isWrite) session.data.views!++
          await sessions.commit(session)
          ;(isWrite ? writes : reads).push(performance.now() - start)
        } catch (error) {
          errors++
          problem = messageOf(error)
        }
        // A store that answers without I/O would let nothing else run until the end, no signal either.
        if (views % WRITES === 0) await turn()
      }
    }),
  )
  return { reads, writes, errors, problem, milliseconds: performance.now() - began }
}

/** The end of time for what was made here: no record of a site is as old, so that a sweep up to then removes tombstones of this command alone. */
const LONG_AGO = 1

/** What a store keeps of a destroyed session is removed too; how many there were. */
async function remove(store: Store, name: string, handles: readonly string[]): Promise<number> {
  let removed = 0
  try {
    for (let i = 0; i < handles.length; i += BATCH) {
      const batch = handles.slice(i, i + BATCH)
      const ended = await Promise.all(batch.map((handle) => store.destroy(`${name}:${handle}`, LONG_AGO)))
      removed += ended.filter(Boolean).length
    }
    while (store.sweep && (await store.sweep(LONG_AGO, BATCH)) === BATCH);
    return removed
  } catch (error) {
    throw new Error(
      `${messageOf(error)} ${countOf(handles.length - removed)} of the manager ${name} could not be removed; they expire within an hour.`,
      { cause: error },
    )
  }
}

function report(
  { reads, writes, errors, problem, milliseconds }: Measured,
  {
    store,
    concurrency,
    removed,
    json,
  }: { store: string; concurrency: number; removed: number; json: boolean },
): void {
  const perSecond = (times: readonly number[]) => Math.round(times.length / (milliseconds / 1000))
  const summary = (times: readonly number[]) => {
    const sorted = [...times].sort((a, b) => a - b)
    const quantile = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? null
    return { perSecond: perSecond(times), p50: quantile(0.5), p99: quantile(0.99) }
  }
  const [read, written] = [summary(reads), summary(writes)]
  const pageViewsPerSecond = perSecond([...reads, ...writes])
  if (json) {
    const seconds = milliseconds / 1000
    printJson({
      store,
      seconds,
      concurrency,
      reads: read,
      writes: written,
      pageViewsPerSecond,
      errors,
      removed,
    })
  } else {
    for (const [name, { perSecond, p50, p99 }] of [
      ['reads', read],
      ['writes', written],
    ] as const) {
      printLine(
        `${name.padEnd(6)}  ${`${format(perSecond)}/s`.padStart(9)}  p50 ${inWords(p50)}  p99 ${inWords(p99)}`,
      )
    }
    printLine(
      `That is about ${format(Number(pageViewsPerSecond.toPrecision(2)))} page views a second from one process on this machine, one in ${WRITES} of which changes its session.`,
    )
    printLine(`${countOf(removed)} ${removed === 1 ? 'was' : 'were'} made for it, and removed.`)
  }
  if (errors > 0) {
    process.stderr.write(`Warning: ${countOf(errors, 'page view')} failed, the last one since: ${problem}\n`)
  }
}

function inWords(time: number | null): string {
  return time === null ? '-' : `${time.toFixed(2)} ms`
}

/** With its unit, since a bare 60 would be milliseconds. */
function timeOf({ for: given = '60s' }: Given['values']): number {
  const refuse = () =>
    new UsageError(`--for: ${JSON.stringify(given)} is no time above 0 with its unit: 10s, 1m`)
  if (!/^\d.*[a-z]$/i.test(String(given))) throw refuse()
  let time: number
  try {
    time = duration('--for', String(given))
  } catch {
    throw refuse()
  }
  if (time > 0) return time
  throw refuse()
}

function concurrencyOf({ concurrency = String(USUAL_CONCURRENCY) }: Given['values']): number {
  if (/^[1-9]\d{0,3}$/.test(String(concurrency))) return Number(concurrency)
  throw new UsageError(`--concurrency: ${JSON.stringify(concurrency)} is no whole number from 1 to 9999`)
}
