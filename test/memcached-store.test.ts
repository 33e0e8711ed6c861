import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import {
  MemcachedError,
  type MemcachedOptions,
  type MemcachedServers,
  type MemcachedStore,
  memcachedStore,
  StoreError,
} from 'holdfast/stores/memcached'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { NEVER, type StoredRecord } from '../src/store.ts'
import { MAX_CHARACTERS, MAX_RECORDS, Recent } from '../src/stores/memcached/recent.ts'
import { encodeContent } from '../src/stores/memcached/value.ts'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import { type Wire, wireTo } from './helpers/wire.ts'
import { type Memcached, makeAuthFile, makeCertificate, startMemcached } from './servers/memcached.ts'
import { freePort } from './servers/process.ts'

const OPENER = new URL('./openers/memcached.ts', import.meta.url).href
const USERNAME = 'web'
const PASSWORD = 'open-sesame@/:%'
const HOUR = 3_600_000
const DAY = 24 * HOUR
const root = mkdtempSync(join(tmpdir(), 'holdfast-memcached-'))
const closing: (() => unknown)[] = []

/** Those that the tests share. The suite keeps a text of more than 1 MiB. */
let plain: readonly Memcached[]
let secure: Memcached
let guarded: Memcached
let ca: Buffer

beforeAll(async () => {
  const { key, certificate } = makeCertificate(root)
  ca = readFileSync(certificate)
  const larger = ['-I', '4m']
  ;[secure, guarded, ...plain] = await Promise.all([
    startMemcached([...larger, '-Z', '-o', `ssl_chain_cert=${certificate},ssl_key=${key}`]),
    startMemcached([...larger, '-Y', makeAuthFile(root, USERNAME, PASSWORD)]),
    startMemcached(larger),
    startMemcached(larger),
    startMemcached(larger),
  ])
})
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})
afterAll(async () => {
  await Promise.all([...plain, secure, guarded].map((server) => server.stop()))
  rmSync(root, { recursive: true, force: true })
})

const SUITES: Record<
  string,
  { servers: () => MemcachedServers; options?: () => MemcachedOptions; opener?: string }
> = {
  'one server': { servers: () => [addressOf(plain[0])], opener: OPENER },
  'three servers': {
    servers: () => plain.map((server, i) => `${addressOf(server)} ${i + 1}`),
    opener: OPENER,
  },
  TLS: { servers: () => `memcacheds://localhost:${secure.port}`, options: () => ({ tls: { ca } }) },
  'a password': {
    servers: () => addressOf(guarded),
    options: () => ({ username: USERNAME, password: PASSWORD }),
  },
}

for (const [name, { servers, options, opener }] of Object.entries(SUITES)) {
  storeSuite(
    { describe, it },
    {
      name: `memcached, ${name}`,
      async open() {
        const prefix = newPrefix()
        // The races between processes are run on as many processes as cores can bear, and more.
        const store = memcachedStore(servers(), { prefix, timeout: 10_000, ...options?.() })
        return { store, config: { servers: servers(), prefix } }
      },
      opener,
      lacks: ['users', 'externalIds', 'scan', 'sweep'],
    },
  )
}

