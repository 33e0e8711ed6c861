import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect, promisify } from 'node:util'
import { Decoder, GlideClient } from '@valkey/valkey-glide'
import fc from 'fast-check'
import { type RedisClient, type RedisStoreOptions, redisStore, StoreError } from 'holdfast/stores/redis'
import { Cluster, Redis } from 'ioredis'
import { createClient, createClientPool, RESP_TYPES } from 'redis'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { visitor } from '../bench/payload.mjs'
import { isTombstone, NEVER, type StoredRecord } from '../src/store.ts'
import { browser, manager } from './helpers/browser.ts'
import { type Wire, wireTo } from './helpers/wire.ts'
import { withoutPackages } from './helpers/without-packages.ts'
import {
  type RedisServer,
  startCluster,
  startRedis,
  startReplica,
  startSentinels,
  until,
} from './servers/redis.ts'

const HOUR = 3_600_000
const [server, cluster] = await Promise.all([startRedis(), startCluster()])
const clusterUrl = `redis+cluster://${cluster.nodes.map(({ port }) => `127.0.0.1:${port}`)}`
const url = `redis://127.0.0.1:${server.port}`
const opened: { close(): unknown }[] = []
const started: { stop(): unknown }[] = [server, cluster]

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})
afterAll(async () => {
  for (const each of started) await each.stop()
})

describe('what is kept', () => {
  it('can be read in redis-cli', async () => {
    const { store, cli } = fresh()
    const made = {
      rev: '12.k3Jx',
      text: '{"visits":1}',
      user: 'id:ada lovelace',
      externalId: 'op:100%',
      lastSeen: 1_766_509_321_464,
      expires: NEVER,
    }
    await store.create('id:abc', { rev: '1.a', text: '', lastSeen: 1, expires: NEVER })
    expect(await cli('GET', ':id:abc')).toBe('1 never 1.a')
    await store.update('id:abc', made, '1.a')
    const value = await cli('GET', ':id:abc')
    expect(value.replace(/ [\w-]{2}@/, ' NN@')).toBe(
      'mjiu1fy0 never 12.k3Jx NN@id:ada%20lovelace #op:100%25\n{"visits":1}',
    )
    const entry = `${/ ([\w-]{2})@/.exec(value)?.[1]}id:abc`
    expect(await cli('ZRANGE', '@id:ada%20lovelace', '0', '-1')).toBe(entry)
    expect(await cli('ZRANGE', '#op:100%25', '0', '-1')).toBe(entry)
    const user = 'id:00112233-4455-6677-8899-aabbccddeeff'
    await store.update('id:abc', { ...made, rev: '13.x', user }, made.rev)
    expect(await store.load('id:abc')).toEqual({ ...made, rev: '13.x', user })
    expect(await cli('EXISTS', '@id:ada%20lovelace', '@id:~ABEiM0RVZneImaq7zN3u_w')).toBe('1')
    await store.destroy('id:abc', 4_000_000_000_000)
    expect(await cli('GET', ':id:abc')).toBe('destroyed 4000000000000')
  })

  it('expires in Redis at its time, to the millisecond', async () => {
    const { store, cli } = fresh()
    const made = record()
    const expiry = async () => Number(await cli('PEXPIRETIME', ':k'))
    await store.create('k', made)
    expect(await expiry()).toBe(made.expires)
    await store.touch('k', made.lastSeen, made.expires + 7)
    expect(await expiry()).toBe(made.expires + 7)
    await store.update('k', { ...made, rev: '2', expires: made.expires - 9 }, made.rev)
    expect(await expiry()).toBe(made.expires - 9)
    await store.touch('k', made.lastSeen, NEVER)
    expect(await expiry()).toBe(-1)
    await store.update('k', { ...made, rev: '3' }, '2')
    expect(await expiry()).toBe(made.expires)
    await store.update('k', { ...made, rev: '4', expires: NEVER }, '3')
    expect(await expiry()).toBe(-1)
    await store.destroy('k', made.expires + 11)
    expect(await expiry()).toBe(made.expires + 11)
  })

  it('is collected by Redis, records and tombstones', async () => {
    const { store, keys } = fresh()
    await store.create('past', record({ expires: 0 }))
    await store.create('soon', record({ expires: Date.now() + 500 }))
    await store.create('destroyed', record({ user: 'ada' }))
    await store.destroy('destroyed', Date.now() + 500)
    await store.create('touched', record({ expires: Date.now() + 500 }))
    await store.touch('touched', 0, Date.now() + HOUR)
    await sleep(600)
    expect(await keys()).toEqual([':touched'])
    expect(await store.create('destroyed', record())).toBe(true)
  })

  it('comes back exactly, whatever text, revision, user and external id hold', async () => {
    const { store } = fresh()
    const text = fc.string({ unit: 'binary', maxLength: 60 })
    const rev = fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 40 })
    const fields = {
      rev,
      text,
      user: fc.option(text, { nil: undefined }),
      externalId: fc.option(text, { nil: undefined }),
    }
    await fc.assert(
      fc.asyncProperty(fc.record(fields), fc.record(fields), async (first, second) => {
        fc.pre(first.rev !== second.rev)
        const key = randomUUID()
        const times = { lastSeen: 1, expires: NEVER }
        await store.create(key, { ...first, ...times })
        expect(await store.load(key)).toEqual({ ...first, ...times })
        expect(await store.update(key, { ...second, ...times }, second.rev)).toBe('conflict')
        expect(await store.update(key, { ...second, ...times }, first.rev)).toBe('ok')
        expect(await store.load(key, { fresh: true })).toEqual({ ...second, ...times })
        if (second.user !== undefined) expect(await store.users.destroy(second.user, NEVER)).toBe(1)
        else if (second.externalId !== undefined) {
          expect(await store.externalIds.destroy(second.externalId, NEVER)).toBe(1)
        }
      }),
      { numRuns: 100 },
    )
  })

  it('is refused rather than altered if it is no text', async () => {
    const { store, keys } = fresh()
    for (const fields of [{ text: 'a\ud800' }, { user: '\udc00' }, { externalId: '\ud83d' }]) {
      await expect(store.create('k', record(fields))).rejects.toThrow(
        /create failed: .*half of a surrogate pair/,
      )
    }
    await expect(store.users.destroy('\ud800', 1)).rejects.toThrow(/half of a surrogate pair/)
    expect(await keys()).toEqual([])
  })

  it('by others under a key is an error, and stays as it is', async () => {
    const { store, cli } = fresh()
    await cli('SET', ':k', 'something\nelse')
    await cli('LPUSH', ':list', '1')
    const message = /not written by this store\. Give the store another \{ prefix \} than 't-/
    const refusal = { message: expect.stringMatching(message), retryable: false }
    for (const key of ['k', 'list']) {
      await expect(store.load(key)).rejects.toMatchObject(refusal)
      await expect(store.update(key, record(), '1')).rejects.toMatchObject(refusal)
      await expect(store.touch(key, 1, 1)).rejects.toMatchObject(refusal)
      await expect(store.destroy(key, 1)).rejects.toMatchObject(refusal)
    }
    expect(await store.create('k', record())).toBe(false)
    expect(await cli('GET', ':k')).toBe('something\nelse')
  })
})

