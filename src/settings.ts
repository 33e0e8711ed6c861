import type { Codec } from './codec.ts'
import { defaultCodec } from './codec.ts'
import type { Duration } from './duration.ts'
import { duration, limit, positive } from './duration.ts'
import { OptionsError } from './errors.ts'
import { checkTypes, refuseUnknown, typeOf } from './given.ts'
import type { Deadlines } from './guard.ts'
import type { LifetimePolicy } from './lifetime.ts'
import type { CompiledRules, MergeRules } from './merge.ts'
import { compileRules } from './merge.ts'
import type {
  LifetimePreset,
  Logger,
  OnReuse,
  OnStoreFailure,
  SessionLimit,
  SessionOptions,
} from './options.ts'
import type { RequestView } from './request.ts'
import type { StandardSchema } from './schema.ts'
import type { CsrfPolicy } from './security/csrf.ts'
import { resolveCsrf } from './security/csrf.ts'
import type { CookieSettings } from './settings/cookie.ts'
import { resolveCookie } from './settings/cookie.ts'
import { resolveLifetime } from './settings/lifetime.ts'
import { resolveSecrets } from './settings/secrets.ts'
import type { Store } from './store.ts'
import { memoryStore } from './stores/memory.ts'

/** Options with every default in place: the one struct of policy. */
export interface Settings {
  readonly name: string
  readonly secrets: readonly Uint8Array[]
  /** None was given. */
  readonly isRandomSecret: boolean
  readonly store: Store
  readonly lifetime: LifetimePolicy
  /** The name that the lifetime was given by. */
  readonly preset: LifetimePreset | undefined
  readonly cookie: CookieSettings
  readonly csrf: CsrfPolicy | undefined
  readonly schema: StandardSchema | undefined
  readonly onReuse: OnReuse
  readonly onInvalid: 'anonymous' | 'error' | ((data: unknown, error: Error) => object | undefined)
  readonly codec: Codec
  readonly mergeRules: CompiledRules
  readonly seal: boolean
  readonly maxBytes: number
  readonly describe: ((request: RequestView) => Record<string, string>) | undefined
  readonly maxSessionsPerUser: SessionLimit | undefined
  readonly watchClient: NonNullable<SessionOptions<object>['watchClient']>
  readonly saveOnError: boolean
  readonly clock: () => number
  readonly deadlines: Deadlines
  readonly onStoreFailure: OnStoreFailure | ((request: RequestView) => OnStoreFailure)
  readonly sweepEvery: number | false
  readonly logger: Logger
}

export function resolveOptions<Data extends object>(options: SessionOptions<Data>): Settings {
  refuseUnknown('', options, OPTION_NAMES)
  checkTypes('', options, {
    seal: 'boolean',
    maxBytes: 'number',
    describe: 'function',
    saveOnError: 'boolean',
    clock: 'function',
  })
  const name = options.name ?? 'id'
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(name)) {
    throw new OptionsError(
      `name: ${JSON.stringify(name)} must be 1 to 32 letters, digits, "-" or "_", a letter first`,
    )
  }
  const logger = options.logger ?? console
  const store = resolveStore(options.store, logger)
  return {
    name,
    secrets: resolveSecrets(options.secret, logger),
    isRandomSecret: options.secret === undefined,
    store,
    lifetime: resolveLifetime(options.lifetime ?? {}),
    preset: typeof options.lifetime === 'string' ? options.lifetime : undefined,
    cookie: resolveCookie(options.cookie ?? {}, name),
    csrf: resolveCsrf(options.csrf),
    schema: checkSchema(options.schema),
    onInvalid: resolveOnInvalid(options.onInvalid),
    onReuse: resolveOnReuse(options.onReuse),
    codec: checkCodec(options.codec ?? defaultCodec),
    mergeRules: resolveMerge((options.merge ?? {}) as MergeRules),
    seal: options.seal ?? false,
    maxBytes: positive('maxBytes', options.maxBytes ?? 32_768),
    describe: options.describe,
    maxSessionsPerUser: resolveSessionLimit(options.maxSessionsPerUser, store),
    watchClient: resolveWatchClient(options.watchClient),
    saveOnError: options.saveOnError ?? false,
    clock: resolveClock(options.clock),
    deadlines: resolveDeadlines(options.deadlines ?? {}),
    onStoreFailure: resolveOnStoreFailure(options.onStoreFailure),
    sweepEvery: limit('sweepEvery', options.sweepEvery, '10m'),
    logger,
  }
}

/** Records hold whole milliseconds, and `performance.now` counts in parts of them. */
function resolveClock(clock: (() => number) | undefined): () => number {
  return clock === undefined ? Date.now : () => Math.floor(clock())
}