describe('what an operation costs on the wire', () => {
  const PAYLOAD = 435
  const ENVELOPE = 160
  /** Bytes up that a perfect client needs for this payload, and the bytes down. */
  const FLOOR = { mg: [53, 449], ms: [503, 8] } as const
  let wire: Wire
  let store: MemcachedStore
  let other: MemcachedStore
  let prefix: string
  const key = `id:${'k'.repeat(43)}`
  const rev = '1k.Xk3mP0aB'

  async function cost(work: () => Promise<unknown>): Promise<{ trips: number; up: number; down: number }> {
    wire.reset()
    await work()
    const { roundTrips, sent, received } = wire.traffic()
    return { trips: roundTrips, up: sent, down: received }
  }

  const atMost = (floor: number, envelope = ENVELOPE) => Math.floor((floor + envelope) * 1.05)

  async function prepare(): Promise<StoredRecord> {
    wire = await wireTo(plain[0]!.port)
    closing.push(() => wire.close())
    const [through, beside] = [`127.0.0.1:${wire.port}`, addressOf(plain[0])]
    prefix = newPrefix()
    store = open(through, { prefix })
    other = open(beside, { prefix })
    const made = record({ rev, text: 'x'.repeat(PAYLOAD), user: 'id:ada' })
    await store.create(key, made)
    return made
  }

  it('a load is one round trip', async () => {
    await prepare()
    const { trips, up, down } = await cost(() => store.load(key))
    expect(trips).toBe(1)
    expect(up).toBeLessThanOrEqual(atMost(FLOOR.mg[0]))
    expect(down).toBeLessThanOrEqual(atMost(FLOOR.mg[1]))
  })

  it('a load and an update are two', async () => {
    const made = await prepare()
    await other.touch(key, made.lastSeen + 1, made.expires + 1)
    const { trips, up, down } = await cost(async () => {
      await store.load(key)
      await store.update(key, { ...made, rev: '1l.Xk3mP0aB' }, rev)
    })
    expect(trips).toBe(2)
    expect(up).toBeLessThanOrEqual(atMost(FLOOR.mg[0] + FLOOR.ms[0], 2 * ENVELOPE))
    expect(down).toBeLessThanOrEqual(atMost(FLOOR.mg[1] + FLOOR.ms[1], 2 * ENVELOPE))
  })

  it('an update after an update, a touch and a destruction after a load are one each', async () => {
    const made = await prepare()
    expect((await cost(() => store.update(key, { ...made, rev: 'b' }, rev))).trips).toBe(1)
    expect((await cost(() => store.update(key, { ...made, rev: 'c' }, 'b'))).trips).toBe(1)
    await store.load(key)
    const touch = await cost(() => store.touch(key, made.lastSeen + 1, made.expires + 1))
    expect(touch.trips).toBe(1)
    expect(touch.up).toBeLessThanOrEqual(atMost(FLOOR.ms[0]))
    expect((await cost(() => store.destroy(key, made.expires))).trips).toBe(1)
  })

  it('an update, touch or destruction of what this process has not seen is two; a conflict and what is gone too', async () => {
    const made = await prepare()
    const touched = { lastSeen: made.lastSeen + 1, expires: made.expires + 1 }
    const fresh = () => {
      store = open(`127.0.0.1:${wire.port}`, { prefix })
      return store.load('id:absent')
    }
    await fresh()
    expect((await cost(() => store.update(key, { ...made, rev: 'b' }, rev))).trips).toBe(2)
    await fresh()
    expect((await cost(() => store.touch(key, touched.lastSeen, touched.expires))).trips).toBe(2)
    await fresh()
    expect((await cost(() => store.update(key, made, 'other'))).trips).toBe(1)
    await store.load(key)
    await other.update(key, { ...made, rev: 'c' }, 'b')
    expect((await cost(() => store.update(key, { ...made, rev: 'd' }, 'b'))).trips).toBe(2)
    await fresh()
    expect((await cost(() => store.destroy(key, made.expires))).trips).toBe(2)
    expect((await cost(() => store.destroy(key, made.expires))).trips).toBe(1)
    expect((await cost(() => store.update(key, made, rev))).trips).toBe(1)
  })
})

