import { randomUUID } from 'node:crypto'
import { GlideClient } from '@valkey/valkey-glide'
import { type RedisClient, type RedisStore, redisStore } from 'holdfast/stores/redis'
import { Cluster, Redis } from 'ioredis'
import { Redis as Iovalkey } from 'iovalkey'
import { createClient, createCluster, createSentinel } from 'redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { storeSuite } from '../src/testing/store-suite.ts'
import {
  type RedisGroup,
  type RedisServer,
  startCluster,
  startRedis,
  startSentinels,
} from './servers/redis.ts'

const opener = new URL('./openers/redis.ts', import.meta.url).href
let server: RedisServer
let cluster: RedisGroup
let sentinels: RedisGroup

beforeAll(async () => {
  ;[server, cluster, sentinels] = await Promise.all([startRedis(), startCluster(), startSentinels()])
}, 60_000)
afterAll(async () => {
  await Promise.all([server?.stop(), cluster?.stop(), sentinels?.stop()])
})

const hostsOf = (url: string) =>
  url
    .split('/')[2]!
    .split(',')
    .map((text) => ({ host: text.split(':')[0]!, port: Number(text.split(':')[1]) }))
const newPrefix = () => `${randomUUID().slice(0, 8)}:`

/** Each test has a prefix of its own. */
for (const [name, url] of [
  ['one server', () => server.url],
  ['a Cluster', () => cluster.url],
  ['Sentinels', () => sentinels.url],
] as const) {
  storeSuite(
    { describe, it },
    {
      name: `redis, by the URL of ${name}`,
      async open() {
        const config = { url: url(), prefix: newPrefix() }
        return { store: redisStore(config.url, { prefix: config.prefix }), config }
      },
      lacks: ['sweep'],
      ...(name !== 'Sentinels' && { opener }),
    },
  )
}

/** Clients that are passed in, each with what ends it. */
const clients: Record<string, () => Promise<[RedisClient, () => unknown]>> = {
  async 'node-redis'() {
    const client = await createClient({ url: server.url }).connect()
    return [client, () => client.close()]
  },
  async 'node-redis, a Cluster'() {
    const rootNodes = hostsOf(cluster.url).map(({ host, port }) => ({ url: `redis://${host}:${port}` }))
    const client = await createCluster({ rootNodes }).connect()
    return [client, () => client.close()]
  },
  async 'node-redis, by Sentinels'() {
    const client = await createSentinel({
      name: 'primary',
      sentinelRootNodes: hostsOf(sentinels.url),
    }).connect()
    return [client, () => client.close()]
  },
  async ioredis() {
    const client = new Redis(server.port)
    return [client, () => client.quit()]
  },
  async 'ioredis, a Cluster'() {
    const client = new Cluster(hostsOf(cluster.url))
    return [client, () => client.quit()]
  },
  async iovalkey() {
    const client = new Iovalkey(server.port)
    return [client as unknown as RedisClient, () => client.quit()]
  },
  async 'valkey-glide'() {
    const client = await GlideClient.createClient({ addresses: [{ host: '127.0.0.1', port: server.port }] })
    return [client as unknown as RedisClient, () => client.close()]
  },
}

for (const [name, connect] of Object.entries(clients)) {
  storeSuite(
    { describe, it },
    {
      name: `redis, with ${name}`,
      async open() {
        const [client, end] = await connect()
        return { store: redisStore(client, { prefix: newPrefix() }), dispose: async () => void (await end()) }
      },
      lacks: ['sweep'],
    },
  )
}

export type { RedisStore }

void expect
