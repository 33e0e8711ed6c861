import type { CookieAttributes } from '../cookie.ts'
import { OptionsError } from '../errors.ts'
import { checkTypes, refuseUnknown } from '../given.ts'
import type { CookieOptions } from '../options.ts'

export interface CookieSettings {
  readonly name: string
  readonly attributes: CookieAttributes
  readonly formerly: readonly { name: string; domain?: string; path?: string }[]
}
export function resolveCookie(options: CookieOptions, manager: string): CookieSettings {
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
