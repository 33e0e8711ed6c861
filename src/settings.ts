import { randomBytes } from 'node:crypto'
import ms from 'ms'
import type { Codec } from './codec.ts'
import { defaultCodec } from './codec.ts'
import type { CookieAttributes } from './cookie.ts'
import type { Duration } from './duration.ts'
import { duration, limit, positive } from './duration.ts'
import { OptionsError } from './errors.ts'
import { checkTypes, refuseUnknown } from './given.ts'
import type { Deadlines } from './guard.ts'
import type { LifetimePolicy } from './lifetime.ts'
import type { CompiledRules, MergeRules } from './merge.ts'
import { compileRules } from './merge.ts'
import type {
  CookieOptions,
  LifetimeOptions,
  LifetimePreset,
  Logger,
  OnStoreFailure,
  Secret,
  SessionLimit,
  SessionOptions,
} from './options.ts'
import type { RequestView } from './request.ts'
import type { StandardSchema } from './schema.ts'
import type { CsrfPolicy } from './security/csrf.ts'
import { resolveCsrf } from './security/csrf.ts'
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

export interface CookieSettings {
  readonly name: string
  readonly attributes: CookieAttributes
  readonly formerly: readonly { name: string; domain?: string; path?: string }[]
}

const PRESETS = {
  aal1: { absolute: '30d', idle: false },
  aal2: { absolute: '24h', idle: '1h' },
  aal3: { absolute: '12h', idle: '15m' },
} as const satisfies Record<LifetimePreset, LifetimeOptions>

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

const OPTION_NAMES = [
  ...[
    'secret',
    'store',
    'lifetime',
    'cookie',
    'csrf',
    'schema',
    'onInvalid',
    'codec',
    'merge',
    'seal',
    'maxBytes',
    'describe',
  ],
  ...[
    'maxSessionsPerUser',
    'watchClient',
    'saveOnError',
    'clock',
    'name',
    'deadlines',
    'onStoreFailure',
    'sweepEvery',
    'logger',
  ],
]

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
      'store: this is not a store. Call one of the store functions, for instance memoryStore().',
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

const MAKE_ONE = 'Make one with: node -p "crypto.randomBytes(32).toString(\'base64url\')"'

function resolveSecrets(secret: SessionOptions<object>['secret'], logger: Logger): Uint8Array[] {
  if (Array.isArray(secret) && secret.length === 0)
    throw new OptionsError(`secret: the list is empty. ${MAKE_ONE}`)
  const list =
    secret === undefined ? [] : Array.isArray(secret) ? (secret as readonly Secret[]) : [secret as Secret]
  if (list.length > 0) return list.map(checkSecret)
  if (process.env.NODE_ENV === 'production') {
    throw new OptionsError(`secret: needed in production. ${MAKE_ONE}`)
  }
  logger.warn('holdfast: no secret given, so a random one is used, and all sessions end with this process.')
  return [randomBytes(32)]
}

const EXAMPLE_SECRETS =
  /change.?me|your.?secret|secret.?here|example|minimum length of 32|at.?least.?32|thirtytwochar|keyboard.?cat|supersecret/i

function checkSecret(secret: Secret): Uint8Array {
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) {
    throw new OptionsError(
      `secret: ${secret === null ? 'null' : `a ${typeof secret}`} is not a secret; give text or bytes`,
    )
  }
  const bytes = Buffer.from(secret as Uint8Array)
  if (bytes.length < 32)
    throw new OptionsError(`secret: ${bytes.length} bytes are too few; at least 32 are needed. ${MAKE_ONE}`)
  if (new Set(bytes).size < 8 || (typeof secret === 'string' && EXAMPLE_SECRETS.test(secret))) {
    throw new OptionsError(`secret: this one can be guessed. ${MAKE_ONE}`)
  }
  return bytes
}

