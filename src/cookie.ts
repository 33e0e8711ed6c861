/** The Cookie header in, Set-Cookie out. No decoding and no quoting: a session token is plain ASCII. */
export interface CookieAttributes {
  readonly path: string
  readonly domain?: string
  readonly secure: boolean
  readonly httpOnly: true
  readonly sameSite: 'Strict' | 'Lax' | 'None'
  readonly partitioned?: boolean
  /** Seconds. Absent: until the browser closes. */
  readonly maxAge?: number
}

/** A cookie to be set: what a `Set-Cookie` header says. */
export interface Cookie {
  readonly name: string
  readonly value: string
  readonly attributes: CookieAttributes
}

/** A header that the response must carry: `append` to what is there (Set-Cookie, Vary) or `set` in its place. */
export type HeaderChange = readonly [name: string, value: string, how: 'append' | 'set']

/** Between the token and what the cookie carries beside it. */
export const CARRIES = '.'

/**
 * The values of all cookies that are called exactly `name`, in order, at most `limit` of them. Only space and tab may stand
 * around a pair: what else a runtime trims (U+00A0) is how another cookie passes for a prefixed one. Linear in the header.
 */
export function readCookies(header: string, name: string, limit: number): string[] {
  const values: string[] = []
  const wanted = `${name}=`
  for (let at = header.indexOf(wanted); at !== -1 && values.length < limit; at = header.indexOf(wanted, at)) {
    const start = at + wanted.length
    if (startsPair(header, at)) {
      const semicolon = header.indexOf(';', start)
      values.push(trimEnd(header, start, semicolon === -1 ? header.length : semicolon))
    }
    at = start
  }
  return values
}

function startsPair(header: string, at: number): boolean {
  let before = at - 1
  while (isBlank(header.charCodeAt(before))) before--
  return before < 0 || header[before] === ';'
}

function trimEnd(header: string, start: number, end: number): string {
  while (end > start && isBlank(header.charCodeAt(end - 1))) end--
  return header.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** What a browser takes at the most, in bytes; a larger cookie it drops in silence (RFC 6265bis, section 5.6, step 4). */
export const LARGEST_COOKIE = 4096

export function setCookie({ name, value, attributes }: Cookie): string {
  let text = `${name}=${value}; Path=${attributes.path}`
  if (attributes.domain !== undefined) text += `; Domain=${attributes.domain}`
  if (attributes.maxAge !== undefined) text += `; Max-Age=${attributes.maxAge}`
  text += '; HttpOnly'
  if (attributes.secure) text += '; Secure'
  text += `; SameSite=${attributes.sameSite}`
  if (attributes.partitioned) text += '; Partitioned'
  return text
}
