/** What a URL says. */
export interface Target {
  readonly kind: 'single' | 'cluster' | 'sentinel'
  readonly tls: boolean
  readonly username?: string
  readonly password?: string
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  /** How Sentinel calls the primary. */
  readonly primaryName?: string
  readonly database: number
}

const FORMS =
  'redis://host:6379/0, redis+cluster://a:6379,b:6379 or redis+sentinel://a:26379,b:26379/primaryName/0, with rediss for TLS and user:password@ before the hosts'

/** @throws TypeError if it is no such URL; never with what may be a password */
export function parseUrl(url: string): Target {
  const match = /^(rediss?)(?:\+(cluster|sentinel))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^?#]*))?$/.exec(url)
  if (match === null) throw new TypeError(`redisStore: this URL is none of ${FORMS}`)
  const [, scheme, kind = 'single', credentials = '', hosts = '', path = ''] = match
  const refuse = (what: string) => new TypeError(`redisStore: ${what}. The URL is to be one of ${FORMS}`)

  const segments = path.split('/').filter((segment) => segment !== '')
  const primaryName = kind === 'sentinel' ? segments.shift() : undefined
  if (kind === 'sentinel' && primaryName === undefined) throw refuse('the URL names no primary for Sentinel')
  const [database = '0', ...more] = segments
  if (more.length > 0 || !/^\d{1,9}$/.test(database)) {
    throw refuse(`${JSON.stringify(segments.join('/'))} is not the number of a database`)
  }
  if (kind === 'cluster' && database !== '0') throw refuse('a Cluster has no database but 0')

  const standard = kind === 'sentinel' ? 26379 : 6379
  const nodes = hosts.split(',').map((each) => {
    const [, host, port = String(standard)] =
      /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(each) ?? []
    if (host === undefined) throw refuse(`${JSON.stringify(each)} is not a host and a port`)
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
  })
  if (kind === 'single' && nodes.length > 1)
    throw refuse('several hosts need redis+cluster:// or redis+sentinel://')

  const colon = credentials.indexOf(':')
  const [username, password] =
    colon < 0 ? [credentials, ''] : [credentials.slice(0, colon), credentials.slice(colon + 1)]
  try {
    return {
      kind: kind as Target['kind'],
      tls: scheme === 'rediss',
      ...(username && { username: decodeURIComponent(username) }),
      ...(password && { password: decodeURIComponent(password) }),
      nodes,
      ...(primaryName && { primaryName: decodeURIComponent(primaryName) }),
      database: Number(database),
    }
  } catch {
    throw refuse('a % in the URL is not followed by two hexadecimal digits')
  }
}
