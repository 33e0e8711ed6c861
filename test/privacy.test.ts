/** ASVS 14.2.7, NIST 5.1.1(7): what is kept of a person, what can be had of it, what is left of it, and where nothing of it shows. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSessions, type Sessions, type Store, UnsupportedError } from 'holdfast'
import { cookieStore } from 'holdfast/stores/cookie'
import { memoryStore } from 'holdfast/stores/memory'
import { redisStore } from 'holdfast/stores/redis'
import { sqliteStore } from 'holdfast/stores/sql'
import Database from 'libsql'
import { describe, expect, it, vi } from 'vitest'
import { EVENT_NAMES } from '../src/events.ts'
import { servers } from './frameworks/servers.ts'
import { browser, manager, SECRET } from './helpers/browser.ts'
import { client } from './helpers/client.ts'
import { startRedis } from './servers/redis.ts'

interface Data {
  [key: string]: unknown
}

const AGENT = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'
const EMAIL = 'ann.example@mail.test'

async function visited(sessions: Sessions<Data>, userId = 'ann-4711') {
  const jar = browser(sessions)
  await jar.visit(async (session) => {
    session.data.email = EMAIL
    await session.login(userId, { externalId: 'sid-of-ann', stamp: 'hash of a password', level: 'mfa' })
    session.flash('info', 'Hello Ann')
  })
  return jar
}

describe('exportUser', () => {
  it('gives everything that is kept of a user, and of nobody else, as JSON', async () => {
    const { sessions, clock } = manager<Data>({
      describe: (request) => ({ browser: request.userAgent ?? 'none' }),
      watchClient: true,
    })
    await visited(sessions, 'bob')
    const jar = await visited(sessions)
    const made = new Date(clock.now).toISOString()
    const exported = await sessions.exportUser('ann-4711')
    expect(exported).toEqual({
      userId: 'ann-4711',
      sessions: [
        {
          handle: await jar.visit((session) => session.handle),
          createdAt: made,
          lastSeenAt: made,
          expiresAt: new Date(clock.now + 86_400_000).toISOString(),
          authenticatedAt: made,
          level: 'mfa',
          externalId: 'sid-of-ann',
          persistent: false,
          generation: 2,
          about: { browser: 'none' },
          stamp: expect.stringMatching(/^[\w-]{43}$/),
          client: {},
          flashes: [{ category: 'info', message: 'Hello Ann' }],
          data: { email: EMAIL },
        },
      ],
    })
    expect(JSON.parse(JSON.stringify(exported))).toEqual(exported)
    expect(await sessions.exportUser('nobody')).toEqual({ userId: 'nobody', sessions: [] })
  })

  it('has a form for what JSON has none for', async () => {
    const { sessions } = manager<Data>()
    const jar = await visited(sessions)
    await jar.visit((session) => {
      session.data = {
        date: new Date(0),
        map: new Map<string, unknown>([['a', new Set([1n])]]),
        bytes: new Uint8Array([1, 2]),
        odd: [Number.NaN, Number.POSITIVE_INFINITY, -0],
        nested: [{ at: new Date(1) }],
      }
    })
    const exported = await sessions.exportUser('ann-4711')
    expect(JSON.parse(JSON.stringify(exported))).toEqual(exported)
    expect(exported.sessions[0]!.data).toEqual({
      date: '1970-01-01T00:00:00.000Z',
      map: [['a', ['1']]],
      bytes: 'AQI=',
      odd: ['NaN', 'Infinity', '-0'],
      nested: [{ at: '1970-01-01T00:00:00.001Z' }],
    })
  })

  it('holds what has expired as long as it is kept, and more sessions than a page', async () => {
    const { sessions, clock } = manager<Data>()
    for (let n = 0; n < 203; n++) await browser(sessions).visit((session) => session.login('ann-4711'))
    clock.now += 30 * 86_400_000
    expect(await sessions.list('ann-4711')).toEqual([])
    expect((await sessions.exportUser('ann-4711')).sessions).toHaveLength(203)
    clock.now += 86_400_000
    await sessions.sweep()
    expect((await sessions.exportUser('ann-4711')).sessions).toEqual([])
  })

  it('is refused where sessions cannot be found by user, and without a user', async () => {
    const { sessions } = manager<Data>({ store: cookieStore() })
    await expect(sessions.exportUser('ann-4711')).rejects.toThrow(UnsupportedError)
    await expect(manager().sessions.exportUser('')).rejects.toThrow(/userId must be text/)
  })
})

describe('what revoke({ userId }) leaves of a user', () => {
  const personal = ['ann-4711', EMAIL, 'sid-of-ann', 'Hello Ann', 'mfa', AGENT]

  /** Two sessions come and one goes with the visitor's data; all that the store then holds is `dump`ed. */
  async function purge(store: Store, dump: () => Promise<string>) {
    const sessions = createSessions<Data>({
      secret: SECRET,
      store,
      describe: () => ({ agent: AGENT }),
      watchClient: true,
      sweepEvery: false,
    })
    await visited(sessions)
    await visited(sessions)
    const before = await dump()
    for (const word of personal) expect(before).toContain(word)
    expect(await sessions.revoke({ userId: 'ann-4711' })).toBe(2)
    const after = await dump()
    for (const word of personal) expect(after).not.toContain(word)
    await sessions.close()
    return after
  }

  it('memory: two hashes with a time', async () => {
    const store = memoryStore()
    const keys = new Set<string>()
    const { create } = store
    Object.assign(store, {
      create: (key: string, ...rest: [never]) => {
        keys.add(key)
        return create.call(store, key, ...rest)
      },
    })
    const dump = async () => {
      const loaded = await Promise.all([...keys].map(async (key) => [key, await store.load(key)]))
      const lists = [await store.users.list('id:ann-4711'), await store.externalIds.list('id:sid-of-ann')]
      return JSON.stringify([loaded, lists, await store.scan(undefined, 100)])
    }
    const left = JSON.parse(await purge(store, dump))
    const tombstone = [expect.stringMatching(/^id:[\w-]{43}$/), { destroyedUntil: expect.any(Number) }]
    expect(left).toEqual([[tombstone, tombstone], [{ items: [] }, { items: [] }], { items: [] }])
  })

  it('Redis: two keys that hold a time, and expire', async () => {
    const server = await startRedis()
    const read: Record<string, string[]> = { string: ['GET'], zset: ['ZRANGE'] }
    const dump = async () => {
      const keys = (await server.cli('KEYS', '*')).split('\n').filter(Boolean)
      const parts = keys.map(async (key) => {
        const command = read[await server.cli('TYPE', key)]!
        const range = command[0] === 'ZRANGE' ? ['0', '-1'] : []
        return `${key} ${await server.cli(...command, key, ...range)} ${await server.cli('PTTL', key)}`
      })
      return (await Promise.all(parts)).sort().join('\n')
    }
    const left = (await purge(redisStore(`redis://127.0.0.1:${server.port}`), dump)).split('\n')
    expect(left).toHaveLength(2)
    for (const line of left) {
      const [key, ...rest] = line.split(' ')
      const lifetime = rest.at(-1)
      expect(line.length).toBeLessThan(100)
      expect(key).toMatch(/^h:id:[\w-]{43}$/)
      expect(Number(lifetime)).toBeGreaterThan(0)
      expect(Number(lifetime)).toBeLessThanOrEqual(5 * 60_000)
    }
    await server.stop()
  })

  it('SQLite: two rows without a user, a text or an external id', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-privacy-'))
    const file = join(folder, 'sessions.db')
    const dump = async () => {
      const database = new Database(file)
      const rows = database.prepare('SELECT * FROM holdfast_sessions').all()
      database.close()
      return JSON.stringify(rows)
    }
    const left = JSON.parse(await purge(sqliteStore(file), dump))
    const row = { rev: '', text: '', user_id: null, external_id: null }
    expect(left).toEqual([expect.objectContaining(row), expect.objectContaining(row)])
    rmSync(folder, { recursive: true })
  })
})

