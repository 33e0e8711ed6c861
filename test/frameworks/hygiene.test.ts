import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSessions, type SessionOptions, type Sessions } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { browser, manager, SECRET } from '../helpers/browser.ts'
import { client } from '../helpers/client.ts'
import { sharedCache } from '../helpers/shared-cache.ts'
import { edit, signIn } from '../helpers/sign-in.ts'
import { Random } from '../model/random.ts'
import { accesses, type Data } from './app.ts'
import { type Running, servers } from './servers.ts'

/** What a response says to caches and browsers about the session behind it. */
describe.each(Object.entries(servers))('a response on %s', (_name, serve) => {
  let sessions: Sessions<Data>
  let server: Running

  beforeEach(async () => {
    sessions = createSessions<Data>({ secret: SECRET, store: memoryStore(), sweepEvery: false })
    server = await serve(sessions)
  })
  afterEach(async () => {
    await server.close()
    await sessions.close()
  })

  it('ASVS 14.2.2: varies with the cookie, whatever of the session was looked at, with a session or without', async () => {
    for (const access of Object.keys(accesses)) {
      const path = `/do?acts=${encodeURIComponent(access)}`
      for (const cookie of [undefined, await signIn(sessions, 'ann'), '__Host-id=forged']) {
        const { status, headers } = await client(server.url, cookie).get(path)
        const where = `${access} with ${cookie}: ${status}`
        expect(headers.get('vary'), where).toBe('Cookie')
        const cookies = headers.getSetCookie()
        expect(cookies.length, where).toBeLessThanOrEqual(1)
        expect(headers.get('cache-control'), where).toBe(cookies.length === 1 ? 'no-store' : null)
      }
    }
  })

  it('has one cookie of ours at the most, whatever its handler did, and then is not to be stored', async () => {
    for (const [acts, status] of [
      ['visit,login,rotate,remember,flash', 200],
      ['login,commit,rotate,elevate,commit,remember', 200],
      ['login,login bob,commit,login', 200],
      ['login,logout,login', 200],
      ['visit,commit,logout,flash,commit,visit', 200],
      ['login,commit,fail', 500],
      ['logout,fail', 500],
    ] as const) {
      for (const cookie of [undefined, await signIn(sessions, 'ann')]) {
        const { headers, ...answer } = await client(server.url, cookie).get(`/do?acts=${acts}`)
        const expected = acts === 'logout,fail' && cookie === undefined ? 0 : 1
        expect(answer.status).toBe(status)
        expect(headers.getSetCookie(), acts).toHaveLength(expected)
        expect(headers.get('cache-control'), acts).toBe(expected === 1 ? 'no-store' : null)
        expect(headers.get('vary'), acts).toBe('Cookie')
      }
    }
  })

  it('NIST 5.1(3), attacker 15: says SameSite, and clears the cookie with the attributes that it was set with', async () => {
    const visitor = client(server.url)
    const { headers: set } = await visitor.get('/login?user=ann')
    const { headers: cleared } = await visitor.get('/leave')
    expect(set.getSetCookie()).toEqual([
      expect.stringMatching(/^__Host-id=[\w-]{64}; Path=\/; HttpOnly; Secure; SameSite=Lax$/),
    ])
    expect(cleared.getSetCookie()).toEqual(['__Host-id=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax'])
  })

  it('ASVS 14.3.1: has the browser clear what it keeps, if the logout asks for that', async () => {
    const cookie = await signIn(sessions, 'ann')
    for (const [acts, status] of [
      ['clear', 200],
      ['clear,fail', 500],
    ] as const) {
      for (const who of [cookie, undefined]) {
        const { headers, ...answer } = await client(server.url, who).get(`/do?acts=${acts}`)
        expect(answer.status).toBe(status)
        expect(headers.get('clear-site-data')).toBe('"cache", "cookies", "storage"')
        expect(headers.get('cache-control')).toBe('no-store')
        expect(headers.getSetCookie()).toHaveLength(who === undefined ? 0 : 1)
      }
    }
    const quiet = await client(server.url, await signIn(sessions, 'ann')).get('/leave')
    expect(quiet.headers.get('clear-site-data')).toBeNull()
  })

  it('attacker 9: gives nobody the page of another one out of a shared cache, and still lets the cache work', async () => {
    const cache = await sharedCache(server.url)
    const visitors = [
      { user: 'nobody', name: 'none', cookie: undefined },
      ...(await Promise.all(['tea', 'milk'].map(anonymous))),
      ...(await Promise.all(['ann', 'bob', 'cleo'].map(user))),
    ].map(({ cookie, ...who }) => ({ ...who, visitor: client(cache.url, cookie) }))
    const random = new Random(20_261_129)
    for (let i = 0; i < 600; i++) {
      const { user, name, visitor } = random.pick(visitors)
      const pages: [path: string, own: string][] = [
        ['/cached-me', `page of ${user}`],
        ['/cached-name', `name: ${name}`],
        ['/cached-missing', `nothing here, ${user}`],
        ['/cached-none', 'the same for everybody'],
        ['/me', user],
        ['/flashes', ''],
      ]
      if (user !== 'nobody' && random.chance(0.05)) await visitor.post(`/login?user=${user}`) // another cookie from now on
      const [path, own] = random.pick(pages)
      expect((await visitor.get(path)).text, path).toBe(own)
    }
    expect(cache.hits).toBeGreaterThan(200)
    await cache.close()
  })

  const user = async (user: string) => ({
    user,
    name: `${user} herself`,
    cookie: await signIn(sessions, user, { name: `${user} herself` }),
  })
  const anonymous = async (name: string) => ({
    user: 'nobody',
    name,
    cookie: await edit(sessions, undefined, ({ data }) => Object.assign(data, { name })),
  })

  it('that gives a cookie is never in a shared cache', async () => {
    const cache = await sharedCache(server.url)
    const cookies = new Set<string>()
    for (let i = 0; i < 5; i++) {
      const { headers, text } = await client(cache.url).get('/cached-visits')
      expect(text).toBe('nobody: 1')
      cookies.add(headers.getSetCookie()[0]!)
    }
    expect(cookies.size).toBe(5)
    expect(cache.hits).toBe(0)
    await cache.close()
  })
})

