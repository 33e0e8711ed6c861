import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { GlideClient } from '@valkey/valkey-glide'
import { isTombstone, type StoredRecord } from 'holdfast'
import { type RedisClient, type RedisOptions, type RedisStore, redisStore } from 'holdfast/stores/redis'
import { Cluster, Redis } from 'ioredis'
import { Redis as Iovalkey } from 'iovalkey'
import { createClient, createCluster, createSentinel } from 'redis'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { storeSuite } from '../src/testing/store-suite.ts'
import { type Wire, wireTo } from './helpers/wire.ts'
import { freePort } from './servers/process.ts'
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

const HOUR = 3_600_000
const TEXT = 'x'.repeat(435)

function record(more: Partial<StoredRecord> = {}): StoredRecord {
  const now = Date.now()
  return { rev: `1.${randomUUID().slice(0, 8)}`, text: TEXT, lastSeen: now, expires: now + HOUR, ...more }
}

describe('on a server of its own', () => {
  const ends: (() => unknown)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  async function start(options: readonly string[] = []): Promise<RedisServer> {
    const started = await startRedis(options)
    ends.push(started.stop)
    return started
  }
  function open(url: string, options?: RedisOptions): RedisStore {
    const store = redisStore(url, options)
    ends.push(() => store.close())
    return store
  }

  it('goes on after scripts were forgotten, and after the server was started again', async () => {
    const redis = await startRedis()
    const store = open(redis.url)
    const first = record()
    await store.create('k', first)
    await redis.cli('SCRIPT', 'FLUSH')
    expect(await store.update('k', record({ rev: '2' }), first.rev)).toBe('ok')
    await redis.kill()
    const again = await startRedis([], redis.port)
    ends.push(again.stop)
    await expect.poll(() => store.create('k', first).catch(() => 'not yet'), { timeout: 5_000 }).toBe(true)
    expect(await store.update('k', record({ rev: '2' }), first.rev)).toBe('ok')
  })

  it('when it is full, refuses new sessions with the cure, and touches and ends those that it has', async () => {
    const redis = await start(['--maxmemory-policy', 'noeviction'])
    const store = open(redis.url)
    const made = record()
    for (const key of ['a', 'b', 'c']) await store.create(key, { ...made, user: 'ann' })
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1mb')
    await expect(store.create('d', record())).rejects.toThrow(
      /redis store: create failed: .*OOM.* raise its maxmemory/,
    )
    expect(await store.touch('a', made.lastSeen + 5, made.expires + 5)).toBe(true)
    expect(await store.load('a')).toMatchObject({ text: TEXT, lastSeen: made.lastSeen + 5 })
    expect(await store.destroy('a', Date.now() + HOUR)).toBe(true)
    expect(await store.users.destroy('ann', Date.now() + HOUR)).toBe(2)
    for (const key of ['a', 'b', 'c']) expect(isTombstone(await store.load(key))).toBe(true)
  })

  it.each(['allkeys-lru', 'volatile-lru', 'volatile-ttl'])(
    'that evicts by %s, reports it',
    async (policy) => {
      const redis = await start(['--maxmemory', '50mb', '--maxmemory-policy', policy])
      const store = open(redis.url)
      const report = vi.fn()
      store.reportTo(report)
      await store.load('k')
      await expect.poll(() => report.mock.calls.length).toBe(1)
      expect(String(report.mock.calls[0])).toMatch(/drops live sessions .*noeviction/)
      await store.load('k')
      expect(report).toHaveBeenCalledTimes(1)
    },
  )

  it('with a password takes the right one, and says so of a wrong or missing one without repeating it', async () => {
    const redis = await start(['--requirepass', 'right%secret'])
    const at = (credentials: string) => open(`redis://${credentials}127.0.0.1:${redis.port}`)
    expect(await at(':right%25secret@').load('k')).toBeUndefined()
    for (const store of [at(':wr0ng@'), at('')]) {
      const error = await store.load('k').catch((error: Error) => error)
      expect(String(error)).toMatch(/redis store: load failed: .*Check user and password/)
      expect(String(error)).not.toContain('wr0ng')
    }
  })

  it('with fewer databases says so, and touches no other one', async () => {
    const redis = await start(['--databases', '4'])
    await expect(open(`${redis.url}/9`).create('k', record())).rejects.toThrow(/number after the slash/)
    expect(await redis.cli('DBSIZE')).toBe('0')
    expect(await open(`${redis.url}/3`).create('k', record())).toBe(true)
    expect(await redis.cli('-n', '3', 'DBSIZE')).toBe('1')
  })

  it('that is not there is an error within seconds, and no error once it is', async () => {
    const port = await freePort()
    const store = open(`redis://127.0.0.1:${port}`)
    const started = performance.now()
    await expect(store.load('k')).rejects.toThrow(/redis store: load failed: .*Is the server running/)
    expect(performance.now() - started).toBeLessThan(5_000)
    const redis = await startRedis([], port)
    ends.push(redis.stop)
    expect(await store.load('k')).toBeUndefined()
  })

  it('keeps no index entry longer than a session that could be in it', async () => {
    const redis = await start()
    const store = open(redis.url)
    const soon = Date.now() + 1_500
    for (let n = 0; n < 50; n++) {
      const made = record({ user: `user-${n % 5}`, externalId: `sid-${n}` })
      await store.create(`k${n}`, made)
      if (n % 3 === 0) await store.update(`k${n}`, record({ user: `other-${n % 5}` }), made.rev)
      if (n % 2 === 0) await store.destroy(`k${n}`, soon)
    }
    for (const n of [0, 1, 2, 3, 4]) {
      await store.users.destroy(`user-${n}`, soon)
      await store.users.destroy(`other-${n}`, soon)
    }
    await sleep(1_600)
    const keys = (await redis.cli('KEYS', '*')).split('\n').filter(Boolean)
    for (const key of keys) {
      // What is left are entries of sessions that changed their user: hints, which go with their time.
      expect(await redis.cli('TYPE', key)).toBe('zset')
      expect(Number(await redis.cli('PTTL', key))).toBeGreaterThan(0)
      expect(Number(await redis.cli('PTTL', key))).toBeLessThan(3 * HOUR)
    }
    for (const n of [0, 1, 2, 3, 4]) expect((await store.users.list(`user-${n}`)).items).toEqual([])
  })

  it('waits for replicas where a write must be durable, and says when they did not take it', async () => {
    const primary = await start()
    const replica = await start(['--replicaof', '127.0.0.1', String(primary.port)])
    await expect.poll(() => primary.cli('INFO', 'replication'), { timeout: 15_000 }).toContain('state=online')
    const store = open(primary.url, { wait: { replicas: 1, timeout: 1_000 } })
    expect(await store.create('k', record(), { durable: true })).toBe(true)
    expect(await replica.cli('EXISTS', 'holdfast:s:k')).toBe('1')
    await replica.stop()
    await expect(store.destroy('k', Date.now() + HOUR, { durable: true })).rejects.toThrow(
      /was written, but only 0 of 1 replicas took it within 1000 ms/,
    )
    expect(isTombstone(await store.load('k'))).toBe(true)
  })
})

