import { inspect } from 'node:util'

/** A client of node-redis, ioredis, iovalkey or valkey-glide, for one server, a Cluster or behind Sentinels: what is called of it. */
export type RedisClient =
  | NodeRedisClient
  | NodeRedisCluster
  | NodeRedisSentinel
  | IoredisClient
  | IoredisCluster
  | GlideClient

type Args = readonly string[]

export interface NodeRedisClient {
  readonly isOpen: boolean
  sendCommand(args: string[]): Promise<unknown>
  select(db: number): unknown
}

export interface NodeRedisCluster {
  readonly isOpen: boolean
  readonly masters: unknown[]
  sendCommand(key: string | undefined, isReadonly: boolean | undefined, args: string[]): Promise<unknown>
  nodeClient(node: never): Promise<{ sendCommand(args: string[]): Promise<unknown> }>
}

export interface NodeRedisSentinel {
  readonly isOpen: boolean
  getMasterNode(): unknown
  sendCommand(isReadonly: boolean | undefined, args: string[]): Promise<unknown>
}

export interface IoredisClient {
  readonly status: string
  call(command: string, args: string[]): Promise<unknown>
}

export interface IoredisCluster extends IoredisClient {
  nodes(role: 'master'): IoredisClient[]
}

export interface GlideClient {
  customCommand(args: string[]): Promise<unknown>
}

/** What the store needs of a client, whichever it is. */
export interface Commands {
  /** Text comes back as text, integers as numbers, nil as null. `key` routes, in a Cluster. */
  send(key: string, args: Args): Promise<unknown>
  /** One for each primary, to go through all keys. Undefined: this client cannot tell them apart. */
  primaries(): Promise<((args: Args) => Promise<unknown>)[] | undefined>
  /** Whether WAIT would ask the server that took the last write of `key`. */
  readonly canWait: boolean
}

/** @throws TypeError for what is no such client */
export function commandsOf(client: RedisClient): Commands {
  if (typeof client === 'object' && client !== null) {
    if ('call' in client && 'status' in client) return ofIoredis(client)
    if ('customCommand' in client) return ofGlide(client)
    if ('sendCommand' in client && 'isOpen' in client) return ofNodeRedis(client)
  }
  const passed =
    typeof client === 'object' && client !== null
      ? `an object of class ${(client as object).constructor?.name}`
      : inspect(client)
  throw new TypeError(
    `redisStore: cannot use ${passed}. Pass a client (or Cluster, or Sentinel) of redis, ioredis, iovalkey or @valkey/valkey-glide, or a URL.`,
  )
}

function ofIoredis(client: IoredisClient | IoredisCluster): Commands {
  const { options } = client as { options?: { keyPrefix?: string } }
  if (options?.keyPrefix) {
    throw new TypeError(
      'redisStore: this client adds a keyPrefix of its own, which scripts and SCAN do not see. Pass one without it, and redisStore(client, { prefix }).',
    )
  }
  const callOn = (one: IoredisClient) => async (args: Args) =>
    one.call(args[0] as string, args.slice(1) as string[])
  const isCluster = 'nodes' in client
  const call = callOn(client)
  return {
    send: (_key, args) => call(args),
    async primaries() {
      if (!isCluster) return [call]
      if (client.nodes('master').length === 0) await call(['GET', 'connects the client'])
      return client.nodes('master').map(callOn)
    },
    canWait: !isCluster,
  }
}

function ofGlide(client: GlideClient): Commands {
  const send = (args: Args) => client.customCommand(args as string[])
  const isCluster = client.constructor.name.includes('Cluster')
  return {
    send: (_key, args) => send(args),
    primaries: async () => (isCluster ? undefined : [send]),
    canWait: !isCluster,
  }
}

function ofNodeRedis(client: NodeRedisClient | NodeRedisCluster | NodeRedisSentinel): Commands {
  if ('nodeClient' in client) {
    return {
      send: (key, args) => client.sendCommand(key, false, args as string[]),
      primaries: async () =>
        Promise.all(
          client.masters.map(async (node) => {
            const one = await client.nodeClient(node as never)
            return (args: Args) => one.sendCommand(args as string[])
          }),
        ),
      canWait: true,
    }
  }
  const send =
    'getMasterNode' in client
      ? (args: Args) => client.sendCommand(false, args as string[])
      : (args: Args) => client.sendCommand(args as string[])
  return { send: (_key, args) => send(args), primaries: async () => [send], canWait: true }
}

/** A client that was made from a URL. */
export interface OwnClient {
  readonly commands: Commands
  close(): Promise<void>
}

interface IoredisModule {
  readonly Redis: new (options: object) => OwnIoredis
  readonly Cluster: new (nodes: object[], options: object) => OwnIoredis
}