it('the list of ways to look at a session names every member that it has', async () => {
  const session = await manager().sessions.open(undefined)
  const members = Reflect.ownKeys(Object.getPrototypeOf(session)).map(String)
  expect(Object.keys(accesses).sort()).toEqual(members.filter((name) => name !== 'constructor').sort())
})

it('a lazy session that is not loaded makes the answer vary as soon as it is asked anything', async () => {
  const { sessions } = manager<Data>()
  const cookie = await signIn(sessions, 'ann')
  for (const [name, access] of Object.entries(accesses)) {
    const session = await sessions.open(cookie, { lazy: true })
    await (async () => access(session))().catch(() => {}) // most say that it is to be loaded first
    const { headers } = await sessions.commit(session)
    expect(headers, name).toContainEqual(['Vary', 'Cookie', 'append'])
  }
  const untouched = await sessions.open(cookie, { lazy: true })
  expect(await sessions.commit(untouched)).toEqual({ headers: [] })
})

it.each<[string, SessionOptions<Data>['cookie']]>([
  ['plain', { secure: false }],
  ['prefixed', {}],
  ['of a domain', { domain: 'shop.example' }],
  ['of a path', { path: '/shop' }],
  ['strict', { sameSite: 'strict' }],
  ['partitioned', { partitioned: true }],
])('a cookie that is %s is cleared with its own attributes', async (_name, cookie) => {
  const { sessions } = manager<Data>({ cookie, lifetime: { persistent: true } })
  const [set, cleared] = await Promise.all([
    answerOf(sessions, undefined, (session) => session.login('ann')),
    answerOf(sessions, await signIn(sessions, 'ann'), (session) => session.logout()),
  ])
  const shape = (line: string) => line.replace(/=[\w-]*/, '=').replace(/; Max-Age=\d+/, '; Max-Age=0')
  expect(cleared).toHaveLength(1)
  expect(cleared[0]).toContain('; Max-Age=0')
  expect(shape(cleared[0]!)).toBe(shape(set[0]!))
})

async function answerOf(
  sessions: Sessions<Data>,
  cookie: string | undefined,
  handler: (session: Awaited<ReturnType<Sessions<Data>['open']>>) => Promise<unknown>,
): Promise<string[]> {
  const session = await sessions.open(cookie)
  await handler(session)
  const { headers } = await sessions.commit(session)
  return headers.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value)
}

describe('logout with clearSiteData', () => {
  it('adds to what the application has the browser clear', async () => {
    const { sessions } = manager<Data>()
    const server = await servers.node!(sessions)
    const { headers } = await client(server.url, await signIn(sessions, 'ann')).get('/clear-more')
    expect(headers.get('clear-site-data')).toBe('"executionContexts", "cache", "cookies", "storage"')
    await server.close()
  })

  it('ends the session, and then says that the headers have left', async () => {
    const { sessions } = manager<Data>()
    const cookie = await signIn(sessions, 'ann')
    const session = await sessions.open(cookie)
    await sessions.commit(session)
    await expect(session.logout({ clearSiteData: true })).rejects.toThrow(
      'ask for clearSiteData before the response begins',
    )
    expect((await sessions.open(cookie)).userId).toBeUndefined()
  })

  it('refuses what is no option', async () => {
    const { sessions } = manager<Data>()
    await browser(sessions).visit(async (session) => {
      await expect(session.logout({ clear: true } as never)).rejects.toThrow(
        'logout: clear: there is no such option',
      )
      await expect(session.logout({ clearSiteData: 'yes' } as never)).rejects.toThrow(
        'logout: clearSiteData: "yes"',
      )
    })
  })
})

describe('the shared cache of these tests', () => {
  const start = async (vary: string | undefined, cacheControl: string | undefined) => {
    const server = createServer(({ headers }, response) => {
      if (vary !== undefined) response.setHeader('Vary', vary)
      if (cacheControl !== undefined) response.setHeader('Cache-Control', cacheControl)
      response.end(`page of ${headers.cookie}`)
    }).listen(0, '127.0.0.1')
    await new Promise((ready) => server.once('listening', ready))
    const cache = await sharedCache(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    return {
      async get(cookie: string) {
        return (await client(cache.url, cookie).get('/')).text
      },
      async close() {
        server.closeAllConnections()
        server.close()
        await cache.close()
      },
    }
  }

  it.each([
    [undefined, undefined, 'page of id=ann'],
    [undefined, 'public, max-age=60', 'page of id=ann'],
    ['Accept-Encoding', undefined, 'page of id=ann'],
    ['Cookie', 'public, max-age=60', 'page of id=bob'],
    ['accept-encoding, cookie', undefined, 'page of id=bob'],
    ['*', undefined, 'page of id=bob'],
    [undefined, 'No-Store', 'page of id=bob'],
    [undefined, 'max-age=60, private', 'page of id=bob'],
  ])(
    'with Vary: %s and Cache-Control: %s gives the next one the %s',
    async (vary, cacheControl, expected) => {
      const site = await start(vary, cacheControl)
      expect(await site.get('id=ann')).toBe('page of id=ann')
      expect(await site.get('id=bob')).toBe(expected)
      await site.close()
    },
  )
})