describe('on the wire', () => {
  /** As the core names things: a hash of 32 bytes, a revision, a user's UUID. */
  const key = `id:${randomBytes(32).toString('base64url')}`
  const rev = (n: number) => `${n}.${randomBytes(6).toString('base64url')}`
  const text = 'x'.repeat(435)
  const owner = { user: `id:${randomUUID()}` }

  /** Sent, and round trips. */
  async function measure(wire: Wire, perform: () => Promise<unknown>) {
    wire.reset()
    await perform()
    const { sent, received, roundTrips } = wire.traffic()
    return { sent, received, roundTrips }
  }

  for (const [whose, fields] of [
    ['nobody', {}],
    ['a user', owner],
    ['a user, with an external id', { ...owner, externalId: `id:${randomUUID()}` }],
  ] as const) {
    it(`a session of ${whose} costs the floor, its envelope and at most 5 %`, async () => {
      const wire = await wireTo(server.port)
      const { cli, prefix } = fresh()
      const store = open(`redis://127.0.0.1:${wire.port}`)
      // An hour that ends just after its index has been extended by 2,048 s, so that a minute more does not extend it again.
      const expires = (Math.floor(Date.now() / 2_048_000) + 2) * 2_048_000
      const times = { lastSeen: expires - HOUR, expires }
      const [first, second] = [1, 2].map((n) => ({ rev: rev(n), text, ...times, ...fields })) as [
        StoredRecord,
        StoredRecord,
      ]
      // The first commands tell the server the scripts.
      await warmUp(store)
      expect(prefix).not.toBe('h')
      const create = await measure(wire, () => store.create(key, first))
      const envelope = (await server.cli('GET', `h:${key}`)).length - text.length
      const load = await measure(wire, () => store.load(key))
      const update = await measure(wire, () => store.update(key, second, first.rev))
      const touch = await measure(wire, () =>
        store.touch(key, second.lastSeen + 60_000, second.expires + 60_000),
      )
      const unused = await measure(wire, () => store.touch(key, 1, 1))
      const destroy = await measure(wire, () => store.destroy(key, Date.now() + 1))
      console.log(`redis, ${whose}: envelope ${envelope} B`, { create, load, update, touch, destroy })
      const indexes = Object.keys(fields).length > 0 ? 1 : 0
      expect(create.roundTrips).toBe(1 + indexes)
      expect(load.roundTrips).toBe(1)
      expect(update.roundTrips).toBe(1)
      expect(touch.roundTrips).toBe(1)
      expect(unused.roundTrips).toBe(1)
      expect(destroy.roundTrips).toBe(1 + indexes)
      expect(envelope).toBeLessThanOrEqual(160)
      expect(load.sent).toBeLessThanOrEqual(65 * 1.05)
      expect(load.received).toBeLessThanOrEqual((443 + envelope) * 1.05)
      expect(update.sent).toBeLessThanOrEqual((619 + envelope) * 1.05)
      expect(touch.sent).toBeLessThanOrEqual((83 + 160) * 1.05)
      await cli('DEL', `h:${key}`)
      await store.close()
      await wire.close()
    })
  }

  it('a page of 200 sessions, or their destruction, is sent in one go, not one by one', async () => {
    const wire = await wireTo(server.port)
    opened.push(wire)
    const store = open(`redis://127.0.0.1:${wire.port}`, { prefix: newPrefix() })
    for (let i = 0; i < 200; i++) await store.create(`k${i}`, record({ user: 'ada' }))
    wire.reset()
    expect((await store.users.list('ada', { limit: 200 })).items.length).toBe(200)
    expect(await store.users.destroy('ada', Date.now() + HOUR)).toBe(200)
    // Answers may come back while the rest is still being sent; one by one it would be 600.
    expect(wire.traffic().roundTrips).toBeLessThan(200)
  })
})

