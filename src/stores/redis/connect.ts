import { MissingDriverError } from '../store-error.ts'
import {
  adopt,
  type Commander,
  type IoredisClient,
  type NodeRedisClient,
  type NodeRedisCluster,
  type NodeRedisSentinel,
} from './clients.ts'

/** How long to wait for a connection, and for an answer: beyond the deadlines of the core, so that those come first. */
const CONNECT_TIMEOUT_MS = 2_000
const ANSWER_TIMEOUT_MS = 3_000

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

/** Connects when the first command is sent, and again after an attempt that failed. */
export function connectLazily(url: string, longestWait = 0): Commander {
  const target = parseUrl(url)
  let connected: Connection | undefined
  let connecting: Promise<Connection> | undefined
  let isClosed = false

  const connection = (): Promise<Connection> => {
    connecting ??= connect(target, ANSWER_TIMEOUT_MS + longestWait)
      .then(async (made) => {
        if (isClosed) await made.close()
        connected = made
        return made
      })
      .finally(() => {
        connecting = undefined
      })
    return connecting
  }
  const commander = async () => (connected ?? (await connection())).commander

  return {
    isCluster: target.kind === 'cluster',
    isPool: false,
    command: (args, key) =>
      connected
        ? connected.commander.command(args, key)
        : commander().then((found) => found.command(args, key)),
    primaries: async () => (await commander()).primaries(),
    async close() {
      isClosed = true
      // An attempt under way closes what it makes, and its failure is that of the operation which began it.
      await connecting?.catch(() => {})
      await connected?.close()
    },
  }
}

interface Connection {
  readonly commander: Commander
  close(): Promise<void>
}

/** A client of a driver: how to connect it, what it has complained of, and how to end it. */
interface Driven {
  readonly client: (IoredisClient | NodeRedisClient | NodeRedisCluster | NodeRedisSentinel) & Emitter
  connect(): Promise<unknown>
  close(): Promise<unknown> | unknown
}

interface Emitter {
  on(event: 'error' | 'ready', listener: (error: Error) => void): unknown
}

/** What drivers say when they have given up, for a reason that they have told before. */
const VAGUE =
  /^Connection is closed|max retries|no answer|offline|startup nodes|root nodes|slots cache|^All sentinels/i

async function connect(target: Target, answerTimeout: number): Promise<Connection> {
  const driven = await drive(target, answerTimeout)
  const { client } = driven
  // The drivers go on trying by themselves and tell of it here; what they then throw often says only that they gave up.
  let complaint: Error | undefined
  let complain: (error: Error) => void = () => {}
  const complained = new Promise<never>((_, reject) => {
    complain = reject
  })
  complained.catch(() => {})
  client.on('error', (error) => {
    complaint = error
    // A Sentinel or a Cluster has other nodes to try.
    if (target.kind === 'single') complain(error)
  })
  client.on('ready', () => {
    complaint = undefined
  })

  const commander = adopt(client)
  let timer: NodeJS.Timeout | undefined
  const timedOut = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`no answer within ${CONNECT_TIMEOUT_MS} ms`)),
      CONNECT_TIMEOUT_MS,
    )
  })
  const ready = async () => {
    await driven.connect()
    // ioredis goes on in database 0 if the server has no such database.
    if (target.database > 0) await commander.command(['SELECT', String(target.database)], '')
  }
  const explain = (reason: unknown) => {
    if (!(reason instanceof Error) || !VAGUE.test(reason.message)) return reason
    const why = within(reason) ?? (complaint && (within(complaint) ?? complaint))
    return why && why !== reason ? new Error(why.message, { cause: reason }) : reason
  }
  const end = async () => {
    try {
      await driven.close()
    } catch {
      // What has not connected, or has given up, cannot be closed and need not be.
    }
  }
  try {
    await Promise.race([ready(), complained, timedOut])
  } catch (error) {
    await end()
    throw explain(error)
  } finally {
    clearTimeout(timer)
  }
  return {
    commander: {
      ...commander,
      async command(args, key) {
        try {
          return await commander.command(args, key)
        } catch (error) {
          throw explain(error)
        }
      },
    },
    close: end,
  }
}

/** What a driver gives as the reason of its own error, if anything. */
function within(error: Error): Error | undefined {
  const inner = 'lastNodeError' in error ? error.lastNodeError : error.cause
  return inner instanceof Error ? inner : undefined
}

