import { MissingDriverError } from '../store-error.ts'
import type { SqlExecutor } from './executor.ts'

export function has<Name extends string>(
  passed: unknown,
  ...methods: readonly Name[]
): passed is Record<Name, (...args: never[]) => unknown> {
  const isContainer = (typeof passed === 'object' && passed !== null) || typeof passed === 'function'
  return (
    isContainer && methods.every((name) => typeof (passed as Record<string, unknown>)[name] === 'function')
  )
}

/** @throws TypeError, which leaves out what may be a password, unless it is a URL of one of these protocols */
export function checkUrl(caller: string, url: string, protocols: readonly string[]): void {
  if (URL.canParse(url) && protocols.includes(new URL(url).protocol)) return
  const example = `${protocols[0]}//user:password@host/database`
  throw new TypeError(
    `${caller}: what was passed is no URL like ${example}. ` +
      'Characters such as @, /, # and % in user or password must be percent-encoded: encodeURIComponent does it.',
  )
}

/**
 * How long a connection of the store's own may leave a statement without an answer: beyond the deadlines of the core, so that those come
 * first. It is given up then: one that a firewall has forgotten never breaks by itself, and a pool has only so many.
 */
export const ANSWER_TIMEOUT_MS = 6_000

/** Connections of the store's own. */
export interface OwnPool {
  readonly run: SqlExecutor['run']
  /** Waits for the answers that are outstanding, which may be for ever. */
  close(): Promise<void>
  /** Waits for nothing. */
  breakOff(): void
}

/** A pool that tells of each new connection, which tells of its own end. */
export interface TellingPool<Connection> {
  on(event: string, listener: (connection: Connection) => void): unknown
}

export function connectionsOf<Connection extends { once(event: 'end', listener: () => void): unknown }>(
  pool: TellingPool<Connection>,
  event: string,
): ReadonlySet<Connection> {
  const connections = new Set<Connection>()
  pool.on(event, (connection) => {
    connections.add(connection)
    connection.once('end', () => connections.delete(connection))
  })
  return connections
}

/** Whoever closes a store has no operation under way, but for those that the core has given up for want of an answer. */
const CLOSE_TIMEOUT_MS = 1_000

async function end(pool: OwnPool, underWay: Iterable<Promise<unknown>>): Promise<void> {
  let closing: Promise<void> | undefined
  const close = () => (closing ??= pool.close())
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      // First, or whoever waits for a connection is given a new one. What it says comes after what was broken off.
      close().catch(() => {})
      pool.breakOff()
      resolve()
    }, CLOSE_TIMEOUT_MS)
  })
  await Promise.race([Promise.allSettled(underWay).then(close), late]).finally(() => clearTimeout(timer))
}

/** An executor that opens its pool when it is first needed, with the first of these packages that is installed. */
export function owning(
  dialect: SqlExecutor['dialect'],
  packages: Readonly<Record<string, (driver: never) => OwnPool>>,
): SqlExecutor {
  let opened: Promise<OwnPool> | undefined
  const underWay = new Set<Promise<unknown>>()
  const names = Object.keys(packages)
  async function open(): Promise<OwnPool> {
    for (const name of names) {
      const driver = await load(name)
      if (driver !== undefined) return packages[name]!(driver as never)
    }
    throw new MissingDriverError(
      `neither of the packages ${names.join(' and ')} is installed. Run \`npm install ${names[0]}\``,
    )
  }
  return {
    dialect,
    async run(...args) {
      const pool = await (opened ??= open().catch((error: unknown) => {
        opened = undefined
        throw error
      }))
      const running = pool.run(...args)
      underWay.add(running)
      return running.finally(() => underWay.delete(running))
    },
    // To a pool that is closed meanwhile, what has no answer would be under way for ever.
    async close() {
      const pool = await opened
      if (pool) await end(pool, underWay)
    },
  }
}

/** The name is a variable, so that bundlers do not ask for packages that are not there. */
async function load(name: string): Promise<unknown> {
  try {
    const module = (await import(/* @vite-ignore */ name)) as { default?: unknown }
    return module.default ?? module
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    // Only the package itself: what it misses of its own is an error to be seen.
    if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${name}'`)) return undefined
    throw error
  }
}