describe('the indexes', () => {
  const places = {
    'one server': { url, servers: [server] },
    'a Cluster': { url: clusterUrl, servers: cluster.nodes },
  }

  for (const [where, { url, servers }] of Object.entries(places)) {
    it(`on ${where} leave nothing behind after a random workload, and forget nobody during it`, async () => {
      const prefix = newPrefix()
      const store = open(url, { prefix })
      const users = ['ada', 'bob', 'eve']
      const pick = <T>(of: readonly T[]) => of[Math.floor(Math.random() * of.length)] as T
      const fields = () => ({
        user: pick([...users, undefined]),
        externalId: pick(['s1', 's2', undefined]),
        expires: Date.now() + 200 + Math.random() * 800,
      })
      const anyRecord = () => {
        const { expires, ...carried } = fields()
        return record({ ...carried, expires: Math.round(expires) })
      }
      const worker = async (n: number) => {
        for (let i = 0; i < 60; i++) {
          const key = `k${n % 4}-${i % 7}-${Math.floor(i / 30)}`
          const found = await store.load(key)
          const action = Math.random()
          if (found === undefined) await store.create(key, anyRecord())
          else if (isTombstone(found)) continue
          else if (action < 0.6) await store.update(key, anyRecord(), found.rev)
          else if (action < 0.8) await store.touch(key, Date.now(), Date.now() + 1500)
          else if (action < 0.97) await store.destroy(key, Date.now() + 300)
          else await store.users.destroy(pick(users), Date.now() + 300)
        }
      }
      await Promise.all(Array.from({ length: 8 }, (_, n) => worker(n)))

      // Whoever is there after the listing was there during it.
      for (const [key, { user, externalId }] of await all((cursor) => store.scan(cursor, 50))) {
        const byUser = user === undefined ? [key] : await listed(store.users, user)
        const bySid = externalId === undefined ? [key] : await listed(store.externalIds, externalId)
        if ((await store.load(key)) === undefined) continue
        expect(byUser).toContain(key)
        expect(bySid).toContain(key)
      }
      for (const each of servers) {
        for (const indexKey of await keysOf(each, `${prefix}[@#]*`)) {
          const [, score] = (await each.cli('ZRANGE', indexKey, '-1', '-1', 'WITHSCORES')).split('\n')
          if (score !== undefined) expect(await each.cli('EXPIRETIME', indexKey)).toBe(score)
        }
      }
      // The longest life is 1.5 s, and an entry lasts at most that much longer.
      await sleep(3200)
      for (const each of servers) expect(await keysOf(each, `${prefix}*`)).toEqual([])
    })
  }

  it('lose no record whose user is changed back and forth by many at once', async () => {
    const { store, keys } = fresh()
    for (let round = 0; round < 20; round++) {
      const key = `k${round}`
      await store.create(key, record({ user: 'ada' }))
      await Promise.all(
        Array.from({ length: 8 }, async (_, n) => {
          for (let i = 0; i < 5; i++) {
            const found = await store.load(key)
            if (found === undefined || isTombstone(found)) throw new Error('it has gone')
            await store.update(key, record({ user: (n + i) % 2 ? 'ada' : 'bob' }), found.rev)
          }
        }),
      )
      const found = (await store.load(key)) as StoredRecord
      const other = found.user === 'ada' ? 'bob' : 'ada'
      expect(await listed(store.users, found.user as string)).toContain(key)
      expect(await listed(store.users, other)).not.toContain(key)
      expect(await store.users.destroy(found.user as string, Date.now() + HOUR)).toBe(1)
    }
    expect((await keys()).filter((key) => !key.startsWith(':'))).toEqual([])
  })

  it('hold one entry for each record, also of records that never expire', async () => {
    const { store, cli, keys } = fresh()
    const made = record({ user: 'ada', expires: NEVER })
    await Promise.all(Array.from({ length: 30 }, () => store.create('k', { ...made, rev: randomUUID() })))
    expect(await cli('ZCARD', '@ada')).toBe('1')
    expect(await cli('PTTL', '@ada')).toBe('-1')
    const { rev } = (await store.load('k')) as StoredRecord
    await Promise.all(
      Array.from({ length: 30 }, (_, n) => store.update('k', record({ user: `u${n}`, expires: NEVER }), rev)),
    )
    expect((await keys()).length).toBe(2)
    await store.destroy('k', Date.now() + HOUR)
    expect(await keys()).toEqual([':k'])
  })

  it('reach beyond the record, so that a touch rarely moves them, and never fall behind it', async () => {
    const { store, cli } = fresh()
    const made = record({ user: 'ada', externalId: 'sid' })
    await store.create('k', made)
    for (let minutes = 1; minutes < 600; minutes += 23) {
      const moved = minutes * 60_000
      expect(await store.touch('k', made.lastSeen + moved, made.expires + moved)).toBe(true)
      for (const index of ['@ada', '#sid']) {
        const entries = (await cli('ZRANGE', index, '0', '-1', 'WITHSCORES')).split('\n')
        expect(entries.length).toBe(2)
        const beyond = Number(entries[1]) * 1000 - (made.expires + moved)
        expect(beyond).toBeGreaterThan(0)
        expect(beyond).toBeLessThanOrEqual(HOUR)
        expect(await cli('EXPIRETIME', index)).toBe(entries[1])
      }
    }
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.touch('k', made.lastSeen + i, NEVER - 20 + i)),
    )
    expect(await cli('ZCARD', '@ada')).toBe('1')
    expect(await store.users.destroy('ada', Date.now() + HOUR)).toBe(1)
    expect(await cli('EXISTS', '@ada', '#sid')).toBe('0')
  })

  it('are hints: an entry without its record is not listed, and is pruned when its time has come', async () => {
    const { store, cli } = fresh()
    const inSeconds = (seconds: number) => String(Math.floor(Date.now() / 1000) + seconds)
    await cli('ZADD', '@ada', inSeconds(1), 'AAlost')
    await store.create('kept', record({ user: 'ada' }))
    await cli('ZADD', '@ada', inSeconds(3600), 'AAkept', inSeconds(3600), 'AAnever-made')
    expect(await listed(store.users, 'ada')).toEqual(['kept'])
    await sleep(2_000)
    await store.create('second', record({ user: 'ada' }))
    expect(await cli('ZRANGE', '@ada', '0', '-1')).not.toContain('lost')
    expect(await store.users.destroy('ada', Date.now() + HOUR)).toBe(2)
  })
})

describe('a server that has lost its scripts', () => {
  it('is told them again after each flush', async () => {
    const { store } = fresh()
    const made = record({ user: 'ada' })
    const flush = () => server.cli('SCRIPT', 'FLUSH')
    await flush()
    await store.create('k', made)
    await flush()
    expect(await store.update('k', record({ rev: '2', user: 'bob' }), made.rev)).toBe('ok')
    await flush()
    expect(await store.touch('k', Date.now(), Date.now() + 2 * HOUR)).toBe(true)
    await flush()
    expect(await store.load('k', { fresh: true })).toMatchObject({ rev: '2' })
    await flush()
    expect(await store.users.destroy('bob', Date.now() + HOUR)).toBe(1)
  })

  it('is told them again after a restart, on the same connection settings', async () => {
    const restarting = await startRedis('--appendonly', 'yes', '--appendfsync', 'always')
    started.push(restarting)
    const store = open(`redis://127.0.0.1:${restarting.port}`)
    const made = record({ user: 'ada' })
    await store.create('k', made)
    await store.touch('k', Date.now() + 1, made.expires)
    await restarting.restart()
    await until(async () => (await store.load('k')) !== undefined)
    expect(await store.update('k', record({ rev: '2', user: 'ada' }), made.rev)).toBe('ok')
    expect(await store.users.destroy('ada', Date.now() + HOUR)).toBe(1)
  })
})

