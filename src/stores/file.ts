import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import type {
  Finding,
  LoadOptions,
  Page,
  SessionIndex,
  Store,
  StoredRecord,
  Tombstone,
  UpdateResult,
  WriteOptions,
} from '../store.ts'
import { FOLDER_MODE, nameFor, shardOf } from './file/disk.ts'
import { IndexFolder } from './file/index-folder.ts'
import { SessionFiles } from './file/session-files.ts'
import {
  type Damage,
  DamagedFileError,
  endOf,
  isDamaged,
  isEnded,
  isLive,
  type LiveState,
  type State,
} from './file/state.ts'
import { lasting, passing, type Remedy, StoreError } from './store-error.ts'

/**
 * Keeps each session in a file of its own under `folder`: for one machine, and as many processes on it as you like.
 *
 * Processes need no lock: one that is killed or stopped holds up no other, and what was acknowledged stays. Every write reaches the
 * disk before it takes effect; `durable` waits for the folder's entry too. Files can be read with `cat`, and only by the user
 * that the process runs as. A file that has been spoilt is an error that names it, not an absent session; `destroy` ends it.
 *
 * The folder is made if it is absent. It must be on a file system that has hard links (nearly all but FAT), not on a
 * network drive that several machines write to. It starts no timer: expired sessions go when `sweep` is called.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { fileStore } from 'holdfast/stores/file'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: fileStore('./sessions') })
 * ```
 *
 * @throws StoreError if the folder cannot be made. All operations throw it if the disk is full, the folder has gone, …
 */
export function fileStore(folder: string): Store {
  if (typeof folder !== 'string' || folder === '') {
    throw new TypeError(`fileStore: the folder is ${JSON.stringify(folder)}; it must be a path`)
  }
  return new FileStore(resolve(folder))
}

/** The fields of a record that have an index. */
type Indexed = 'user' | 'externalId'
const INDEXED: readonly Indexed[] = ['user', 'externalId']

class FileStore implements Store {
  readonly name = 'file'
  readonly compareAndSet = true
  readonly users = this.#sessionIndex('user')
  readonly externalIds = this.#sessionIndex('externalId')

  readonly #folder: string
  readonly #files: SessionFiles
  readonly #indexes: Readonly<Record<Indexed, IndexFolder>>
  /** Where the next sweep goes on, so that each shard gets its turn however small the limit is. */
  #nextToSweep = ''

