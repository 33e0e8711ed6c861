/** What Playwright's `storageState` takes, and a file of it holds. */
export interface StorageState {
  cookies: {
    name: string
    value: string
    domain: string
    path: string
    /** Seconds since 1970; -1: until the browser closes. */
    expires: number
    httpOnly: boolean
    secure: boolean
    sameSite: 'Strict' | 'Lax' | 'None'
  }[]
  origins: { origin: string; localStorage: { name: string; value: string }[] }[]
}

/** The cookies of one site. Whatever their path, they go along to every page of it, also over plain http. */
export interface CookieJar {
  /** Takes in the values of Set-Cookie headers. */
  keep(lines: readonly string[]): void
  /** By name, as they are sent. */
  values(): Map<string, string>
  storageState(site: string | URL): StorageState
}

type Kept = Omit<StorageState['cookies'][number], 'domain'> & { domain: string | undefined }

export function cookieJar(): CookieJar {
  const jar = new Map<string, Kept>()
  return {
    keep(lines) {
      for (const cookie of lines.map(parse)) {
        if (cookie.expires !== -1 && cookie.expires <= seconds()) jar.delete(cookie.name)
        else jar.set(cookie.name, cookie)
      }
    },
    values: () => new Map(Array.from(jar.values(), ({ name, value }) => [name, value])),
    storageState(site) {
      const url = new URL(site)
      return { cookies: Array.from(jar.values(), (cookie) => placed(cookie, url)), origins: [] }
    },
  }
}

function parse(line: string): Kept {
  const [pair = '', ...rest] = line.split(';').map((part) => part.trim())
  const attributes = new Map(rest.map(halves).map(([name, value]) => [name.toLowerCase(), value]))
  const [name, value] = halves(pair)
  const sameSite = attributes.get('samesite')?.toLowerCase()
  return {
    name,
    value,
    domain: attributes.get('domain')?.replace(/^\./, '').toLowerCase() || undefined,
    path: attributes.get('path') || '/',
    expires: expiryOf(attributes),
    httpOnly: attributes.has('httponly'),
    secure: attributes.has('secure'),
    sameSite: sameSite === 'strict' ? 'Strict' : sameSite === 'none' ? 'None' : 'Lax', // as Chromium does without one
  }
}

function halves(pair: string): [string, string] {
  const at = pair.indexOf('=')
  return at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)]
}

/** By the clock of the machine, as browsers count, whatever clock the server was given. */
function expiryOf(attributes: Map<string, string>): number {
  const maxAge = Number.parseInt(attributes.get('max-age') ?? '', 10)
  if (!Number.isNaN(maxAge)) return Math.max(0, seconds() + maxAge)
  const expires = Date.parse(attributes.get('expires') ?? '')
  return Number.isNaN(expires) ? -1 : Math.max(0, Math.floor(expires / 1000))
}

function seconds(): number {
  return Math.floor(Date.now() / 1000)
}

/** A browser would drop in silence what does not belong there, and a test would find nobody logged in. */
function placed(cookie: Kept, { hostname, protocol, origin }: URL): StorageState['cookies'][number] {
  const { name, domain, secure } = cookie
  if (domain !== undefined && hostname !== domain && !hostname.endsWith(`.${domain}`)) {
    throw new TypeError(
      `storageState: the cookie ${name} has Domain=${domain}, and no browser sends it to ${origin}. ` +
        `Give a URL of ${domain}, or sessions without cookie.domain.`,
    )
  }
  if (secure && protocol !== 'https:' && !LOCAL.test(hostname)) {
    throw new TypeError(
      `storageState: the cookie ${name} is Secure, and no browser sends it to ${origin}. ` +
        'Use https, http://localhost, or sessions with cookie: { secure: false }.',
    )
  }
  return { ...cookie, domain: domain === undefined ? hostname : `.${domain}` }
}

/** Where browsers send Secure cookies also over plain http. */
const LOCAL = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/