describe('what passes on the wire', () => {
  let wire: Wire
  let store: RedisStore
  beforeAll(async () => {
    wire = await wireTo(server.port)
    store = redisStore(`redis://127.0.0.1:${wire.port}`, { prefix: 'wire:' })
    // The first operation connects, asks for evictions and gives the scripts.
    await store.create('warm', record({ user: 'ann' }))
    await store.touch('warm', 1, 1)
    await store.update('warm', record(), 'none')
    await sleep(50)
  })
  afterAll(async () => {
    await store?.close()
    await wire?.close()
  })
  async function measured<T>(work: () => Promise<T>) {
    wire.reset()
    const result = await work()
    return { result, ...wire.traffic() }
  }
  const newKey = () => `id:${'k'.repeat(7)}${randomUUID()}`
  const ENVELOPE = 160

  it('is one round trip to read, and near the least in bytes', async () => {
    const key = newKey()
    await store.create(key, record())
    const { roundTrips, sent, received } = await measured(() => store.load(key))
    expect(roundTrips).toBe(1)
    expect(sent).toBeLessThanOrEqual((65 + ENVELOPE) * 1.05)
    expect(received).toBeLessThanOrEqual((443 + ENVELOPE) * 1.05)
    console.log(`redis read: ${sent} bytes up, ${received} down`)
  })

  it('is one round trip to update and to touch, also for a user', async () => {
    const now = Date.now()
    for (const user of [undefined, 'ann']) {
      const key = newKey()
      const made = record({ user, rev: '10.abcdefgh' })
      const creating = await measured(() => store.create(key, made))
      expect(creating.roundTrips).toBe(user ? 2 : 1)
      const next = record({ user, rev: '11.abcdefgh', lastSeen: now + 60_000, expires: now + HOUR + 60_000 })
      const updating = await measured(() => store.update(key, next, made.rev))
      expect([updating.result, updating.roundTrips]).toEqual(['ok', 1])
      expect(updating.sent).toBeLessThanOrEqual((619 + ENVELOPE) * 1.05)
      const touching = await measured(() => store.touch(key, now + 120_000, now + HOUR + 120_000))
      expect([touching.result, touching.roundTrips]).toEqual([true, 1])
      expect(touching.sent).toBeLessThanOrEqual((83 + ENVELOPE) * 1.05)
      console.log(`redis ${user ?? 'visitor'}: update ${updating.sent} bytes up, touch ${touching.sent}`)
    }
  })

  it('is as much beside the text as an envelope may be', async () => {
    const key = newKey()
    await store.create(key, record({ user: 'id:some-user-of-usual-length' }))
    const stored = await server.cli('GET', `wire:s:${key}`)
    expect(stored.length - TEXT.length).toBeLessThanOrEqual(ENVELOPE)
  })
})

