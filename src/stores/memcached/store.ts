import { hash } from 'node:crypto'
import {
  type Finding,
  isTombstone,
  NEVER,
  type Store,
  type StoredRecord,
  type Tombstone,
  type UpdateResult,
} from '../../store.ts'
import { StoreError } from '../store-error.ts'
import type { Command, Connection } from './connection.ts'
import { flagOf, type Reply } from './protocol.ts'
import { Recent } from './recent.ts'
import { type Content, decodeContent, encodeContent } from './value.ts'

/** The servers of a store, as far as it needs to know them. */
export interface Cluster {
  readonly connections: readonly Connection[]
  /** The index of the one that keeps a key. */
  indexOf(key: string): number
}

/** Keys that memcached takes as they are. */
const PLAIN_KEY = /^[\x21-\x7e]{1,250}$/

/** What memcached adds to key and value, on any machine of 64 bits. */
const ITEM_OVERHEAD = 59

/** What `memcachedStore` makes. */
export class MemcachedStore implements Store {
  readonly name = 'memcached'
  readonly compareAndSet = true

  readonly #cluster: Cluster
  readonly #prefix: string
  readonly #recent = new Recent()

  constructor(cluster: Cluster, prefix: string) {
    this.#cluster = cluster
    this.#prefix = prefix
  }

  async load(key: string): Promise<StoredRecord | Tombstone | undefined> {
    const found = await this.#fetch('load', key)
    return found && { ...found.content }
  }

  async create(key: string, record: StoredRecord): Promise<boolean> {
    return (await this.#store('create', key, { ...record }, 'ME')) === 'HD'
  }

  async update(key: string, record: StoredRecord, expectedRev: string): Promise<UpdateResult> {
    const next = { ...record }
    const result = await this.#change('update', key, ({ rev }) => (rev === expectedRev ? next : undefined))
    return result === 'stored' ? 'ok' : result === 'declined' ? 'conflict' : 'gone'
  }

  /** The server could move its own expiry in a shorter command, but not ours, and back as well as forward. */
  async touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    const result = await this.#change('touch', key, (current) =>
      lastSeen > current.lastSeen || expires > current.expires
        ? {
            ...current,
            lastSeen: Math.max(lastSeen, current.lastSeen),
            expires: Math.max(expires, current.expires),
          }
        : undefined,
    )
    return result !== 'absent'
  }

  async destroy(key: string, until: number): Promise<boolean> {
    return (await this.#change('destroy', key, () => ({ destroyedUntil: until }))) === 'stored'
  }

  async check(): Promise<readonly Finding[]> {
    return [
      {
        id: 'memcached.evicts',
        severity: 'warning',
        finding:
          'memcached drops sessions when its memory is full, and all of them at a restart, those that say that a session has ended included.',
        cure: 'For logins that must last, keep sessions in a database, with memcached in front of it: layeredStore({ cache, database }).',
      },
    ]
  }

  async close(): Promise<void> {
    for (const connection of this.#cluster.connections) connection.close()
  }

  /**
   * Compare-and-set: the CAS token of the server guards what `next` was decided on. A record that this process has just loaded or
   * written need not be fetched for that; if it has changed since, the token does not fit, and the next round fetches it. A touch
   * changes the token too, so a token that does not fit is no conflict yet. Each round that fails is one in which another succeeded.
   */
  async #change(
    operation: string,
    key: string,
    next: (current: StoredRecord) => Content | undefined,
  ): Promise<'stored' | 'declined' | 'absent'> {
    const recent = this.#recent.get(key, this.#connectionOf(key).epoch)
    let content = recent && next(recent.record)
    let cas = recent?.cas
    for (;;) {
      if (content === undefined) {
        const found = await this.#fetch(operation, key)
        if (found === undefined || isTombstone(found.content)) return 'absent'
        content = next(found.content)
        cas = found.cas
        if (content === undefined) return 'declined'
      }
      const status = await this.#store(operation, key, content, `C${cas}`)
      if (status === 'HD') return 'stored'
      if (status === 'NF') return 'absent'
      content = undefined
    }
  }

  async #fetch(operation: string, key: string): Promise<{ content: Content; cas: string } | undefined> {
    const reply = await this.#send(operation, key, {
      text: `mg ${this.#wireKey(key)} v c\r\n`,
      isWrite: false,
    })
    if (reply.status === 'EN') {
      this.#recent.delete(key)
      return undefined
    }
    const content = reply.value && decodeContent(reply.value)
    const cas = flagOf(reply, 'c')
    if (content === undefined || cas === undefined) {
      throw new StoreError(
        this.name,
        operation,
        `what the server keeps under ${this.#wireKey(key)} is not a session. Give the store a { prefix } of its own.`,
        { retryable: false },
      )
    }
    this.#remember(key, content, cas)
    return { content, cas }
  }

  async #store(operation: string, key: string, content: Content, mode: string): Promise<string> {
    const wireKey = this.#wireKey(key)
    const value = encodeContent(content)
    const bytes = Buffer.byteLength(value)
    const expiry = expiryOf(isTombstone(content) ? content.destroyedUntil : content.expires)
    const reply = await this.#send(operation, key, {
      text: `ms ${wireKey} ${bytes} ${mode} T${expiry} c\r\n${value}\r\n`,
      isWrite: true,
      itemBytes: ITEM_OVERHEAD + wireKey.length + bytes,
    })
    if (reply.status === 'HD') this.#remember(key, content, flagOf(reply, 'c'))
    else this.#recent.delete(key)
    return reply.status
  }

  #remember(key: string, content: Content, cas: string | undefined): void {
    const { epoch } = this.#connectionOf(key)
    if (isTombstone(content) || cas === undefined || epoch === undefined) this.#recent.delete(key)
    else this.#recent.set(key, { record: content, cas, epoch })
  }

  async #send(operation: string, key: string, command: Command): Promise<Reply> {
    try {
      return await this.#connectionOf(key).send(command)
    } catch (cause) {
      throw new StoreError(this.name, operation, (cause as Error).message, { cause })
    }
  }

  #connectionOf(key: string): Connection {
    const { connections, indexOf } = this.#cluster
    return connections[indexOf(this.#wireKey(key))] as Connection
  }

  /** Other keys go by their hash. One that looks like such a hash does too. */
  #wireKey(key: string): string {
    const wireKey = this.#prefix + key
    if (PLAIN_KEY.test(wireKey) && !key.startsWith('#')) return wireKey
    return `${this.#prefix}#${hash('sha256', Buffer.from(key, 'utf16le'), 'base64url')}`
  }
}

const LONGEST_RELATIVE_S = 30 * 24 * 60 * 60
const LAST_TIME_S = 2 ** 31 - 1

/**
 * What memcached is told: seconds from now up to 30 days, so that its clock need not be ours; beyond them a time since
 * 1970, up to 2038; 0 for never; less for what has ended. One second more, since its seconds may have begun before ours.
 */
function expiryOf(time: number): number {
  if (time === NEVER) return 0
  const left = Math.ceil((time - Date.now()) / 1000) + 1
  if (left <= 1) return -1
  if (left <= LONGEST_RELATIVE_S) return left
  const absolute = Math.ceil(time / 1000)
  return absolute <= LAST_TIME_S ? absolute : 0
}
