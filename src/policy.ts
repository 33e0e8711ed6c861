import type { CookieAttributes } from './cookie.ts'
import type { Deadlines } from './guard.ts'
import type { LifetimePolicy } from './lifetime.ts'
import type { LifetimePreset, OnReuse, OnStoreFailure, SessionLimit } from './options.ts'
import type { Settings } from './settings.ts'

/**
 * What is in force, defaults included, for documentation and for checks against it (ASVS 7.1.1, 7.1.2). Plain data that JSON keeps as it is:
 * all times are milliseconds, and `false` means that there is none. No secret.
 */
export interface Policy {
  readonly name: string
  /** `preset`: the name that was given in place of durations, if one was. */
  readonly lifetime: LifetimePolicy & { readonly preset?: LifetimePreset }
  readonly cookie: { readonly name: string; readonly attributes: CookieAttributes }
  readonly maxSessionsPerUser: SessionLimit | false
  /** What is let through of other origins' pages; `false` if all of it is. */
  readonly csrf: { readonly trustedOrigins: readonly string[]; readonly strict: boolean } | false
  /** Whether sessions remember their client, and tell of another one. */
  readonly watchClient: boolean
  readonly seal: boolean
  readonly maxBytes: number
  readonly deadlines: Deadlines
  readonly onReuse: OnReuse
  /** `'by request'`: the application has a function that chooses. */
  readonly onStoreFailure: OnStoreFailure | 'by request'
  readonly saveOnError: boolean
  readonly sweepEvery: number | false
  readonly store: StorePolicy
}

/** What the store can do. */
export interface StorePolicy {
  readonly name: string
  readonly compareAndSet: boolean
  /** It runs in this process, and has no deadlines. */
  readonly inProcess: boolean
  /** Sessions travel with their clients. */
  readonly keptByClient: boolean
  readonly listsByUser: boolean
  readonly listsByExternalId: boolean
  readonly listsAll: boolean
}

export function policyOf(settings: Settings): Policy {
  const { name, lifetime, preset, cookie, maxSessionsPerUser, csrf, onStoreFailure, store } = settings
  const { seal, maxBytes, deadlines, onReuse, saveOnError, sweepEvery } = settings
  const keptByClient = store.carry !== undefined
  return frozen({
    name,
    lifetime: { ...(preset && { preset }), ...lifetime },
    cookie: { name: cookie.name, attributes: cookie.attributes },
    maxSessionsPerUser: maxSessionsPerUser ?? false,
    csrf: csrf ? { trustedOrigins: [...csrf.trustedOrigins], strict: csrf.strict } : false,
    watchClient: settings.watchClient !== false,
    seal: seal || keptByClient,
    maxBytes,
    deadlines,
    onReuse,
    onStoreFailure: typeof onStoreFailure === 'function' ? 'by request' : onStoreFailure,
    saveOnError,
    sweepEvery,
    store: {
      name: store.name,
      compareAndSet: store.compareAndSet,
      inProcess: store.inProcess ?? false,
      keptByClient,
      listsByUser: store.users !== undefined && !keptByClient,
      listsByExternalId: store.externalIds !== undefined,
      listsAll: store.scan !== undefined,
    },
  })
}

/** A copy, since what it is made of is at work. */
function frozen<T extends object>(value: T): T {
  if (Array.isArray(value)) return Object.freeze([...value]) as unknown as T
  const entries = Object.entries(value).map(([key, each]) => [
    key,
    typeof each === 'object' ? frozen(each as object) : each,
  ])
  return Object.freeze(Object.fromEntries(entries))
}
