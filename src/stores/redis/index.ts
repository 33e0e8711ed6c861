import {
  NEVER,
  type Page,
  type SessionIndex,
  type Store,
  type StoredRecord,
  type StoreReport,
  type Tombstone,
  type UpdateResult,
  type WriteOptions,
} from '../../store.ts'
import { StoreError } from '../store-error.ts'
import { type Commands, commandsOf, connect, type OwnClient, parseUrl, type RedisClient } from './client.ts'
import { CONFLICT, DESTROY, GONE, INDEX, INDEX_FIRST, type Script, TOUCH, UPDATE } from './scripts.ts'

export type { RedisClient } from './client.ts'

export interface RedisOptions {
  /** What all keys begin with. `holdfast:` by default. */
  readonly prefix?: string
  /**
   * For writes that must survive a failover (`durable`): how many replicas must have taken them, and for how many milliseconds that is
   * waited for. Fewer are an error. Not in a Cluster through ioredis or valkey-glide, which cannot say which node WAIT goes to.
   */
  readonly wait?: { readonly replicas: number; readonly timeout: number }
}

/**
 * Keeps sessions in Redis 7 or Valkey: one server, a Cluster, or behind Sentinels. One string a session, which expires there by itself; an
 * update compares and sets in one script. Reads go to primaries.
 *
 * `source` is a client that you have (of `redis`, `ioredis`, `iovalkey` or `@valkey/valkey-glide`; it stays open when the store closes, and
 * its time-outs are yours to set) or a URL: `redis://user:password@host:port/db`, `rediss://…`, `redis+cluster://host:port,host:port`,
 * `redis+sentinel://host:port,host:port/primary/db`. A URL needs the package `ioredis`; it connects with the first operation, and no
 * operation waits longer than some seconds.
 *
 * A server that evicts (`maxmemory-policy` other than `noeviction`) loses live sessions: it is reported as an `error` event. What a
 * primary acknowledged and no replica had taken is lost with it, a logout included: see `wait`.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { redisStore } from 'holdfast/stores/redis'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: redisStore('redis://localhost') })
 * ```
 * @throws TypeError for what is neither a client nor such a URL, RangeError for an option that is none. Operations throw StoreError.
 */
export function redisStore(source: RedisClient | string, options: RedisOptions = {}): RedisStore {
  return new RedisStore(source, options)
}

export type { RedisStore }

/** Records that are asked for at once. */
const BATCH = 100
/** An index entry outlives its session at least by this, so that clocks may differ and a session in use needs no new entry each minute. */
const INDEX_MARGIN_MS = 3_600_000
const PAGE_SIZE = 100

class RedisStore implements Store {
  readonly name = 'redis'
  readonly compareAndSet = true
  readonly users: SessionIndex = this.#sessionIndex('users')
  readonly externalIds: SessionIndex = this.#sessionIndex('externalIds')

  readonly #source: RedisClient | string
  readonly #prefix: string
  readonly #wait: RedisOptions['wait']
  readonly #reports: StoreReport[] = []
  #commands: Commands | undefined
  #own: Promise<OwnClient> | undefined
  #hasLooked = false
  #isClosed = false

  constructor(source: RedisClient | string, { prefix = 'holdfast:', wait }: RedisOptions) {
    if (typeof prefix !== 'string' || prefix.length > 100) {
      throw new RangeError('redisStore: prefix must be text of at most 100 characters')
    }
    if (wait && !(wait.replicas >= 1 && wait.timeout >= 1)) {
      throw new RangeError(
        `redisStore: wait needs a number of replicas and of milliseconds, both from 1 up, not ${wait.replicas} and ${wait.timeout}`,
      )
    }
    if (typeof source === 'string') parseUrl(source)
    else this.#commands = commandsOf(source)
    if (wait && this.#commands?.canWait === false) {
      throw new TypeError(
        'redisStore: through this client, WAIT cannot be sent to the node that took a write',
      )
    }
    this.#source = source
    this.#prefix = prefix
    this.#wait = wait
  }

  reportTo(report: StoreReport): void {
    this.#reports.push(report)
  }