describe('cookie, logs and events', () => {
  it('hold nothing personal but the user id in events: no address, no browser, no data, no token', async () => {
    const printed: unknown[] = []
    const spies = (['log', 'info', 'warn', 'error', 'debug'] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation((...args) => void printed.push(args)),
    )
    const store = memoryStore()
    const sessions = createSessions({
      store,
      lifetime: { rotateEvery: 1, touchEvery: 0, grace: 0 },
      maxSessionsPerUser: { limit: 1, onLimit: 'reject' },
      watchClient: true,
    })
    const events: [string, unknown][] = []
    // What nobody listens for is logged: `error`.
    for (const name of EVENT_NAMES.filter((name) => name !== 'error'))
      sessions.on(name, (event) => events.push([name, event]))
    const server = await servers['express 5']!(sessions as Sessions<never>)
    const headers = { 'user-agent': AGENT, 'x-forwarded-for': '203.0.113.77' }
    const jar = client(server.url)
    const get = (path: string, who = jar, own = {}) => who.get(path, { headers: { ...headers, ...own } })
    await get(`/set?key=email&value=${EMAIL}`)
    const cookies = [jar.cookie]
    await get('/login?user=ann-4711')
    cookies.push(jar.cookie)
    await get('/me', jar, { 'user-agent': 'curl/8' })
    await get('/login?user=ann-4711', client(server.url)) // refused
    await get('/late')
    await Promise.all([get('/conflict'), get(`/set?key=guarded&value=${EMAIL}&ms=60`)])
    await get('/unstorable')
    await get('/me', client(server.url, `__Host-id=${'A'.repeat(72)}`)) // forged
    await get('/me', client(server.url, `${cookies[0]}; ${jar.cookie}`)) // two of them
    const handle = (await sessions.list('ann-4711'))[0]!.handle
    const key = `id:${handle}`
    const found = (await store.load(key)) as { rev: string; text: string }
    await store.update(key, { ...found, text: found.text.replace('{"', `${EMAIL}{{`) } as never, found.rev)
    await get('/me') // cannot be read
    await sessions.revoke({ handle })
    Object.assign(store, { touch: () => Promise.reject(new Error('down')) })
    const other = client(server.url)
    await get('/login?user=bob', other)
    await get('/me', other)
    await get('/me', other)
    await new Promise((resume) => setTimeout(resume, 1_200)) // for what was changed too late
    await get('/logout', other)
    cookies.push(other.cookie)
    await server.close()
    await sessions.close()
    for (const spy of spies) spy.mockRestore()

    const seen = new Set(events.map(([name]) => name))
    const told = [
      'created',
      'login',
      'logout',
      'revoked',
      'refused',
      'clientChanged',
      'forged',
      'duplicate',
      'invalid',
      'uncommitted',
    ]
    for (const name of told) expect(seen).toContain(name)
    const { inspect } = await import('node:util')
    const logs = inspect(printed, { depth: 20 })
    const dump = inspect(events, { depth: 20 })
    expect(logs).toContain('no secret given')
    const tokens = [...jar.setCookies, ...other.setCookies]
      .map((line) => /=([^;]*)/.exec(line)![1]!)
      .filter(Boolean)
    expect(tokens.length).toBeGreaterThan(2)
    for (const personal of [
      EMAIL,
      'ann.example',
      AGENT,
      'Firefox',
      'curl',
      '127.0.0.1',
      '203.0.113.77',
      ...tokens,
    ]) {
      expect(logs).not.toContain(personal)
      expect(dump).not.toContain(personal)
    }
    expect(logs).not.toContain('ann-4711')
    expect(dump.replaceAll(/userId: '(ann-4711|bob)'/g, '')).not.toMatch(/ann-4711|bob/)
    // The token is a version, a key id, a random id, a count and a tag: of one length whoever the user is.
    for (const token of tokens) {
      expect(token).toMatch(/^[\w-]{64,72}$/)
      const plain = `${token} ${Buffer.from(token, 'base64url').toString('latin1')}`
      for (const personal of ['ann', EMAIL, AGENT, '127.0']) expect(plain).not.toContain(personal)
    }
    expect(new Set(tokens.map((token) => token.length)).size).toBe(1)
  })

  it('the store keeps no address and no browser unless asked', async () => {
    const store = memoryStore()
    const sessions = createSessions({ secret: SECRET, store })
    const server = await servers['express 5']!(sessions as Sessions<never>)
    const headers = { 'user-agent': AGENT, 'x-forwarded-for': '203.0.113.77' }
    await client(server.url).get('/login?user=ann', { headers })
    const { items } = await store.scan(undefined, 10)
    expect(items).toHaveLength(1)
    for (const personal of ['Firefox', '127.0.0', '203.0.113'])
      expect(JSON.stringify(items)).not.toContain(personal)
    await server.close()
    await sessions.close()
  })
})