describe('compare and set', () => {
  it('goes on when another process has touched the session since it was loaded', async () => {
    const [one, other] = openTwo()
    const made = record()
    await one.create('k', made)
    await one.load('k')
    expect(await other.touch('k', made.lastSeen + 5, made.expires + 5)).toBe(true)
    const next = record()
    expect(await one.update('k', next, made.rev)).toBe('ok')
    expect(await other.load('k')).toEqual(next)
  })

  it('sees what another process did to a session that this one has just loaded', async () => {
    const [one, other] = openTwo()
    const made = record()
    for (const key of ['updated', 'destroyed', 'touched', 'twice']) await one.create(key, made)
    await other.update('updated', record({ rev: 'theirs' }), made.rev)
    expect(await one.update('updated', record(), made.rev)).toBe('conflict')
    expect(await one.update('updated', record({ rev: 'mine' }), 'theirs')).toBe('ok')
    await other.destroy('destroyed', Date.now() + HOUR)
    // Nothing to move by what this process knows, yet it must learn that the session has ended.
    expect(await one.touch('destroyed', made.lastSeen, made.expires)).toBe(false)
    await other.destroy('twice', Date.now() + HOUR)
    expect(await one.destroy('twice', Date.now() + 2 * HOUR)).toBe(false)
    await other.touch('touched', made.lastSeen + 10, made.expires)
    expect(await one.touch('touched', made.lastSeen + 5, made.expires + 5)).toBe(true)
    expect(await other.load('touched')).toEqual({
      ...made,
      lastSeen: made.lastSeen + 10,
      expires: made.expires + 5,
    })
  })

  it('writes what it was given, whatever becomes of that object meanwhile', async () => {
    const [one, other] = openTwo()
    const [made, next] = [record(), record({ text: 'next' })]
    const [passed, passedNext] = [{ ...made }, { ...next }]
    const created = one.create('k', passed)
    Object.assign(passed, { text: 'spoilt' })
    await created
    expect(await one.touch('k', made.lastSeen + 1, made.expires)).toBe(true)
    expect(await other.load('k')).toEqual({ ...made, lastSeen: made.lastSeen + 1 })
    const updated = one.update('k', passedNext, made.rev)
    Object.assign(passedNext, { text: 'spoilt' })
    expect(await updated).toBe('ok')
    expect(await one.touch('k', next.lastSeen + 1, next.expires)).toBe(true)
    expect(await other.load('k')).toEqual({ ...next, lastSeen: next.lastSeen + 1 })
  })

  it('of touches beside updates, the later time wins and no update is lost', async () => {
    const [one, other] = openTwo()
    const made = record({ text: '0', lastSeen: 1000 })
    await one.create('k', made)
    let rev = made.rev
    const update = async () => {
      for (let n = 1; n <= 50; n++) {
        const next = record({ text: String(n), lastSeen: 1000 })
        expect(await one.update('k', next, rev)).toBe('ok')
        rev = next.rev
      }
    }
    const touch = async () => {
      for (let n = 1; n <= 50; n++) expect(await other.touch('k', 1000 + n, made.expires)).toBe(true)
    }
    await Promise.all([update(), touch()])
    expect(await other.touch('k', 2000, made.expires)).toBe(true)
    expect(await one.load('k')).toMatchObject({ rev, text: '50', lastSeen: 2000 })
  })

  it('is not deceived by the tokens of a server that has started again', async () => {
    const server = await startMemcached()
    closing.push(() => server.stop())
    const made = record({ rev: 'before' })
    const prefix = newPrefix()
    const store = open(addressOf(server), { prefix })
    await store.create('k', made)
    await server.kill()
    await server.restart()
    // The first item of each server has the token 1.
    const other = open(addressOf(server), { prefix })
    await other.create('k', record({ rev: 'after' }))
    expect(await server.ask(`mg ${prefix}k c`)).toBe('HD c1\r\n')
    expect(await store.update('k', record(), 'before')).toBe('conflict')
  })
})

describe('recently seen records', () => {
  it('are bounded in number and in characters, the oldest go first', () => {
    const recent = new Recent()
    const remember = (key: string, text = '') =>
      recent.set(key, { record: record({ text }), cas: '1', epoch: 1 })
    for (let i = 0; i < MAX_RECORDS + 10; i++) remember(`k${i}`)
    expect([recent.get('k9', 1), recent.get('k10', 1)?.cas]).toEqual([undefined, '1'])
    const big = 'x'.repeat(MAX_CHARACTERS / 4)
    for (let i = 0; i < 100; i++) remember(`big${i % 10}`, big)
    expect(recent.get('k10', 1)).toBeUndefined()
    expect(recent.get('big6', 1)).toBeUndefined()
    expect([7, 8, 9].map((i) => recent.get(`big${i}`, 1)?.cas)).toEqual(['1', '1', '1'])
  })

  it('hold for one connection', () => {
    const recent = new Recent()
    recent.set('k', { record: record(), cas: '1', epoch: 1 })
    expect([recent.get('k', 2), recent.get('k', undefined)]).toEqual([undefined, undefined])
    expect(recent.get('k', 1)).toBeDefined()
  })
})