describe('the memory of the server', () => {
  it('full: creating and updating fail with the cure, destroying and touching still work', async () => {
    const full = await startRedis('--maxmemory-policy', 'noeviction')
    started.push(full)
    const store = open(`redis://127.0.0.1:${full.port}`)
    const made = record({ user: 'ada', externalId: 'sid' })
    const keys = ['a', 'b', 'c', 'd']
    for (const key of keys) await store.create(key, made)
    await full.cli('CONFIG', 'SET', 'maxmemory', '1')
    const cure = /OOM .*The server is full.*Raise `maxmemory`.*destroying and touching still work/
    const refusal = { message: expect.stringMatching(cure), retryable: false }
    for (const fields of [{}, { user: 'ada' }]) {
      await expect(store.create('e', record(fields))).rejects.toMatchObject(refusal)
      await expect(store.update('a', record(fields), made.rev)).rejects.toMatchObject(refusal)
    }
    await full.cli('SCRIPT', 'FLUSH')
    expect(await store.touch('a', made.lastSeen + 1, made.expires + 1)).toBe(true)
    expect(await store.load('a')).toEqual({ ...made, lastSeen: made.lastSeen + 1, expires: made.expires + 1 })
    const later = { lastSeen: made.lastSeen + 9 * HOUR, expires: made.expires + 9 * HOUR }
    expect(await store.touch('a', later.lastSeen, later.expires)).toBe(true)
    expect(await store.load('a')).toEqual({ ...made, ...later })
    expect(await full.cli('ZCARD', 'h@ada')).toBe('4')
    expect(await store.destroy('a', Date.now() + HOUR)).toBe(true)
    expect(isTombstone(await store.load('a'))).toBe(true)
    expect(await listed(store.users, 'ada')).toEqual(['b', 'c', 'd'])
    expect(await store.users.destroy('ada', Date.now() + HOUR)).toBe(3)
    expect(await full.cli('EXISTS', 'h@ada', 'h#sid')).toBe('0')
  })

  it('full, on one server of a Cluster: a check finds it, with the cure, and writes nothing', async () => {
    const store = redisStore(clusterUrl, { prefix: 'checked' })
    opened.push(store)
    const [node] = cluster.nodes
    const refused = async () =>
      (await store.check(Date.now)).filter(({ id }) => id === 'redis.refuses-writes')
    expect(await refused()).toEqual([])
    await node!.cli('CONFIG', 'SET', 'maxmemory', '1')
    const found = await refused().finally(() => node!.cli('CONFIG', 'SET', 'maxmemory', '0'))
    expect(found).toMatchObject([
      { severity: 'error', cure: expect.stringMatching(/^The server is full.*Raise/) },
    ])
    expect(found[0]!.finding).toMatch(/^The server refuses writes, so nobody can log in.*: OOM /)
    for (const each of cluster.nodes) expect(await each.cli('KEYS', 'checked*')).toBe('')
  })

  it.each(['allkeys-lru', 'volatile-lru', 'volatile-ttl'])(
    'evicting by %s: reported once, with the cure',
    async (policy) => {
      const evicting = await startRedis('--maxmemory-policy', policy)
      started.push(evicting)
      const store = open(`redis://127.0.0.1:${evicting.port}`)
      const report = vi.fn()
      store.reportTo(report)
      for (let i = 0; i < 3; i++) await store.load('k')
      await vi.waitFor(() => expect(report).toHaveBeenCalled())
      await store.load('k')
      expect(report).toHaveBeenCalledTimes(1)
      expect(String(report.mock.calls[0]![1])).toMatch(
        new RegExp(`maxmemory-policy is ${policy}, .*Set \`maxmemory-policy noeviction\``),
      )
    },
  )

  it('not evicting, or not telling: no report', async () => {
    const report = vi.fn()
    await server.cli('ACL', 'SETUSER', 'silent', 'on', '>pw', '~*', '+@all', '-info', '-config')
    const client = new Redis({
      port: server.port,
      username: 'silent',
      password: 'pw',
      enableReadyCheck: false,
    })
    opened.push({ close: () => client.disconnect() })
    const { prefix } = fresh()
    for (const source of [url, client]) {
      const store = open(source, { prefix })
      store.reportTo(report)
      await store.load('k')
      await sleep(50)
      await store.load('k')
    }
    expect(report).not.toHaveBeenCalled()
  })
})

