import { CLOCK_SKEW, QUIET_TIME } from './admission.ts'
import { NotAskedError } from './breaker.ts'
import { StoreUnavailableError } from './errors.ts'
import type { SessionRecord } from './record.ts'
import { formatRecord, parseRecord } from './record.ts'
import type { Seal } from './seal.ts'
import type {
  LoadOptions,
  Page,
  SessionIndex,
  Store,
  StoredRecord,
  UpdateResult,
  WriteOptions,
} from './store.ts'
import { isTombstone, UnsupportedError } from './store.ts'

/** A committed state of a session, as the core sees it. */
export interface Kept {
  readonly rev: string
  readonly record: SessionRecord
  /** The data, encoded. */
  readonly data: string
  readonly lastSeen: number
}

export interface KeptPage {
  readonly items: readonly { readonly handle: string; readonly kept: Kept }[]
  /** Handles of records that cannot be read. */
  readonly unreadable: readonly string[]
  readonly cursor?: string
}

/**
 * The store as the core sees it: handles instead of keys, parsed records instead of text, one kind of error. Keys and users carry
 * the manager's name, so that managers share a store without ever seeing each other's sessions.
 */
export interface Vault {
  /** `carried` as `carry` gave it, with the generation of the token beside it. */
  load(handle: string, options?: VaultLoadOptions): Promise<Kept | 'destroyed' | undefined>
  /** Present if sessions travel with the client: what its cookie must carry beside the token, sealed. */
  readonly carry?: (
    handle: string,
    kept: Kept,
    expires: number,
    before: Carried | undefined,
  ) => Promise<Carried>
  create(handle: string, kept: Kept, expires: number, options?: WriteOptions): Promise<boolean>
  update(
    handle: string,
    kept: Kept,
    expires: number,
    expectedRev: string,
    options?: WriteOptions,
  ): Promise<UpdateResult>
  touch(handle: string, lastSeen: number, expires: number): Promise<boolean>
  /** Durably: what is destroyed must not come back with a machine that is lost. */
  destroy(handle: string, until: number): Promise<boolean>
  list(
    index: 'users' | 'externalIds',
    value: string,
    page?: { cursor?: string; limit?: number },
  ): Promise<KeptPage>
  /** Durably. */
  destroyAll(
    index: 'users' | 'externalIds',
    value: string,
    until: number,
    options?: { except?: string | undefined },
  ): Promise<number>
  scan(cursor: string | undefined, limit: number): Promise<KeptPage>
  /** Present where the server does not expire by itself. How many it removed. */
  readonly sweep?: (now: number, limit: number) => Promise<number>
}

/** The sealed text of a session that travels with the client. It belongs to one token, so that none is combined with another's. */
export interface Carried {
  readonly text: string
  readonly generation: number
}

export interface VaultLoadOptions {
  readonly fresh?: boolean
  readonly carried?: Carried | undefined
}

export interface VaultParts {
  readonly store: Store
  readonly name: string
  /** Absent: texts are kept as they are. */
  readonly seal: Seal | undefined
  /** For what clients carry, which is always sealed. */
  readonly cookieSeal: Seal
  readonly clock: () => number
  /** Told of records in a list that cannot be read. */
  readonly onInvalid: (handle: string, error: Error) => void
}

/** Whether the operation may have changed something when it fails. */
type Access = 'read' | 'write'