  constructor(folder: string) {
    this.#folder = folder
    const [sessions, users, externalIds] = ['sessions', 'users', 'external-ids'].map((name) =>
      join(folder, name),
    ) as [string, string, string]
    this.#files = new SessionFiles(sessions, {
      beforeChange: (name, from, to) => this.#enter(name, from, to),
      afterChange: async (name, from, to) => {
        await this.#enter(name, from, to)
        await this.#leave(name, from, to)
      },
    })
    this.#indexes = { user: new IndexFolder(users), externalId: new IndexFolder(externalIds) }
    try {
      for (const path of [sessions, users, externalIds])
        mkdirSync(path, { recursive: true, mode: FOLDER_MODE })
    } catch (error) {
      throw this.#explain('open', error)
    }
  }

  load(key: string, { fresh }: LoadOptions = {}): Promise<StoredRecord | Tombstone | undefined> {
    return this.#run('load', async () => {
      const name = nameFor(key)
      const found = await (fresh ? this.#files.readSettled(name) : this.#files.readIntact(name))
      if (isLive(found)) return found.record
      return found && { destroyedUntil: found.destroyedUntil }
    })
  }

  create(key: string, record: StoredRecord, { durable }: WriteOptions = {}): Promise<boolean> {
    return this.#run('create', async () => {
      const name = nameFor(key)
      const state = { id: randomUUID(), key, record }
      await this.#enter(name, undefined, state)
      const created = await this.#files.insert(name, state, durable)
      if (created) await this.#enter(name, undefined, state)
      else await this.#leave(name, state, undefined)
      return created
    })
  }

  update(
    key: string,
    record: StoredRecord,
    expectedRev: string,
    { durable }: WriteOptions = {},
  ): Promise<UpdateResult> {
    return this.#run('update', async () => {
      const name = nameFor(key)
      for (;;) {
        const found = await this.#files.readIntact(name)
        if (!isLive(found)) return 'gone'
        if (found.record.rev !== expectedRev) return 'conflict'
        const state = { id: randomUUID(), key, record }
        if (await this.#files.replace(name, found, state, durable)) return 'ok'
      }
    })
  }

  touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    return this.#run('touch', async () => {
      const name = nameFor(key)
      for (;;) {
        const found = await this.#files.readIntact(name)
        if (!isLive(found)) return false
        const { record } = found
        if (lastSeen <= record.lastSeen && expires <= record.expires) return true
        const touched = {
          ...record,
          lastSeen: Math.max(lastSeen, record.lastSeen),
          expires: Math.max(expires, record.expires),
        }
        const state = { id: randomUUID(), key, record: touched }
        if (await this.#files.replace(name, found, state)) return true
      }
    })
  }

  destroy(key: string, until: number, options: WriteOptions = {}): Promise<boolean> {
    return this.#run('destroy', () => this.#end(nameFor(key), until, options, () => true))
  }

  scan(cursor: string | undefined, limit: number): Promise<Page> {
    return this.#run('scan', () => this.#page(this.#namesAfter(cursor), limit, () => true))
  }

  sweep(now: number, limit: number): Promise<number> {
    return this.#run('sweep', async () => {
      let removed = 0
      for (const shard of startingAt(this.#nextToSweep, await this.#files.shards())) {
        this.#nextToSweep = shard
        const { names, leftovers } = await this.#files.list(shard)
        for (const leftover of leftovers) await this.#files.tidy(leftover)
        for (const name of names) {
          if (removed >= limit) return removed
          if (await this.#removeIfEnded(name, now)) removed++
        }
      }
      for (const field of INDEXED) await this.#indexes[field].collect((name) => this.#files.isThere(name))
      return removed
    })
  }

  check(): Promise<readonly Finding[]> {
    return this.#run('check', async () => {
      const { diskFindings } = await import('./disk-findings.ts')
      return diskFindings(join(this.#folder, 'sessions'))
    })
  }

  #sessionIndex(field: Indexed): SessionIndex {
    const operation = field === 'user' ? 'users' : 'externalIds'
    return {
      list: (value, { cursor, limit = 100 } = {}) =>
        this.#run(`${operation}.list`, async () => {
          const names = await this.#indexes[field].sessions(value)
          return this.#page(after(cursor, names), limit, (record) => record[field] === value)
        }),
      destroy: (value, until, { except, ...options } = {}) =>
        this.#run(`${operation}.destroy`, async () => {
          const spared = except === undefined ? undefined : nameFor(except)
          let destroyed = 0
          for (const name of await this.#indexes[field].sessions(value)) {
            if (name === spared) continue
            // A damaged file does not say whose it is; it may well be one of those that must not stay.
            const applies = (found: LiveState | Damage) => isDamaged(found) || found.record[field] === value
            if (await this.#end(name, until, options, applies)) destroyed++
          }
          return destroyed
        }),
    }
  }

  async #end(
    name: string,
    until: number,
    { durable }: WriteOptions,
    applies: (found: LiveState | Damage) => boolean,
  ): Promise<boolean> {
    for (;;) {
      const found = await this.#files.read(name)
      if (found === undefined || isEnded(found) || !applies(found)) return false
      const tombstone = { id: randomUUID(), destroyedUntil: until }
      if (await this.#files.replace(name, found, tombstone, durable)) return true
    }
  }

  /** What is damaged stays: nobody knows when it ends. */
  async #removeIfEnded(name: string, now: number): Promise<boolean> {
    if (!(await this.#files.mayHaveEnded(name, now))) return false
    for (;;) {
      const found = await this.#files.read(name)
      if (found === undefined || isDamaged(found) || endOf(found) > now) return false
      if (await this.#files.remove(name, found)) return true
    }
  }

  async *#namesAfter(cursor: string | undefined): AsyncGenerator<string> {
    for (const shard of await this.#files.shards()) {
      if (cursor !== undefined && shard < shardOf(cursor)) continue
      const { names } = await this.#files.list(shard)
      yield* after(cursor, names)
    }
  }

  async #page(
    names: Iterable<string> | AsyncIterable<string>,
    limit: number,
    wanted: (record: StoredRecord) => boolean,
  ): Promise<Page> {
    const items: [string, StoredRecord][] = []
    let last: string | undefined
    for await (const name of names) {
      const found = await this.#files.readIntact(name)
      if (!isLive(found) || !wanted(found.record)) continue
      if (items.length >= limit) return { items, cursor: last }
      items.push([found.key, found.record])
      last = name
    }
    return { items }
  }

  /** Enters what the new state carries and the old one does not. */
  async #enter(name: string, from: State | Damage | undefined, to: State | undefined): Promise<void> {
    for (const field of INDEXED) {
      const value = carried(to, field)
      if (value !== undefined && value !== carried(from, field)) await this.#indexes[field].add(value, name)
    }
  }

  /** Removes what the old state carries and the new one does not. */
  async #leave(name: string, from: State | Damage, to: State | undefined): Promise<void> {
    for (const field of INDEXED) {
      const value = carried(from, field)
      if (value === undefined || value === carried(to, field)) continue
      const isNeeded = async () => carried(await this.#files.read(name), field) === value
      await this.#indexes[field].remove(value, name, isNeeded)
    }
  }

  async #run<T>(operation: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw this.#explain(operation, error)
    }
  }

  #explain(operation: string, error: unknown): unknown {
    if (!(error instanceof Error) || !('code' in error || error instanceof DamagedFileError)) return error
    const file = ('path' in error && relative(this.#folder, String(error.path))) || 'its folder'
    const remedy = remedyFor(error)
    const problem = remedy ? `${'code' in error ? `${error.code}, ` : ''}${remedy.cure}` : error.message
    return new StoreError(this.name, operation, `${file}: ${problem}`, {
      cause: error,
      retryable: remedy?.retryable,
    })
  }
}