describe('trouble', () => {
  const expectFailure = async (url: string, message: RegExp, retryable: boolean): Promise<void> => {
    const error = await open(url)
      .load('k')
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(StoreError)
    expect(error).toMatchObject({
      ...{ store: 'redis', operation: 'load', retryable },
      message: expect.stringMatching(message),
    })
    expect(inspect(error, { depth: 12, showHidden: true })).not.toContain('geheim')
  }

  it('wrong or missing password: says so, without the password', async () => {
    const locked = await startRedis('--requirepass', 'right')
    started.push(locked)
    const at = `127.0.0.1:${locked.port}`
    await expectFailure(`redis://${at}`, /NOAUTH.*wants a password: redis:\/\/user:/, false)
    await expectFailure(`redis://:geheim@${at}`, /WRONGPASS.*Look at the user name/, false)
    await expectFailure(`redis://eve:geheim@${at}`, /WRONGPASS/, false)
    expect(await open(`redis://default:right@${at}`).load('k')).toBeUndefined()
  })

  it('wrong number of a database: says so, and never takes another', async () => {
    await expectFailure(`${url}/99`, /out of range\. The server has no database of this number/, false)
    const store = open(`${url}/5`)
    await store.create('in five', record())
    expect(await server.cli('-n', '5', 'EXISTS', 'h:in five')).toBe('1')
    expect(await server.cli('EXISTS', 'h:in five')).toBe('0')
  })

  it('nobody there: says so within a second, and again', async () => {
    const cure = /The server cannot be reached\. Is it running/
    for (const nowhere of [
      'redis://:geheim@127.0.0.1:1',
      'redis+cluster://:geheim@127.0.0.1:1,127.0.0.1:2',
    ]) {
      const started = performance.now()
      await expectFailure(nowhere, cure, true)
      expect(performance.now() - started).toBeLessThan(1000)
    }
    const store = open('redis://127.0.0.1:1')
    for (let i = 0; i < 3; i++)
      await expect(store.load('k')).rejects.toThrow(/ECONNREFUSED.*cannot be reached/)
  })

  it('Sentinels that do not answer, or know no such primary: says so within three seconds', async () => {
    await expectFailure('redis+sentinel://127.0.0.1:1/main', /cannot be reached/, true)
  })

  it('a primary that lacks replicas, or a replica that has lost its primary: says what to do', async () => {
    const alone = await startRedis('--min-replicas-to-write', '1')
    started.push(alone)
    const store = open(`redis://127.0.0.1:${alone.port}`)
    await expect(store.create('k', record())).rejects.toMatchObject({
      message: expect.stringMatching(/NOREPLICAS .*fewer replicas than `min-replicas-to-write` asks for/),
      retryable: true,
    })
    await alone.cli('CONFIG', 'SET', 'replica-serve-stale-data', 'no')
    await alone.cli('REPLICAOF', '127.0.0.1', '1')
    await expectFailure(
      `redis://127.0.0.1:${alone.port}`,
      /MASTERDOWN .*a replica that has lost its primary: bring that one back/,
      true,
    )
  })

  it('something else answers there: says so', async () => {
    const other = await import('node:http').then(({ createServer }) => createServer().listen(0, '127.0.0.1'))
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as { port: number }
    await expectFailure(`redis://127.0.0.1:${port}`, /is no Redis/, false)
    other.close()
  })

  it('a scan whose server has left, or whose cursor is none: says so', async () => {
    const { store } = fresh()
    const gone = JSON.stringify({ address: 'gone:1', position: '0', keys: [] })
    await expect(store.scan(gone, 10)).rejects.toThrow(/gone:1 has left the Cluster.*Start the scan again/)
    await expect(store.scan('nonsense', 10)).rejects.toThrow(StoreError)
  })

  it('one server taken for a Cluster, and the other way round: says so', async () => {
    await expectFailure(
      `redis+cluster://127.0.0.1:${server.port}`,
      /cluster support disabled\. This server is no part of a Cluster/,
      false,
    )
    const store = open(`redis://127.0.0.1:${cluster.nodes[0]?.port}`)
    const answers = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => store.load(`k${i}`)))
    const errors = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []))
    expect(errors.length).toBeGreaterThan(0)
    for (const error of errors) {
      expect(error.message).toMatch(/MOVED .*is part of a Cluster: use redis\+cluster/)
      expect(error.retryable).toBe(false)
    }
  })

  it('a server that dies: each operation fails quickly, and all is well once it is back', async () => {
    const dying = await startRedis()
    started.push(dying)
    const store = open(`redis://127.0.0.1:${dying.port}`)
    await store.load('k')
    await dying.kill()
    for (let i = 0; i < 5; i++) {
      const took = await milliseconds(() => expect(store.load('k')).rejects.toThrow(/cannot be reached/))
      expect(took).toBeLessThan(900)
    }
    await dying.restart()
    await until(async () => (await store.load('k')) === undefined)
    expect(await store.create('k', record())).toBe(true)
  })

  it('a user with too few rights: says which are needed, and with these all works', async () => {
    const { prefix } = fresh()
    await server.cli('ACL', 'SETUSER', 'few', 'reset', 'on', '>pw', `~${prefix}:*`, '+get', '+hello', '+auth')
    const few = `redis://few:pw@127.0.0.1:${server.port}`
    const error = await open(few, { prefix })
      .create('k', record())
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ message: expect.stringMatching(/NOPERM/), retryable: false })
    const [, rights = ''] = /The user needs: (.*?),/.exec(String(error)) ?? []
    await server.cli('ACL', 'SETUSER', 'few', ...rights.split(' '))
    const store = open(few, { prefix })
    const made = record({ user: 'ada' })
    await store.create('k', made)
    await store.load('k')
    await store.touch('k', Date.now(), Date.now() + 9 * HOUR)
    await store.update('k', record({ rev: '2', user: 'bob' }), made.rev)
    expect(await all((cursor) => store.scan(cursor, 10))).toHaveLength(1)
    expect(await store.users.destroy('bob', Date.now() + HOUR)).toBe(1)
  })

  it('after close every operation says so, and close can be called again', async () => {
    const store = redisStore(url)
    await store.load('k')
    await store.close()
    await store.close()
    const operations = {
      load: () => store.load('k'),
      create: () => store.create('k', record()),
      update: () => store.update('k', record(), '1'),
      touch: () => store.touch('k', 0, 0),
      destroy: () => store.destroy('k', 0),
      scan: () => store.scan(undefined, 1),
      'users.list': () => store.users.list('ada'),
      'externalIds.destroy': () => store.externalIds.destroy('sid', 0),
    }
    for (const [operation, perform] of Object.entries(operations)) {
      await expect(perform()).rejects.toMatchObject({
        message: `redis store: ${operation} failed: the store has been closed. Close it after the last request.`,
        retryable: false,
      })
    }
  })

  it('closed before it was ever used, or while it connects, it leaves no connection', async () => {
    const before = (await server.cli('CLIENT', 'LIST')).split('\n').length
    await redisStore(url).close()
    const store = redisStore(url)
    const loaded = store.load('k').catch(() => undefined)
    await store.close()
    await loaded
    await vi.waitFor(async () =>
      expect((await server.cli('CLIENT', 'LIST')).split('\n').length).toBeLessThanOrEqual(before),
    )
  })
})