export function createVault({ store, name, seal, cookieSeal, clock, onInvalid }: VaultParts): Vault {
  const prefix = `${name}:`

  function pack(handle: string, { rev, record, data, lastSeen }: Kept, expires: number): StoredRecord {
    const user = record.user === undefined ? undefined : prefix + record.user
    const externalId = record.externalId === undefined ? undefined : prefix + record.externalId
    const text = formatRecord(record, data)
    const sealed = seal ? seal.seal(text, bound(handle, { user, externalId })) : text
    return { rev, text: sealed, user, externalId, lastSeen, expires }
  }

  function unpack(handle: string, stored: StoredRecord): Kept {
    const text = seal ? seal.open(stored.text, bound(handle, stored)) : stored.text
    const { record, data } = parseRecord(text, {
      user: stored.user?.slice(prefix.length),
      externalId: stored.externalId?.slice(prefix.length),
    })
    return { rev: stored.rev, record, data, lastSeen: stored.lastSeen }
  }

  function unpackPage(page: Page): KeptPage {
    const unreadable: string[] = []
    const items = page.items.flatMap(([key, stored]) => {
      if (!key.startsWith(prefix)) return []
      const handle = key.slice(prefix.length)
      try {
        return [{ handle, kept: unpack(handle, stored) }]
      } catch (error) {
        onInvalid(handle, error as Error)
        unreadable.push(handle)
        return []
      }
    })
    return { items, unreadable, ...(page.cursor !== undefined && { cursor: page.cursor }) }
  }

  function openCarried(handle: string, { text, generation }: Carried): string {
    return cookieSeal.open(text, boundToToken(handle, generation))
  }

  function loadOptions(
    handle: string,
    fresh: boolean | undefined,
    carried: Carried | undefined,
  ): LoadOptions | undefined {
    if (carried === undefined) return fresh ? FRESH : undefined
    return { fresh: fresh ?? false, carried: openCarried(handle, carried) }
  }

  async function carry(
    handle: string,
    kept: Kept,
    expires: number,
    before: Carried | undefined,
  ): Promise<Carried> {
    const record = pack(handle, kept, expires)
    const opened = before && openCarried(handle, before)
    const text = await attempt('read', 'carry', () => store.carry!(prefix + handle, record, opened))
    const { generation } = kept.record
    return { text: cookieSeal.seal(text, boundToToken(handle, generation)), generation }
  }

  function sweep(now: number, limit: number): Promise<number> {
    return attempt('write', 'sweep', () => store.sweep!(now, limit))
  }

  function failure(access: Access, operation: string, cause: unknown): StoreUnavailableError {
    return new StoreUnavailableError(`${operation} failed in the ${store.name} store`, {
      cause,
      maybeApplied: access === 'write' && !(cause instanceof NotAskedError),
      retryable: (cause as { retryable?: boolean } | undefined)?.retryable ?? true,
    })
  }

  /** `load` and `update`, which most requests do, catch by themselves and need no closure. */
  async function attempt<T>(access: Access, operation: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (cause) {
      if (cause instanceof UnsupportedError) throw cause
      throw failure(access, operation, cause)
    }
  }

  function indexOf(kind: 'users' | 'externalIds'): SessionIndex {
    const index = store[kind]
    if (!index)
      throw new UnsupportedError(
        `the ${store.name} store cannot find sessions by ${kind === 'users' ? 'user' : 'external id'}`,
      )
    return index
  }

  return {
    ...(store.carry && { carry }),
    ...(store.sweep && { sweep }),
    async load(handle, { fresh, carried } = {}) {
      const options = loadOptions(handle, fresh, carried)
      let found: Awaited<ReturnType<Store['load']>>
      try {
        found = await store.load(prefix + handle, options)
      } catch (cause) {
        throw failure('read', 'load', cause)
      }
      if (found === undefined) return undefined
      if (isTombstone(found)) return isQuiet(found.destroyedUntil - clock()) ? 'destroyed' : undefined
      return unpack(handle, found)
    },
    create: (handle, kept, expires, options) =>
      attempt('write', 'create', () => store.create(prefix + handle, pack(handle, kept, expires), options)),
    async update(handle, kept, expires, expectedRev, options) {
      const packed = pack(handle, kept, expires)
      try {
        return await store.update(prefix + handle, packed, expectedRev, options)
      } catch (cause) {
        throw failure('write', 'update', cause)
      }
    },
    touch: (handle, lastSeen, expires) =>
      attempt('write', 'touch', () => store.touch(prefix + handle, lastSeen, expires)),
    destroy: (handle, until) =>
      attempt('write', 'destroy', () => store.destroy(prefix + handle, until, DURABLE)),
    async list(kind, value, page) {
      const index = indexOf(kind)
      return unpackPage(await attempt('read', 'list', () => index.list(prefix + value, page)))
    },
    async destroyAll(kind, value, until, { except } = {}) {
      const index = indexOf(kind)
      const options = except === undefined ? DURABLE : { ...DURABLE, except: prefix + except }
      return attempt('write', 'destroy', () => index.destroy(prefix + value, until, options))
    },
    async scan(cursor, limit) {
      if (!store.scan)
        throw new UnsupportedError(`the ${store.name} store cannot go through all its sessions`)
      const scan = store.scan.bind(store)
      return unpackPage(await attempt('read', 'scan', () => scan(cursor, limit)))
    },
  }
}

const FRESH: LoadOptions = { fresh: true }
export const DURABLE: WriteOptions = { durable: true }

function boundToToken(handle: string, generation: number): string {
  return JSON.stringify(['cookie', handle, generation])
}

/** A tombstone that lasts longer is none that we have made: a migrating store leaves such where a session was, and it has ended elsewhere since. */
function isQuiet(left: number): boolean {
  return left > 0 && left <= QUIET_TIME + CLOCK_SKEW
}

/** What a sealed text is bound to: whose it is and under which key, which the store could otherwise exchange. */
export function bound(
  handle: string,
  { user, externalId }: Pick<StoredRecord, 'user' | 'externalId'>,
): string {
  return JSON.stringify([handle, user ?? null, externalId ?? null])
}
