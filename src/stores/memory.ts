import cluster from 'node:cluster'
import { setImmediate } from 'node:timers/promises'
import {
  type Finding,
  isTombstone,
  type Page,
  type SessionIndex,
  type Store,
  type StoredRecord,
  type Tombstone,
  type UpdateResult,
} from '../store.ts'
import { refuseRest } from './passed.ts'

/** How large a `memoryStore` may become. */
export interface MemoryStoreOptions {
  /**
   * The most sessions that are kept, destroyed ones included until they are swept. 1,000,000 by default; `Infinity`
   * for as many as the heap takes.
   */
  readonly maxSessions?: number
}

/**
 * Keeps sessions in this process: for one process that may forget everybody when it ends, and for tests.
 *
 * Bounded, and never at the cost of a live session: when it is full, `create` collects what has expired, at most once a
 * second, and throws a `StoreFullError` if there is no room then. A session costs some 200 bytes beside its key and text, and 100 more with
 * a user. It starts no timer: expired sessions go when `sweep` is called.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { memoryStore } from 'holdfast/stores/memory'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: memoryStore({ maxSessions: 50_000 }) })
 * ```
 *
 * @throws RangeError if `maxSessions` is not a number from 1 up.
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  const { maxSessions = 1_000_000, ...unknown } = options
  refuseRest('memoryStore', unknown, 'maxSessions')
  return new MemoryStore(maxSessions)
}

/** Thrown by `create` of a memory store that holds `maxSessions` sessions and found none of them expired. */
export class StoreFullError extends Error {
  override readonly name = 'StoreFullError'
  readonly maxSessions: number
  readonly retryable = false

  constructor(maxSessions: number) {
    super(
      `The memory store is full: it holds ${maxSessions} sessions, and none that has expired. ` +
        'Raise memoryStore({ maxSessions }), shorten the lifetime of anonymous sessions, or keep sessions in a database.',
    )
    this.maxSessions = maxSessions
  }
}

export type { MemoryStore }

/**
 * One big Map stops the process for tens of milliseconds each time it grows, and cannot be walked in slices while it
 * changes. Many small ones can: each holds, for its share of the keys, the sessions and who they belong to.
 */
const SHARDS = 1024

/** A full store searches for expired sessions at most this often. */
const SEARCH_EVERY_MS = 1000

/** What `memoryStore` makes. */
class MemoryStore implements Store {
  readonly name = 'memory'
  readonly compareAndSet = true
  readonly inProcess = true
  readonly users: SessionIndex = this.#sessionIndex((shard) => shard.users)
  readonly externalIds: SessionIndex = this.#sessionIndex((shard) => shard.externalIds)

  readonly #maxSessions: number
  readonly #shards: readonly Shard[] = Array.from({ length: SHARDS }, () => new Shard())
  #size = 0
  /** Where the next sweep goes on, so that each shard gets its turn however small the limit is. */
  #nextToSweep = 0
  #search: Promise<number> | undefined
  #searchAgainAt = 0

  constructor(maxSessions: number) {
    if (typeof maxSessions !== 'number' || !(maxSessions >= 1)) {
      throw new RangeError(`memoryStore: maxSessions is ${maxSessions}; it must be a number from 1 up`)
    }
    this.#maxSessions = maxSessions
  }

  async load(key: string): Promise<StoredRecord | Tombstone | undefined> {
    const found = this.#shardOf(key).kept.get(key)
    if (found === undefined) return undefined
    return isTombstone(found) ? { ...found } : copy(found)
  }