describe('durable writes', () => {
  it('wait for the replicas that were asked for, and say so when they do not confirm', async () => {
    const primary = await startRedis()
    const replica = await startReplica(primary)
    started.push(primary, replica)
    const at = `redis://127.0.0.1:${primary.port}`
    const store = open(at, { wait: { replicas: 1, timeout: 5_000 } })
    const made = record({ user: 'ada' })
    await store.create('k', made, { durable: true })
    expect(await replica.cli('EXISTS', 'h:k')).toBe('1')
    await store.update('k', record({ rev: '2', user: 'ada' }), made.rev, { durable: true })
    await store.create('k2', record({ user: 'ada' }))
    expect(await store.users.destroy('ada', Date.now() + HOUR, { durable: true })).toBe(2)
    expect(await replica.cli('GET', 'h:k2')).toMatch(/^destroyed/)

    const hurried = open(at, { wait: { replicas: 2, timeout: 50 } })
    await hurried.create('k3', record())
    await expect(hurried.destroy('k3', Date.now() + HOUR, { durable: true })).rejects.toThrow(
      /destroy failed: 1 of 2 replicas confirmed the write within 50 ms; the primary has it\. Look after the replicas/,
    )
    expect(isTombstone(await hurried.load('k3'))).toBe(true)
  })

  it('are not confirmed by the replicas of a server that another connection has found meanwhile', async () => {
    const [left, promoted] = await Promise.all([startRedis(), startRedis()])
    started.push(left, promoted, await startReplica(promoted))
    let port = left.port
    const between = createServer((socket) => {
      const upstream = connect(port, '127.0.0.1')
      for (const each of [socket, upstream]) each.on('error', () => {})
      socket.pipe(upstream).pipe(socket)
    }).listen(0, '127.0.0.1')
    await once(between, 'listening')
    const client = new Redis((between.address() as AddressInfo).port)
    opened.push({ close: () => client.disconnect() }, { close: () => between.close() })
    const store = redisStore(client, { wait: { replicas: 1, timeout: 2_000 } })
    await store.load('k')
    const call = client.call.bind(client) as (...args: unknown[]) => Promise<unknown>
    const confirmed: unknown[] = []
    vi.spyOn(client, 'call').mockImplementation(async (...args: unknown[]) => {
      if (args[0] !== 'WAIT') return call(...args)
      if (port === left.port) {
        port = promoted.port
        await left.cli('CLIENT', 'KILL', 'TYPE', 'normal')
        await once(client, 'ready')
      }
      confirmed.push(await call(...args))
      return confirmed.at(-1)
    })
    const made = record()
    await expect(store.create('k', made, { durable: true })).rejects.toThrow(
      /the connection that wrote was replaced before the replicas had confirmed it, and what it wrote is not there as it was/,
    )
    expect(confirmed).toEqual([1])
    await store.create('k', made, { durable: true })
    expect(confirmed).toEqual([1, 1])
  })

  it('are written again on a connection that was made after them, and confirmed there', async () => {
    const primary = await startRedis()
    const replica = await startReplica(primary)
    started.push(primary, replica)
    const client = new Redis(primary.port)
    opened.push({ close: () => client.disconnect() })
    const store = redisStore(client, { wait: { replicas: 1, timeout: 2_000 } })
    const call = client.call.bind(client) as (...args: unknown[]) => Promise<unknown>
    let waits = 0
    vi.spyOn(client, 'call').mockImplementation(async (...args: unknown[]) => {
      if (args[0] === 'WAIT' && waits++ % 2 === 0) {
        await primary.cli('CLIENT', 'KILL', 'TYPE', 'normal')
        await once(client, 'ready')
      }
      return call(...args)
    })
    const made = record({ user: 'ada' })
    const next = { ...record({ user: 'ada' }), rev: '2' }
    expect(await store.create('k', made, { durable: true })).toBe(true)
    expect(await store.update('k', next, made.rev, { durable: true })).toBe('ok')
    expect(await store.load('k')).toEqual(next)
    expect(await store.create('k2', record({ user: 'ada' }), { durable: true })).toBe(true)
    expect(await store.destroy('k', Date.now() + HOUR, { durable: true })).toBe(true)
    expect(await store.users.destroy('ada', Date.now() + HOUR, { durable: true })).toBe(1)
    expect(waits).toBe(10)
    for (const key of ['h:k', 'h:k2']) expect(await replica.cli('GET', key)).toMatch(/^destroyed/)
  })

  it('that destroy what is destroyed write it once more, so that there is something to wait for', async () => {
    const { store, cli } = fresh()
    await store.create('k', record())
    await store.destroy('k', 4_000_000_000_000)
    const writes = async () =>
      /cmdstat_pexpireat:calls=(\d+)/.exec(await server.cli('INFO', 'commandstats'))?.[1]
    const before = await writes()
    expect(await store.destroy('k', 5_000_000_000_000, { durable: true })).toBe(false)
    expect(await writes()).not.toBe(before)
    expect([await cli('GET', ':k'), await cli('PEXPIRETIME', ':k')]).toEqual([
      'destroyed 4000000000000',
      '4000000000000',
    ])
  })

  it('in a Cluster ask the server that has the key', async () => {
    for (const node of cluster.nodes) await node.cli('CONFIG', 'RESETSTAT')
    const store = open(clusterUrl, { prefix: newPrefix(), wait: { replicas: 1, timeout: 20 } })
    for (let i = 0; i < 6; i++) {
      await expect(store.create(`k${i}`, record(), { durable: true })).rejects.toThrow(
        /0 of 1 replicas confirmed/,
      )
    }
    const waits = await Promise.all(
      cluster.nodes.map(
        async (node) => /cmdstat_wait:calls=(\d+)/.exec(await node.cli('INFO', 'commandstats'))?.[1] ?? '0',
      ),
    )
    const sets = await Promise.all(
      cluster.nodes.map(
        async (node) => /cmdstat_set:calls=(\d+)/.exec(await node.cli('INFO', 'commandstats'))?.[1] ?? '0',
      ),
    )
    expect(waits).toEqual(sets)
  })
})