const REMEDIES: Readonly<Record<string, Remedy>> = {
  ENOSPC: lasting('the disk is full; make room'),
  EDQUOT: lasting('the quota of the user is used up; raise it'),
  EACCES: lasting('let the user of this process read and write there'),
  EPERM: lasting('let the user of this process read and write there'),
  EROFS: lasting('the disk is read-only; choose another folder'),
  EMFILE: passing('this process has too many files open; raise its limit (ulimit -n)'),
  ENFILE: passing('this machine has too many files open; raise its limit'),
  ENOENT: lasting(
    'a folder of the store has gone; mount its disk or restore it, or open the store again to begin anew',
  ),
  ENOTDIR: lasting('there is a file where the store needs a folder; choose another folder'),
}

function remedyFor(error: Error & { code?: unknown; syscall?: unknown }): Remedy | undefined {
  if (error instanceof DamagedFileError) return lasting(error.message)
  const code = String(error.code)
  const noLinks = error.syscall === 'link' && ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(code)
  return noLinks ? lasting('the file system has no hard links; choose a folder on another') : REMEDIES[code]
}

function carried(state: State | Damage | undefined, field: Indexed): string | undefined {
  return isLive(state) ? state.record[field] : undefined
}

function after(cursor: string | undefined, names: readonly string[]): readonly string[] {
  if (cursor === undefined) return names
  if (!/^[0-9a-f]{64}$/.test(cursor)) {
    throw new RangeError(`"${cursor}" is not a cursor of the file store: pass on the one of the page before`)
  }
  return names.filter((name) => name > cursor)
}

function startingAt(first: string, sorted: readonly string[]): readonly string[] {
  return [...sorted.filter((name) => name >= first), ...sorted.filter((name) => name < first)]
}
