import { MissingDriverError } from '../store-error.ts'
import type { IoredisClient, NodeRedisClient, NodeRedisCluster, NodeRedisSentinel } from './clients.ts'
import type { Target } from './url.ts'

/** How long to wait for a connection: beyond the deadlines of the core, so that those come first. */
export const CONNECT_TIMEOUT_MS = 2_000

/** A client of a driver: how to connect it, what it has complained of, and how to end it. */
export interface Driven {
  readonly client: (IoredisClient | NodeRedisClient | NodeRedisCluster | NodeRedisSentinel) & Emitter
  connect(): Promise<unknown>
  close(): Promise<unknown> | unknown
  /** Whether it waits for ever for an answer that does not come. */
  readonly waitsForEver: boolean
}

interface Emitter {
  on(event: 'error' | 'ready', listener: (error: Error) => void): unknown
}

export async function drive(target: Target, answerTimeout: number): Promise<Driven> {
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
  return { client, waitsForEver: false, connect: () => client.connect(), close: () => client.disconnect() }
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
    // Begins anew with each command that is sent, so it finds only a connection that nobody uses.
    socketTimeout: answerTimeout,
    reconnectStrategy: (attempt: number) => Math.min(50 * attempt, 200),
    ...(tls && { tls: true }),
  }
  const common = {
    username,
    password,
    pingInterval: Math.floor(answerTimeout / 2),
    disableOfflineQueue: true,
  }
  const make = () => {
    if (target.kind === 'single') {
      return module.createClient({ ...common, database, socket: { ...socket, ...nodes[0] } })
    }
    if (target.kind === 'sentinel') {
      return module.createSentinel({
        name: primaryName,
        sentinelRootNodes: nodes,
        nodeClientOptions: { ...common, database, socket },
        sentinelClientOptions: { socket },
        passthroughClientErrorEvents: true,
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
  return { client, waitsForEver: true, connect: () => client.connect(), close: () => client.destroy() }
}
