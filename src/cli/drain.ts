import { setTimeout as sleep } from 'node:timers/promises'
import { openStore } from '../stores/index.ts'
import type { DrainProgress, MigratingStore } from '../stores/migrating.ts'
import { StoreError } from '../stores/store-error.ts'
import { type Command, DONE, messageOf, UsageError } from './command.ts'
import { format, Progress } from './progress.ts'
import { exitCodeOf, stopSignal } from './stop.ts'
import { endsWithTheProcess, storeUrl, URL_HELP } from './store-url.ts'

export const drain: Command = {
  summary: 'moves all sessions of a migrating store from its old store to its new one',
  options: { rate: { type: 'string' } },
  help: `Usage: holdfast drain [options] [<url>]

Moves the sessions that nobody has used since the site began to move, beside live traffic: nobody is logged out. The
URL is the one that the site opens, in quotes, and without moves=false:

  holdfast drain 'migrating:?from=sqlite:./sessions.db&to=redis://localhost'

Each of & # % + in the two URLs must be percent-encoded, and paths begin in the current folder.
${URL_HELP}

Ctrl-C stops it after the batch under way, a second one at once; so do errors. Nothing is lost by that, not even if it
is killed, and the same command goes on with the rest. Several may run at once.

Options:
      --rate <n>  moves at most n sessions a second; as fast as it can by default
  -h, --help      this text
      --verbose   where an error comes from

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C (143 by SIGTERM).
`,

  async run({ positionals, values }) {
    const rate = rateOf(values.rate)
    const store = open(storeUrl(positionals))
    const signal = stopSignal()
    const wait = rate === undefined ? undefined : pace(rate, signal)
    const display = new Progress(process.stderr, 'Counting the sessions of the old store')
    warnOf(store, (warning) => display.note(warning))
    let progress: DrainProgress | undefined
    try {
      progress = await store.drain({
        count: true,
        batch: Math.max(1, Math.min(BATCH, Math.floor(rate ?? BATCH))),
        signal,
        async onProgress(now) {
          progress = now
          display.show(now.seen, now.total ?? now.seen)
          if (!now.done) await wait?.(now.seen)
        },
      })
    } catch (error) {
      throw progress ? interrupted(progress, error) : error
    } finally {
      display.end()
      // What has moved has moved, and an error of the drain says more.
      await store.close().catch(() => {})
    }
    process.stdout.write(`${outcomeOf(progress)}\n`)
    return progress.done ? DONE : exitCodeOf(signal)
  },
}

/** How many are moved at once. */
const BATCH = 20

function rateOf(given: unknown): number | undefined {
  if (given === undefined) return undefined
  const rate = /^\d+(\.\d+)?$/.test(String(given)) ? Number(given) : 0
  if (rate > 0) return rate
  throw new UsageError('--rate takes a number of sessions a second, above 0: --rate 500')
}

function open(url: string): MigratingStore {
  if (!/^migrating:/i.test(url)) {
    const scheme = /^([a-z+]+):/i.exec(url)?.[1]
    const found = scheme === undefined ? 'this is no URL' : `this URL begins with ${scheme}:`
    throw new UsageError(`${found}; drain needs migrating:?from=…&to=…, both percent-encoded`)
  }
  if (endsWithTheProcess(url)) {
    throw new UsageError(
      'the new store would end with this command, and all sessions with it; give another to=',
    )
  }
  try {
    return openStore(url) as MigratingStore
  } catch (error) {
    throw error instanceof StoreError ? error : new UsageError(messageOf(error), { cause: error })
  }
}

/** What the stores have to say of themselves: a server that evicts, for instance. Each once. */
function warnOf(store: MigratingStore, warn: (warning: string) => void): void {
  const told = new Set<string>()
  store.reportTo((_operation, { message }) => {
    if (!told.has(message)) warn(`Warning: ${message}`)
    told.add(message)
  })
}

/** Waits until as many may have been seen. Time that was lost is not made up for: that would be faster than `rate` for a while. */
function pace(rate: number, signal: AbortSignal): (seen: number) => Promise<void> {
  let since: number | undefined
  let before = 0
  return async (seen) => {
    const now = performance.now()
    const due = (since ?? now) + ((seen - before) / rate) * 1000
    await sleep(Math.max(0, due - now), undefined, { signal }).catch(() => {})
    since = performance.now()
    before = seen
  }
}

function interrupted({ moved }: DrainProgress, error: unknown): Error {
  const problem = messageOf(error).replace(/[^.?!]$/, '$&.')
  const rest = `Nothing is lost: ${movedOf(moved)}, and the same command goes on with the rest.`
  return new Error(`${problem} ${rest}`, { cause: error })
}

function outcomeOf({ seen, moved, total, done }: DrainProgress): string {
  if (!done) {
    const left = total === undefined ? '' : `, about ${format(Math.max(0, total - seen))} left`
    return `Stopped: ${movedOf(moved)}${left}. The same command goes on with the rest.`
  }
  if (seen === 0) {
    return 'Done: no sessions are left in the old store. If it should have had some, look at from= in the URL.'
  }
  const others = seen > moved ? ` ${format(seen - moved)} had moved or ended already.` : ''
  return (
    `Done: ${movedOf(moved)}.${others} ` +
    'When no instance uses the old store any more, give them all the URL of the new one.'
  )
}

function movedOf(count: number): string {
  return count === 1 ? '1 session has moved' : `${format(count)} sessions have moved`
}
