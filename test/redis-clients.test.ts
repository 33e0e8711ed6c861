import { GlideClient, GlideClusterClient } from '@valkey/valkey-glide'
import { type RedisClient, redisStore } from 'holdfast/stores/redis'
import { Cluster, Redis } from 'ioredis'
import { Redis as Iovalkey, Cluster as IovalkeyCluster } from 'iovalkey'
import { createClient, createClientPool, createCluster, createSentinel } from 'redis'
import { afterAll, describe, expect, it } from 'vitest'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import type { StoreUnderTest } from '../src/testing/store-suite/suite.ts'
import { startCluster, startRedis, startSentinels } from './servers/redis.ts'

const [server, cluster, sentinels] = await Promise.all([startRedis(), startCluster(), startSentinels()])
const clusterPorts = cluster.nodes.map(({ port }) => port)
const OPENER = new URL('./openers/redis.ts', import.meta.url).href
const ends: (() => unknown)[] = []
afterAll(async () => {
  for (const end of ends) await end()
  await Promise.all([server.stop(), cluster.stop(), sentinels.stop()])
})

let tests = 0
const newPrefix = () => `test-${process.pid}-${++tests}`

const urls = {
  'one server': `redis://127.0.0.1:${server.port}`,
  Cluster: `redis+cluster://${clusterPorts.map((port) => `127.0.0.1:${port}`)}`,
  Sentinel: `redis+sentinel://${sentinels.ports.map((port) => `127.0.0.1:${port}`)}/${sentinels.primaryName}`,
}

const local = (port: number) => ({ host: '127.0.0.1', port })
const clusterNodes = clusterPorts.map(local)

/** By name, a client that is opened once for all tests. */
const clients: Record<string, () => Promise<RedisClient>> = {
  ioredis: async () => closing(new Redis(server.port), (client) => client.disconnect()),
  iovalkey: async () => closing(new Iovalkey(server.port), (client) => client.disconnect()),
  'node-redis': async () => {
    const client = createClient({ socket: local(server.port) })
    client.on('error', () => {})
    await client.connect()
    return closing(client, () => client.destroy())
  },
  'node-redis, a pool': async () => {
    const pool = createClientPool({ socket: local(server.port) }, { minimum: 2, maximum: 4 })
    pool.on('error', () => {})
    await pool.connect()
    return closing(pool, () => pool.destroy())
  },
  'valkey-glide': async () => {
    const client = await GlideClient.createClient({ addresses: [local(server.port)] })
    return closing(client, () => client.close())
  },
  'Cluster of ioredis': async () => closing(new Cluster(clusterNodes), (client) => client.disconnect()),
  'Cluster of iovalkey': async () =>
    closing(new IovalkeyCluster(clusterNodes), (client) => client.disconnect()),
  'Cluster of node-redis': async () => {
    const client = createCluster({ rootNodes: clusterNodes.map((socket) => ({ socket })) })
    client.on('error', () => {})
    await client.connect()
    return closing(client, () => client.destroy())
  },
  'Cluster of valkey-glide': async () => {
    const client = await GlideClusterClient.createClient({ addresses: clusterNodes })
    return closing(client, () => client.close())
  },
  'Sentinel of ioredis': async () => {
    const client = new Redis({ sentinels: sentinels.ports.map(local), name: sentinels.primaryName })
    return closing(client, () => client.disconnect())
  },
  'Sentinel of node-redis': async () => {
    const client = createSentinel({
      name: sentinels.primaryName,
      sentinelRootNodes: sentinels.ports.map(local),
    })
    client.on('error', () => {})
    await client.connect()
    return closing(client, () => client.destroy())
  },
}

function closing<T>(client: T, end: (client: T) => unknown): T {
  ends.push(() => end(client))
  return client
}

for (const [name, open] of Object.entries(clients)) {
  let opened: Promise<RedisClient> | undefined
  suite(`redis, ${name}`, async () => {
    opened ??= open()
    return { store: redisStore(await opened, { prefix: newPrefix() }) }
  })

  it(`through ${name}: check() is told how the servers are set up`, async () => {
    opened ??= open()
    const store = redisStore(await opened, { prefix: newPrefix() })
    const found = async () => (await store.check!(Date.now)).map(({ id }) => id)
    const servers = name.startsWith('Cluster')
      ? cluster.nodes
      : name.startsWith('Sentinel')
        ? [sentinels.primary]
        : [server]
    const save = (points: string) =>
      Promise.all(servers.map(({ cli }) => cli('CONFIG', 'SET', 'save', points)))
    expect(await found()).toEqual(['redis.no-persistence'])
    await save('3600 1')
    expect(await found()).toEqual([])
    await save('')
  })
}

for (const [name, url] of Object.entries(urls)) {
  const open = async () => {
    const prefix = newPrefix()
    return { store: redisStore(url, { prefix }), config: { url, prefix } }
  }
  // Whoever asks a Sentinel talks to one server in the end, so its races are those of the first.
  suite(`redis, URL of ${name}`, open, name === 'Sentinel' ? undefined : OPENER)
}

function suite(name: string, open: StoreUnderTest['open'], opener?: string): void {
  storeSuite({ describe, it }, { name, open, opener, lacks: ['sweep'] })
}