describe('a failover', () => {
  it('by Sentinel is followed: the sessions that had reached the replica are there', async () => {
    const sentinels = await startSentinels()
    started.push(sentinels)
    const hosts = sentinels.ports.map((port) => `127.0.0.1:${port}`)
    await expect(open(`redis+sentinel://${hosts}/another`).load('k')).rejects.toThrow(
      /No such master.*No Sentinel that answers watches a primary of this name\. `redis-cli/,
    )
    const store = open(`redis+sentinel://${hosts}/${sentinels.primaryName}/0`, { wait: { replicas: 1 } })
    const made = record({ user: 'ada' })
    await store.create('k', made, { durable: true })
    await sentinels.primary.kill()
    await until(
      async () => (await store.update('k', record({ rev: '2', user: 'ada' }), made.rev)) !== undefined,
    )
    expect(await store.load('k', { fresh: true })).toMatchObject({ rev: '2' })
    expect(await store.users.destroy('ada', Date.now() + HOUR)).toBe(1)
  })
})

describe('a client that is passed in', () => {
  it('is used as it is, and not closed', async () => {
    const client = new Redis(server.port)
    const store = redisStore(client, { prefix: newPrefix() })
    await store.create('k', record())
    await store.close()
    expect(await client.ping()).toBe('PONG')
    client.disconnect()
  })

  it('may have been told to answer with bytes, or with numbers as text', async () => {
    const redis = await createClient({ url }).connect()
    const glide = await GlideClient.createClient({
      addresses: [{ host: '127.0.0.1', port: server.port }],
      defaultDecoder: Decoder.Bytes,
    })
    const ioredis = new Redis(server.port, { stringNumbers: true })
    opened.push({ close: () => redis.destroy() }, glide, { close: () => ioredis.disconnect() })
    const bytes = redis.withTypeMapping({
      [RESP_TYPES.BLOB_STRING]: Buffer,
      [RESP_TYPES.SIMPLE_STRING]: Buffer,
    })
    for (const client of [bytes, glide, ioredis] as RedisClient[]) {
      const store = redisStore(client, { prefix: newPrefix() })
      const made = record({ user: 'ada', text: 'ä😀' })
      expect(await store.create('k', made)).toBe(true)
      expect(await store.create('k', made)).toBe(false)
      expect(await store.load('k')).toEqual(made)
      expect(await store.update('k', { ...made, rev: '2' }, 'x')).toBe('conflict')
      expect(await store.touch('k', Date.now(), Date.now() + 9 * HOUR)).toBe(true)
      expect(await all((cursor) => store.scan(cursor, 10))).toHaveLength(1)
      expect(await listed(store.users, 'ada')).toEqual(['k'])
      expect(await store.users.destroy('ada', Date.now() + HOUR)).toBe(1)
    }
  })

  it('is refused if it is none, by what it is', () => {
    const cases: [unknown, RegExp][] = [
      [undefined, /cannot use undefined\. Pass a URL/],
      [7, /cannot use 7\./],
      [{}, /cannot use an object of class Object\./],
      [
        new Map(),
        /cannot use an object of class Map\. .*createSentinel of redis; Redis or Cluster of ioredis/,
      ],
      [Redis, /cannot use the function Redis\./],
    ]
    for (const [passed, message] of cases) {
      expect(() => redisStore(passed as RedisClient)).toThrow(TypeError)
      expect(() => redisStore(passed as RedisClient)).toThrow(message)
    }
  })

  it('is refused if it has a keyPrefix of its own', () => {
    const clients = [
      new Redis({ lazyConnect: true, keyPrefix: 'mine:' }),
      new Cluster([{ port: 1 }], { lazyConnect: true, keyPrefix: 'mine:' }),
      createClient({ url, keyPrefix: 'mine:' }),
    ]
    for (const client of clients) expect(() => redisStore(client)).toThrow(/keyPrefix, 'mine:'.*\{ prefix \}/)
  })

  it('must be connected, which the error says', async () => {
    await expect(redisStore(createClient({ url })).load('k')).rejects.toMatchObject({
      message: expect.stringMatching(/not connected: `await client\.connect\(\)`/),
      retryable: false,
    })
  })

  it('cannot be a pool if writes are to wait for replicas', () => {
    const pool = createClientPool({ url })
    expect(() => redisStore(pool, { wait: { replicas: 1 } })).toThrow(/`wait` cannot be kept over a pool/)
  })
})

describe('options', () => {
  it.each(['', ':', 'a:', 'a*', 'a b', '{a}', 'a@b', 'a#', 'ä', 'x'.repeat(65), null, 7])(
    'cannot have the prefix %j',
    (prefix) => {
      expect(() => redisStore(url, { prefix: prefix as string })).toThrow(RangeError)
    },
  )

  it.each(['a', 'shop:sessions', 'x'.repeat(64), '_.-'])('can have the prefix %j', async (prefix) => {
    const store = open(url, { prefix })
    await store.create('k', record())
    expect(await server.cli('DEL', `${prefix}:k`)).toBe('1')
  })

  it('that are misspelt or out of range are refused', () => {
    expect(() => redisStore(url, { prefx: 'a' } as RedisStoreOptions)).toThrow(
      /no option prefx\. There are: prefix, wait/,
    )
    for (const wait of [
      { replicas: 0 },
      { replicas: 1.5 },
      { replicas: 1, timeout: 0 },
      { replicas: 1, timeout: 1e6 },
      {},
    ]) {
      expect(() => redisStore(url, { wait: wait as { replicas: number } })).toThrow(RangeError)
    }
  })

  it('stores of different prefixes see nothing of each other', async () => {
    const [one, other] = [fresh().store, fresh().store]
    await one.create('k', record({ user: 'ada' }))
    expect(await other.load('k')).toBeUndefined()
    expect(await listed(other.users, 'ada')).toEqual([])
    expect(await all((cursor) => other.scan(cursor, 10))).toEqual([])
    expect(await other.users.destroy('ada', Date.now() + HOUR)).toBe(0)
  })
})

describe('a URL', () => {
  it.each([
    'redis:',
    'redis://',
    'http://:geheim@localhost',
    'redis://:geheim@a,b',
    'redis://:geheim@localhost:port',
    'redis://:geheim@localhost/first',
    'redis://:geheim@localhost/1/2',
    'redis://:geheim@localhost?db=1',
    'redis://:geheim%@localhost',
    'redis://:ge@heim@localhost',
    'redis+cluster://:geheim@a,b/1',
    'redis+sentinel://:geheim@a,b',
    'redis+sentinel://:geheim@a,b/main/x',
  ])('is refused: %s', (wrong) => {
    expect(() => redisStore(wrong)).toThrow(TypeError)
    expect(() => redisStore(wrong)).toThrow(/redis:\/\/host:6379\/0, redis\+cluster:/)
    expect(() => redisStore(wrong)).not.toThrow(/geheim/)
  })

  it('may hold a user and a password with any character', async () => {
    const password = 'p@ss:/%?#ä'
    await server.cli('ACL', 'SETUSER', 'a@b', 'on', `>${password}`, '~*', '+@all')
    const credentials = `${encodeURIComponent('a@b')}:${encodeURIComponent(password)}`
    expect(await open(`redis://${credentials}@127.0.0.1:${server.port}`).load('k')).toBeUndefined()
  })

  /** Another process, in which these packages are not installed. */
  async function without(packages: readonly string[], program: string): Promise<string> {
    const store = new URL('../src/stores/redis/index.ts', import.meta.url).href
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...withoutPackages(packages),
      ...['--input-type=module', '-e', `import { redisStore } from '${store}'; ${program}`],
    ])
    return stdout.trim()
  }
  const useAndPrint = (url: string) =>
    `const store = redisStore('${url}', { prefix: '${newPrefix()}' });
     const record = { rev: '1', text: 'x', user: 'ada', lastSeen: 1, expires: 8.64e15 };
     try {
       await store.create('k', record, { durable: true });
       console.log(JSON.stringify([await store.users.list('ada'), await store.users.destroy('ada', 1)]));
     } catch (error) { console.log(error.message, error.retryable) }
     await store.close()`

  it('works with `redis` if `ioredis` is not installed: one server, Cluster and Sentinel; and lets the process end', async () => {
    const sentinels = await startSentinels()
    started.push(sentinels)
    const hosts = sentinels.ports.map((port) => `127.0.0.1:${port}`)
    for (const each of [url, clusterUrl, `redis+sentinel://${hosts}/${sentinels.primaryName}`]) {
      const expected = { rev: '1', text: 'x', user: 'ada', lastSeen: 1, expires: NEVER }
      expect(await without(['ioredis'], useAndPrint(each))).toBe(
        JSON.stringify([{ items: [['k', expected]] }, 1]),
      )
    }
    for (const wrong of ['redis://127.0.0.1:1', 'redis+cluster://127.0.0.1:1']) {
      expect(await without(['ioredis'], useAndPrint(wrong))).toMatch(
        /ECONNREFUSED.*cannot be reached.* true$/s,
      )
    }
  }, 90_000)

  it('says what to install if neither is', async () => {
    expect(await without(['ioredis', 'redis'], useAndPrint(url))).toBe(
      'redis store: create failed: neither `ioredis` nor `redis` is installed. Run `npm install ioredis` false',
    )
  })
})