/** Of `createSessions`. */
export const OPTION_NAMES: readonly string[] = [
  'secret',
  'store',
  'lifetime',
  'cookie',
  'csrf',
  'schema',
  'onInvalid',
  'onReuse',
  'codec',
  'merge',
  'seal',
  'maxBytes',
  'describe',
  'maxSessionsPerUser',
  'watchClient',
  'saveOnError',
  'clock',
  'name',
  'deadlines',
  'onStoreFailure',
  'sweepEvery',
  'logger',
] satisfies (keyof SessionOptions<object>)[]

function resolveStore(store: Store | undefined, logger: Logger): Store {
  if (store === undefined) {
    if (process.env.NODE_ENV === 'production') {
      logger.warn(
        'holdfast: no store given, so sessions are kept in the memory of this process and end with it.',
      )
    }
    return memoryStore()
  }
  if (typeof store.load !== 'function' || typeof store.update !== 'function') {
    throw new OptionsError(
      `store: ${typeOf(store)} is not a store. Call one of the store functions, as memoryStore(), or openStore(url) of 'holdfast/stores'.`,
    )
  }
  return store
}

function resolveSessionLimit(given: SessionLimit | undefined, store: Store): SessionLimit | undefined {
  if (given === undefined) return undefined
  refuseUnknown('maxSessionsPerUser.', given, ['limit', 'onLimit'])
  const { limit, onLimit } = given
  if (!Number.isInteger(limit) || limit < 1)
    throw new OptionsError(`maxSessionsPerUser.limit: ${String(limit)} must be a whole number from 1 up`)
  if (onLimit !== 'evict-oldest' && onLimit !== 'reject') {
    throw new OptionsError(
      `maxSessionsPerUser.onLimit: ${JSON.stringify(onLimit)} must be 'evict-oldest' or 'reject'`,
    )
  }
  // What travels with its clients can be ended by user, at best, but not counted.
  if (!store.users || store.carry) {
    throw new OptionsError(
      `maxSessionsPerUser: the ${store.name} store cannot list sessions by user, so nobody could count them. ` +
        'Keep sessions in a store that can: memory, files, SQL or Redis.',
    )
  }
  return { limit, onLimit }
}

function resolveWatchClient(given: SessionOptions<object>['watchClient'] = false): Settings['watchClient'] {
  if (typeof given === 'boolean') return given
  refuseUnknown('watchClient.', given, ['address'])
  checkTypes('watchClient.', { address: given.address ?? null }, { address: 'function' })
  return given
}

function checkSchema(schema: StandardSchema | undefined): StandardSchema | undefined {
  if (schema !== undefined && typeof schema?.['~standard']?.validate !== 'function') {
    throw new OptionsError(
      'schema: this is no Standard Schema. Give one of zod, valibot, arktype or another that implements it.',
    )
  }
  return schema
}

function checkCodec(codec: Codec): Codec {
  if (typeof codec.encode !== 'function' || typeof codec.decode !== 'function') {
    throw new OptionsError('codec: must have two functions, encode and decode')
  }
  return codec
}

function resolveMerge(rules: MergeRules): CompiledRules {
  if (typeof rules !== 'object')
    throw new OptionsError(`merge: ${JSON.stringify(rules)} must be an object of rules by path`)
  try {
    return compileRules(rules)
  } catch (cause) {
    throw new OptionsError((cause as Error).message, { cause })
  }
}

function resolveOnInvalid<Data extends object>(
  onInvalid: SessionOptions<Data>['onInvalid'],
): Settings['onInvalid'] {
  if (onInvalid === undefined || onInvalid === 'anonymous' || onInvalid === 'error')
    return onInvalid ?? 'anonymous'
  if (typeof onInvalid === 'function') return onInvalid
  throw new OptionsError(`onInvalid: ${JSON.stringify(onInvalid)} must be 'anonymous', 'error' or a function`)
}

function resolveOnReuse(given: OnReuse = 'end'): OnReuse {
  if (given === 'end' || given === 'reject' || given === 'event') return given
  throw new OptionsError(`onReuse: ${JSON.stringify(given)} must be 'end', 'reject' or 'event'`)
}

function resolveDeadlines(deadlines: NonNullable<SessionOptions<object>['deadlines']>): Deadlines {
  refuseUnknown('deadlines.', deadlines, ['load', 'write', 'request'])
  const resolve = (name: keyof Deadlines, otherwise: Duration) =>
    positive(`deadlines.${name}`, duration(`deadlines.${name}`, deadlines[name] ?? otherwise))
  return { load: resolve('load', 500), write: resolve('write', 1000), request: resolve('request', 5000) }
}

function resolveOnStoreFailure(
  given: SessionOptions<object>['onStoreFailure'] = 'error',
): Settings['onStoreFailure'] {
  if (typeof given === 'function') return given
  return checkOnStoreFailure(given)
}

/** Also for what the application's function returns. */
export function checkOnStoreFailure(given: unknown): OnStoreFailure {
  if (given === 'error' || given === 'anonymous') return given
  throw new OptionsError(
    `onStoreFailure: ${JSON.stringify(given)} must be 'error', 'anonymous' or a function that returns one of them`,
  )
}
