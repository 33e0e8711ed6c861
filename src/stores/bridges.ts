import { setImmediate } from 'node:timers/promises'
import type { Store } from '../store.ts'
import { BridgeStore, nameIn, STRETCH } from './bridges/bridge-store.ts'

export { StoreError } from './store-error.ts'

/** What `unstorageStore` calls of an unstorage `Storage`. */
export interface UnstorageStorage {
  getItem(key: string): Promise<unknown>
  setItem(key: string, value: object, options?: { ttl?: number }): Promise<void>
  removeItem(key: string): Promise<void>
  getKeys(): Promise<string[]>
}

/**
 * Keeps sessions in [unstorage](https://unstorage.unjs.io): Cloudflare KV, Upstash, MongoDB, S3, Azure, a folder, …
 *
 * It has no compare-and-set between processes (docs/stores/bridges.md says what that costs), and does not find sessions by user. The driver is told when a
 * record may go (`ttl`, in seconds); few heed it, so there is a `sweep`, which reads everything: `sweepEvery: false` where the driver does.
 * All that is in the storage is looked at, so give sessions one of their own: `prefixStorage(storage, 'sessions')`.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { unstorageStore } from 'holdfast/stores/bridges'
 * import { createStorage } from 'unstorage'
 * import fsDriver from 'unstorage/drivers/fs'
 *
 * const storage = createStorage({ driver: fsDriver({ base: './sessions' }) })
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: unstorageStore(storage) })
 * ```
 *
 * @throws TypeError if it is not a storage. All operations throw a `StoreError` when unstorage fails, or when a value under a session's
 * key is not a session.
 */
export function unstorageStore(storage: UnstorageStorage): Store {
  check('unstorageStore', 'a storage of unstorage', storage, ['getItem', 'setItem', 'removeItem', 'getKeys'])
  return new BridgeStore('unstorage', storage, {
    async read(name) {
      const value = await storage.getItem(name)
      // The drivers for files hand out what went wrong as if it were the value.
      if (value instanceof Error) throw value
      return value
    },
    write: (name, value, until) =>
      storage.setItem(name, value, { ttl: Math.ceil((until - Date.now()) / 1000) }),
    remove: (name) => storage.removeItem(name),
    names: () => storage.getKeys(),
  })
}

/** What `keyvStore` calls of a Keyv 5. */
export interface KeyvInstance {
  readonly throwOnErrors: boolean
  /** The adapter. Some have a `throwOnErrors` of their own. */
  readonly store: unknown
  readonly iterator?: ((argument: undefined) => AsyncIterable<readonly [unknown, unknown]>) | undefined
  get(key: string): Promise<unknown>
  set(key: string, value: object, ttl: number): Promise<boolean>
  delete(key: string): Promise<boolean>
}

/**
 * Keeps sessions in [Keyv](https://keyv.org) 5: etcd, DynamoDB, MongoDB, …
 *
 * It has no compare-and-set between processes (docs/stores/bridges.md says what that costs), and does not find sessions by user. It has `scan` and
 * `sweep` if the Keyv has an `iterator`; a sweep reads everything, so set `sweepEvery: false` where the server expires by itself.
 *
 * The Keyv must be made with `throwOnErrors: true`, and its adapter too where it has that option: without it a server that is down looks
 * like one that holds nothing, which would log everybody out. Keyv 6 no longer has it, and is refused.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { keyvStore } from 'holdfast/stores/bridges'
 * import Keyv from 'keyv'
 *
 * const keyv = new Keyv({ store: new Map(), throwOnErrors: true })
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: keyvStore(keyv) })
 * ```
 *
 * @throws TypeError if it is not a Keyv, or one that hides errors. All operations throw a `StoreError` when Keyv fails, or when a value under
 * a session's key is not a session.
 */
