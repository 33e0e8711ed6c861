import { follows, isBeyondMemory } from '../../revision.ts'
import type {
  Finding,
  LoadOptions,
  Page,
  SessionIndex,
  Store,
  StoredRecord,
  StoreReport,
  Tombstone,
  UpdateResult,
  WriteOptions,
} from '../../store.ts'
import { isTombstone, NEVER } from '../../store.ts'
import { StoreError } from '../store-error.ts'
import { inBatches } from './batches.ts'
import { type Commander, textOf } from './clients.ts'
import { explain, withoutArguments } from './errors.ts'
import { evictionError, evictionPolicy, isForbidden } from './eviction.ts'
import { Replicas, type Wait } from './replicas.ts'
import { DESTROY, INDEX, LOAD_FRESH, type Script, TOUCH, UPDATE } from './scripts.ts'
import {
  encodePercent,
  entryOf,
  formatExternalId,
  formatOwner,
  formatUser,
  formatValue,
  keyOfEntry,
  newEntry,
  type Owner,
  parseIndexed,
  parseValue,
  reachOf,
} from './value.ts'

const NAME = 'redis'
const PAGE_SIZE = 100

/** What DESTROY answers for what was destroyed before. No name of an entry and no owner looks like it. */
const DESTROYED = 'destroyed'

type Field = 'user' | 'externalId'

/** What `redisStore` makes. */
export class RedisStore implements Store {
  readonly name = NAME
  readonly compareAndSet = true
  readonly users: SessionIndex = this.#sessionIndex('users', 'user', formatUser)
  readonly externalIds: SessionIndex = this.#sessionIndex('externalIds', 'externalId', formatExternalId)

  readonly #commander: Commander
  readonly #prefix: string
  readonly #replicas: Replicas
  readonly #reports: StoreReport[] = []
  #isPolicyKnown = false
  #isClosed = false

  constructor(commander: Commander, prefix: string, wait?: Wait) {
    this.#commander = commander
    this.#prefix = prefix
    this.#replicas = new Replicas(commander, wait)
  }

  reportTo(report: StoreReport): void {
    this.#reports.push(report)
  }

  load(key: string, options?: LoadOptions): Promise<StoredRecord | Tombstone | undefined> {
    return this.#run('load', () => this.#load(key, options?.fresh))
  }

