import { setTimeout as sleep } from 'node:timers/promises'
import { type DrainProgress, type MigratingStore, migratingStore } from '../stores/migrating.ts'
import { MIGRATING } from '../stores/url-parts.ts'
import { type Command, DONE, FAILED, type Given, messageOf, UsageError } from './command.ts'
import { type Config, readConfig } from './config.ts'
import { printJson, printLine } from './output.ts'
import { format, Progress } from './progress.ts'
import { rehearse } from './rehearsal.ts'
import { endsWithTheProcess, open, partsIn, refuseMissingPath, refusePositionals, warnOnce } from './site.ts'
import { exitCodeOf, stopSignal } from './stop.ts'
import { refuseWrongWay } from './wrong-way.ts'

export const migrate: Command = {
  summary: 'moves all sessions to another store while the site runs',
  options: {
    from: { type: 'string' },
    to: { type: 'string' },
    'dry-run': { type: 'boolean' },
    rate: { type: 'string' },
    json: { type: 'boolean' },
  },
  help: `Usage: holdfast migrate [options]

Moves the sessions of all managers from one store to another, beside live traffic: nobody is logged out. The site opens both meanwhile, by a
migrating: URL, so that whoever comes is found in either:

  holdfast migrate --from sqlite:./sessions.db --to redis://localhost --dry-run     # what would move; changes nothing
  SESSION_STORE='migrating:?from=sqlite:./sessions.db&to=redis://localhost'         # deploy the site with this
  holdfast migrate --from sqlite:./sessions.db --to redis://localhost               # moves all that nobody has used since
  SESSION_STORE='redis://localhost'                                                 # deploy the site with this

With a site that does not open both, whoever has moved is logged out. docs/stores.md says how to deploy several instances.

Ctrl-C stops it after the batch under way, a second one at once; so do errors. Nothing is lost by that, not even if it is killed, and the
same command goes on with the rest. Several may run at once.

Options:
      --from <url>   where the sessions are: redis://localhost, postgres://db/app, sqlite:./sessions.db, file:./sessions
      --to <url>     where they are to be
      --dry-run      counts what would move and what cannot be read, and changes nothing
      --rate <n>     moves at most n sessions a second; as fast as it can by default
      --json         one JSON document on stdout, for machines
  -h, --help         this text
      --verbose      where an error comes from

Without --from and --to, both are those of the migrating: URL in the environment variable HOLDFAST_STORE, else of store in holdfast.config.ts,
.js or .json. Use that for URLs with a password in them: everybody on this machine can read the command lines of running programs. In that
URL each of & # % + in the two must be percent-encoded.

JSON: { from, to, seen, moved, refused, left, done }: the names of the stores, how many sessions were met, how many of them this command moved
and how many cannot move (the others had moved or ended already), and about how many are left, those that cannot move among them. With
--dry-run: { from, to, sessions, expired, begun, unreadable, unchecked, reason }: those that would move (expired ones and those whose move
was begun among them), of them those that cannot be read, those that are sealed and not looked into, since HOLDFAST_SECRET is not set, and
why the last one could not be read. All of them move as they are.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C (143 by SIGTERM).
`,

  async run(given) {
    refusePositionals(given)
    const { values } = given
    const rate = rateOf(values.rate)
    const config = await readConfig()
    const urls = urlsOf(values, config)
    const json = values.json === true
    if (values['dry-run']) return rehearse(urls.from, urls.to, config.secrets, json)
    const [from, to] = [open(urls.from), open(urls.to)]
    const look = () => refuseWrongWay(from, to)
    const progress = await move(migratingStore({ from, to, moves: urls.moves }), rate, look)
    const { seen, moved, refused, total, done } = progress.last
    if (json) {
      const left = done ? 0 : total === undefined ? null : Math.max(0, total - seen) + refused
      printJson({ from: from.name, to: to.name, seen, moved, refused, left, done })
    } else printLine(outcomeOf(progress.last, progress.signal))
    if (done) return DONE
    return progress.signal.aborted ? exitCodeOf(progress.signal) : FAILED
  },
}

/** How many are moved at once, and how many if there is a rate to keep. */
const BATCH = 50
const PACED_BATCH = 20
/** Of the sessions that cannot move, how many are named. */
const REFUSALS_TOLD = 20