export function keyvStore(keyv: KeyvInstance): Store {
  check('keyvStore', 'a Keyv', keyv, ['get', 'set', 'delete'])
  const adapter = keyv.store as { throwOnErrors?: unknown } | undefined
  if (keyv.throwOnErrors !== true || adapter?.throwOnErrors === false) {
    throw new TypeError(
      'keyvStore: this Keyv hides errors, so that a server that is down would look empty and log everybody out. ' +
        'Make a Keyv 5 (5.4 or newer) with { throwOnErrors: true }, and its adapter too where it has that option.',
    )
  }
  const { iterator } = keyv
  return new BridgeStore('keyv', keyv, {
    read: (name) => keyv.get(name),
    async write(name, value, until) {
      if (!(await keyv.set(name, value, until - Date.now()))) throw new Error('the adapter refused the value')
    },
    remove: (name) => keyv.delete(name),
    names:
      iterator &&
      (async () => {
        const names: (string | undefined)[] = []
        // Its keys lose their first part where there is no namespace; ours are in the values.
        for await (const [, value] of iterator.call(keyv, undefined)) {
          if (names.push(nameIn(value)) % STRETCH === 0) await setImmediate()
        }
        return names.filter((name) => name !== undefined)
      }),
  })
}

/** What `expressStore` calls of an express-session `Store`. */
export interface ExpressSessionStore {
  get(sid: string, callback: (error: unknown, session?: unknown) => void): unknown
  set(sid: string, session: object, callback: (error?: unknown) => void): unknown
  all?(callback: (error: unknown, sessions?: unknown) => void): unknown
}

/**
 * Keeps sessions in a store that was made for express-session: connect-mongo, connect-dynamodb, … Only their store is used: no
 * middleware of express-session, and on any framework.
 *
 * It has no compare-and-set between processes (docs/stores/bridges.md says what that costs), and does not find sessions by user. Such stores expire by
 * themselves, by `cookie.expires`, so there is no `sweep`; there is a `scan` if the store has `all`, which reads everything at once.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { type ExpressSessionStore, expressStore } from 'holdfast/stores/bridges'
 *
 * // MongoStore.create({ mongoUrl }), say
 * export const sessionsIn = (store: ExpressSessionStore) =>
 *   createSessions({ secret: process.env.SESSION_SECRET, store: expressStore(store) })
 * ```
 *
 * @throws TypeError if it is not such a store. All operations throw a `StoreError` when the store fails, or when a value under a session's
 * key is not a session of ours.
 */
export function expressStore(store: ExpressSessionStore): Store {
  check('expressStore', 'a store of express-session', store, ['get', 'set'])
  return new BridgeStore('express-session', store, {
    read: (name) =>
      answerOf((callback) => store.get(name, callback)).catch((error) => {
        // To express-session, too, this code means that there is none.
        if (error?.code === 'ENOENT') return undefined
        throw error
      }),
    write: (name, value, until) =>
      answerOf((callback) => store.set(name, { cookie: new Cookie(until), ...value }, callback)),
    names:
      store.all &&
      (async () => {
        const sessions = (await answerOf((callback) => store.all?.(callback))) ?? []
        return Object.values(sessions)
          .map(nameIn)
          .filter((name) => name !== undefined)
      }),
  })
}

/** As much of express-session's cookie as stores look at: when the session ends, and a method to make it plain. */
class Cookie {
  readonly originalMaxAge: number
  readonly expires: Date
  readonly httpOnly = true
  readonly path = '/'

  constructor(until: number) {
    this.originalMaxAge = until - Date.now()
    this.expires = new Date(until)
  }

  get maxAge(): number {
    return this.expires.getTime() - Date.now()
  }

  toJSON(): object {
    return { ...this }
  }
}

function answerOf(call: (callback: (error?: unknown, value?: unknown) => void) => unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const returned = call((error, value) => (error ? reject(error) : resolve(value)))
    // Some are async functions, and a failure before they get to the callback would be nobody's.
    Promise.resolve(returned).catch(reject)
  })
}

function check(caller: string, wanted: string, given: object, methods: readonly string[]): void {
  const missing = methods.filter((method) => typeof Reflect.get(Object(given), method) !== 'function')
  if (missing.length > 0) {
    throw new TypeError(`${caller}: this is not ${wanted}: it has no method ${missing.join(', ')}`)
  }
}
