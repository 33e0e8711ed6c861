import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { ParseArgsConfig } from 'node:util'
import type { Secret, SessionOptions } from '../options.ts'
import { createSessions, type Sessions } from '../sessions.ts'
import type { Store } from '../store.ts'
import { openStore } from '../stores/index.ts'
import { StoreError } from '../stores/store-error.ts'
import { LAYERED, MIGRATING, partsOf, type UrlShape } from '../stores/url-parts.ts'
import { type Given, messageOf, UsageError } from './command.ts'
import { type Config, readConfig } from './config.ts'

/** The sessions that a command is about: those of one manager, in one store. */
export interface Site {
  readonly store: Store
  readonly name: string
  /** What its records may be sealed with, the newest first. */
  readonly secrets: readonly Secret[]
}

type Options = NonNullable<ParseArgsConfig['options']>

export const SITE_OPTIONS = {
  store: { type: 'string' },
  name: { type: 'string' },
  json: { type: 'boolean' },
} as const satisfies Options

/** For the help of commands that take these options. */
export const STORE_HELP = `      --store <url>       the store, as the site opens it: redis://localhost, postgres://db/app, sqlite:./sessions.db, file:./sessions`
export const NAME_HELP = `      --name <name>       of the manager, if createSessions was given one; id by default`
export const JSON_HELP = `      --json              one JSON document on stdout, for machines
  -h, --help              this text
      --verbose           where an error comes from

The URL comes from the environment variable HOLDFAST_STORE if it is not given. Use that for a URL with a password in it: everybody on
this machine can read the command lines of running programs. Without it too, it is store in holdfast.config.ts, .js or .json in the
current folder, beside name, the manager's.`

/** For commands that read records. */
export const SECRET_HELP = `Sealed records (seal: true) are read with the site's secret, in the environment variable HOLDFAST_SECRET (several with commas between,
the newest first), or secret in holdfast.config.ts or .js.`

/** Longer than for a request: nobody waits for a page, and drivers connect meanwhile. */
export const DEADLINES = { load: 10_000, write: 10_000, request: 60_000 }

/** For commands that take options alone. */
export function refusePositionals({ positionals }: Given): void {
  if (positionals.length === 0) return
  const count = positionals.length === 1 ? 'is 1 argument' : `are ${positionals.length} arguments`
  throw new UsageError(`this command takes options alone, and there ${count}; the URL follows --store`)
}

/**
 * Opens the store of a site for the time of `work`. A typing mistake in a path does not become a new, empty store.
 * @throws UsageError
 */
export async function withSite<T>(
  { values }: Given,
  work: (site: Site, config: Config) => Promise<T>,
): Promise<T> {
  const config = await readConfig()
  const name = nameOf(values, config)
  const given = storeOf(values, config)
  if (typeof given === 'string') refuseMissingPath(given, '--store (or HOLDFAST_STORE, or holdfast.config)')
  return withStore(given, (store) => work({ store, name, secrets: config.secrets }, config))
}

/** @throws UsageError */
export function refuseMissingPath(url: string, where: string): void {
  const path = pathIn(url)
  if (path === undefined || existsSync(path)) return
  throw new UsageError(
    `there is nothing at ${JSON.stringify(path)}, to which ${where} points from here; correct the path`,
  )
}

/** Of a store that is a file or a folder. */
export function pathIn(url: string): string | undefined {
  return /^(?:file:|sqlite:)(?:\/\/(?=\/))?([^?]+)/i.exec(url)?.[1]
}

/** Opens a store for the time of `work`, unless it is open. */
export async function withStore<T>(given: string | Store, work: (store: Store) => Promise<T>): Promise<T> {
  const store = typeof given === 'string' ? open(given) : given
  try {
    return await work(store)
  } finally {
    // What is done is done, and an error of the command says more.
    await store.close?.().catch(() => {})
  }
}

/** @throws UsageError for a URL that names no store; what the store says if it cannot be opened */
export function open(url: string): Store {
  try {
    return openStore(url)
  } catch (error) {
    throw error instanceof StoreError ? error : new UsageError(messageOf(error), { cause: error })
  }
}

/** From the command line, else the environment, else the file. @throws UsageError */
export function storeOf({ store }: Given['values'], config: Config): string | Store {
  const given = (store as string | undefined) ?? (process.env.HOLDFAST_STORE || config.store)
  if (!given) throw new UsageError('the store is missing: give --store <url>, or set HOLDFAST_STORE')
  if (typeof given === 'string' && endsWithTheProcess(given)) {
    throw new UsageError(
      'this store holds nothing that another process could see; give --store the URL of one that is shared',
    )
  }
  return given
}

/** Whether what is kept there ends with this process, or is not kept at all. */
export function endsWithTheProcess(url: string): boolean {
  if (/^(memory:|sqlite::memory:|cookie:)/i.test(url)) return true
  const [, scheme] = /^(migrating|layered):/i.exec(url) ?? []
  if (scheme === undefined) return false
  const last =
    scheme.toLowerCase() === 'layered' ? partsIn(url, LAYERED).database : partsIn(url, MIGRATING).to
  return endsWithTheProcess(last)
}

/** @throws UsageError */
export function partsIn<Needed extends string, Other extends string>(
  url: string,
  shape: UrlShape<Needed, Other>,
) {
  try {
    return partsOf(url, shape)
  } catch (error) {
    throw new UsageError(messageOf(error), { cause: error })
  }
}

export function nameOf(values: Given['values'], config: Config): string {
  const name = values.name ?? config.name ?? 'id'
  if (/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(String(name))) return String(name)
  throw new UsageError(
    `--name: ${JSON.stringify(name)} (or name in holdfast.config) must be 1 to 32 letters, digits, "-" or "_", a letter first, as createSessions was given it`,
  )
}

/** A manager for what needs no cookie: its secret signs nothing. Closing it closes the store too. */
export function managerOf(
  { store, name }: Site,
  options: SessionOptions<object> = {},
  warn = warnOnce(),
): Sessions<object> {
  const sessions = createSessions<object>({
    store,
    name,
    secret: randomBytes(32),
    deadlines: DEADLINES,
    sweepEvery: false,
    logger: { warn, error: warn },
    ...options,
  })
  sessions.on('error', ({ error }) => warn(messageOf(error)))
  return sessions
}

/** Tells each warning once. @param tell given a line of its own, without its end; on stderr by default */
export function warnOnce(tell = (line: string): unknown => process.stderr.write(`${line}\n`)) {
  const told = new Set<string>()
  return (message: string): void => {
    if (!told.has(message)) tell(`Warning: ${message}`)
    told.add(message)
  }
}