describe('a client that reads from replicas', () => {
  it('may do so, but for what must be fresh', async () => {
    const primary = await startRedis()
    const replica = await startReplica(primary)
    started.push(primary, replica)
    const client = await GlideClient.createClient({
      addresses: [primary, replica].map(({ port }) => ({ host: '127.0.0.1', port })),
      readFrom: 'preferReplica',
    })
    opened.push(client)
    const store = open(client)
    await store.create('k', record())
    const reads = async () =>
      Number(/cmdstat_get:calls=(\d+)/.exec(await replica.cli('INFO', 'commandstats'))?.[1] ?? 0)
    for (let i = 0; i < 5; i++) expect(await store.load('k', { fresh: true })).toBeDefined()
    expect(await reads()).toBe(0)
    for (let i = 0; i < 5; i++) await store.load('k')
    expect(await reads()).toBe(5)
  })
})

// ---- helpers ----

let prefixes = 0
function newPrefix(): string {
  return `t-${process.pid}-${++prefixes}`
}

function open(source: string | RedisClient, options?: RedisStoreOptions) {
  const store = redisStore(source, options)
  opened.push(store)
  return store
}

/** A store with a prefix of its own; `cli` puts that before whatever begins as one of its keys does. */
function fresh() {
  const prefix = newPrefix()
  const store = open(url, { prefix })
  return {
    prefix,
    store,
    cli: (...args: string[]) => server.cli(...args.map((arg) => (/^[:@#]/.test(arg) ? prefix + arg : arg))),
    keys: async () => (await keysOf(server, `${prefix}[:@#]*`)).map((key) => key.slice(prefix.length)),
  }
}

async function keysOf(where: RedisServer, pattern: string): Promise<string[]> {
  return (await where.cli('KEYS', pattern)).split('\n').filter(Boolean).sort()
}

/** So that connection and scripts are there before anything is counted. */
async function warmUp(store: ReturnType<typeof redisStore>): Promise<void> {
  const made = record({ user: 'warm' })
  await store.create('warm', made)
  await store.update('warm', record({ rev: '2', user: 'warm' }), made.rev)
  await store.touch('warm', Date.now() + 1, Date.now() + 2)
  await store.destroy('warm', Date.now() + 1)
  await sleep(20)
}

type Pages = Awaited<ReturnType<ReturnType<typeof redisStore>['scan']>>

async function all(next: (cursor?: string) => Promise<Pages>): Promise<Pages['items'][number][]> {
  const items: Pages['items'][number][] = []
  let cursor: string | undefined
  do {
    const page = await next(cursor)
    items.push(...page.items)
    cursor = page.cursor
  } while (cursor !== undefined)
  return items
}

async function listed(index: ReturnType<typeof redisStore>['users'], value: string): Promise<string[]> {
  return (await all((cursor) => index.list(value, { cursor }))).map(([key]) => key)
}

async function milliseconds(perform: () => Promise<unknown> | unknown): Promise<number> {
  const started = performance.now()
  await perform()
  return performance.now() - started
}

let revision = 0
function record(fields: Partial<StoredRecord> = {}): StoredRecord {
  const now = Date.now()
  return { rev: `r${++revision}`, text: '{"visits":1}', lastSeen: now, expires: now + HOUR, ...fields }
}

describe('memory on the server', () => {
  /** As the core writes them: begun by a visit, and logged in ten minutes later, and seen again. */
  async function bytesEach(count: number, isLoggedIn: boolean): Promise<number> {
    const redis = await startRedis()
    const store = redisStore(`redis://127.0.0.1:${redis.port}`)
    const { sessions, clock } = manager<ReturnType<typeof visitor>>({ store })
    const used = async () => Number(/used_memory:(\d+)/.exec(await redis.cli('INFO', 'memory'))![1])
    const begin = async (many: number) => {
      const jars = Array.from({ length: many }, () => browser(sessions))
      const all = (handler: Parameters<(typeof jars)[0]['visit']>[0]) =>
        Promise.all(jars.map((jar) => jar.visit(handler)))
      await all((session) => Object.assign(session.data, visitor()))
      if (!isLoggedIn) return
      clock.now += 600_000
      await all((session) => session.login(randomUUID()))
      await all((session) => (session.data.visits += 1))
    }
    await begin(1)
    const before = await used()
    for (let begun = 0; begun < count; begun += 500) await begin(500)
    const bytes = ((await used()) - before) / count
    await sessions.close()
    await store.close()
    await redis.stop()
    return bytes
  }

  // With the server's hash tables as empty as they get, and nearly full.
  it.each([9_000, 16_000])(
    '%i sessions of 435 bytes take at most 750 each, and 900 logged in',
    async (count) => {
      expect(JSON.stringify(visitor()).length).toBe(435)
      const [anonymous, loggedIn] = [await bytesEach(count, false), await bytesEach(count, true)]
      console.log(`redis: ${anonymous.toFixed(0)} bytes a session, ${loggedIn.toFixed(0)} logged in`)
      expect(anonymous).toBeLessThanOrEqual(750)
      expect(loggedIn).toBeLessThanOrEqual(900)
    },
    120_000,
  )
})
