import { setImmediate } from 'node:timers/promises'
import {
  isTombstone,
  type Page,
  type Store,
  type StoredRecord,
  type Tombstone,
  type UpdateResult,
} from '../../store.ts'
import { StoreError } from '../store-error.ts'

/** What a bridge needs of a library: to read and replace values by name. None of them can compare. */
export interface Shelf {
  /** The value, or undefined or null if there is none. */
  read(name: string): Promise<unknown>
  /** Replaces whatever is there. The library may drop it at `until`, milliseconds since 1970, and not before. */
  write(name: string, value: object, until: number): Promise<unknown>
  /** Absent where the library drops by itself what is past its `until`. */
  remove?(name: string): Promise<unknown>
  /** The names of all values, those of others included. Absent where the library cannot list. */
  readonly names?: (() => Promise<string[]>) | undefined
}

/**
 * A store on a library that only reads and replaces. In this process the operations on a key take turns, so that nothing is lost
 * between reading and writing; between processes nothing can stop two from reading the same revision and both replacing it.
 */
export class BridgeStore implements Store {
  readonly name: string
  readonly compareAndSet = false
  readonly scan?: (cursor: string | undefined, limit: number) => Promise<Page>
  readonly sweep?: (now: number, limit: number) => Promise<number>

  readonly #shelf: Shelf
  readonly #queue: Map<string, Promise<unknown>>
  /** Where the scan that came last goes on: a listing may cost as much as reading everything, and is made once a scan. */
  #scanned: { readonly cursor: string; readonly names: readonly string[]; readonly next: number } | undefined
  /** What the sweep that came last did not get to. */
  #unswept: readonly string[] = []

  /** `library` is what the application handed over: stores on the same one queue together. */
  constructor(name: string, library: object, shelf: Shelf) {
    this.name = name
    this.#shelf = shelf
    this.#queue = queues.get(library) ?? new Map()
    queues.set(library, this.#queue)
    const { names } = shelf
    if (!names) return
    this.scan = (cursor, limit) => this.#run('scan', () => this.#page(names, cursor, limit))
    if (shelf.remove) this.sweep = (now, limit) => this.#run('sweep', () => this.#collect(names, now, limit))
  }

  load(key: string): Promise<StoredRecord | Tombstone | undefined> {
    return this.#run('load', async () => {
      const found = parse(await this.#shelf.read(nameOf(key)), key)
      // Files may be seen half written, so what cannot be read is read again when this process is not writing there.
      return found === 'foreign' ? this.#inTurn(key, () => this.#read(key)) : found
    })
  }

  create(key: string, record: StoredRecord): Promise<boolean> {
    const entry = entryOf(key, record)
    return this.#change('create', key, async () => {
      if ((await this.#read(key)) !== undefined) return false
      await this.#write(entry, record.expires)
      return true
    })
  }

  update(key: string, record: StoredRecord, expectedRev: string): Promise<UpdateResult> {
    const entry = entryOf(key, record)
    return this.#change('update', key, async () => {
      const found = await this.#read(key)
      if (found === undefined || isTombstone(found)) return 'gone'
      if (found.rev !== expectedRev) return 'conflict'
      await this.#write(entry, entry.expires)
      return 'ok'
    })
  }

  touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    return this.#change('touch', key, async () => {
      const found = await this.#read(key)
      if (found === undefined || isTombstone(found)) return false
      if (lastSeen <= found.lastSeen && expires <= found.expires) return true
      const touched = {
        ...found,
        lastSeen: Math.max(lastSeen, found.lastSeen),
        expires: Math.max(expires, found.expires),
      }
      await this.#write(entryOf(key, touched), touched.expires)
      return true
    })
  }

  destroy(key: string, until: number): Promise<boolean> {
    return this.#change('destroy', key, async () => {
      const found = parse(await this.#shelf.read(nameOf(key)), key)
      if (found === undefined || (found !== 'foreign' && isTombstone(found))) return false
      // What cannot be read is ended too: a session that is spoilt must not be one that nobody can log out of.
      await this.#write({ holdfast: FORMAT, key, destroyedUntil: until }, until)
      return true
    })
  }

  async #page(list: () => Promise<string[]>, cursor: string | undefined, limit: number): Promise<Page> {
    const goesOn = cursor !== undefined && this.#scanned?.cursor === cursor
    const names = goesOn ? this.#scanned!.names : after(cursor, await list())
    const items: [string, StoredRecord][] = []
    for (let next = goesOn ? this.#scanned!.next : 0; next < names.length; next++) {
      if (items.length >= limit) {
        this.#scanned = { cursor: names[next - 1]!, names, next }
        return { items, cursor: this.#scanned.cursor }
      }
      const entry = await this.#entry(names[next]!)
      if (entry && !isTombstone(entry.kept)) items.push([entry.key, entry.kept])
    }
    if (goesOn) this.#scanned = undefined
    return { items }
  }

  async #collect(list: () => Promise<string[]>, now: number, limit: number): Promise<number> {
    let removed = 0
    const left = this.#unswept
    this.#unswept = []
    for (const getNames of [async () => left, list]) {
      const names = await getNames()
      for (const [i, name] of names.entries()) {
        if (removed >= limit) {
          this.#unswept = names.slice(i)
          return removed
        }
        if (await this.#removeIfEnded(name, now)) removed++
        if (i % STRETCH === 0) await setImmediate()
      }
    }
    return removed
  }

  async #removeIfEnded(name: string, now: number): Promise<boolean> {
    const hasEnded = async () => {
      const entry = await this.#entry(name)
      return entry && endOf(entry.kept) <= now ? entry : undefined
    }
    const ended = await hasEnded()
    if (!ended) return false
    return this.#inTurn(ended.key, async () => {
      if (!(await hasEnded())) return false
      await this.#shelf.remove?.(name)
      return true
    })
  }

  /** What is listed under a name, if a bridge wrote it there. */
  async #entry(name: string): Promise<{ key: string; kept: StoredRecord | Tombstone } | undefined> {
    const value = await this.#shelf.read(name)
    const key = keyIn(value)
    if (key === undefined || nameOf(key) !== name) return undefined
    const kept = parse(value, key)
    return kept === undefined || kept === 'foreign' ? undefined : { key, kept }
  }

  async #read(key: string): Promise<StoredRecord | Tombstone | undefined> {
    const found = parse(await this.#shelf.read(nameOf(key)), key)
    if (found === 'foreign') throw new ForeignValueError(nameOf(key))
    return found
  }

  #write(entry: Entry, end: number): Promise<unknown> {
    return this.#shelf.write(nameOf(entry.key), entry, keepUntil(end))
  }

  #change<T>(operation: string, key: string, work: () => Promise<T>): Promise<T> {
    return this.#run(operation, () => this.#inTurn(key, work))
  }

  async #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#queue.get(key)
    // A failure before this one is for its own caller.
    const turn = before ? before.then(work, work) : work()
    this.#queue.set(key, turn)
    try {
      return await turn
    } finally {
      if (this.#queue.get(key) === turn) this.#queue.delete(key)
    }
  }

  async #run<T>(operation: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause)
      const problem =
        cause instanceof ForeignValueError
          ? message
          : `${message || 'no reason given'}. That is what ${this.name} says: see to it or to what it keeps its data in.`
      throw new StoreError(this.name, operation, problem, { cause })
    }
  }
}