describe('memory on the server', () => {
  it('is at most 750 bytes for a session of 435, and 900 logged in', async () => {
    const redis = await startRedis()
    const store = redisStore(redis.url)
    const used = async () => Number(/used_memory:(\d+)/.exec(await redis.cli('INFO', 'memory'))![1])
    const key = (n: number) => `id:${String(n).padStart(43, 'k')}`
    for (const [user, most] of [
      [undefined, 750],
      ['id:user', 900],
    ] as const) {
      await store.load('connects')
      const before = await used()
      const count = 20_000
      for (let at = 0; at < count; at += 500) {
        const batch = Array.from({ length: 500 }, (_, i) => {
          const made = user === undefined ? record() : record({ user: `${user}-${at + i}` })
          return store.create(key(at + i + (user ? 1e6 : 0)), made)
        })
        await Promise.all(batch)
      }
      const bytes = ((await used()) - before) / count
      console.log(`redis: ${bytes.toFixed(0)} bytes a session${user ? ', logged in' : ''}`)
      expect(bytes).toBeLessThanOrEqual(most)
    }
    await store.close()
    await redis.stop()
  }, 60_000)
})

describe('what is passed in', () => {
  it('is refused by name when it is no client and no URL', () => {
    for (const wrong of [undefined, null, 7, {}, new Map()]) {
      expect(() => redisStore(wrong as never)).toThrow(/redisStore: cannot use .* Pass a client/)
    }
    for (const url of [
      ...['', 'localhost', 'http://localhost', 'redis://a,b', 'redis://a/x', 'redis+cluster://a/1'],
      ...['redis+sentinel://a', 'redis://user:secret@', 'redis://a:b:c'],
    ]) {
      expect(() => redisStore(url)).toThrow(/this URL is not one of/)
      expect(() => redisStore(url)).not.toThrow(/secret/)
    }
    expect(() => redisStore('redis://a', { wait: { replicas: 0, timeout: 1 } })).toThrow(/wait needs/)
    expect(() => redisStore('redis://a', { prefix: 'x'.repeat(101) })).toThrow(/prefix/)
  })

  it('is refused when it adds a prefix of its own', () => {
    const client = new Redis({ lazyConnect: true, keyPrefix: 'app:' })
    expect(() => redisStore(client)).toThrow(/adds a keyPrefix of its own/)
    client.disconnect()
  })

  it('stays open when the store is closed', async () => {
    const client = new Redis(server.port)
    const store = redisStore(client)
    await store.load('k')
    await store.close()
    expect(await client.ping()).toBe('PONG')
    await expect(store.load('k')).rejects.toThrow(/has been closed/)
    await client.quit()
  })
})
