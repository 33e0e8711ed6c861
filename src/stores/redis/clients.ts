import { inspect } from 'node:util'
import { describePassed } from '../passed.ts'

/** All that the store needs of a client: to send a command to the primary that has a key, and to name the primaries. */
export interface Commander {
  readonly isCluster: boolean
  /** Each command may take another connection. */
  readonly isPool: boolean
  /** Sends a command to where `key` is, and resolves with the answer as the client gives it. */
  command(args: readonly string[], key: string): Promise<unknown>
  /** The servers that have a part of the keys: one, unless this is a Cluster. */
  primaries(): Promise<readonly Primary[]>
  /** Of a client that sends again by itself what was under way when its connection broke: what it sends by. Another one tells that it may have. */
  connections?(): readonly unknown[]
  /** Present if the connection is the store's own. */
  close?(): Promise<void>
}

export interface Primary {
  readonly address: string
  command(args: readonly string[]): Promise<unknown>
}

/** A client that `redisStore` takes. Only what it calls is declared, so that any version fits that has these methods. */
export type RedisClient =
  | IoredisClient
  | NodeRedisClient
  | NodeRedisCluster
  | NodeRedisSentinel
  | GlideClient
  | GlideCluster

/** `Redis` and `Cluster` of `ioredis` and `iovalkey`. */
export interface IoredisClient {
  readonly isCluster: boolean
  readonly options: object
  call(command: string, ...args: string[]): Promise<unknown>
  callBuffer(command: string, ...args: string[]): Promise<unknown>
  /** Of a single server: its socket. */
  readonly stream?: unknown
  /** Of a Cluster. */
  nodes?(role: 'master'): readonly IoredisNode[]
  /** Of a Cluster: by slot, the addresses of its primary and its replicas. */
  readonly slots?: readonly (readonly string[])[]
}

/** One node of a Cluster of ioredis. */
export interface IoredisNode {
  readonly options: { readonly host?: string; readonly port?: number }
  readonly stream?: unknown
  call(command: string, ...args: string[]): Promise<unknown>
}

/** `createClient` and `createClientPool` of `redis`. */
export interface NodeRedisClient {
  readonly isOpen: boolean
  /** Of a client: a command is sent in this turn. A pool has no such thing. */
  readonly isReady?: boolean
  sendCommand(args: string[], options?: { timeout?: number }): Promise<unknown>
}

/** `createCluster` of `redis`. */
export interface NodeRedisCluster {
  readonly isOpen: boolean
  readonly masters: readonly { readonly address: string }[]
  /** By slot. */
  readonly slots: readonly { readonly master: object }[]
  sendCommand(firstKey: string, isReadonly: boolean, args: string[]): Promise<unknown>
  // biome-ignore lint/suspicious/noExplicitAny: its parameter is the client's own type for what `masters` holds
  nodeClient(node: any): Promise<NodeRedisClient>
}

/** `createSentinel` of `redis`. */
export interface NodeRedisSentinel {
  readonly isOpen: boolean
  sendCommand(isReadonly: boolean, args: string[]): Promise<unknown>
  getMasterNode(): unknown
}

/** `GlideClient` of `@valkey/valkey-glide`. */
export interface GlideClient {
  customCommand(args: string[]): Promise<unknown>
}

/** `GlideClusterClient` of `@valkey/valkey-glide`. */
export interface GlideCluster {
  customCommand(args: string[], options?: { route?: GlideRoute }): Promise<unknown>
  ssubscribe(channels: Set<string>, timeout: number): Promise<unknown>
}

type GlideRoute =
  | { readonly type: 'primarySlotKey'; readonly key: string }
  | { readonly type: 'routeByAddress'; readonly host: string; readonly port: number }

/** Tells by its methods which client it is. @throws TypeError if it is none */
export function adopt(client: RedisClient): Commander {
  if (typeof client !== 'object' || client === null) throw new TypeError(unsupported(client))
  refuseKeyPrefix(client)
  if ('callBuffer' in client && typeof client.callBuffer === 'function') {
    return client.isCluster ? ioredisCluster(client) : ioredis(client)
  }
  if ('customCommand' in client && typeof client.customCommand === 'function') {
    return 'ssubscribe' in client ? glideCluster(client) : glide(client)
  }
  if ('sendCommand' in client && typeof client.sendCommand === 'function' && 'isOpen' in client) {
    if ('nodeClient' in client) return nodeRedisCluster(client)
    if ('getMasterNode' in client) return nodeRedisSentinel(client)
    return nodeRedis(client)
  }
  throw new TypeError(unsupported(client))
}

/** The text of an answer; a client may have been told to answer with bytes. */
export function textOf(answer: unknown): string {
  return Buffer.isBuffer(answer) ? answer.toString('utf8') : String(answer)
}