describe('expiry', () => {
  it.each([
    ['in an hour', HOUR, 3600],
    ['in 30 days', 30 * DAY - 5000, 30 * 86_400 - 5],
    ['in 31 days', 31 * DAY, 31 * 86_400],
    ['in ten years', 3650 * DAY, 3650 * 86_400],
  ])('%s is at that time on the server, and never before', async (_, ms, seconds) => {
    const [store, prefix] = openPlain()
    await store.create('k', record({ expires: Date.now() + ms }))
    const left = await secondsLeft(`${prefix}k`)
    expect(left).toBeGreaterThanOrEqual(seconds)
    expect(left).toBeLessThanOrEqual(seconds + 3)
  })

  it.each([
    ['never', NEVER],
    ['after 2038, which memcached cannot tell', Date.UTC(2100, 0)],
  ])('%s is never on the server', async (_, expires) => {
    const [store, prefix] = openPlain()
    await store.create('k', record({ expires }))
    expect(await secondsLeft(`${prefix}k`)).toBe(-1)
  })

  it('moves with touch and update, and is that of the tombstone in the end', async () => {
    const [store, prefix] = openPlain()
    const made = record({ expires: Date.now() + HOUR })
    await store.create('k', made)
    await store.touch('k', made.lastSeen, Date.now() + 2 * HOUR)
    expect(await secondsLeft(`${prefix}k`)).toBeGreaterThan(7190)
    await store.touch('k', made.lastSeen, Date.now() + HOUR)
    expect(await secondsLeft(`${prefix}k`)).toBeGreaterThan(7190)
    await store.update('k', record({ expires: Date.now() + 1000 * HOUR }), made.rev)
    expect(await secondsLeft(`${prefix}k`)).toBeGreaterThan(3_599_990)
    await store.destroy('k', Date.now() + 300_000)
    expect(await secondsLeft(`${prefix}k`)).toBeLessThanOrEqual(303)
  })

  it('that is past frees the key at once; one that is near, soon', async () => {
    const [store] = openPlain()
    for (const expires of [Date.now() - HOUR, 1000, 0]) {
      const [key, made] = [`past-${expires}`, record()]
      await store.create(key, made)
      expect(await store.update(key, record({ expires }), made.rev)).toBe('ok')
      expect(await store.load(key)).toBeUndefined()
      expect(await store.create(key, made)).toBe(true)
      expect(await store.destroy(key, expires)).toBe(true)
      expect(await store.load(key)).toBeUndefined()
    }
    const expires = Date.now() + 700
    await store.create('near', record({ expires }))
    while (Date.now() < expires) {
      expect(await store.load('near')).toBeDefined()
      await sleep(10)
    }
    await expect.poll(() => store.load('near'), { timeout: 5000 }).toBeUndefined()
  })
})

describe('values and keys', () => {
  it('are readable on the server', async () => {
    const [store, prefix] = openPlain()
    await store.create('k', { rev: '1.a', text: '{"visits":1}', user: 'ada', lastSeen: 1, expires: NEVER })
    const value = '{"rev":"1.a","lastSeen":1,"expires":8640000000000000,"user":"ada"}\n{"visits":1}'
    expect(await plain[0]!.ask(`get ${prefix}k`)).toBe(
      `VALUE ${prefix}k 0 ${value.length}\r\n${value}\r\nEND\r\n`,
    )
    await store.destroy('k', 5e12)
    expect(await plain[0]!.ask(`get ${prefix}k`)).toContain('\r\n{"destroyedUntil":5000000000000}\n\r\n')
  })

  it('keeps odd keys apart: long, with spaces and line ends, of any script, and like a hash of ours', async () => {
    const [store, prefix] = openPlain()
    const keys = [
      'a b',
      'a\r\nflush_all\r\n',
      'ä',
      'a\u0308',
      '😀',
      '',
      '\0',
      'x'.repeat(251),
      'x'.repeat(252),
    ]
    keys.push('x'.repeat(250 - prefix.length), 'x'.repeat(251 - prefix.length), '#', '\ud800', '\ud801')
    keys.push(`#${hash('sha256', Buffer.from('a b', 'utf16le'), 'base64url')}`)
    for (const [i, key] of keys.entries()) {
      expect(await store.create(key, record({ text: String(i) })), inspect(key)).toBe(true)
    }
    for (const [i, key] of keys.entries()) {
      expect(await store.load(key), inspect(key)).toMatchObject({ text: String(i) })
    }
  })

  it('that are too large are refused before the server drops what it has, with size, limit and cure', async () => {
    const server = await startMemcached()
    closing.push(() => server.stop())
    const store = open(addressOf(server))
    const made = record()
    await store.create('k', made)
    const failing = store.update('k', record({ text: 'ä'.repeat(600_000) }), made.rev)
    await expect(failing).rejects.toThrow(
      /^memcached store: update failed: the session takes 1200\d\d\d bytes, and 127.0.0.1:\d+ stores at most 1048576\. Keep less in it, or start the server with a larger -I\. Nothing was written\.$/,
    )
    expect(await store.load('k')).toEqual(made)
    await expect(store.create('k2', record({ text: 'x'.repeat(1_050_000) }))).rejects.toThrow(StoreError)
    expect(await store.load('k2')).toBeUndefined()
    // The first command of a store too, which learns the limit on the way.
    const other = open(addressOf(server))
    await expect(other.create('k2', record({ text: 'x'.repeat(1_050_000) }))).rejects.toMatchObject({
      message: expect.stringMatching(/stores at most 1048576/),
      retryable: false,
    })
  })

  it('are taken up to the last byte that the server takes', async () => {
    const server = await startMemcached()
    closing.push(() => server.stop())
    const tryByHand = (bytes: number) => server.ask(`ms p:k ${bytes}\r\n${'x'.repeat(bytes)}`)
    let [largest, tooLarge] = [1_040_000, 1_050_000]
    while (tooLarge - largest > 1) {
      const bytes = (largest + tooLarge) >> 1
      if ((await tryByHand(bytes)) === 'HD\r\n') largest = bytes
      else tooLarge = bytes
    }
    // What makes the refusal necessary: the server drops the session for a value that is too large.
    await tryByHand(largest)
    expect(await tryByHand(tooLarge)).toBe('SERVER_ERROR object too large for cache\r\n')
    expect(await server.ask('mg p:k')).toBe('EN\r\n')

    const store = open(addressOf(server), { prefix: 'p:' })
    const made = record({ text: '' })
    const room = largest - Buffer.byteLength(encodeContent(made))
    await store.create('k', made)
    const full = { ...made, text: 'x'.repeat(room) }
    expect(await store.update('k', full, made.rev)).toBe('ok')
    const overfull = { ...made, text: 'x'.repeat(room + 1) }
    await expect(store.update('k', overfull, made.rev)).rejects.toThrow(/takes 1048577 bytes/)
    expect(await store.load('k')).toEqual(full)
  })

  it('of another program are an error, and stay as they are', async () => {
    const [store, prefix] = openPlain()
    const foreign = ['hello', 'null\nx', '{"rev":1}\nx', '', 'a:1:{s:4:"user";}', '\n']
    for (const [i, value] of foreign.entries()) {
      await plain[0]!.ask(`ms ${prefix}k${i} ${value.length}\r\n${value}`)
      for (const work of [
        () => store.load(`k${i}`),
        () => store.update(`k${i}`, record(), 'r'),
        () => store.destroy(`k${i}`, NEVER),
      ]) {
        await expect(work()).rejects.toMatchObject({
          message: expect.stringMatching(/is not a session\. Give the store a \{ prefix \} of its own/),
          retryable: false,
        })
      }
      expect(await store.create(`k${i}`, record())).toBe(false)
      expect(await plain[0]!.ask(`mg ${prefix}k${i} v`)).toBe(`VA ${value.length}\r\n${value}\r\n`)
    }
  })
})