  async create(key: string, record: StoredRecord): Promise<boolean> {
    const shard = this.#shardOf(key)
    if (shard.kept.has(key)) return false
    if (this.#size >= this.#maxSessions) {
      await this.#collectExpired()
      if (shard.kept.has(key)) return false
      if (this.#size >= this.#maxSessions) throw new StoreFullError(this.#maxSessions)
    }
    shard.put(key, copy(joined(record)))
    this.#size++
    return true
  }

  async update(key: string, record: StoredRecord, expectedRev: string): Promise<UpdateResult> {
    const shard = this.#shardOf(key)
    const found = shard.record(key)
    if (found === undefined) return 'gone'
    if (found.rev !== expectedRev) return 'conflict'
    shard.put(key, copy(joined(record)))
    return 'ok'
  }

  async touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    const shard = this.#shardOf(key)
    const found = shard.record(key)
    if (found === undefined) return false
    shard.put(key, copy(found, Math.max(found.lastSeen, lastSeen), Math.max(found.expires, expires)))
    return true
  }

  async destroy(key: string, until: number): Promise<boolean> {
    return this.#shardOf(key).destroy(key, until)
  }

  async scan(cursor: string | undefined, limit: number): Promise<Page> {
    return this.#page((shard) => shard.kept.keys(), cursor, limit)
  }

  async sweep(now: number, limit: number): Promise<number> {
    const slice = new Slice()
    let removed = 0
    let at = this.#nextToSweep
    for (let visited = 0; visited < SHARDS && removed < limit; visited++) {
      if (slice.isOver()) await slice.next()
      const fromThisOne = this.#shard(at).removeExpired(now, limit - removed)
      this.#size -= fromThisOne
      removed += fromThisOne
      if (removed < limit) at = (at + 1) % SHARDS
    }
    this.#nextToSweep = at
    return removed
  }

  async check(): Promise<readonly Finding[]> {
    const cure =
      'Keep sessions in a store that processes share: files or SQLite on one machine, Redis or a database on several.'
    if (cluster.isWorker || Number(process.env.WEB_CONCURRENCY) > 1) {
      return [
        {
          id: 'memory.several-processes',
          severity: 'error',
          finding:
            'Each of several processes keeps sessions in its own memory, so a visitor is logged in at one of them and unknown at the next.',
          cure,
        },
      ]
    }
    if (process.env.NODE_ENV !== 'production') return []
    return [
      {
        id: 'memory.production',
        severity: 'warning',
        finding:
          'Sessions are kept in the memory of this process: a restart or a deployment logs everybody out.',
        cure,
      },
    ]
  }

  #sessionIndex(keysOf: (shard: Shard) => KeysByValue): SessionIndex {
    return {
      list: async (value, { cursor, limit = 100 } = {}) =>
        this.#page((shard) => keysOf(shard).get(value), cursor, limit),
      destroy: async (value, until, { except } = {}) => {
        const slice = new Slice()
        let destroyed = 0
        for (const shard of this.#shards) {
          if (slice.isOver()) await slice.next()
          for (const key of [...keysOf(shard).get(value)]) {
            if (key !== except && shard.destroy(key, until)) destroyed++
          }
        }
        return destroyed
      },
    }
  }

  /** Shard by shard and in the order of the keys, so that a page starts at the right place whatever has changed meanwhile. */
  async #page(
    keysIn: (shard: Shard) => Iterable<string>,
    cursor: string | undefined,
    limit: number,
  ): Promise<Page> {
    const slice = new Slice()
    const items: [string, StoredRecord][] = []
    let { at, after } = parseCursor(cursor)
    for (; at < SHARDS; at++) {
      if (slice.isOver()) await slice.next()
      const shard = this.#shard(at)
      const keys = [...keysIn(shard)].filter((key) => key > after).sort()
      for (const key of keys) {
        const found = shard.record(key)
        if (found === undefined) continue
        if (items.length === limit) return { items, cursor: `${at}/${after}` }
        items.push([key, copy(found)])
        after = key
      }
      after = ''
    }
    return { items }
  }

  /** One search at a time, for all who wait for room, and not too often: a full store must not spend its life searching. */
  async #collectExpired(): Promise<void> {
    if (performance.now() < this.#searchAgainAt) return
    this.#search ??= this.sweep(Date.now(), Number.POSITIVE_INFINITY).finally(() => {
      this.#search = undefined
      this.#searchAgainAt = performance.now() + SEARCH_EVERY_MS
    })
    await this.#search
  }

  #shardOf(key: string): Shard {
    return this.#shard(hash(key) % SHARDS)
  }

  #shard(number: number): Shard {
    return this.#shards[number] as Shard
  }
}

