import {
  isTombstone,
  type LoadOptions,
  type Page,
  type SessionIndex,
  type Store,
  type StoredRecord,
  type StoreReport,
  type Tombstone,
  type UpdateResult,
  type WriteOptions,
} from '../store.ts'
import { CacheGuard, NO_ANSWER } from './layered/cache-guard.ts'
import {
  ageOf,
  copyEntry,
  type Entry,
  isLease,
  isNoEntry,
  lease,
  noEntry,
  recordIn,
} from './layered/entry.ts'
import { refuseRest } from './passed.ts'

/** The two stores, and how far the cache is trusted. */
export interface LayeredStoreOptions {
  /** Where sessions are looked for first. It may forget any of them at any time. It must compare and set. */
  readonly cache: Store
  /** Where sessions are kept: what it says is so. */
  readonly database: Store
  /** How long an entry of the cache is used, in milliseconds: the limit of all staleness. 60,000 by default. */
  readonly cacheFor?: number
  /** How long one operation waits for the cache, in milliseconds, before it goes on without it. 100 by default. */
  readonly cacheTimeout?: number
}

/**
 * A cache in front of a database, made of any two stores: a session that was read lately costs the database nothing.
 *
 * A write is done in the database first, then in the cache. Whatever was acknowledged is seen by every later load in every process,
 * also if the cache forgets entries at any moment. **Up to `cacheFor` old** can be what is loaded, logouts included, only
 *
 * - after a write whose second half did not reach the cache: the cache failed just then, or the process died in between;
 * - for a session that another request logged in while all sessions of its user were being destroyed.
 *
 * To this adds how far apart the clocks of the processes are. Writes are not affected: they compare with the database. Nor is the
 * end of a session by its timeouts: the database is asked.
 * Without the cache everything works, at the speed of the database and at most `cacheTimeout` slower, once a second. Each failure of the
 * cache is an `error` event, and reaches no request.
 *
 * A session is put into the cache when it is first loaded. Lists, scans and sweeps are the database's; a new session, a
 * touch and a `fresh` load go past the cache, which drops what it then turns out to have missed. The cache's entries have keys that begin with `cached:`.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { layeredStore } from 'holdfast/stores/layered'
 * import { memoryStore } from 'holdfast/stores/memory'
 * import { sqliteStore } from 'holdfast/stores/sql'
 *
 * const store = layeredStore({ cache: memoryStore({ maxSessions: 50_000 }), database: sqliteStore('./sessions.db') })
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store })
 * ```
 *
 * @throws TypeError if the cache cannot compare and set, or a duration is not a positive number. Operations throw what the database throws.
 */
export function layeredStore(options: LayeredStoreOptions): Store {
  const { cache, database, cacheFor = 60_000, cacheTimeout = 100, ...unknown } = options
  refuseRest('layeredStore', unknown, 'cache, database, cacheFor, cacheTimeout')
  if (!cache?.compareAndSet) {
    throw new TypeError(
      'layeredStore: the cache must be a store that compares and sets (memory, Redis, Memcached, …)',
    )
  }
  if (typeof database?.load !== 'function') throw new TypeError('layeredStore: the database must be a store')
  for (const [name, value] of Object.entries({ cacheFor, cacheTimeout })) {
    if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value)) {
      throw new TypeError(`layeredStore: ${name} is ${value}; it must be a positive number of milliseconds`)
    }
  }
  return new LayeredStore(cache, database, Math.ceil(cacheFor), cacheTimeout)
}

/** Who holds a lease longer has died, or waits for so slow a database that it may as well be asked again. */
const LEASE_MS = 10_000

/** A read that takes longer is waited for by those who began with it, and by nobody else: it may never be answered. */
const FLIGHT_MS = 1_000

/** So many entries are taken out of the cache at once when the sessions of a user are destroyed. */
const PARALLEL = 50

type Found = StoredRecord | Tombstone | undefined

/** A read of the database for all who wait for the same session. */
interface Flight {
  /** When the database was asked, on the scale of `#moment`. Who came later must not be answered with what was true before. */
  began: number
  readonly result: Promise<Found>
  /** When the cache has it too, or that has taken too long. Never rejects. */
  readonly settled: Promise<void>
}

/** The argument that this is right is in docs/decisions/016-layered.md. */
class LayeredStore implements Store {
  readonly name = 'layered'
  readonly compareAndSet: boolean
  readonly inProcess: boolean
  readonly users?: SessionIndex
  readonly externalIds?: SessionIndex
  readonly scan?: (cursor: string | undefined, limit: number) => Promise<Page>
  readonly sweep?: (now: number, limit: number) => Promise<number>

  /** The database's. What forgets, or belongs to one process, is right for a cache. */
  readonly check?: NonNullable<Store['check']>