  async load(key: string): Promise<StoredRecord | Tombstone | undefined> {
    return parse(await this.#send('load', this.#keyOf(key), 'GET', []))
  }

  async create(key: string, record: StoredRecord, options?: WriteOptions): Promise<boolean> {
    const indexed = await this.#index('create', key, record)
    const value = format(record, indexed)
    const expiry = record.expires >= NEVER ? [] : ['PXAT', String(record.expires)]
    const reply = await this.#send('create', this.#keyOf(key), 'SET', [value, 'NX', ...expiry])
    if (reply === null) return false
    await this.#settle('create', key, options)
    return true
  }

  async update(
    key: string,
    record: StoredRecord,
    expectedRev: string,
    options?: WriteOptions,
  ): Promise<UpdateResult> {
    const { rev, lastSeen, expires, text } = record
    const attempt = (indexed: string) =>
      this.#run('update', UPDATE, this.#keyOf(key), [
        ...[expectedRev, rev, String(lastSeen), String(expires), indexed],
        ...[lineOf(record.user), lineOf(record.externalId), text],
      ])
    let reply = await attempt('')
    if (reply === INDEX_FIRST) reply = await attempt(String(await this.#index('update', key, record)))
    if (reply === GONE) return 'gone'
    if (reply === CONFLICT) return 'conflict'
    await this.#settle('update', key, options)
    return 'ok'
  }

  async touch(key: string, lastSeen: number, expires: number): Promise<boolean> {
    const attempt = (indexed: string) =>
      this.#run('touch', TOUCH, this.#keyOf(key), [String(lastSeen), String(expires), indexed])
    let reply = await attempt('')
    if (Array.isArray(reply)) {
      const [user, externalId] = reply.slice(1).map((line) => fieldOf(textOf(line)))
      const who = { user, externalId, lastSeen, expires }
      reply = await attempt(String(await this.#index('touch', key, who)))
    }
    return reply !== GONE
  }

  async destroy(key: string, until: number, options?: WriteOptions): Promise<boolean> {
    return this.#destroy('destroy', key, [String(until)], options)
  }

  async scan(cursor: string | undefined, limit: number): Promise<Page> {
    const primaries = await (await this.#getCommands('scan')).primaries()
    if (!primaries) {
      throw new StoreError(
        'redis',
        'scan',
        'this client cannot go through the nodes of a Cluster; ioredis and redis can',
      )
    }
    let at = parseCursor(cursor)
    const pattern = `${escapeGlob(this.#keyOf(''))}*`
    const items: [string, StoredRecord][] = []
    for (;;) {
      while (at.waiting.length > 0 && items.length < limit) {
        const keys = at.waiting.slice(0, limit - items.length)
        at = { ...at, waiting: at.waiting.slice(keys.length) }
        items.push(...(await this.#recordsOf('scan', keys)))
      }
      const send = primaries[at.node]
      if (at.waiting.length > 0 || (items.length === limit && send)) {
        return { items, cursor: JSON.stringify([at.node, at.next, at.waiting]) }
      }
      if (!send) return { items }
      const args = ['SCAN', at.next, 'MATCH', pattern, 'COUNT', String(limit)]
      const [next, found] = (await this.#guard('scan', () => send(args))) as [unknown, unknown[]]
      const waiting = found.map((one) => textOf(one).slice(this.#keyOf('').length))
      const isLast = textOf(next) === '0'
      at = { node: isLast ? at.node + 1 : at.node, next: isLast ? '0' : textOf(next), waiting }
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await (await this.#own?.catch(() => undefined))?.close()
  }

  #keyOf(key: string): string {
    return `${this.#prefix}s:${key}`
  }

  #indexOf(kind: 'users' | 'externalIds', value: string): string {
    return `${this.#prefix}${kind === 'users' ? 'u' : 'x'}:${value}`
  }

  /**
   * The index entries come before the record: one too many is found out when it is looked at, one too few would hide a session. None is
   * taken back when the user changes either, since the session may have changed back meanwhile: it goes with its time.
   */
  async #index(
    operation: string,
    key: string,
    record: Pick<StoredRecord, 'user' | 'externalId' | 'lastSeen' | 'expires'>,
  ): Promise<number> {
    const { user, externalId, lastSeen, expires } = record
    if (user === undefined && externalId === undefined) return 0
    const until = Math.min(NEVER, expires + Math.max(INDEX_MARGIN_MS, expires - lastSeen))
    const entry = [key, String(until), String(Date.now() - INDEX_MARGIN_MS)]
    await Promise.all([
      user !== undefined && this.#run(operation, INDEX, this.#indexOf('users', user), entry),
      externalId !== undefined &&
        this.#run(operation, INDEX, this.#indexOf('externalIds', externalId), entry),
    ])
    return until
  }

  #sessionIndex(kind: 'users' | 'externalIds'): SessionIndex {
    const field = kind === 'users' ? 'user' : 'externalId'
    const members = async (operation: string, value: string): Promise<string[]> => {
      const found = await this.#send(operation, this.#indexOf(kind, value), 'ZRANGE', ['0', '-1'])
      return (found as unknown[]).map(textOf).sort()
    }
    return {
      list: async (value, { cursor = '', limit = PAGE_SIZE } = {}) => {
        const operation = `${kind}.list`
        const keys = (await members(operation, value)).filter((key) => key > cursor)
        const items: [string, StoredRecord][] = []
        for (let at = 0; at < keys.length; at += BATCH) {
          for (const item of await this.#recordsOf(operation, keys.slice(at, at + BATCH))) {
            if (item[1][field] !== value) continue
            if (items.length === limit) return { items, cursor: items.at(-1)![0] }
            items.push(item)
          }
        }
        return { items }
      },
      destroy: async (value, until, { except, ...options } = {}) => {
        const operation = `${kind}.destroy`
        const keys = (await members(operation, value)).filter((key) => key !== except)
        const wanted = lineOf(value)
        let destroyed = 0
        for (let at = 0; at < keys.length; at += BATCH) {
          const batch = keys.slice(at, at + BATCH).map((key) => {
            const args = kind === 'users' ? [String(until), wanted] : [String(until), '', wanted]
            return this.#destroy(operation, key, args, options)
          })
          destroyed += (await Promise.all(batch)).filter(Boolean).length
        }
        return destroyed
      },
    }
  }

  async #destroy(
    operation: string,
    key: string,
    args: readonly string[],
    options: WriteOptions | undefined,
  ): Promise<boolean> {
    const reply = await this.#run(operation, DESTROY, this.#keyOf(key), args)
    if (reply === GONE) return false
    const [user, externalId] = (reply as unknown[]).map((line) => fieldOf(textOf(line)))
    // The key is dead for good, so nobody can have entered it again.
    await Promise.all([
      user !== undefined && this.#send(operation, this.#indexOf('users', user), 'ZREM', [key]),
      externalId !== undefined &&
        this.#send(operation, this.#indexOf('externalIds', externalId), 'ZREM', [key]),
      this.#settle(operation, key, options),
    ])
    return true
  }

  /** What is there of these keys: asked for in one go. */
  async #recordsOf(operation: string, keys: readonly string[]): Promise<[string, StoredRecord][]> {
    const found = await Promise.all(
      keys.map(
        async (key) => [key, parse(await this.#send(operation, this.#keyOf(key), 'GET', []))] as const,
      ),
    )
    return found.flatMap(([key, record]) => (record && 'rev' in record ? [[key, record]] : []))
  }

  async #settle(operation: string, key: string, options: WriteOptions | undefined): Promise<void> {
    if (!options?.durable || !this.#wait) return
    const { replicas, timeout } = this.#wait
    const commands = await this.#getCommands(operation)
    const taken = await this.#guard(operation, () =>
      commands.send(this.#keyOf(key), ['WAIT', String(replicas), String(timeout)]),
    )
    if (Number(taken) < replicas) {
      throw new StoreError(
        'redis',
        operation,
        `it was written, but only ${taken} of ${replicas} replicas took it within ${timeout} ms, so a failover may undo it`,
      )
    }
  }

  async #run(operation: string, script: Script, key: string, args: readonly string[]): Promise<unknown> {
    const commands = await this.#getCommands(operation)
    return this.#guard(operation, async () => {
      try {
        return await commands.send(key, ['EVALSHA', script.sha, '1', key, ...args])
      } catch (error) {
        // A server forgets scripts when it starts, and a replica may never have seen them.
        if (!/NOSCRIPT/.test(messageOf(error))) throw error
        return commands.send(key, ['EVAL', script.source, '1', key, ...args])
      }
    })
  }

  async #send(operation: string, key: string, command: string, args: readonly string[]): Promise<unknown> {
    const commands = await this.#getCommands(operation)
    return this.#guard(operation, () => commands.send(key, [command, key, ...args]))
  }

  async #guard<T>(operation: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (cause) {
      const problem = messageOf(cause)
      const cure = CURES.find(([pattern]) => pattern.test(problem))?.[1]
      throw new StoreError('redis', operation, cure ? `${problem}. ${cure}` : problem, { cause })
    }
  }

  async #getCommands(operation: string): Promise<Commands> {
    if (this.#isClosed) {
      throw new StoreError('redis', operation, 'the store has been closed. Close it after the last request.')
    }
    const commands = this.#commands ?? (await this.#connect(operation))
    if (!this.#hasLooked) {
      this.#hasLooked = true
      void this.#lookForEviction(commands)
    }
    return commands
  }