/** Who is at work on a key, by what the application handed over. */
const queues = new WeakMap<object, Map<string, Promise<unknown>>>()

/** The value under a key is not what a bridge writes there. */
class ForeignValueError extends Error {
  readonly retryable = false

  constructor(name: string) {
    super(
      `the value under "${name}" is damaged or of another make. End that session or remove the value; if others write there too, give sessions a place of their own.`,
    )
  }
}

const FORMAT = 1

/** A value as libraries are given it. The key is part of it, so that no value is ever taken for that of another key. */
type Entry = { readonly holdfast: typeof FORMAT; readonly key: string } & (StoredRecord | Tombstone)

function entryOf(key: string, record: StoredRecord): Entry & StoredRecord {
  const { rev, text, user, externalId, lastSeen, expires } = record
  return {
    holdfast: FORMAT,
    key,
    rev,
    text,
    ...(user !== undefined && { user }),
    ...(externalId !== undefined && { externalId }),
    lastSeen,
    expires,
  }
}

function parse(value: unknown, key: string): StoredRecord | Tombstone | undefined | 'foreign' {
  if (value === undefined || value === null) return undefined
  if (keyIn(value) !== key) return 'foreign'
  const { rev, text, user, externalId, lastSeen, expires, destroyedUntil } = value as Record<string, unknown>
  if (typeof destroyedUntil === 'number') return { destroyedUntil }
  if (typeof rev !== 'string' || typeof text !== 'string') return 'foreign'
  if (typeof lastSeen !== 'number' || typeof expires !== 'number') return 'foreign'
  if (!isTextOrAbsent(user) || !isTextOrAbsent(externalId)) return 'foreign'
  return { rev, text, user: user ?? undefined, externalId: externalId ?? undefined, lastSeen, expires }
}

function keyIn(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { holdfast, key } = value as Record<string, unknown>
  return holdfast === FORMAT && typeof key === 'string' ? key : undefined
}

/** Databases may keep what is absent as null. */
function isTextOrAbsent(value: unknown): value is string | undefined | null {
  return value === undefined || value === null || typeof value === 'string'
}

/**
 * The name under which a library keeps a key. Others split names at colons and slashes, make files of them or match patterns, so
 * only letters, digits, `_` and `-` stay as they are.
 */
export function nameOf(key: string): string {
  return key.replace(/[^A-Za-z0-9_-]/g, (character) => `.${character.charCodeAt(0).toString(16)}.`)
}

/** The name of a value that a bridge wrote; undefined of others. */
export function nameIn(value: unknown): string | undefined {
  const key = keyIn(value)
  return key === undefined ? undefined : nameOf(key)
}

function endOf(kept: StoredRecord | Tombstone): number {
  return isTombstone(kept) ? kept.destroyedUntil : kept.expires
}

/** Libraries may answer from memory; then reads in a row would never let a request in. */
export const STRETCH = 50

/** Clocks of machines differ, and some libraries round to seconds: they are told a later end, which is only for collecting. */
const SLACK = 60_000
/** Some databases keep seconds in 32 bits. */
const LATEST = Date.UTC(2100, 0)

function keepUntil(end: number): number {
  return Math.max(Math.min(end, LATEST), Date.now()) + SLACK
}

function after(cursor: string | undefined, names: readonly string[]): readonly string[] {
  return names.filter((name) => cursor === undefined || name > cursor).sort()
}