  readonly #store: Store
  readonly #database: Store
  readonly #cacheFor: number
  readonly #cache: CacheGuard
  readonly #reports: StoreReport[] = []
  readonly #flights = new Map<string, Flight>()
  #moment = 0

  constructor(cache: Store, database: Store, cacheFor: number, cacheTimeout: number) {
    this.compareAndSet = database.compareAndSet
    this.inProcess = (cache.inProcess ?? false) && (database.inProcess ?? false)
    this.#store = cache
    this.#database = database
    this.#cacheFor = cacheFor
    this.#cache = new CacheGuard(cache, cacheTimeout, (operation, error) => this.#report(operation, error))
    if (database.users) this.users = this.#sessionIndex(database.users)
    if (database.externalIds) this.externalIds = this.#sessionIndex(database.externalIds)
    if (database.scan) this.scan = database.scan.bind(database)
    if (database.check) this.check = database.check.bind(database)
    if (database.sweep) this.sweep = this.#sweepWith(database.sweep.bind(database))
  }

  reportTo(report: StoreReport): void {
    this.#reports.push(report)
    this.#store.reportTo?.(report)
    this.#database.reportTo?.(report)
  }

  #report(operation: string, error: Error): void {
    for (const report of this.#reports) report(operation, error)
  }

  async load(key: string, options?: LoadOptions): Promise<Found> {
    if (options?.fresh) return this.#loadPastCache(key, options)
    const arrived = ++this.#moment
    for (;;) {
      const entry = await this.#cache.ask('load', (cache) => cache.load(cacheKey(key)))
      const cached = this.#usable(entry)
      if (cached) return cached
      const flight = this.#flights.get(key) ?? this.#fly(key, entry)
      if (flight.began > arrived) {
        const found = await flight.result
        return found && { ...found }
      }
      await flight.settled
    }
  }

