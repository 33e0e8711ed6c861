import { inspect } from 'node:util'

/** One server of several. */
export interface MemcachedServer {
  readonly host: string
  /** 11211 by default. */
  readonly port?: number
  /** Its share of the sessions, in proportion to the weights of the others: a whole number. 1 by default. */
  readonly weight?: number
}

/** `'host:port'`, `'host:port weight'`, a list of these or of objects, or a URL: `memcached://a:11211,b:11211`. */
export type MemcachedServers = string | readonly (string | MemcachedServer)[]

export interface ParsedServers {
  readonly servers: readonly Required<MemcachedServer>[]
  readonly isTls: boolean
  readonly username?: string
  readonly password?: string
}

export const DEFAULT_PORT = 11211

const EXPECTED =
  `Pass 'host:port', 'host:port weight' or { host, port, weight }, a list of them, or ` +
  `memcached://host:port,host:port (memcacheds:// for TLS).`

/** @throws TypeError for what names no server; it quotes no password. */
export function parseServers(given: MemcachedServers): ParsedServers {
  if (typeof given === 'string') return parseText(given)
  if (!Array.isArray(given) || given.length === 0) {
    const shown = Array.isArray(given) ? 'an empty list' : `a value of type ${typeof given}`
    throw new TypeError(`memcachedStore: ${shown} names no servers. ${EXPECTED}`)
  }
  return { servers: distinct(given.map(parseServer)), isTls: false }
}

function parseText(text: string): ParsedServers {
  if (!/:\/\/|@/.test(text)) return { servers: distinct(text.split(',').map(parseServer)), isTls: false }
  const [, scheme, user, password, hosts] =
    /^(memcacheds?):\/\/(?:([^:@/]*)(?::(.*))?@)?([^@/?#]+)\/?$/s.exec(text) ?? []
  if (scheme === undefined || hosts === undefined) throw notServer(text)
  return {
    servers: distinct(hosts.split(',').map(parseServer)),
    isTls: scheme === 'memcacheds',
    ...(user !== undefined && { username: decode(user), password: decode(password ?? '') }),
  }
}

function parseServer(given: string | MemcachedServer): Required<MemcachedServer> {
  const fields = typeof given === 'string' ? fieldsOf(given) : given
  const { host, port = DEFAULT_PORT, weight = 1, ...others } = { ...fields }
  for (const name of Object.keys(others)) {
    throw new TypeError(`memcachedStore: a server has no field ${name}. ${EXPECTED}`)
  }
  const isHost = typeof host === 'string' && /^[A-Za-z0-9._-]+$|^[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*$/.test(host)
  if (!isHost || !isWithin(port, 65_535) || !isWithin(weight, 1_000_000_000)) {
    throw notServer(typeof given === 'string' ? given : { host, port, weight })
  }
  return { host, port, weight }
}

function fieldsOf(text: string): Partial<MemcachedServer> {
  const [, ipv6, name, port, weight] =
    /^(?:\[([^\]]+)\]|([^:\s[\]]+))(?::(\d+))?(?:\s+(\d+))?$/.exec(text.trim()) ?? []
  return {
    host: ipv6 ?? name,
    ...(port !== undefined && { port: Number(port) }),
    ...(weight !== undefined && { weight: Number(weight) }),
  }
}

/** Two entries for one server would weigh twice and hide a slip. */
function distinct(servers: readonly Required<MemcachedServer>[]): readonly Required<MemcachedServer>[] {
  const names = servers.map(nameOf)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) {
    throw new TypeError(`memcachedStore: the server ${twice} is listed twice. Give it a weight instead.`)
  }
  return servers
}

export function nameOf({ host, port }: Required<MemcachedServer>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function isWithin(value: unknown, highest: number): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= highest
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new TypeError(
      'memcachedStore: the user name or password in the URL is not percent-encoded. Encode it, or pass it as an option.',
    )
  }
}

/** What stands before an @ may be a password. */
function notServer(given: unknown): TypeError {
  const shown = typeof given === 'string' ? given.replace(/^([a-z]+:\/\/)?.*@/s, '$1…@') : given
  return new TypeError(
    `memcachedStore: ${inspect(shown, { breakLength: Number.POSITIVE_INFINITY })} names no server. ${EXPECTED}`,
  )
}