describe('a server that fails', () => {
  it('frozen under load: every operation ends by its deadline, the others are not held up, and afterwards all works', async () => {
    const server = await startMemcached()
    closing.push(() => server.kill())
    const timeout = 500
    const store = open([addressOf(server), addressOf(plain[1])], { timeout })
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`)
    const made = record()
    for (const key of keys) await store.create(key, made)
    const results = { ok: 0, failed: 0 }
    const took: number[] = []
    let isOver = false
    const load = keys.map(async (key) => {
      while (!isOver) {
        const begin = performance.now()
        try {
          const found = (await store.load(key)) as StoredRecord
          const rev = newRev()
          await store.update(key, { ...found, rev }, found.rev)
          results.ok++
        } catch (error) {
          expect(error).toBeInstanceOf(StoreError)
          results.failed++
        }
        took.push(performance.now() - begin)
        await sleep(5)
      }
    })
    await sleep(100)
    server.freeze()
    await sleep(1500)
    const before = { ...results }
    server.thaw()
    // A pause lasts up to half a second.
    await sleep(700)
    const failedWhileBack = results.failed
    await sleep(300)
    isOver = true
    await Promise.all(load)
    expect(before.failed).toBeGreaterThan(20)
    expect(before.ok).toBeGreaterThan(100)
    expect(results.failed).toBe(failedWhileBack)
    // Two commands each, and a busy machine.
    expect(Math.max(...took)).toBeLessThan(2 * timeout + 500)
    for (const key of keys) expect(await store.load(key)).toBeDefined()
  })

  it('tells whether a write may have been applied', async () => {
    const server = await startMemcached()
    closing.push(() => server.kill())
    const store = open(addressOf(server), { timeout: 200 })
    const made = record()
    await store.create('k', made)
    server.freeze()
    const next = record()
    const error = await failure(store.update('k', next, made.rev))
    expect(error.message).toMatch(
      /^memcached store: update failed: 127.0.0.1:\d+ did not answer within 200 ms\. .* The write may have been applied\.$/,
    )
    expect(error.retryable).toBe(true)
    expect(error.cause).toBeInstanceOf(MemcachedError)
    expect(error.cause).toMatchObject({ maybeApplied: true })
    expect((await failure(store.load('k'))).cause).toMatchObject({ maybeApplied: false })
    server.thaw()
    await sleep(400)
    // It was: by compare-and-set, so it can have done no harm.
    expect(await store.load('k')).toEqual(next)
  })

  it('killed: its sessions are an error, and never go to the next server', async () => {
    const servers = await Promise.all([startMemcached(), startMemcached(), startMemcached()])
    for (const server of servers) closing.push(() => server.kill())
    const prefix = newPrefix()
    const store = open(servers.map(addressOf), { prefix })
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`)
    for (const key of keys) await store.create(key, record())
    const counts = await Promise.all(servers.map(itemsOn))
    expect(counts.reduce((sum, count) => sum + count)).toBe(60)
    await servers[1]!.kill()
    await sleep(20)
    const lost = await Promise.all(
      keys.map((key) =>
        store.load(key).then(
          () => false,
          () => true,
        ),
      ),
    )
    expect(lost.filter(Boolean)).toHaveLength(counts[1] as number)
    for (const [i, key] of keys.entries()) {
      if (!lost[i]) continue
      await expect(store.create(key, record())).rejects.toMatchObject({
        message: expect.stringMatching(/nobody listens there\. Start memcached/),
        retryable: true,
      })
    }
    expect(await Promise.all([servers[0]!, servers[2]!].map(itemsOn))).toEqual([counts[0], counts[2]])
    // Started again it is empty: nobody is logged in, and no request in flight brings a session back.
    await servers[1]!.restart()
    const key = keys[lost.indexOf(true)] as string
    await expect.poll(() => store.load(key).catch(() => 'fails'), { timeout: 3000 }).toBeUndefined()
    expect(await store.update(key, record(), 'r')).toBe('gone')
    expect(await store.touch(key, Date.now(), NEVER)).toBe(false)
    expect(await itemsOn(servers[1]!)).toBe(0)
  })

  it('full: it evicts silently, which is what a cache does; told not to, it is an error', async () => {
    const [evicting, strict] = await Promise.all([
      startMemcached(['-m', '2']),
      startMemcached(['-m', '2', '-M']),
    ])
    closing.push(
      () => evicting.stop(),
      () => strict.stop(),
    )
    const text = 'x'.repeat(10_000)
    const fill = async (store: MemcachedStore) => {
      for (let i = 0; i < 1000; i++) await store.create(`k${i}`, record({ text }))
    }
    const store = open(addressOf(evicting))
    await fill(store)
    expect(await store.load('k0')).toBeUndefined()
    expect(await store.load('k999')).toBeDefined()
    await expect(fill(open(addressOf(strict)))).rejects.toMatchObject({
      message: expect.stringMatching(/SERVER_ERROR out of memory.*Give it more \(-m\)/),
      retryable: false,
    })
  })
})

