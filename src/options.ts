import { randomBytes } from 'node:crypto'
import ms from 'ms'
import type { Codec } from './codec.ts'
import { defaultCodec } from './codec.ts'
import type { CookieAttributes } from './cookie.ts'
import { OptionsError } from './errors.ts'
import type { LifetimePolicy } from './lifetime.ts'
import type { CompiledRules, MergeRules } from './merge.ts'
import { compileRules } from './merge.ts'
import type { RequestSource } from './request.ts'
import type { StandardSchema } from './schema.ts'
import type { Store } from './store.ts'
import { memoryStore } from './stores/memory.ts'

/** Milliseconds, or text as the `ms` package reads it: `'15m'`, `'14d'`. */
export type Duration = number | string

/** What `createSessions` takes. Everything is optional but the secret in production. */
export interface SessionOptions<Data extends object> {
  /**
   * Signs the tokens: at least 32 bytes that nobody can guess, or a list of them, the newest first. The first one signs, all
   * verify. Outside production a random one is made when it is missing, with a warning, and nobody stays logged in over a restart.
   */
  secret?: Secret | readonly Secret[] | undefined
  /** Where the sessions are kept. Default: `memoryStore()`, which forgets them with the process. */
  store?: Store
  /** How long sessions live, or the name of a preset from NIST SP 800-63B-4. */
  lifetime?: LifetimeOptions | LifetimePreset
  cookie?: CookieOptions
  /** A Standard Schema (zod, valibot, arktype, …) that types `data` and validates it when it is loaded and when it is saved. */
  schema?: StandardSchema<unknown, Data>
  /**
   * What becomes of a stored session that cannot be read or no longer fits the schema: `'anonymous'` (the default: a new session, the
   * record left as it is, an `invalid` event), `'error'`, or a function that gives repaired data, or undefined for anonymous.
   */
  onInvalid?: 'anonymous' | 'error' | ((data: unknown, error: Error) => Data | undefined)
  /** Turns data into text in place of JSON. */
  codec?: Codec
  /** What parallel changes of one key mean, by dotted path: `{ visits: 'sum', cart: 'sum', tags: 'union' }`. Default: the later one wins, with an `overwritten` event. */
  merge?: MergeRules
  /** Encrypt what the store keeps (AES-256-GCM under a key derived from the secret). Default: false. */
  seal?: boolean
  /** Limit for encoded data, in bytes. Default: 32768. */
  maxBytes?: number
  /** A few words about a request, kept from the login on for the user's list of devices. Default: nothing is kept. */
  describe?: (request: RequestSource) => Record<string, string>
  /** Save what a handler changed before it failed with an exception or a status of 500 or more. Default: false, as Django does. */
  saveOnError?: boolean
  /** Milliseconds since 1970. Default: `Date.now`; for tests. */
  clock?: () => number
  /** Tells managers apart: cookie, keys in the store, tokens. Default: `'id'`. */
  name?: string
  deadlines?: {
    /** How long a commit may go on when others keep changing the same session. Default: 5 s. */
    request?: Duration
  }
  /** Remove expired records this often, in small batches, where the store does not do it by itself; `false` to call `sweep()` yourself. Default: 10 min. */
  sweepEvery?: Duration | false
  /** Where warnings go, and errors that nobody listens for. Default: the console. */
  logger?: Logger
}

export type Secret = string | Uint8Array

export type LifetimePreset = keyof typeof PRESETS

export interface LifetimeOptions {
  /** Ends a session this long after its last use. Default: 24 h. */
  idle?: Duration | false
  /** Ends a session this long after login, or creation. Default: 14 d. */
  absolute?: Duration | false
  /** Other limits for sessions without a user. Default: the same. */
  anonymous?: { idle?: Duration | false; absolute?: Duration | false }
  /** Give logged-in sessions a new token this often. Default: 15 min. */
  rotateEvery?: Duration | false
  /** How long the token before a rotation still works once the new one is in use. Default: 5 min. */
  grace?: Duration
  /** How often the time of last use is written, at most (and a tenth of `idle`, if that is shorter). Default: 60 s. */
  touchEvery?: Duration
  /** Whether the cookie survives the end of the browser. Default: false; `setLifetime({ persistent: true })` is the 'remember me' of one session. */
  persistent?: boolean
}

export interface CookieOptions {
  /** Default: the manager's name. `__Host-` or `__Secure-` goes in front where the attributes allow it. */
  name?: string
  /** Default: `/`. */
  path?: string
  /** Share the session with all subdomains of this one. Default: only the host itself. */
  domain?: string
  /** Default: `'lax'`. */
  sameSite?: 'strict' | 'lax' | 'none'
  /** Default: true. False only for plain http on anything but localhost (and for localhost in Safari). */
  secure?: boolean
  /** For pages embedded in other sites; implies `sameSite: 'none'`. */
  partitioned?: boolean
  /** Cookies that earlier versions of the site set, cleared at a login that finds two sessions in one request. */
  formerly?: readonly { name: string; domain?: string; path?: string }[]
}

export interface Logger {
  warn(message: string): void
  error(message: string, error?: unknown): void
}

/** Options with every default in place: the one struct of policy. */
export interface Settings {
  readonly name: string
  readonly secrets: readonly Uint8Array[]
  readonly store: Store
  readonly lifetime: LifetimePolicy
  readonly cookie: CookieSettings
  readonly schema: StandardSchema | undefined
  readonly onInvalid: 'anonymous' | 'error' | ((data: unknown, error: Error) => object | undefined)
  readonly codec: Codec
  readonly mergeRules: CompiledRules
  readonly seal: boolean
  readonly maxBytes: number
  readonly describe: ((request: RequestSource) => Record<string, string>) | undefined
  readonly saveOnError: boolean
  readonly clock: () => number
  readonly requestDeadline: number
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
} as const satisfies Record<string, LifetimeOptions>

