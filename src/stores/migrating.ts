import { randomBytes } from 'node:crypto'
import {
  type Finding,
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
import { type DrainOptions, type DrainProgress, drain } from './migrating/drain.ts'
import { copyOf, endedCopyOf, isCopy, isEndedCopy, isSeal, originalOf, sealOf } from './migrating/stages.ts'
import { refuseRest } from './passed.ts'
import { StoreError } from './store-error.ts'

/** From where to where, and whether sessions move yet. */
export interface MigratingStoreOptions {
  /** Where sessions have been so far. */
  readonly from: Store
  /** Where they are to be. Nothing but what comes from here may be in it: another store is not to be merged. */
  readonly to: Store
  /**
   * False: sessions stay in `from`, new ones too; those that another instance has moved are used where they are. For the first of two
   * deployments, see `migratingStore`. True by default.
   */
  readonly moves?: boolean
}

/**
 * Moves a live site from one store to another, and logs nobody out. New sessions are made in `to`; an old one moves when it is next
 * loaded, changed or listed; `drain` moves the rest. When that is done, and no instance uses `from` any more, put `to` in the place of this store.
 *
 * Any number of instances may do so at once, drains too, and be killed at any moment: no session is lost, none revived, none in two states.
 *
 * While some instances still use `from` alone, as in a rolling deployment, what they write before a session moves moves with it, and what they
 * would write after is refused as for a session that has ended. But they do take a session that has moved for ended: **they log its user out**,
 * their logouts and their logouts of all sessions of a user do not reach it, and what they create meanwhile moves only when it is seen.
 * Where that matters, deploy twice: first with `moves: false` everywhere, then without. Then all of this works throughout; only a touch by an
 * instance that does not move yet can be lost, if the session moves in the same moment.
 *
 * When `from` is empty it behaves as `to`, plus one read for what is not in `to`, for a creation and for a list, and one of `to` for a touch or a destruction.
 * Users and external ids can be looked up if both stores can, and sessions scanned if both can; in doing so, they move.
 * `sweep` is there if `to` needs it, and sweeps both.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { fileStore } from 'holdfast/stores/file'
 * import { migratingStore } from 'holdfast/stores/migrating'
 * import { sqliteStore } from 'holdfast/stores/sql'
 *
 * const store = migratingStore({ from: sqliteStore('./sessions.db'), to: fileStore('./sessions') })
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store })
 * await store.drain({ count: true, onProgress: ({ seen, total }) => console.log(`${seen} of ${total}`) })
 * ```
 *
 * @throws TypeError if one of the two is not a store, or both are the same. Operations throw what the two stores throw, and StoreError where what
 * they find shows that both are one store under two names, or that the two are the wrong way round.
 */
export function migratingStore(options: MigratingStoreOptions): MigratingStore {
  const { from, to, moves = true, ...unknown } = options
  refuseRest('migratingStore', unknown, 'from, to, moves')
  for (const [name, store] of Object.entries({ from, to })) {
    if (typeof store?.load !== 'function') throw new TypeError(`migratingStore: \`${name}\` must be a store`)
  }
  if (from === to) throw new TypeError('migratingStore: `from` and `to` must be two stores')
  return new MigratingStore(from, to, moves)
}

export type { DrainOptions, DrainProgress, MigratingStore }

type Found = StoredRecord | Tombstone | undefined

/** Where a session is to be read and written, and what is there; never a stage of a move. */
interface Home {
  readonly store: Store
  readonly found: Found
  /** It was moved just now, by this call. */
  readonly moved?: true
}

/** For what is given up in the old store next: what the new one forgot in a crash would be gone. */
const SAFE = { durable: true }

/** No manager has a name that begins so. */
const MARK = '_apart:'
/** The end of time for a mark: no tombstone of it is of use. */
const LONG_AGO = 1
const MARK_LASTS = 10 * 60_000

/** The argument that this is right is in docs/decisions/017-migrating.md. */
class MigratingStore implements Store {
  readonly name = 'migrating'
  readonly compareAndSet: boolean
  readonly inProcess: boolean
  readonly users?: SessionIndex
  readonly externalIds?: SessionIndex
  readonly scan?: (cursor: string | undefined, limit: number) => Promise<Page>
  readonly sweep?: (now: number, limit: number) => Promise<number>

  readonly #from: Store
  readonly #to: Store
  readonly #moves: boolean
  #known: Promise<void> | undefined

  constructor(from: Store, to: Store, moves: boolean) {
    this.#from = from
    this.#to = to
    this.#moves = moves
    this.inProcess = (from.inProcess ?? false) && (to.inProcess ?? false)
    // Who moves writes sessions in `to` only.
    this.compareAndSet = to.compareAndSet && (moves || from.compareAndSet)
    if (from.users && to.users) this.users = this.#sessionIndex(from.users, to.users)
    if (from.externalIds && to.externalIds) {
      this.externalIds = this.#sessionIndex(from.externalIds, to.externalIds)
    }
    if (from.scan && to.scan) {
      const [here, there] = [from.scan.bind(from), to.scan.bind(to)]
      this.scan = (cursor, limit) =>
        this.#page(
          cursor,
          (at) => here(at, limit),
          (at) => there(at, limit),
        )
    }
    if (to.sweep) {
      const sweepTo = to.sweep.bind(to)
      this.sweep = async (now, limit) => {
        const removed = await sweepTo(now, limit)
        if (removed >= limit || !from.sweep) return removed
        return removed + (await from.sweep(now, limit - removed))
      }
    }
  }

  reportTo(report: StoreReport): void {
    this.#from.reportTo?.(report)
    this.#to.reportTo?.(report)
  }

  async check(now: () => number): Promise<readonly Finding[]> {
    const checks = [this.#from, this.#to].map(async (store) => (await store.check?.(now)) ?? [])
    return (await Promise.all(checks)).flat()
  }

  async load(key: string, options?: LoadOptions): Promise<Found> {
    return (await this.#home(key, options)).found
  }

  async create(key: string, record: StoredRecord, options?: WriteOptions): Promise<boolean> {
    const [store, other] = this.#moves ? [this.#to, this.#from] : [this.#from, this.#to]
    if ((await other.load(key, { fresh: true })) !== undefined) return false
    return store.create(key, record, options)
  }

  async update(
    key: string,
    record: StoredRecord,
    expectedRev: string,
    options?: WriteOptions,
  ): Promise<UpdateResult> {
    // Most sessions have moved. No stage of a move has a revision that anybody expects.
    if (this.#moves && (await this.#to.update(key, record, expectedRev, options)) === 'ok') return 'ok'
    for (;;) {
      const { store, found } = await this.#home(key, { fresh: true })
      if (found === undefined || isTombstone(found)) return 'gone'
      if (found.rev !== expectedRev) return 'conflict'
      if ((await store.update(key, record, expectedRev, options)) === 'ok') return 'ok'
    }
  }

  /** Looks first: a copy must not be touched, since what becomes of it has the times that it was made with. */
  async touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    for (;;) {
      const { store, found } = await this.#home(key, { fresh: true })
      if (found === undefined || isTombstone(found)) return false
      if (await store.touch(key, lastSeen, expires)) return true
    }
  }

  /** Ends what is at home, until nothing is: from where it is not moved by this instance, it may be moved by another meanwhile. */
  async destroy(key: string, until: number, options?: WriteOptions): Promise<boolean> {
    for (let wasThere = false; ; ) {
      const { store, found } = await this.#home(key, { fresh: true, ...options })
      if (found === undefined || isTombstone(found)) return wasThere
      if (await store.destroy(key, until, options)) wasThere = true
      if (store === this.#to) return wasThere
    }
  }

  /**
   * Moves all that is in `from`, beside live traffic and other drains. To resume one that was stopped, start again: what has moved is not met any more.
   * When one is done and no instance writes to `from`, then `from` is empty. After an error, too, nothing is under way any more, unless a store did not answer.
   *
   * @throws StoreError if `from` cannot list its sessions (they still move when they are next seen), this store does not move, or a batch
   * takes longer than `timeout`; what the two stores throw, after the batch in which they did and its progress, but for single refusals.
   */
  async drain(options: DrainOptions = {}): Promise<DrainProgress> {
    if (!this.#moves) {
      const problem = 'it was opened with { moves: false }, or moves=false in its URL. Open it without.'
      throw new StoreError(this.name, 'drain', problem, { retryable: false })
    }
    return drain(this.#from, (item) => this.#move(item), options)
  }

  async close(): Promise<void> {
    const closings = [this.#from, this.#to].map(async (store) => store.close?.())
    for (const closing of await Promise.allSettled(closings)) {
      if (closing.status === 'rejected') throw closing.reason
    }
  }

  async #home(key: string, { fresh, durable }: LoadOptions & WriteOptions = {}): Promise<Home> {
    const [from, to] = [this.#from, this.#to]
    let there = await to.load(key, fresh ? { fresh } : undefined)
    for (;;) {
      if (isEndedCopy(there)) {
        await to.destroy(key, there.expires)
      } else if (isSeal(there)) {
        const problem = 'the new store has sessions that were moving to the old one. Exchange `from` and `to`'
        throw new StoreError(this.name, 'load', problem, { retryable: false })
      } else if (there !== undefined && !isCopy(there)) {
        return { store: to, found: there }
      } else {
        // Always fresh: a replica that lags would let us seal, and fail to, for as long as it does.
        const here = await from.load(key, { fresh: true })
        if (here !== undefined && !isTombstone(here) && !isSeal(here)) {
          if (!this.#moves) return { store: from, found: here }
          const moved = await this.#carryOver(key, here, there, durable)
          if (moved) return { store: to, found: moved, moved: true }
        } else if (there !== undefined) {
          const moved = isSeal(here) ? await this.#finish(key, there, durable) : undefined
          if (moved) return { store: to, found: moved, moved: true }
          if (!isSeal(here)) await this.#endCopy(key, there, here?.destroyedUntil)
        } else if (here === undefined) {
          return { store: to, found: undefined }
        } else if ((await to.load(key, { fresh: true })) === undefined) {
          // Not moved between the two reads, then, but ended here; or forgotten there.
          return { store: to, found: isTombstone(here) ? here : undefined }
        }
      }
      there = await to.load(key, { fresh: true })
    }
  }

  /** Copies, seals, makes the copy the session. Undefined if somebody was faster in any of it. */
  async #carryOver(
    key: string,
    here: StoredRecord,
    there: StoredRecord | undefined,
    durable: boolean | undefined,
  ): Promise<StoredRecord | undefined> {
    const copy = await this.#copy(key, here, there)
    if (copy === undefined) return undefined
    if ((await this.#from.update(key, sealOf(here), here.rev, { durable })) !== 'ok') return undefined
    return this.#finish(key, copy, durable)
  }

  /** A copy in `to` of what was found in `from`: that of somebody who was interrupted, if it is as good. */
  async #copy(
    key: string,
    here: StoredRecord,
    there: StoredRecord | undefined,
  ): Promise<StoredRecord | undefined> {
    const copy = copyOf(here)
    if (there === undefined) return (await this.#to.create(key, copy, SAFE)) ? copy : undefined
    const { rev, lastSeen, expires } = originalOf(there)
    if (rev === here.rev && lastSeen === here.lastSeen && expires === here.expires) return there
    return (await this.#to.update(key, copy, there.rev, SAFE)) === 'ok' ? copy : undefined
  }

  /** Only once the session is sealed; and only then is the seal made a tombstone, which with a copy would mean that the session has ended. */
  async #finish(
    key: string,
    copy: StoredRecord,
    durable: boolean | undefined,
  ): Promise<StoredRecord | undefined> {
    const record = originalOf(copy)
    if ((await this.#to.update(key, record, copy.rev, SAFE)) !== 'ok') return undefined
    await this.#from.destroy(key, record.expires, { durable })
    return record
  }

  /** By its revision first: it may have become the session a moment ago. */
  async #endCopy(key: string, copy: StoredRecord, until = copy.expires): Promise<void> {
    if ((await this.#to.update(key, endedCopyOf(copy), copy.rev)) === 'ok') await this.#to.destroy(key, until)
  }

  /**
   * Moves what was listed in `from`, or finishes a move that was begun; whether this call did. What is left in `from` of one that has moved
   * or ended, by somebody who was interrupted or since `to` has already forgotten what had expired, goes.
   */
  async #move([key, listed]: Page['items'][number]): Promise<boolean> {
    const { store, found, moved } = await this.#home(key, { fresh: true })
    if (moved) return true
    if (store === this.#to) {
      if (found !== undefined) await this.#apart()
      const last = found ?? listed
      await this.#from.destroy(key, isTombstone(last) ? last.destroyedUntil : last.expires)
    }
    return false
  }

  /** Two names of one server are not two stores, and what is left over in the old one would be the session itself. Looked at once. */
  #apart(): Promise<void> {
    this.#known ??= this.#lookApart().catch((error) => {
      this.#known = undefined
      throw error
    })
    return this.#known
  }

  async #lookApart(): Promise<void> {
    const key = MARK + randomBytes(15).toString('base64url')
    const now = Date.now()
    const mark = { rev: 'mark', text: '', lastSeen: now, expires: now + MARK_LASTS }
    await this.#to.create(key, mark)
    const found = await this.#from.load(key, { fresh: true })
    await this.#to.destroy(key, LONG_AGO)
    if (found === undefined) return
    const problem = '`from` and `to` are the same store, under two names. Give another `to`'
    throw new StoreError(this.name, 'drain', problem, { retryable: false })
  }

  #sessionIndex(from: SessionIndex, to: SessionIndex): SessionIndex {
    const moveAll = async (value: string) => {
      const keys: string[] = []
      let cursor: string | undefined
      do {
        const page = await from.list(value, { cursor })
        for (const item of page.items) {
          await this.#move(item)
          keys.push(item[0])
        }
        cursor = page.cursor
      } while (cursor !== undefined)
      return keys
    }
    return {
      list: (value, { cursor, limit } = {}) =>
        this.#page(
          cursor,
          (at) => from.list(value, { cursor: at, limit }),
          (at) => to.list(value, { cursor: at, limit }),
        ),
      destroy: async (value, until, options) => {
        const keys = await moveAll(value)
        if (this.#moves) return to.destroy(value, until, options)
        const ended = await from.destroy(value, until, options)
        // What was sealed meanwhile is a copy without its seal now, or a session in `to`.
        for (const key of keys) await this.#home(key, { fresh: true })
        return ended + (await to.destroy(value, until, options))
      },
    }
  }

  /**
   * First `from`, then `to`, since sessions move in that direction: none slips past. What is met in `from` moves, and so is found in `to`, once;
   * its pages are passed over. Without moving, a session that another instance moves meanwhile can be on two pages.
   */
  async #page(
    cursor: string | undefined,
    here: (cursor: string | undefined) => Promise<Page>,
    there: (cursor: string | undefined) => Promise<Page>,
  ): Promise<Page> {
    if (!cursor?.startsWith(THERE)) {
      const page = await here(cursor?.slice(HERE.length))
      const items: Page['items'][number][] = []
      for (const item of page.items) {
        if (this.#moves || isSeal(item[1])) await this.#move(item)
        else items.push(item)
      }
      if (page.cursor !== undefined) return { items, cursor: HERE + page.cursor }
      if (items.length > 0) return { items, cursor: THERE }
    }
    const page = await there(cursor?.startsWith(THERE) ? cursor.slice(THERE.length) || undefined : undefined)
    const items = (await Promise.all(page.items.map((item) => this.#finished(item)))).flat()
    return page.cursor === undefined ? { items } : { items, cursor: THERE + page.cursor }
  }

  /** The item if it is a session, or what its copy has come to if that is one in `to`. */
  async #finished(item: Page['items'][number]): Promise<Page['items']> {
    const [key, listed] = item
    if (!isCopy(listed)) return isEndedCopy(listed) ? [] : [item]
    const { store, found } = await this.#home(key, { fresh: true })
    return store === this.#to && found !== undefined && !isTombstone(found) ? [[key, found]] : []
  }
}

/** How the cursors of the two sides begin. */
const HERE = 'from:'
const THERE = 'to:'