describe('a server that will not do', () => {
  it('without CAS is refused with the reason, at the first use and each one after', async () => {
    const server = await startMemcached(['-C'])
    closing.push(() => server.stop())
    const store = open(addressOf(server))
    for (let i = 0; i < 3; i++) {
      await expect(store.load('k')).rejects.toMatchObject({
        message: expect.stringMatching(/was started with -C, .* lost\. Start it without/),
        retryable: false,
      })
      await expect(store.create('k', record())).rejects.toThrow(/was started with -C/)
    }
    expect(await itemsOn(server)).toBe(0)
  })

  it('with a password says what to pass', async () => {
    await expect(open(addressOf(guarded)).load('k')).rejects.toThrow(
      /refuses us without a password\. It was started with -Y: pass \{ username, password \}/,
    )
    const wrong = { username: USERNAME, password: 'guess' }
    const error = await failure(open(addressOf(guarded), wrong).load('k'))
    expect(error.message).toMatch(/refuses this password\. Check \{ username, password \}/)
    expect(error.retryable).toBe(false)
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('guess')
  })

  it('takes name and password from the URL', async () => {
    const url = `memcached://${USERNAME}:${encodeURIComponent(PASSWORD)}@${addressOf(guarded)}`
    expect(await open(url).load('k')).toBeUndefined()
  })

  it('that asks for no password is not given ours to keep', async () => {
    const server = await startMemcached()
    closing.push(() => server.stop())
    const store = open(addressOf(server), { username: USERNAME, password: PASSWORD })
    expect(await store.load('k')).toBeUndefined()
    expect(await server.ask('mg auth v')).toBe('EN\r\n')
  })

  it('that is not there says so', async () => {
    const port = await freePort()
    await expect(open(`127.0.0.1:${port}`).load('k')).rejects.toThrow(
      new RegExp(
        `load failed: 127.0.0.1:${port}: nobody listens there. Start memcached, or correct the address.`,
      ),
    )
    await expect(open(`localhost:${port}`).load('k')).rejects.toThrow(/nobody listens there/)
    await expect(open('no-such-host.invalid', { timeout: 5000 }).load('k')).rejects.toThrow(/no such host/)
  })

  it('with TLS, where we have none or do not trust it, and the other way round', async () => {
    await expect(open(addressOf(secure)).load('k')).rejects.toThrow(/whether it expects TLS \(memcacheds:/)
    await expect(open(`memcacheds://localhost:${secure.port}`).load('k')).rejects.toThrow(
      /its certificate is not accepted \(self-signed certificate\)\. Pass the authority .* \{ tls: \{ ca \} \}/,
    )
    const otherName = { tls: { ca, servername: 'other.example.org' } }
    await expect(open(addressOf(secure), otherName).load('k')).rejects.toMatchObject({
      message: expect.stringMatching(/certificate is not accepted/),
      retryable: false,
    })
    await expect(open(addressOf(plain[0]), { tls: { ca } }).load('k')).rejects.toThrow(/TLS/)
  })

  it('that has too many connections says so', async () => {
    const server = await startMemcached(['-c', '50'])
    closing.push(() => server.stop())
    const stores = Array.from({ length: 80 }, () => open(addressOf(server)))
    const errors = await Promise.all(
      stores.map((store) => store.load('k').catch((error: Error) => error.message)),
    )
    expect(
      errors.filter((message) => /larger -c|closed the connection/.test(String(message))).length,
    ).toBeGreaterThan(3)
  })
})

describe('what it is given', () => {
  it.each(['localhost', 'cache-1.example.org:1', '[::1]:11211 3', 'memcached://[::1],10.0.0.1'])(
    'may be %s',
    (servers) => {
      expect(() => open(servers)).not.toThrow()
    },
  )

  it('may be text, a list, objects or a URL, which mean the same', async () => {
    const [a, b] = [plain[0]!.port, plain[1]!.port]
    const prefix = newPrefix()
    const ways: MemcachedServers[] = [
      [`127.0.0.1:${a}`, `127.0.0.1:${b}`],
      [
        { host: '127.0.0.1', port: a },
        { host: '127.0.0.1', port: b, weight: 1 },
      ],
      `127.0.0.1:${a},127.0.0.1:${b} 1`,
      `memcached://127.0.0.1:${a},127.0.0.1:${b}`,
      `memcached://127.0.0.1:${b},127.0.0.1:${a}/`,
    ]
    const [first, ...others] = ways.map((servers) => open(servers, { prefix })) as [MemcachedStore]
    for (let i = 0; i < 20; i++) await first.create(`k${i}`, record())
    for (const store of others as MemcachedStore[]) {
      for (let i = 0; i < 20; i++) expect(await store.load(`k${i}`)).toBeDefined()
    }
  })

  it.each([
    [''],
    [[]],
    [undefined],
    [7],
    ['a:b'],
    ['a:0'],
    ['a:65536'],
    ['a:1:2'],
    ['a b'],
    ['a:11211 0'],
    ['a:11211 1.5'],
    ['a,,b'],
    ['http://a'],
    ['memcached://'],
    ['memcached://a/path'],
    ['memcached://a?prefix=x'],
    [[{ host: '' }]],
    [[{ host: 'a', port: '1' }]],
    [[{ host: 'a', weight: 0 }]],
    [[{ port: 1 }]],
    [[null]],
    [{ host: 'a', password: 'secret' }],
    [[{ host: 'a:b', password: 'secret' }]],
    [[{ host: 'a', password: 'secret' }]],
  ])('is refused if it is %j', (servers) => {
    const attempt = () => memcachedStore(servers as string)
    expect(attempt).toThrow(TypeError)
    expect(attempt).toThrow(/memcachedStore: .*Pass 'host:port'/s)
    expect(attempt).not.toThrow(/secret/)
  })

  it('is refused if it names a server twice', () => {
    expect(() => memcachedStore('a,b,a:11211')).toThrow(/a:11211 is listed twice/)
  })

  it.each([
    [{ prefix: 'a b' }, RangeError, /prefix 'a b'/],
    [{ prefix: 'x'.repeat(101) }, RangeError, /prefix/],
    [{ prefix: 1 }, RangeError, /prefix/],
    [{ timeout: 0 }, RangeError, /timeout 0/],
    [{ timeout: 1.5 }, RangeError, /timeout/],
    [{ timeout: '1s' }, RangeError, /timeout/],
    [{ username: 'a' }, TypeError, /given together/],
    [{ password: 'secret' }, TypeError, /given together/],
    [{ username: 'a', password: 'secret\r\nflush_all' }, TypeError, /a line of text/],
    [{ username: 'a b', password: 'secret' }, TypeError, /the name without/],
    [{ username: 'a', password: 'secret word' }, TypeError, /without spaces/],
    [{ tls: 'secret key' }, TypeError, /tls is true, false or/],
    [{ ttl: 1 }, RangeError, /no option ttl.*prefix, timeout, username, password, tls/],
  ])('has options that are checked: %j', (options, kind, message) => {
    const attempt = () => memcachedStore('a', options as MemcachedOptions)
    expect(attempt).toThrow(kind)
    expect(attempt).toThrow(message)
    expect(attempt).not.toThrow(/secret/)
  })

  it('cannot ask for TLS and for none', () => {
    expect(() => memcachedStore('memcacheds://a', { tls: false })).toThrow(/Drop one/)
  })

  it.each([
    'memcached://me:secret@',
    'memcached://me:secret@a b',
    'me:secret@a',
    'memcached://me:sec%ret@a',
    'me:sec,ret@a',
    "me'secret@a",
  ])('shows no password when it refuses %s', (url) => {
    let shown = ''
    try {
      memcachedStore(url)
    } catch (error) {
      shown = inspect(error, { depth: 5 }).split('\n    at ')[0] as string
    }
    expect(shown).toMatch(/^TypeError: memcachedStore/)
    expect(shown).not.toMatch(/sec|ret/)
  })
})

describe('closing', () => {
  it('ends the connections, and operations say so', async () => {
    const server = await startMemcached()
    closing.push(() => server.stop())
    const store = open(addressOf(server))
    await store.load('k')
    await store.close()
    await store.close()
    await expect(store.load('k')).rejects.toMatchObject({
      message: 'memcached store: load failed: the store has been closed. Close it after the last request.',
      retryable: false,
    })
    // The one that asks is one.
    await expect.poll(() => statOn(server, 'curr_connections')).toBe(1)
  })

  it('is not needed for a script to end', async () => {
    const script = join(root, 'script.mjs')
    writeFileSync(
      script,
      `import { memcachedStore } from ${JSON.stringify(new URL('../src/stores/memcached/index.ts', import.meta.url))}
      const store = memcachedStore(process.argv[2], { prefix: 'script:' })
      await store.create('k', { rev: '1', text: '', lastSeen: 0, expires: Date.now() + 60000 })
      console.log((await store.load('k')).rev, performance.now())
      process.on('exit', () => console.log(performance.now()))`,
    )
    const child = spawn(process.execPath, ['--import', 'tsx', script, addressOf(plain[0])], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let printed = ''
    child.stdout.on('data', (chunk) => (printed += chunk))
    const [code] = await once(child, 'close')
    expect(code).toBe(0)
    const [rev, loaded, ended] = printed.split(/\s+/)
    expect(rev).toBe('1')
    expect(Number(ended) - Number(loaded)).toBeLessThan(400)
  })
})

/** A store that is closed when the test ends. */
function open(servers: MemcachedServers, options?: MemcachedOptions): MemcachedStore {
  const store = memcachedStore(servers, options)
  closing.push(() => store.close())
  return store
}

function openPlain(): [store: MemcachedStore, prefix: string] {
  const prefix = newPrefix()
  return [open(addressOf(plain[0]), { prefix }), prefix]
}

/** As two processes would. */
function openTwo(): [MemcachedStore, MemcachedStore] {
  const [store, prefix] = openPlain()
  return [store, open(addressOf(plain[0]), { prefix })]
}

function addressOf(server: Memcached | undefined): string {
  return `127.0.0.1:${server?.port}`
}

/** Seconds that the server will keep it; -1 for ever. */
async function secondsLeft(key: string): Promise<number> {
  const [, left] = /^HD t(-?\d+)/.exec(await plain[0]!.ask(`mg ${key} t`)) ?? []
  return Number(left)
}

async function statOn(server: Memcached, name: string): Promise<number> {
  const [, value] = new RegExp(`STAT ${name} (\\d+)`).exec(await server.ask('stats')) ?? []
  return Number(value)
}

function itemsOn(server: Memcached): Promise<number> {
  return statOn(server, 'curr_items')
}

async function failure(promise: Promise<unknown>): Promise<StoreError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(StoreError)
  return error as StoreError
}

let prefixes = 0

function newPrefix(): string {
  return `test${++prefixes}:`
}

let revisions = 0

function newRev(): string {
  return `r${++revisions}`
}

function record(fields: Partial<StoredRecord> = {}): StoredRecord {
  const now = Date.now()
  return { rev: newRev(), text: '{"visits":1}', lastSeen: now, expires: now + HOUR, ...fields }
}
