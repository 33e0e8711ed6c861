/**
 * The guard against cross-site request forgery: what a browser says of the page that sent a request decides, and no token does. Judged from
 * headers that no page can set (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/; Origin, RFC 6454), before anything is loaded.
 */
import { readCookies } from '../cookie.ts'
import { CrossOriginError, OptionsError } from '../errors.ts'
import { checkTypes, refuseUnknown } from '../given.ts'
import type { CsrfOptions } from '../options.ts'
import type { RequestSource } from '../request.ts'
import { cookieHeader, header, hostOf, isSafe, routeOf } from '../request.ts'

export interface CsrfPolicy {
  readonly trustedOrigins: ReadonlySet<string>
  readonly strict: boolean
}

/** @returns undefined where there is no guard */
export function resolveCsrf(given: boolean | CsrfOptions | undefined): CsrfPolicy | undefined {
  if (given === undefined || given === false) return undefined
  const options: CsrfOptions = given === true ? {} : given
  refuseUnknown('csrf.', options, ['trustedOrigins', 'strict'])
  checkTypes('csrf.', options, { strict: 'boolean' })
  const { trustedOrigins = [], strict = false } = options
  if (!Array.isArray(trustedOrigins))
    throw new OptionsError(`csrf.trustedOrigins: must be a list of origins, not ${String(trustedOrigins)}`)
  return { trustedOrigins: new Set(trustedOrigins.map(checkOrigin)), strict }
}

/** The list is compared as text, so an entry that no browser would send is a mistake. */
function checkOrigin(origin: unknown): string {
  if (typeof origin === 'string' && isOrigin(origin)) return origin
  const near = typeof origin === 'string' && URL.canParse(origin) ? new URL(origin).origin : ''
  const cure = isOrigin(near)
    ? `Say ${JSON.stringify(near)}`
    : 'Name each one, such as "https://shop.example"'
  throw new OptionsError(
    `csrf.trustedOrigins: ${JSON.stringify(origin) ?? String(origin)} is not an origin as browsers send it. ${cure}`,
  )
}

/** An app's own scheme (`capacitor://localhost`) has no origin in the URL standard, but is sent as one. */
function isOrigin(text: string): boolean {
  if (/^https?:/i.test(text))
    return URL.canParse(text) && new URL(text).origin === text && !text.includes('*')
  return /^[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9._-]+(:\d+)?$/.test(text)
}

/** Why the request is refused, or undefined if it may go on. What can only read, and what says nothing of a page, may. */
export function crossOrigin(
  source: RequestSource,
  { trustedOrigins, strict }: CsrfPolicy,
  cookieName: string,
): CrossOriginError | undefined {
  if (source === undefined || typeof source === 'string' || isSafe(source)) return undefined
  const site = header(source, 'sec-fetch-site')
  const origin = header(source, 'origin')
  if (site === 'same-origin' || site === 'none') return undefined
  if (origin !== undefined && trustedOrigins.has(origin)) return undefined
  const route = routeOf(source) ?? 'this request'
  if (site === undefined && origin === undefined) {
    if (!strict || readCookies(cookieHeader(source), cookieName, 1).length === 0) return undefined
    return new CrossOriginError(
      `${route}: refused, since it brings a session cookie, and neither Sec-Fetch-Site nor Origin to say where it comes from (csrf.strict)`,
    )
  }
  if (site === undefined && isOriginOf(origin!, hostOf(source))) return undefined
  return new CrossOriginError(
    `${route}: refused, since a page of another origin sent it ` +
      `(Sec-Fetch-Site: ${site ?? 'absent'}, Origin: ${origin ?? 'absent'}). ${cureFor(origin)}`,
  )
}

function cureFor(origin: string | undefined): string {
  return origin === 'null'
    ? 'Origin is null for sandboxed frames, for redirects from elsewhere, and over plain http for pages with Referrer-Policy: no-referrer; it cannot be trusted.'
    : 'If that origin is yours, and be it this one, to which a proxy gave another Host, put it into csrf.trustedOrigins.'
}

/**
 * Host names no scheme, so that of the page is taken for it: the scheme's own port may then be there or not. The whole address is
 * compared, so that nothing hides behind the host.
 */
function isOriginOf(origin: string, host: string | undefined): boolean {
  if (host === undefined || !/^https?:/.test(origin) || !isOrigin(origin)) return false
  const address = `${origin.slice(0, origin.indexOf(':'))}://${host}`
  return URL.canParse(address) && new URL(address).href === `${origin}/`
}