/** The sessions whose keys fall here, and the indexes over them. */
class Shard {
  readonly kept = new Map<string, StoredRecord | Tombstone>()
  readonly users = new KeysByValue()
  readonly externalIds = new KeysByValue()

  record(key: string): StoredRecord | undefined {
    const found = this.kept.get(key)
    return isTombstone(found) ? undefined : found
  }

  put(key: string, record: StoredRecord): void {
    const before = this.record(key)
    this.kept.set(key, record)
    this.users.move(key, before?.user, record.user)
    this.externalIds.move(key, before?.externalId, record.externalId)
  }

  destroy(key: string, until: number): boolean {
    if (this.record(key) === undefined) return false
    this.#unlist(key)
    this.kept.set(key, { destroyedUntil: until })
    return true
  }

  removeExpired(now: number, limit: number): number {
    let removed = 0
    for (const [key, found] of this.kept) {
      if (removed === limit) break
      if ((isTombstone(found) ? found.destroyedUntil : found.expires) > now) continue
      this.#unlist(key)
      this.kept.delete(key)
      removed++
    }
    return removed
  }

  #unlist(key: string): void {
    const found = this.record(key)
    this.users.move(key, found?.user, undefined)
    this.externalIds.move(key, found?.externalId, undefined)
  }
}

/** The keys that carry a value. Most values have one key in a shard, and a Set of one would cost more than the session. */
class KeysByValue {
  // Most shards of most stores never see an external id.
  #keys: Map<string, string | Set<string>> | undefined

  get(value: string): Iterable<string> {
    const keys = this.#keys?.get(value) ?? []
    return typeof keys === 'string' ? [keys] : keys
  }

  move(key: string, from: string | undefined, to: string | undefined): void {
    if (from === to) return
    if (from !== undefined) this.#remove(from, key)
    if (to !== undefined) this.#add(to, key)
  }

  #add(value: string, key: string): void {
    this.#keys ??= new Map()
    const others = this.#keys.get(value)
    if (others === undefined) this.#keys.set(value, key)
    else if (typeof others === 'string') this.#keys.set(value, new Set([others, key]))
    else others.add(key)
  }

  #remove(value: string, key: string): void {
    const keys = this.#keys?.get(value)
    if (keys instanceof Set) keys.delete(key)
    if (keys === key || (keys instanceof Set && keys.size === 0)) this.#keys?.delete(value)
  }
}

/** A stretch of work after which the event loop gets its turn. */
class Slice {
  static readonly ms = 2
  #began = performance.now()

  isOver(): boolean {
    return performance.now() - this.#began > Slice.ms
  }

  async next(): Promise<void> {
    await setImmediate()
    this.#began = performance.now()
  }
}

/** Field by field: all that is kept has one shape, the smallest, and nobody else holds it. */
function copy(record: StoredRecord, lastSeen = record.lastSeen, expires = record.expires): StoredRecord {
  const { rev, text, user, externalId } = record
  return { rev, text, user, externalId, lastSeen, expires }
}

/** V8 keeps a concatenated string in pieces, at two to three times the bytes, until a character of it is read. */
function joined(record: StoredRecord): StoredRecord {
  record.rev.charCodeAt(0)
  record.text.charCodeAt(0)
  record.user?.charCodeAt(0)
  record.externalId?.charCodeAt(0)
  return record
}

/** FNV-1a, over the whole key: ours end in random characters, but others' need not. */
function hash(key: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193)
  return h >>> 0
}

/** The number of a shard, and the key in it after which the page starts. */
function parseCursor(cursor = '0/'): { at: number; after: string } {
  const [, at, after] = /^(\d{1,4})\/(.*)$/s.exec(cursor) ?? []
  if (at === undefined || after === undefined) {
    throw new RangeError(
      `"${cursor}" is not a cursor of the memory store: pass on the one of the page before`,
    )
  }
  return { at: Number(at), after }
}