export function resolveOptions<Data extends object>(options: SessionOptions<Data>): Settings {
  refuseUnknown('', options, OPTION_NAMES)
  const name = options.name ?? 'id'
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(name)) {
    throw new OptionsError(
      `name: ${JSON.stringify(name)} must be 1 to 32 letters, digits, "-" or "_", a letter first`,
    )
  }
  const logger = options.logger ?? console
  return {
    name,
    secrets: resolveSecrets(options.secret, logger),
    store: resolveStore(options.store),
    lifetime: resolveLifetime(options.lifetime ?? {}),
    cookie: resolveCookie(options.cookie ?? {}, name),
    schema: options.schema,
    onInvalid: resolveOnInvalid(options.onInvalid),
    codec: options.codec ?? defaultCodec,
    mergeRules: compileRules(options.merge ?? {}),
    seal: options.seal ?? false,
    maxBytes: positive('maxBytes', options.maxBytes ?? 32_768),
    describe: options.describe,
    saveOnError: options.saveOnError ?? false,
    clock: options.clock ?? Date.now,
    requestDeadline: resolveDeadlines(options.deadlines ?? {}),
    sweepEvery: limit('sweepEvery', options.sweepEvery, '10m'),
    logger,
  }
}

const OPTION_NAMES = [
  ...[
    'secret',
    'store',
    'lifetime',
    'cookie',
    'schema',
    'onInvalid',
    'codec',
    'merge',
    'seal',
    'maxBytes',
    'describe',
  ],
  ...['saveOnError', 'clock', 'name', 'deadlines', 'sweepEvery', 'logger'],
]

function refuseUnknown(where: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key))
      throw new OptionsError(`${where}${key}: there is no such option. There are: ${known.join(', ')}`)
  }
}

function resolveStore(store: Store | undefined): Store {
  if (store === undefined) return memoryStore()
  if (typeof store.load !== 'function' || typeof store.update !== 'function') {
    throw new OptionsError(
      'store: this is not a store. Call one of the store functions, for instance memoryStore().',
    )
  }
  return store
}

function resolveOnInvalid<Data extends object>(
  onInvalid: SessionOptions<Data>['onInvalid'],
): Settings['onInvalid'] {
  if (onInvalid === undefined || onInvalid === 'anonymous' || onInvalid === 'error')
    return onInvalid ?? 'anonymous'
  if (typeof onInvalid === 'function') return onInvalid
  throw new OptionsError(`onInvalid: ${JSON.stringify(onInvalid)} must be 'anonymous', 'error' or a function`)
}

function resolveDeadlines(deadlines: NonNullable<SessionOptions<object>['deadlines']>): number {
  refuseUnknown('deadlines.', deadlines, ['request'])
  return positive('deadlines.request', duration('deadlines.request', deadlines.request ?? '5s'))
}

function resolveSecrets(secret: SessionOptions<object>['secret'], logger: Logger): Uint8Array[] {
  const list =
    secret === undefined ? [] : Array.isArray(secret) ? (secret as readonly Secret[]) : [secret as Secret]
  if (list.length > 0) return list.map(checkSecret)
  if (process.env.NODE_ENV === 'production') {
    throw new OptionsError(
      'secret: needed in production. Make one with: node -p "crypto.randomBytes(32).toString(\'base64url\')"',
    )
  }
  logger.warn('holdfast: no secret given, so a random one is used, and all sessions end with this process.')
  return [randomBytes(32)]
}

const EXAMPLE_SECRETS =
  /change.?me|your.?secret|secret.?here|example|minimum length of 32|at.?least.?32|thirtytwochar|keyboard.?cat|supersecret/i

function checkSecret(secret: Secret): Uint8Array {
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) {
    throw new OptionsError(`secret: a ${typeof secret} is not a secret; give text or bytes`)
  }
  const bytes = Buffer.from(secret as Uint8Array)
  if (bytes.length < 32)
    throw new OptionsError(`secret: ${bytes.length} bytes are too few; at least 32 are needed`)
  if (new Set(bytes).size < 8 || (typeof secret === 'string' && EXAMPLE_SECRETS.test(secret))) {
    throw new OptionsError('secret: this one can be guessed. Use 32 random bytes.')
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

/** Milliseconds of a duration. @throws OptionsError naming the option */
export function duration(option: string, value: Duration): number {
  const milliseconds = typeof value === 'string' ? (ms(value as ms.StringValue) as number | undefined) : value
  if (typeof milliseconds !== 'number' || !Number.isFinite(milliseconds) || milliseconds < 0) {
    throw new OptionsError(
      `${option}: ${JSON.stringify(value)} is not a duration. Use milliseconds, or text such as '15m' or '14d'.`,
    )
  }
  return milliseconds
}

/** As `duration`, but more than zero, or false for no limit. */
export function limit(
  option: string,
  value: Duration | false | undefined,
  byDefault: Duration | false,
): number | false {
  const given = value ?? byDefault
  return given === false ? false : positive(option, duration(option, given))
}

function positive(option: string, value: number): number {
  if (!(value > 0)) throw new OptionsError(`${option}: ${value} must be more than 0`)
  return value
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