type OwnIoredis = IoredisClient & {
  on(event: 'error', listener: (error: Error) => void): unknown
  connect(): Promise<void>
  disconnect(): void
  quit(): Promise<unknown>
}

const DRIVER = 'ioredis'

/**
 * Connects by URL, with ioredis. @throws TypeError for a URL that is none of ours, Error when ioredis is not installed or the server
 * does not let us in
 */
export async function connect(url: string): Promise<OwnClient> {
  const target = parseUrl(url)
  let ioredis: IoredisModule
  try {
    ioredis = await import(DRIVER)
  } catch (cause) {
    throw new Error(
      'a redis URL needs the package ioredis. Run `npm install ioredis`, or pass a client of another one',
      { cause },
    )
  }
  const client = openClient(ioredis, target)
  // A failed command tells its own caller. What connecting meets, a password or number that is wrong, no command tells.
  let refusal: Error | undefined
  client.on('error', (error) => (refusal ??= error))
  try {
    await client.connect()
    if (refusal) throw refusal
  } catch (error) {
    client.disconnect()
    throw refusal ?? error
  }
  return { commands: commandsOf(client), close: async () => void (await client.quit()) }
}

interface Target {
  readonly kind: 'server' | 'cluster' | 'sentinel'
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  readonly username?: string
  readonly password?: string
  readonly tls: boolean
  /** Of the primary, that Sentinels know it by. */
  readonly primary?: string
  readonly db: number
}

const SHAPE = /^(rediss?|rediss?\+(?:cluster|sentinel)):\/\/(?:([^@/]*)@)?([^/?]*)(?:\/([^?]*))?$/i

/** By hand: a list of hosts is nothing that `URL` takes. The text may hold a password, so no error repeats it. */
export function parseUrl(url: string): Target {
  const [, scheme = '', credentials = '', hosts = '', path = ''] = SHAPE.exec(url) ?? []
  const kind = scheme.endsWith('+cluster') ? 'cluster' : scheme.endsWith('+sentinel') ? 'sentinel' : 'server'
  const parts = path.split('/').filter((part) => part !== '')
  const primary = kind === 'sentinel' ? parts.shift() : undefined
  const db = Number(parts.shift() ?? 0)
  const list = hosts.split(',').map((text) => hostOf(text, kind === 'sentinel' ? 26_379 : 6_379))
  const isWrong =
    scheme === '' ||
    list.includes(undefined) ||
    !Number.isInteger(db) ||
    db < 0 ||
    parts.length > 0 ||
    (kind === 'server' && list.length > 1) ||
    (kind === 'cluster' && db !== 0) ||
    (kind === 'sentinel' && primary === undefined)
  if (isWrong) {
    throw new TypeError(
      'redisStore: this URL is not one of redis://user:password@host:port/db, rediss://…, redis+cluster://host:port,host:port or ' +
        'redis+sentinel://host:port,host:port/primary/db',
    )
  }
  const [username, password] = credentials.includes(':')
    ? credentials.split(/:(.*)/s, 2)
    : [credentials, undefined]
  return {
    kind,
    hosts: list as Target['hosts'],
    ...(username && { username: decodeURIComponent(username) }),
    ...(password && { password: decodeURIComponent(password) }),
    tls: scheme.startsWith('rediss'),
    ...(primary && { primary: decodeURIComponent(primary) }),
    db,
  }
}

function hostOf(text: string, defaultPort: number): { host: string; port: number } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = bracketed ?? plain
  return host === undefined ? undefined : { host, port: port === undefined ? defaultPort : Number(port) }
}

/** No command waits for a server that is away: sessions are better refused at once than late. */
const PATIENCE_MS = 2_000

function openClient({ Redis, Cluster }: IoredisModule, target: Target): OwnIoredis {
  const { kind, hosts, username, password, tls, primary, db } = target
  const common = {
    lazyConnect: true,
    connectTimeout: PATIENCE_MS,
    commandTimeout: PATIENCE_MS,
    maxRetriesPerRequest: 1,
    username,
    password,
    ...(tls && { tls: {} }),
  }
  if (kind === 'cluster') {
    return new Cluster([...hosts], {
      lazyConnect: true,
      clusterRetryStrategy: (times: number) => Math.min(50 * times, 500),
      slotsRefreshTimeout: PATIENCE_MS,
      redisOptions: common,
    })
  }
  if (kind === 'sentinel') {
    return new Redis({ ...common, sentinels: hosts, name: primary, db, sentinelRetryStrategy: () => 100 })
  }
  return new Redis({
    ...common,
    ...hosts[0],
    db,
    retryStrategy: (times: number) => Math.min(50 * times, 500),
  })
}
