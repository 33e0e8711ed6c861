import type { CookieAttributes } from '../cookie.ts'
import { setCookie } from '../cookie.ts'
import type { Duration } from '../duration.ts'
import { duration } from '../duration.ts'
import { OptionsError } from '../errors.ts'
import { refuseUnknown } from '../given.ts'
import type { Settings } from '../settings.ts'

/** What `deviceBinding` can be told. */
export interface DeviceBindingOptions {
  /** Where browsers register and refresh: `<path>/register` and `<path>/refresh`. Default: `dbsc` below the cookie's path, `/dbsc`. */
  path?: string
  /**
   * How long the bound cookie is worth something without a new proof, and so how long who has copied every cookie can go on. Default: 10 min.
   * At least 5: browsers sign 6 times in 9 minutes and no more.
   */
  lifetime?: Duration
  /** Paths below which requests need not wait for a refresh, such as `['/static']`. The server asks for the bound cookie there as well. */
  exclude?: readonly string[]
  /** The origins that may register, such as `['https://app.example']`. Default: that of the request's Host header. */
  origins?: readonly string[]
}

/** The same with every default in place. */
export interface DeviceBindingSettings {
  readonly registerPath: string
  readonly refreshPath: string
  readonly lifetime: number
  readonly exclude: readonly string[]
  readonly origins: readonly string[] | undefined
  readonly cookie: BoundCookie
}

/** One object, from which both what is set and what the browser is told about it are made: where they differ, it refreshes at each request. */
export interface BoundCookie {
  readonly name: string
  readonly attributes: CookieAttributes
}

const SHORTEST = 5 * 60_000
/** The cookie leaves the browser this long before it is worth nothing: requests take their time, and clocks differ. */
const LEEWAY = 30_000

export function resolveBinding(given: DeviceBindingOptions, settings: Settings): DeviceBindingSettings {
  refuseUnknown('deviceBinding: ', given, ['path', 'lifetime', 'exclude', 'origins'])
  const cookie = resolveCookie(settings)
  const below = settings.cookie.attributes.path.replace(/\/?$/, '/')
  const path = given.path ?? `${below}dbsc`
  if (!PATH.test(path) || !`${path}/`.startsWith(below)) {
    throw new OptionsError(
      `deviceBinding: path: ${JSON.stringify(path)} must be a path below ${below}, where the session cookie is sent`,
    )
  }
  const lifetime = duration('deviceBinding: lifetime', given.lifetime ?? '10m')
  if (lifetime < SHORTEST) {
    throw new OptionsError(
      'deviceBinding: lifetime: must be 5 minutes or more, since browsers sign 6 times in 9 minutes at the most',
    )
  }
  return {
    registerPath: `${path}/register`,
    refreshPath: `${path}/refresh`,
    lifetime,
    exclude: checkList('exclude', given.exclude ?? [], PATH, 'a path such as "/static"'),
    origins:
      given.origins && checkList('origins', given.origins, ORIGIN, 'an origin such as "https://app.example"'),
    cookie: {
      ...cookie,
      attributes: { ...cookie.attributes, maxAge: Math.floor((lifetime - LEEWAY) / 1000) },
    },
  }
}

const PATH = /^\/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-]$/
const ORIGIN = /^https:\/\/[a-z0-9.-]+(:\d+)?$/

function resolveCookie({ cookie: { name, attributes } }: Settings): BoundCookie {
  const refuse = (what: string, why: string) =>
    new OptionsError(`deviceBinding: sessions with cookie.${what} cannot be bound: ${why}`)
  if (!attributes.secure) throw refuse('secure: false', 'browsers bind over https only')
  if (attributes.partitioned) throw refuse('partitioned', 'browsers refuse to bind a partitioned cookie')
  if (attributes.domain !== undefined) throw refuse('domain', 'what is bound is bound to one host')
  // Chromium 156 sets a cookie called __Host-Http-… and fails to bind it.
  return { name: `${name.replace(/^__host-http-/i, '__Host-')}-bound`, attributes }
}

function checkList(name: string, list: readonly string[], pattern: RegExp, what: string): readonly string[] {
  for (const one of list) {
    if (!pattern.test(one))
      throw new OptionsError(`deviceBinding: ${name}: ${JSON.stringify(one)} must be ${what}`)
  }
  return list
}

/** The attributes as the browser is told them: `Path=/; HttpOnly; Secure; SameSite=Lax`. How long it lives is said in Set-Cookie only. */
export function attributesText({ name, attributes: { maxAge: _, ...attributes } }: BoundCookie): string {
  return setCookie({ name, value: '', attributes }).slice(`${name}=; `.length)
}