function single(command: (args: readonly string[]) => Promise<unknown>, isPool = false): Commander {
  return { isCluster: false, isPool, command, primaries: async () => [{ address: '', command }] }
}

function ioredis(client: IoredisClient): Commander {
  return {
    ...single(([name = '', ...args]) => client.call(name, ...args)),
    connections: () => [client.stream],
  }
}

function ioredisCluster(client: IoredisClient): Commander {
  const nodes = () => client.nodes?.('master') ?? []
  const addressOf = ({ options }: IoredisNode) => `${options.host}:${options.port}`
  const nodeOf = async (key: string): Promise<IoredisNode> => {
    const slot = Number(await client.call('CLUSTER', 'KEYSLOT', key))
    const address = client.slots?.[slot]?.[0]
    const node = nodes().find((each) => addressOf(each) === address)
    if (node === undefined) throw new Error(`no primary of the Cluster is known for slot ${slot}`)
    return node
  }
  return {
    isCluster: true,
    isPool: false,
    // It routes by the key that it finds among the arguments.
    async command([name = '', ...args], key) {
      return args.includes(key) ? client.call(name, ...args) : (await nodeOf(key)).call(name, ...args)
    },
    connections: () => nodes().map(({ stream }) => stream),
    async primaries() {
      // Before it has connected there are no nodes to name.
      if (nodes().length === 0) await client.call('PING')
      return nodes().map((node) => ({
        address: addressOf(node),
        command: ([name = '', ...args]: readonly string[]) => node.call(name, ...args),
      }))
    },
  }
}

/**
 * The client makes a timer for each command, an AbortSignal, for as long as it waits to be sent. Where it is sent at once, that guards nothing
 * and costs half as much as all else about it (docs/performance.md).
 */
const SENT_AT_ONCE = { timeout: 0 }

function nodeRedis(client: NodeRedisClient): Commander {
  const command = (args: readonly string[]) =>
    client.sendCommand([...args], client.isReady ? SENT_AT_ONCE : undefined)
  return single(command, 'execute' in client)
}

function nodeRedisSentinel(client: NodeRedisSentinel): Commander {
  return single((args) => client.sendCommand(false, [...args]))
}

function nodeRedisCluster(client: NodeRedisCluster): Commander {
  const nodeOf = async (key: string): Promise<NodeRedisClient> => {
    const slot = Number(await client.sendCommand(key, false, ['CLUSTER', 'KEYSLOT', key]))
    const node = client.slots[slot]?.master
    if (node === undefined) throw new Error(`no primary of the Cluster is known for slot ${slot}`)
    return client.nodeClient(node)
  }
  return {
    isCluster: true,
    isPool: false,
    // It knows commands without a key, and sends them to any node, or to all of them.
    async command(args, key) {
      return args.includes(key)
        ? client.sendCommand(key, false, [...args])
        : (await nodeOf(key)).sendCommand([...args])
    },
    primaries: async () =>
      client.masters.map((master) => ({
        address: master.address,
        command: async (args: readonly string[]) => (await client.nodeClient(master)).sendCommand([...args]),
      })),
  }
}

function glide(client: GlideClient): Commander {
  return single((args) => client.customCommand([...args]))
}

function glideCluster(client: GlideCluster): Commander {
  return {
    isCluster: true,
    isPool: false,
    command: (args, key) => client.customCommand([...args], { route: { type: 'primarySlotKey', key } }),
    async primaries() {
      const shards = (await client.customCommand(['CLUSTER', 'SLOTS'])) as unknown[][]
      const found = shards.map(([, , primary]) => (primary as unknown[]).slice(0, 2).map(textOf))
      const byAddress = new Map(
        found.map(([host = '', port]) => [`${host}:${port}`, { host, port: Number(port) }]),
      )
      return [...byAddress].map(([address, { host, port }]) => ({
        address,
        command: (args: readonly string[]) =>
          client.customCommand([...args], { route: { type: 'routeByAddress', host, port } }),
      }))
    },
  }
}

/** It would apply to some commands and not to others. */
function refuseKeyPrefix(client: object): void {
  const options: unknown = 'options' in client ? client.options : undefined
  if (typeof options !== 'object' || options === null || !('keyPrefix' in options) || !options.keyPrefix)
    return
  throw new TypeError(
    `redisStore: this client has a keyPrefix, ${inspect(options.keyPrefix)}, which its commands follow only in part. ` +
      'Pass a client without one, and give the store { prefix }.',
  )
}

function unsupported(passed: unknown): string {
  return (
    `redisStore: cannot use ${describePassed(passed)}. Pass a URL (redis://, rediss://, redis+cluster://, redis+sentinel://) or a client: ` +
    'createClient, createClientPool, createCluster or createSentinel of redis; Redis or Cluster of ioredis or iovalkey; ' +
    'GlideClient or GlideClusterClient of @valkey/valkey-glide.'
  )
}