// ---- the drivers ----

async function drive(target: Target, answerTimeout: number): Promise<Driven> {
  const ioredis = await load<IoredisModule>('ioredis', () => import('ioredis'))
  if (ioredis) return driveIoredis(ioredis, target, answerTimeout)
  const redis = await load<NodeRedisModule>('redis', () => import('redis'))
  if (redis) return driveNodeRedis(redis, target, answerTimeout)
  throw new MissingDriverError('neither `ioredis` nor `redis` is installed. Run `npm install ioredis`')
}

/** Nothing if the package is not there. */
async function load<T>(name: string, importIt: () => Promise<unknown>): Promise<T | undefined> {
  try {
    return (await importIt()) as T
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${name}'`)) return undefined
    throw error
  }
}

type OwnClient = IoredisClient & Emitter & { connect(): Promise<unknown>; disconnect(): void }

interface IoredisModule {
  readonly Redis: new (options: object) => OwnClient
  readonly Cluster: new (nodes: readonly object[], options: object) => OwnClient
}

function driveIoredis({ Redis, Cluster }: IoredisModule, target: Target, answerTimeout: number): Driven {
  const { tls, username, password, nodes, primaryName, database } = target
  const retryStrategy = (attempt: number) => Math.min(50 * attempt, 200)
  const options = {
    username,
    password,
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: answerTimeout,
    // A connection that a firewall has forgotten never breaks by itself.
    socketTimeout: answerTimeout,
    maxRetriesPerRequest: 1,
    retryStrategy,
    ...(tls && { tls: {} }),
  }
  const make = (): OwnClient => {
    if (target.kind === 'single') return new Redis({ ...options, ...nodes[0], db: database })
    if (target.kind === 'sentinel') {
      const sentinels = { sentinels: nodes, name: primaryName, enableTLSForSentinelMode: tls }
      return new Redis({ ...options, ...sentinels, db: database })
    }
    return new Cluster(nodes, {
      redisOptions: options,
      lazyConnect: true,
      clusterRetryStrategy: retryStrategy,
      // A certificate names a host, which a Cluster would otherwise replace by its address.
      ...(tls && {
        dnsLookup: (address: string, done: (e: null, address: string) => void) => done(null, address),
      }),
    })
  }
  const client = make()
  return { client, connect: () => client.connect(), close: () => client.disconnect() }
}

type OwnNodeRedis<T> = T & Emitter & { connect(): Promise<unknown>; destroy(): Promise<unknown> | void }

interface NodeRedisModule {
  createClient(options: object): OwnNodeRedis<NodeRedisClient>
  createCluster(options: object): OwnNodeRedis<NodeRedisCluster>
  createSentinel(options: object): OwnNodeRedis<NodeRedisSentinel>
}

function driveNodeRedis(module: NodeRedisModule, target: Target, answerTimeout: number): Driven {
  const { tls, username, password, nodes, primaryName, database } = target
  const socket = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    // Without these a command waits for ever, in the queue or for an answer that does not come.
    socketTimeout: answerTimeout,
    reconnectStrategy: (attempt: number) => Math.min(50 * attempt, 200),
    ...(tls && { tls: true }),
  }
  const common = {
    username,
    password,
    pingInterval: Math.floor(answerTimeout / 2),
    disableOfflineQueue: true,
    commandOptions: { timeout: answerTimeout },
  }
  const make = () => {
    if (target.kind === 'single') {
      return module.createClient({ ...common, database, socket: { ...socket, ...nodes[0] } })
    }
    if (target.kind === 'sentinel') {
      const { commandOptions, ...nodeOptions } = common
      return module.createSentinel({
        name: primaryName,
        sentinelRootNodes: nodes,
        nodeClientOptions: { ...nodeOptions, database, socket },
        sentinelClientOptions: { socket },
        passthroughClientErrorEvents: true,
        commandOptions,
      })
    }
    const scheme = tls ? 'rediss' : 'redis'
    return module.createCluster({
      rootNodes: nodes.map(({ host, port }) => ({
        url: `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`,
      })),
      defaults: { ...common, socket },
    })
  }
  const client = make()
  return { client, connect: () => client.connect(), close: () => client.destroy() }
}