  create(key: string, record: StoredRecord, options?: WriteOptions): Promise<boolean> {
    return this.#run('create', async () => {
      const recordKey = this.#recordKey(key)
      const writers = await this.#replicas.writersOf([recordKey], options)
      const name = formatOwner(record) && (await this.#addToIndexes(key, record, record))
      const expires = expiryOf(record)
      const answer = await this.#commander.command(
        [
          'SET',
          recordKey,
          formatValue(record, name),
          'NX',
          ...(expires === 'never' ? [] : ['PXAT', expires]),
        ],
        recordKey,
      )
      if (answer === null) {
        await this.#removeFromIndexes([[key, record, name]])
        return false
      }
      await this.#replicas.confirm(writers, () => this.#writeAgain(recordKey, record))
      return true
    })
  }

  update(
    key: string,
    record: StoredRecord,
    expectedRev: string,
    options?: WriteOptions,
  ): Promise<UpdateResult> {
    return this.#run('update', async () => {
      const recordKey = this.#recordKey(key)
      const writers = await this.#replicas.writersOf([recordKey], options)
      const args = [formatValue(record), encodePercent(expectedRev)]
      const before = this.#commander.connections?.()
      let answer = textOf(await this.#script(UPDATE, recordKey, [...args, ...unownedOf(record)]))
      let name = ''
      if (answer === 'index') {
        name = await this.#addToIndexes(key, record, record)
        answer = textOf(await this.#script(UPDATE, recordKey, [...args, name]))
      }
      if (answer === 'conflict' && before && this.#mayHaveRepeated(before)) {
        answer = await this.#whatBecameOf(key, record)
      }
      if (answer === 'conflict' || answer === 'gone') {
        if (name) await this.#removeFromIndexes([[key, record, name]])
        return answer
      }
      if (answer !== 'ok') await this.#removeReplaced(key, answer)
      await this.#replicas.confirm(writers, () => this.#writeAgain(recordKey, record))
      return 'ok'
    })
  }

  touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    return this.#run('touch', async () => {
      const recordKey = this.#recordKey(key)
      const times = [lastSeen.toString(36), String(expires)]
      let owner = ''
      let name = ''
      for (;;) {
        const indexed = owner ? [name, owner] : []
        const answer = await this.#script(TOUCH, recordKey, [...times, ...indexed])
        const text = answer === null ? 'gone' : textOf(answer)
        const isUsed = text.startsWith('ok ')
        if (name && !isUsed) await this.#removeFromIndexes([[key, parseIndexed(owner).owner, name]])
        if (text === 'gone') return false
        if (!text.startsWith('index')) {
          if (text !== 'ok') await this.#removeReplaced(key, text)
          return true
        }
        owner = text.slice('index'.length)
        name = await this.#addToIndexes(key, parseIndexed(owner).owner, { lastSeen, expires }, 'even if full')
      }
    })
  }

  destroy(key: string, until: number, options?: WriteOptions): Promise<boolean> {
    return this.#run('destroy', async () => {
      const recordKey = this.#recordKey(key)
      const writers = await this.#replicas.writersOf([recordKey], options)
      const answer = await this.#script(DESTROY, recordKey, [String(until)])
      if (answer === null) return false
      const held = textOf(answer)
      if (held !== DESTROYED) {
        const { name, owner } = parseIndexed(held)
        await this.#removeFromIndexes([[key, owner, name]])
      }
      await this.#replicas.confirm(writers, () => this.#script(DESTROY, recordKey, [String(until)]))
      return held !== DESTROYED
    })
  }

  scan(cursor: string | undefined, limit: number): Promise<Page> {
    return this.#run('scan', async () => {
      const primaries = [...(await this.#commander.primaries())].sort((a, b) =>
        a.address < b.address ? -1 : 1,
      )
      let { address, position, keys } = parseCursor(cursor) ?? {
        address: primaries[0]?.address,
        position: '0',
        keys: [],
      }
      if (keys.length < limit && position !== undefined) {
        const at = primaries.findIndex((primary) => primary.address === address)
        const primary = primaries[at]
        if (primary === undefined) {
          throw new Error(`${address} has left the Cluster, or is no primary any more. Start the scan again`)
        }
        const args = [
          'SCAN',
          position,
          'MATCH',
          this.#recordKey('*'),
          'COUNT',
          String(limit),
          'TYPE',
          'string',
        ]
        const [next, found] = (await primary.command(args)) as [unknown, unknown[]]
        keys = [...keys, ...found.map((key) => textOf(key).slice(this.#recordKey('').length))]
        position = textOf(next)
        if (position === '0') {
          address = primaries[at + 1]?.address
          position = address === undefined ? undefined : '0'
        }
      }
      const items = await this.#records(keys.slice(0, limit))
      const rest = keys.slice(limit)
      if (position === undefined && rest.length === 0) return { items }
      return { items, cursor: JSON.stringify({ address, position, keys: rest }) }
    })
  }

  check(now: () => number): Promise<readonly Finding[]> {
    return this.#run('check', async () => {
      const { findingsOf } = await import('./findings.ts')
      return findingsOf(this.#commander, this.#prefix, now)
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#commander.close?.()
  }

  // ---- records ----

  #recordKey(key: string): string {
    return `${this.#prefix}:${key}`
  }

  async #load(key: string, fresh?: boolean): Promise<StoredRecord | Tombstone | undefined> {
    const recordKey = this.#recordKey(key)
    const answer = fresh
      ? await this.#script(LOAD_FRESH, recordKey, [])
      : await this.#commander.command(['GET', recordKey], recordKey)
    if (answer === null) return undefined
    const found = parseValue(textOf(answer))
    if (found === undefined) throw new Error('FOREIGN')
    return found
  }

  /** Those of these keys that are there. */
  async #records(keys: readonly string[]): Promise<Page['items']> {
    const found = await inBatches(keys, (key) => this.#load(key))
    return found.flatMap((record, i) =>
      record === undefined || isTombstone(record) ? [] : [[keys[i] as string, record] as const],
    )
  }

  // ---- indexes ----

  #indexKey(field: Field, value: string): string {
    return this.#prefix + (field === 'user' ? formatUser(value) : formatExternalId(value))
  }

  #indexKeys(owner: Owner): string[] {
    const fields = ['user', 'externalId'] as const
    return fields.flatMap((field) => {
      const value = owner[field]
      return value === undefined ? [] : [this.#indexKey(field, value)]
    })
  }

  /**
   * Before the record is written: an entry without a record does no harm, but a record without one could not be revoked. Resolves with
   * the name that the entry has in all of its indexes.
   */
  async #addToIndexes(
    key: string,
    owner: Owner,
    times: Pick<StoredRecord, 'lastSeen' | 'expires'>,
    ...evenIfFull: string[]
  ): Promise<string> {
    const indexKeys = this.#indexKeys(owner)
    for (;;) {
      const { name, entry } = newEntry(key)
      const args = [String(reachOf(times)), entry, ...evenIfFull]
      const answers = await Promise.all(indexKeys.map((indexKey) => this.#script(INDEX, indexKey, args)))
      const added = indexKeys.filter((_, i) => textOf(answers[i]) === 'ok')
      if (added.length === indexKeys.length) return name
      await Promise.all(added.map((indexKey) => this.#script(INDEX, indexKey, ['', entry])))
    }
  }

  async #removeFromIndexes(
    removed: readonly (readonly [key: string, owner: Owner, name: string])[],
  ): Promise<void> {
    const entries = new Map<string, string[]>()
    for (const [key, owner, name] of removed) {
      for (const indexKey of this.#indexKeys(owner)) {
        entries.set(indexKey, [...(entries.get(indexKey) ?? []), entryOf(name, key)])
      }
    }
    await inBatches([...entries], ([indexKey, each]) => this.#script(INDEX, indexKey, ['', ...each]))
  }

  /** `ok k3@id:ada`, as the scripts answer, names what no longer holds. */
  async #removeReplaced(key: string, answer: string): Promise<void> {
    const { name, owner } = parseIndexed(answer.slice('ok '.length))
    await this.#removeFromIndexes([[key, owner, name]])
  }

  /** The keys that the index names, sorted. It is a hint: each must be looked up. */
  async #indexedKeys(field: Field, value: string): Promise<string[]> {
    const indexKey = this.#indexKey(field, value)
    const entries = (await this.#commander.command(['ZRANGE', indexKey, '0', '-1'], indexKey)) as unknown[]
    return [...new Set(entries.map((entry) => keyOfEntry(textOf(entry))))].sort()
  }

  #sessionIndex(name: string, field: Field, format: (value: string) => string): SessionIndex {
    return {
      list: (value, { cursor = '', limit = PAGE_SIZE } = {}) =>
        this.#run(`${name}.list`, async () => {
          const keys = (await this.#indexedKeys(field, value)).filter((key) => key > cursor)
          const items: Page['items'][number][] = []
          let looked = 0
          while (looked < keys.length && items.length < limit) {
            const next = keys.slice(looked, looked + limit - items.length)
            items.push(...(await this.#records(next)).filter(([, record]) => record[field] === value))
            looked += next.length
          }
          return looked < keys.length ? { items, cursor: keys[looked - 1] } : { items }
        }),
      destroy: (value, until, { except, ...options } = {}) =>
        this.#run(`${name}.destroy`, async () => {
          const args = [String(until), format(value)]
          const keys = (await this.#indexedKeys(field, value)).filter((key) => key !== except)
          const recordKeys = keys.map((key) => this.#recordKey(key))
          const writers = await this.#replicas.writersOf(recordKeys, options)
          const answers = await inBatches(keys, (key) => this.#script(DESTROY, this.#recordKey(key), args))
          const ended = keys.flatMap((key, i) =>
            answers[i] === null ? [] : [[key, textOf(answers[i])] as const],
          )
          const endAgain = () =>
            inBatches(ended, ([key]) => this.#script(DESTROY, this.#recordKey(key), args))
          if (ended.length > 0) await this.#replicas.confirm(writers, endAgain)
          const destroyed = ended.flatMap(([key, held]) => {
            if (held === DESTROYED) return []
            const { name, owner } = parseIndexed(held)
            return [[key, owner, name] as const]
          })
          // Not before: while nobody has confirmed it, the next attempt must still find them.
          await this.#removeFromIndexes(destroyed)
          return destroyed.length
        }),
    }
  }

  // ---- the server ----

  /** What this store has written, unless it is no longer there. */
  async #writeAgain(recordKey: string, record: StoredRecord): Promise<void> {
    const args = [formatValue(record), encodePercent(record.rev), ...unownedOf(record)]
    if (textOf(await this.#script(UPDATE, recordKey, args)) === 'ok') return
    throw new Error(
      'the connection that wrote was replaced before the replicas had confirmed it, and what it wrote is not there as it was',
    )
  }

  #mayHaveRepeated(before: readonly unknown[]): boolean {
    const now = this.#commander.connections!()
    return before.length !== now.length || before.some((connection) => !now.includes(connection))
  }

  /** The client has sent an update twice, perhaps, and `conflict` is the second answer: the revisions tell of the first. */
  async #whatBecameOf(key: string, { rev }: StoredRecord): Promise<'ok' | 'conflict' | 'gone'> {
    const found = await this.#load(key, true)
    if (found === undefined || isTombstone(found)) return 'gone'
    if (follows(found.rev, rev)) return 'ok'
    if (!isBeyondMemory(found.rev, rev)) return 'conflict'
    throw new Error(
      'the connection broke before the answer to a write, the client has sent it again, and others have written so often meanwhile that nobody can tell whether it was done',
    )
  }

  async #script({ sha, source }: Script, key: string, args: readonly string[]): Promise<unknown> {
    try {
      return await this.#commander.command(['EVALSHA', sha, '1', key, ...args], key)
    } catch (error) {
      // After a restart, a failover or a flush; each server has its own cache of scripts.
      if (!String(error).includes('NOSCRIPT') && !String(error).includes('NoScript')) throw error
      return this.#commander.command(['EVAL', source, '1', key, ...args], key)
    }
  }

  async #run<T>(operation: string, perform: () => Promise<T>): Promise<T> {
    if (this.#isClosed) {
      const problem = 'the store has been closed. Close it after the last request.'
      throw new StoreError(NAME, operation, problem, { retryable: false })
    }
    if (!this.#isPolicyKnown) this.#checkPolicy()
    try {
      return await perform()
    } catch (thrown) {
      const cause = withoutArguments(thrown)
      const { problem, retryable } = explain(
        cause instanceof Error ? cause.message : String(cause),
        this.#prefix,
      )
      throw new StoreError(NAME, operation, problem, { cause, retryable })
    }
  }

  /** Beside the first operation, which does not wait for it. */
  #checkPolicy(): void {
    this.#isPolicyKnown = true
    evictionPolicy(this.#commander).then(
      (policy) => {
        if (policy) for (const report of this.#reports) report('eviction', evictionError(policy))
      },
      // A server that refuses to tell is left alone; one that did not answer is asked again. The operation itself reports the latter.
      (error: unknown) => {
        this.#isPolicyKnown = isForbidden(error)
      },
    )
  }
}

/** What UPDATE is to know of a record that has no owner. */
function unownedOf(record: StoredRecord): string[] {
  return formatOwner(record) ? [] : ['', expiryOf(record)]
}

function expiryOf({ expires }: StoredRecord): string {
  return expires >= NEVER ? 'never' : String(Math.max(1, expires))
}

interface ScanPosition {
  readonly address?: string
  /** Where the server's own scan goes on; absent once all servers are through. */
  readonly position?: string
  /** Found already, beyond the limit of the page. */
  readonly keys: readonly string[]
}

function parseCursor(cursor: string | undefined): ScanPosition | undefined {
  return cursor === undefined ? undefined : (JSON.parse(cursor) as ScanPosition)
}