interface Urls {
  readonly from: string
  readonly to: string
  readonly moves: boolean
}

function urlsOf({ from, to }: Given['values'], config: Config): Urls {
  if ((from === undefined) !== (to === undefined)) {
    throw new UsageError(`--${from === undefined ? 'from' : 'to'} is missing: give both, or neither`)
  }
  const urls = from === undefined ? ofSite(config) : { from: String(from), to: String(to), moves: true }
  refuseMissingPath(urls.from, 'the old store')
  if (endsWithTheProcess(urls.to)) {
    throw new UsageError(
      'the new store would end with this command, and all sessions with it; give another URL',
    )
  }
  if (urls.from === urls.to)
    throw new UsageError('the old store and the new one are the same; give another URL')
  return urls
}

/** As the site opens it. */
function ofSite(config: Config): Urls {
  const url = process.env.HOLDFAST_STORE || config.store
  if (!url) {
    throw new UsageError('the stores are missing: give --from <url> and --to <url>, or set HOLDFAST_STORE')
  }
  if (typeof url !== 'string') {
    throw new UsageError(`store in ${config.file} is an open store; give --from <url> and --to <url>`)
  }
  if (!/^migrating:/i.test(url)) {
    const scheme = /^([a-z+]+):/i.exec(url)?.[1]
    const found = scheme === undefined ? 'is no URL' : `begins with ${scheme}:`
    throw new UsageError(
      `the URL in HOLDFAST_STORE (or holdfast.config) ${found}; it must be migrating:?from=…&to=…, both percent-encoded, or give --from and --to`,
    )
  }
  const { from, to, moves } = partsIn(url, MIGRATING)
  return { from, to, moves: moves !== 'false' }
}

function rateOf(given: unknown): number | undefined {
  if (given === undefined) return undefined
  const rate = /^\d+(\.\d+)?$/.test(String(given)) ? Number(given) : 0
  if (rate > 0) return rate
  throw new UsageError('--rate takes a number of sessions a second, above 0: --rate 500')
}

async function move(
  store: MigratingStore,
  rate: number | undefined,
  look: () => Promise<void>,
): Promise<{ last: DrainProgress; signal: AbortSignal }> {
  const signal = stopSignal()
  const wait = rate === undefined ? undefined : pace(rate, signal)
  const display = new Progress(process.stderr, 'Counting the sessions of the old store')
  const warn = warnOnce((line) => display.note(line))
  // What the stores have to say of themselves: a server that evicts, for instance.
  store.reportTo((_operation, { message }) => warn(message))
  let last: DrainProgress | undefined
  let refused = 0
  try {
    await look()
    last = await store.drain({
      count: true,
      batch: rate === undefined ? BATCH : Math.max(1, Math.min(PACED_BATCH, Math.floor(rate))),
      signal,
      async onProgress(now) {
        last = now
        // Live traffic has moved some of those that were counted.
        display.show(now.seen, now.done ? now.seen : (now.total ?? now.seen))
        if (!now.done) await wait?.(now.seen)
      },
      onRefused(key, { message }) {
        if (++refused <= REFUSALS_TOLD) display.note(`Refused, and left where it is: ${key}: ${message}`)
      },
    })
    return { last, signal }
  } catch (error) {
    throw last ? interrupted(last, error) : error
  } finally {
    display.end()
    // What has moved has moved, and an error of the move says more.
    await store.close().catch(() => {})
  }
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

function outcomeOf({ seen, moved, refused, total, done }: DrainProgress, { aborted }: AbortSignal): string {
  if (!done && !aborted) {
    const left =
      refused === 1 ? '1 session cannot, and remains' : `${format(refused)} sessions cannot, and remain`
    return `${movedOf(moved)}. ${left} in the old store: do what is said above, or end what is left (holdfast revoke), and start again.`
  }
  if (!done) {
    const left = total === undefined ? '' : `, about ${format(Math.max(0, total - seen))} left`
    return `Stopped: ${movedOf(moved)}${left}. The same command goes on with the rest.`
  }
  if (seen === 0) {
    return 'Done: no sessions are left in the old store. If it should have had some, look at its URL.'
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