  /**
   * It also tells the cache what it has missed: a write whose answer was lost, or that a driver has sent twice, is known for done only by such
   * a read, and whoever hears then that it is done must not be shown what was there before.
   */
  async #loadPastCache(key: string, options: LoadOptions): Promise<Found> {
    const found = await this.#database.load(key, options)
    const rev = found === undefined || isTombstone(found) ? undefined : found.rev
    await this.#change('load', key, (cache) => this.#forget(cache, key, rev))
    return found
  }

  /**
   * Not in the cache: a slow process could put it there after another had destroyed it. The first load does, and most
   * sessions of those that never come back need not be there at all.
   */
  create(key: string, record: StoredRecord, options?: WriteOptions): Promise<boolean> {
    return this.#database.create(key, record, options)
  }

  async update(
    key: string,
    record: StoredRecord,
    expectedRev: string,
    options?: WriteOptions,
  ): Promise<UpdateResult> {
    const since = Date.now()
    const result = await this.#database.update(key, record, expectedRev, options)
    if (result === 'ok') {
      const entry = copyEntry(record, since, this.#cacheFor)
      await this.#change('update', key, async (cache) => {
        const replaced = await cache.update(cacheKey(key), entry, expectedRev)
        if (replaced === 'conflict') await this.#forget(cache, key, record.rev)
      })
    } else if (result === 'gone') {
      await this.#end(key)
    }
    return result
  }

  /**
   * The database each time: the core asks for it only when an interval has passed, and what the database does not know it sweeps. The cache
   * forgets its entry, since a touch does not say which revision it moved, and so cannot be repeated there.
   */
  async touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    const isThere = await this.#database.touch(key, lastSeen, expires)
    if (isThere) await this.#change('touch', key, (cache) => this.#forget(cache, key))
    else await this.#end(key)
    return isThere
  }

  async destroy(key: string, until: number, options?: WriteOptions): Promise<boolean> {
    try {
      return await this.#database.destroy(key, until, options)
    } finally {
      // Also if that failed: it may be done all the same, and whoever asks for it again by user finds it no more.
      await this.#end(key)
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#flights.values()].map((flight) => flight.settled))
    const closings = [this.#store, this.#database].map(async (store) => store.close?.())
    for (const closing of await Promise.allSettled(closings)) {
      if (closing.status === 'rejected') throw closing.reason
    }
  }

  /** What cannot be read, having been written by another version perhaps, is replaced as what is too old, or over. */
  #usable(entry: Found | typeof NO_ANSWER): StoredRecord | undefined {
    if (entry === NO_ANSWER || entry === undefined || isTombstone(entry) || isLease(entry)) return undefined
    const now = Date.now()
    if (ageOf(entry, now) >= this.#cacheFor) return undefined
    try {
      const record = recordIn(entry)
      // It may have missed the write that kept the session alive.
      return now < record.expires ? record : undefined
    } catch (error) {
      this.#report('load', error as Error)
      return undefined
    }
  }

  #fly(key: string, entry: Found | typeof NO_ANSWER): Flight {
    let held: Entry | undefined
    const read = async () => {
      held = await this.#takeLease(key, entry)
      flight.began = ++this.#moment
      return this.#database.load(key, { fresh: true })
    }
    const fill = async (found: Found) => {
      if (held === undefined || found === undefined || isTombstone(found)) return
      const { rev, lastSeen: since } = held
      const copy = copyEntry(found, since, this.#cacheFor)
      await this.#change('update', key, (cache) => cache.update(cacheKey(key), copy, rev))
    }
    const result = read()
    const settled = atMost(
      FLIGHT_MS,
      result.then(fill, () => undefined),
    ).then(() => void this.#flights.delete(key))
    const flight: Flight = { began: Number.POSITIVE_INFINITY, result, settled }
    this.#flights.set(key, flight)
    return flight
  }

  /** The right to put a copy of what the database is going to say: lost as soon as the entry is changed by anybody, or forgotten. */
  async #takeLease(key: string, found: Found | typeof NO_ANSWER): Promise<Entry | undefined> {
    if (found === NO_ANSWER || isTombstone(found)) return undefined
    const now = Date.now()
    if (found && isLease(found) && ageOf(found, now) < Math.min(LEASE_MS, this.#cacheFor)) return undefined
    const wanted = lease(now, this.#cacheFor)
    const taken = await this.#cache.ask('create', async (cache) =>
      found === undefined
        ? cache.create(cacheKey(key), wanted)
        : (await cache.update(cacheKey(key), wanted, found.rev)) === 'ok',
    )
    return taken === true ? wanted : undefined
  }

  /** Ends a copy and a lease alike. Where neither is, nothing has to be ended. */
  async #forget(cache: Store, key: string, exceptRev?: string): Promise<void> {
    for (;;) {
      const found = await cache.load(cacheKey(key), { fresh: true })
      if (found === undefined || isTombstone(found) || isNoEntry(found) || found.rev === exceptRev) return
      const nothing = noEntry(Date.now(), this.#cacheFor)
      if ((await cache.update(cacheKey(key), nothing, found.rev)) !== 'conflict') return
    }
  }

  /** No fill gets past a tombstone; that of the cache need not last, since it also has ended every lease. */
  async #end(key: string): Promise<void> {
    await this.#cache.ask('destroy', (cache) => cache.destroy(cacheKey(key), Date.now() + this.#cacheFor))
  }

  /** A change that the cache refuses, being full or the session too large for it, must at least end the copy that is there. */
  async #change(operation: string, key: string, work: (cache: Store) => Promise<unknown>): Promise<void> {
    await this.#cache.ask(operation, async (cache) => {
      try {
        await work(cache)
      } catch (error) {
        await cache.destroy(cacheKey(key), Date.now() + this.#cacheFor)
        this.#report(operation, error as Error)
      }
    })
  }

  #sessionIndex(index: SessionIndex): SessionIndex {
    return {
      list: (value, page) => index.list(value, page),
      destroy: async (value, until, options) => {
        const keys = (await keysOf(index, value)).filter((key) => key !== options?.except)
        try {
          return await index.destroy(value, until, options)
        } finally {
          // Also if that failed: what is done all the same, nothing lists any more for whoever asks for it again.
          for (let at = 0; at < keys.length; at += PARALLEL) {
            await Promise.all(keys.slice(at, at + PARALLEL).map((key) => this.#end(key)))
          }
        }
      },
    }
  }

  /** A cache that needs sweeping is swept too: entries have their own expiry, by the clock of this process. */
  #sweepWith(sweepDatabase: NonNullable<Store['sweep']>): NonNullable<Store['sweep']> {
    return async (now, limit) => {
      const sweepCache = async () => this.#store.sweep?.(Date.now(), limit)
      const [removed] = await Promise.all([
        sweepDatabase(now, limit),
        sweepCache().catch((error: Error) => this.#report('sweep', error)),
      ])
      return removed
    }
  }
}

function cacheKey(key: string): string {
  return `cached:${key}`
}

async function keysOf(index: SessionIndex, value: string): Promise<string[]> {
  const keys: string[] = []
  let cursor: string | undefined
  do {
    const page = await index.list(value, { cursor })
    for (const [key] of page.items) keys.push(key)
    cursor = page.cursor
  } while (cursor !== undefined)
  return keys
}

/** Resolves with `work`, and after so many milliseconds at the latest. */
function atMost(milliseconds: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds)
    void work.finally(() => clearTimeout(timer)).then(resolve)
  })
}