function resolveLifetime(given: LifetimeOptions | LifetimePreset): LifetimePolicy {
  if (typeof given === 'string' && !Object.hasOwn(PRESETS, given)) {
    throw new OptionsError(
      `lifetime: there is no preset ${JSON.stringify(given)}. There are: ${Object.keys(PRESETS).join(', ')}`,
    )
  }
  const options: LifetimeOptions = typeof given === 'string' ? PRESETS[given] : given
  refuseUnknown('lifetime.', options, [
    'idle',
    'absolute',
    'anonymous',
    'rotateEvery',
    'grace',
    'touchEvery',
    'persistent',
  ])
  checkTypes('lifetime.', options, { persistent: 'boolean' })
  const idle = limit('lifetime.idle', options.idle, '24h')
  const absolute = limit('lifetime.absolute', options.absolute, '14d')
  const anonymous = options.anonymous ?? {}
  refuseUnknown('lifetime.anonymous.', anonymous, ['idle', 'absolute'])
  const policy: LifetimePolicy = {
    idle,
    absolute,
    anonymous: {
      idle: limit('lifetime.anonymous.idle', anonymous.idle, idle),
      absolute: limit('lifetime.anonymous.absolute', anonymous.absolute, absolute),
    },
    rotateEvery: limit('lifetime.rotateEvery', options.rotateEvery, '15m'),
    grace: duration('lifetime.grace', options.grace ?? '5m'),
    touchEvery: duration('lifetime.touchEvery', options.touchEvery ?? '60s'),
    persistent: options.persistent ?? false,
  }
  refuseIdleOverAbsolute('lifetime', policy)
  refuseIdleOverAbsolute('lifetime.anonymous', policy.anonymous)
  return policy
}

function refuseIdleOverAbsolute(where: string, { idle, absolute }: LifetimePolicy['anonymous']): void {
  if (idle !== false && absolute !== false && idle > absolute) {
    throw new OptionsError(
      `${where}: idle (${ms(idle)}) is longer than absolute (${ms(absolute)}), so it would never count`,
    )
  }
}

function resolveCookie(options: CookieOptions, manager: string): CookieSettings {
  refuseUnknown('cookie.', options, [
    'name',
    'path',
    'domain',
    'sameSite',
    'secure',
    'partitioned',
    'formerly',
  ])
  checkTypes('cookie.', options, {
    name: 'string',
    path: 'string',
    domain: 'string',
    secure: 'boolean',
    partitioned: 'boolean',
  })
  const { path = '/', domain, secure = true, partitioned = false } = options
  const sameSite = options.sameSite ?? (partitioned ? 'none' : 'lax')
  if (!SAME_SITE.has(sameSite))
    throw new OptionsError(`cookie.sameSite: ${JSON.stringify(sameSite)} must be 'strict', 'lax' or 'none'`)
  if (!/^\/[\x21-\x3a\x3c-\x7e]*$/.test(path))
    throw new OptionsError(
      `cookie.path: ${JSON.stringify(path)} must start with "/" and hold no ";" or space`,
    )
  if (domain !== undefined && !/^\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(domain)) {
    throw new OptionsError(`cookie.domain: ${JSON.stringify(domain)} is not a host name`)
  }
  if (!secure && sameSite === 'none')
    throw new OptionsError("cookie: sameSite 'none' needs secure, or browsers drop the cookie")
  if (!secure && partitioned)
    throw new OptionsError('cookie: partitioned needs secure, or browsers drop the cookie')
  if (partitioned && sameSite !== 'none')
    throw new OptionsError("cookie: partitioned is for embedded pages and needs sameSite 'none'")
  return {
    name: resolveCookieName(options.name ?? manager, { path, domain, secure }),
    attributes: {
      path,
      ...(domain === undefined ? {} : { domain }),
      secure,
      httpOnly: true,
      sameSite: SAME_SITE.get(sameSite)!,
      ...(partitioned ? { partitioned } : {}),
    },
    formerly: options.formerly ?? [],
  }
}

const SAME_SITE = new Map([
  ['strict', 'Strict'],
  ['lax', 'Lax'],
  ['none', 'None'],
] as const)

/** Browsers enforce what the prefix promises (RFC 6265bis, section 4.1.3), so it goes on wherever the attributes keep it. */
function resolveCookieName(
  name: string,
  { path, domain, secure }: { path: string; domain?: string | undefined; secure: boolean },
): string {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name))
    throw new OptionsError(`cookie.name: ${JSON.stringify(name)} is not a cookie name`)
  const mayHost = secure && domain === undefined && path === '/'
  const prefix = /^__(host|secure)-/i.exec(name)?.[0].toLowerCase()
  if (prefix === '__host-' && !mayHost)
    throw new OptionsError(`cookie: the name ${name} needs secure, path "/" and no domain`)
  if (prefix === '__secure-' && !secure) throw new OptionsError(`cookie: the name ${name} needs secure`)
  if (prefix !== undefined || !secure) return name
  return (mayHost ? '__Host-' : '__Secure-') + name
}
