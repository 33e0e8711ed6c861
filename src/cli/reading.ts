import { InvalidRecordError } from '../errors.ts'
import { guardStore } from '../guard.ts'
import type { Secret } from '../options.ts'
import { parseRecord, type SessionRecord } from '../record.ts'
import { recordSeal, type Seal } from '../seal.ts'
import { resolveSecrets } from '../settings/secrets.ts'
import type { Page, Store, StoredRecord } from '../store.ts'
import { isTombstone, NEVER, UnsupportedError } from '../store.ts'
import { bound } from '../vault.ts'
import { DEADLINES, type Site } from './site.ts'

/** A session as it is kept. */
export interface Found {
  readonly handle: string
  readonly record: SessionRecord
  /** The data, encoded. */
  readonly data: string
  readonly lastSeen: number
  /** By the site's own lifetimes, which only the site knows: a manager of the command's own would reckon with others. */
  readonly expires: number
}

export interface FoundPage {
  readonly sessions: readonly Found[]
  readonly cursor?: string
}

const PAGE = 200
const SEALED = 's1.'

/** Reads the sessions of a site, and changes nothing. Those that have expired and are not yet removed are left out. */
export class SessionReader {
  /** Handles of the records met that could not be read, with the reason of the last one. */
  readonly unreadable = new Set<string>()
  reason = ''

  readonly #store: Store
  readonly #prefix: string
  readonly #unpack: (key: string, stored: StoredRecord) => Found

  constructor({ store, name, secrets }: Site) {
    this.#store = guardStore(store, DEADLINES, { outage() {}, recovered() {} })
    this.#unpack = unpacker(secrets)
    this.#prefix = `${name}:`
  }

  /** @throws Error for a session whose record cannot be read */
  async find(handle: string): Promise<Found | undefined> {
    const stored = await this.#store.load(this.#prefix + handle)
    if (stored === undefined || isTombstone(stored) || isOver(stored)) return undefined
    return this.#unpack(this.#prefix + handle, stored)
  }

  /** Up to `limit` sessions from there on, in the order of the store. Fewer only at the end. */
  async page(cursor: string | undefined, limit: number): Promise<FoundPage> {
    const sessions: Found[] = []
    let next = cursor
    do {
      const page = await this.#scan(next, limit - sessions.length)
      sessions.push(...this.#unpackPage(page))
      next = page.cursor
    } while (next !== undefined && sessions.length < limit)
    return next === undefined ? { sessions } : { sessions, cursor: next }
  }

  async *all(): AsyncGenerator<Found> {
    for await (const page of this.#pages((cursor) => this.#scan(cursor, PAGE))) yield* this.#unpackPage(page)
  }

  /** Of every record, also of those that cannot be read or have expired. */
  async *handles(): AsyncGenerator<string> {
    for await (const { items } of this.#pages((cursor) => this.#scan(cursor, PAGE))) {
      for (const [key] of items) if (key.startsWith(this.#prefix)) yield key.slice(this.#prefix.length)
    }
  }

  async *ofUser(userId: string): AsyncGenerator<Found> {
    const { users, name } = this.#store
    if (!users) throw new UnsupportedError(`the ${name} store cannot find sessions by user`)
    const list = (cursor?: string) =>
      users.list(this.#prefix + userId, cursor === undefined ? { limit: PAGE } : { cursor, limit: PAGE })
    for await (const page of this.#pages(list)) yield* this.#unpackPage(page)
  }

  #scan(cursor: string | undefined, limit: number): Promise<Page> {
    if (this.#store.scan) return this.#store.scan(cursor, limit)
    throw new UnsupportedError(
      `the ${this.#store.name} store cannot go through all its sessions; ask for one by its handle`,
    )
  }

  async *#pages(read: (cursor: string | undefined) => Promise<Page>): AsyncGenerator<Page> {
    let cursor: string | undefined
    do {
      const page = await read(cursor)
      yield page
      cursor = page.cursor
    } while (cursor !== undefined)
  }

  #unpackPage({ items }: Page): Found[] {
    return items.flatMap(([key, stored]) => {
      if (!key.startsWith(this.#prefix) || isOver(stored)) return []
      const handle = key.slice(this.#prefix.length)
      try {
        return [this.#unpack(key, stored)]
      } catch (error) {
        if (!(error instanceof InvalidRecordError)) throw error
        this.unreadable.add(handle)
        this.reason = error.message
        return []
      }
    })
  }
}

/**
 * Reads records of any manager by their keys, as its vault does, but for the seal: each record says whether it has one.
 * The function throws InvalidRecordError for a record that cannot be read, and Error for a sealed one without a secret.
 */
export function unpacker(secrets: readonly Secret[]): (key: string, stored: StoredRecord) => Found {
  const seals = new Map<string, Seal>()
  const sealOf = (name: string) => {
    if (secrets.length === 0) {
      throw new Error(
        'the records are sealed, and HOLDFAST_SECRET is not set. Set it to the secret of the site, in the environment.',
      )
    }
    const seal = seals.get(name) ?? recordSeal(resolveSecrets(secrets, console), name)
    seals.set(name, seal)
    return seal
  }
  return (key, stored) => {
    const name = key.slice(0, key.indexOf(':'))
    const withoutName = (text: string | undefined) => text?.slice(name.length + 1)
    const handle = key.slice(name.length + 1)
    const text = isSealed(stored) ? sealOf(name).open(stored.text, bound(handle, stored)) : stored.text
    const { record, data } = parseRecord(text, {
      user: withoutName(stored.user),
      externalId: withoutName(stored.externalId),
    })
    return { handle, record, data, lastSeen: stored.lastSeen, expires: stored.expires }
  }
}

export function isSealed({ text }: StoredRecord): boolean {
  return text.startsWith(SEALED)
}

function isOver({ expires }: StoredRecord): boolean {
  return expires <= Date.now()
}

/** A session as data for JSON. What it does not have is null, so that the fields are always the same. */
export function describe({ handle, record, data, lastSeen, expires }: Found) {
  const isLevelOver = record.levelUntil !== undefined && Date.now() >= record.levelUntil
  return {
    handle,
    userId: record.user ?? null,
    createdAt: new Date(record.createdAt).toISOString(),
    lastSeenAt: new Date(lastSeen).toISOString(),
    expiresAt: expires >= NEVER ? null : new Date(expires).toISOString(),
    authenticatedAt:
      record.authenticatedAt === undefined ? null : new Date(record.authenticatedAt).toISOString(),
    level: isLevelOver ? null : (record.level ?? null),
    externalId: record.externalId ?? null,
    generation: record.generation,
    about: record.about ?? {},
    bytes: Buffer.byteLength(data),
  }
}

/** On stderr, so that nobody takes what is printed for all there is. */
export function warnOfUnreadable({ unreadable, reason }: SessionReader): void {
  if (unreadable.size === 0) return
  const count = unreadable.size === 1 ? '1 session' : `${unreadable.size} sessions`
  process.stderr.write(`Warning: ${count} could not be read and left out: ${reason}\n`)
}