  async #connect(operation: string): Promise<Commands> {
    this.#own ??= connect(this.#source as string)
    const connecting = this.#own
    try {
      const { commands } = await this.#guard(operation, () => connecting)
      if (this.#wait && !commands.canWait) {
        throw new StoreError(
          'redis',
          operation,
          'WAIT cannot be sent to the node of a Cluster that took a write',
        )
      }
      this.#commands = commands
      return commands
    } catch (error) {
      if (this.#own === connecting) this.#own = undefined // the next operation may try again
      throw error
    }
  }

  /** Once, and nobody waits for it. Who may not ask for it is not told. */
  async #lookForEviction(commands: Commands): Promise<void> {
    const info = await commands.send(this.#prefix, ['INFO', 'memory']).catch(() => '')
    const text = textOf(info)
    const limit = Number(/^maxmemory:(\d+)/m.exec(text)?.[1] ?? 0)
    const policy = /^maxmemory_policy:(\S+)/m.exec(text)?.[1]
    if (limit === 0 || policy === undefined || policy === 'noeviction') return
    const error = new StoreError(
      'redis',
      'eviction',
      `the server drops live sessions when its ${limit} bytes are full (maxmemory-policy ${policy}). ` +
        'Give sessions a server of their own with `maxmemory-policy noeviction`.',
    )
    for (const report of this.#reports) report('eviction', error)
  }
}

const CURES: readonly (readonly [RegExp, string])[] = [
  [/\bOOM\b/, 'The server is full: raise its maxmemory, or shorten the lifetime of anonymous sessions.'],
  [/WRONGPASS|NOAUTH|invalid password/i, 'Check user and password.'],
  [
    /NOPERM/,
    'The user needs the commands GET, SET, DEL, EVAL, EVALSHA, ZADD, ZRANGE, ZREM and SCAN on its keys.',
  ],
  [
    /DB index is out of range|invalid DB index/i,
    'The server has fewer databases; it is the number after the slash.',
  ],
  [/READONLY/, 'This server is a replica: connect to the primary, or through Sentinel or Cluster.'],
  [/CLUSTERDOWN|MOVED/, 'The server is one of a Cluster: use redis+cluster:// or a Cluster client.'],
  [/MISCONF/, 'The server cannot write its snapshot to disk, and so refuses writes.'],
  [/LOADING/, 'The server is reading its data; it will answer when that is done.'],
  [
    /ECONN|ENOTFOUND|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|timed out|Connection is closed|closed|max retries/i,
    'Is the server running, and reachable at that address? A client of node-redis must have been connected.',
  ],
]

/** The value of a session, as `scripts.ts` describes it. */
function format({ rev, text, user, externalId, lastSeen, expires }: StoredRecord, indexed: number): string {
  return `${lastSeen} ${expires} ${indexed} ${rev}\n${lineOf(user)}\n${lineOf(externalId)}\n${text}`
}

function parse(reply: unknown): StoredRecord | Tombstone | undefined {
  if (reply === null || reply === undefined) return undefined
  const value = textOf(reply)
  if (value.startsWith(' ')) return { destroyedUntil: Number(value) }
  const first = value.indexOf('\n')
  const afterUser = value.indexOf('\n', first + 1)
  const afterExternalId = value.indexOf('\n', afterUser + 1)
  const [lastSeen, expires, , ...rev] = value.slice(0, first).split(' ')
  const user = fieldOf(value.slice(first + 1, afterUser))
  const externalId = fieldOf(value.slice(afterUser + 1, afterExternalId))
  return {
    rev: rev.join(' '),
    text: value.slice(afterExternalId + 1),
    ...(user !== undefined && { user }),
    ...(externalId !== undefined && { externalId }),
    lastSeen: Number(lastSeen),
    expires: Number(expires),
  }
}

function lineOf(value: string | undefined): string {
  return value === undefined ? '' : JSON.stringify(value)
}

function fieldOf(line: string): string | undefined {
  return line === '' ? undefined : JSON.parse(line)
}

/** A client may be set to give bytes. */
function textOf(reply: unknown): string {
  return reply instanceof Uint8Array ? Buffer.from(reply).toString() : String(reply)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

interface Cursor {
  readonly node: number
  readonly next: string
  /** Keys that SCAN has given and that did not fit on a page. */
  readonly waiting: readonly string[]
}

function parseCursor(cursor: string | undefined): Cursor {
  if (cursor === undefined) return { node: 0, next: '0', waiting: [] }
  try {
    const [node, next, waiting] = JSON.parse(cursor)
    return { node, next, waiting }
  } catch (cause) {
    throw new RangeError('this is not a cursor of the redis store: pass on the one of the page before', {
      cause,
    })
  }
}

function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}
