import { once } from 'node:events'
import { request as ask, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { createSessions, type SessionOptions, type Sessions, type Store } from 'holdfast'
import { type Dashboard, type DashboardOptions, dashboard } from 'holdfast/dashboard'
import { openStore } from 'holdfast/stores'
import { cookieStore } from 'holdfast/stores/cookie'
import { memcachedStore } from 'holdfast/stores/memcached'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { SessionList } from '../src/dashboard/wire.ts'
import { partsOf } from '../src/parts.ts'
import { browser, SECRET } from './helpers/browser.ts'
import { buildPage } from './helpers/dashboard-page.ts'
import { dashboardSites } from './helpers/dashboard-sites.ts'
import { faulty } from './helpers/faults.ts'
import { sharedStores } from './helpers/stores.ts'
import { startMemcached } from './servers/memcached.ts'

beforeAll(buildPage, 60_000)

const PATH = '/admin/sessions'
const TOKEN = /(^|[^A-Za-z0-9_-])A[Q-Za-f][A-Za-z0-9_-]{62}($|[^A-Za-z0-9_-])/
const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanUp.splice(0).reverse()) await clean()
})

interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
  readonly text: string
}

interface Visitor {
  plan?: string
}

/** A site with a dashboard that only `admin` may see, and a few sessions. */
async function start(
  framework: string,
  given: Partial<DashboardOptions> = {},
  options: SessionOptions<Visitor> = {},
) {
  const errors: unknown[] = []
  const sessions = createSessions<Visitor>({
    secret: SECRET,
    store: memoryStore(),
    cookie: { secure: false },
    describe: (request) => ({ browser: request.userAgent ?? 'a browser' }),
    logger: { warn: () => {}, error: (...line: unknown[]) => void errors.push(line) },
    ...options,
  })
  const board = dashboard({
    sessions,
    authorize: (request) => sessions.of(request).userId === 'admin',
    path: PATH,
    ...given,
  })
  const server = createServer(await dashboardSites[framework]!(sessions, board)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  cleanUp.push(async () => {
    board.close()
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
    await sessions.close()
  })

  /** Every byte and header as it comes, which `fetch` would not show. */
  function send(method: string, path: string, headers: Record<string, string> = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const sent = ask({ host: '127.0.0.1', port, method, path, headers }, async (response) => {
        const chunks: Buffer[] = []
        for await (const chunk of response) chunks.push(chunk)
        const body = Buffer.concat(chunks)
        const encoding = response.headers['content-encoding']
        const plain =
          encoding === 'br' ? brotliDecompressSync(body) : encoding === 'gzip' ? gunzipSync(body) : body
        resolve({
          status: response.statusCode!,
          headers: new Headers(response.headers as Record<string, string>),
          body,
          text: plain.toString(),
        })
      })
      sent.on('error', reject)
      sent.end()
    })
  }

  async function signIn(userId: string, data?: Visitor) {
    const jar = browser(sessions, undefined, 'id')
    await jar.visit(async (session) => {
      if (data) Object.assign(session.data, data)
      await session.login(userId)
    })
    return jar
  }

  const admin = await signIn('admin')
  const asAdmin = { cookie: admin.header! }
  const same = { 'sec-fetch-site': 'same-origin' }
  return {
    sessions,
    board,
    send,
    signIn,
    errors,
    origin: `http://127.0.0.1:${port}`,
    admin,
    asAdmin,
    get: (path: string, parameters = '', headers: Record<string, string> = {}) =>
      send('GET', PATH + path, { ...asAdmin, ...same, 'holdfast-dashboard': parameters, ...headers }),
    post: (path: string, parameters = '', headers: Record<string, string> = {}) =>
      send('POST', PATH + path, { ...asAdmin, ...same, 'holdfast-dashboard': parameters, ...headers }),
  }
}

type Site = Awaited<ReturnType<typeof start>>

const handleOf = async (site: Site, user: string) => (await site.sessions.list(user))[0]!.handle
const json = ({ text }: Reply) => JSON.parse(text)
/** Script and style, as the page names them. */
const assetsOf = ({ text }: Reply) =>
  [...text.matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)].map(([, path]) => path!)

/** Asked without a server, and without the session of whoever asks. */
async function direct(board: Dashboard, what: string, parameters = '') {
  const response = await board.handle(
    new Request(`http://site.test${PATH}/api/${what}`, { headers: { 'holdfast-dashboard': parameters } }),
  )
  return { status: response!.status, body: await response!.json() }
}

describe('without authorize', () => {
  it('it does not start', () => {
    const sessions = createSessions({ secret: SECRET })
    expect(() => dashboard({ sessions } as never)).toThrow('authorize: must be a function')
    expect(() => dashboard({ sessions, authorize: true } as never)).toThrow('authorize: must be a function')
  })

  it('and with other mistakes neither', () => {
    const sessions = createSessions({ secret: SECRET })
    const authorize = () => true
    for (const [given, message] of [
      [{ sessions, authorize, pth: '/x' }, 'pth: there is no such option'],
      [{ sessions, authorize, path: 'x' }, 'is no path'],
      [{ sessions, authorize, path: '/x?y' }, 'is no path'],
      [{ sessions, authorize, revealData: true }, 'revealData: true must be a function'],
      [{ sessions: {}, authorize }, 'must be what createSessions() of this copy of Holdfast made'],
      [{ sessions: undefined, authorize }, 'must be what createSessions()'],
      [{ sessions: [], authorize }, 'the list is empty'],
      [{ sessions: [sessions, createSessions({ secret: SECRET })], authorize }, "called 'id'"],
    ] as const)
      expect(() => dashboard(given as never)).toThrow(message)
  })
})

describe.each(Object.keys(dashboardSites))('on %s', (framework) => {
  it('shows the page, and leaves all other paths to the site', async () => {
    const site = await start(framework)
    const page = await site.send('GET', `${PATH}/`, site.asAdmin)
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    const assets = assetsOf(page)
    expect(assets.length).toBeGreaterThan(1)
    for (const path of assets) {
      for (const encoding of ['br', 'gzip', 'identity']) {
        const file = await site.send('GET', `${PATH}/${path}`, {
          ...site.asAdmin,
          'accept-encoding': encoding,
        })
        expect(file.status).toBe(200)
        expect(file.headers.get('content-encoding')).toBe(encoding === 'identity' ? null : encoding)
        expect(file.headers.get('cache-control')).toBe('private, max-age=31536000, immutable')
        expect(file.text.length).toBeGreaterThan(1_000)
      }
    }
    expect(await site.send('GET', PATH, site.asAdmin)).toMatchObject({ status: 307 })
    for (const path of ['/', '/admin', `${PATH}s`, `${PATH}-more/`])
      expect(await site.send('GET', path)).toMatchObject({ status: 200, text: 'the site' })
    expect((await site.send('GET', `${PATH}/assets/..%2f..%2ffiles.json`, site.asAdmin)).status).toBe(404)
    expect((await site.send('GET', `${PATH}/files.json`, site.asAdmin)).status).toBe(404)
    expect((await site.send('POST', `${PATH}/`, site.asAdmin)).status).toBe(405)
  })

  it('takes no odd address for its own, and does not fail', async () => {
    const site = await start(framework)
    for (const path of [`//evil.example${PATH}/`, `http://[${PATH}/`, '*', `/x${PATH}/`]) {
      const reply = await site.send('GET', path, site.asAdmin)
      expect(reply.text, path).not.toContain('<title>Sessions')
    }
    expect((await site.send('GET', `${PATH}/?x=/`, site.asAdmin)).status).toBe(200)
    expect((await site.send('GET', `${site.origin}${PATH}/`, site.asAdmin)).text).toContain('<title>Sessions')
  })

  it('gives whoever is not authorised a 403 and nothing else, and ends nothing', async () => {
    const site = await start(framework)
    const bob = await site.signIn('bob')
    const page = await site.send('GET', `${PATH}/`, site.asAdmin)
    const assets = assetsOf(page)
    expect(assets.length).toBeGreaterThan(1)
    for (const cookie of [undefined, bob.header!, 'id=forged']) {
      const headers: Record<string, string> = {
        'sec-fetch-site': 'same-origin',
        'holdfast-dashboard': 'user=bob',
      }
      if (cookie) headers.cookie = cookie
      for (const path of ['', '/', '/api/overview', '/api/sessions', '/api/session', '/api/data', '/none']) {
        const reply = await site.send('GET', PATH + path, headers)
        expect([reply.status, reply.text]).toEqual([403, 'Forbidden\n'])
      }
      for (const path of assets)
        expect((await site.send('GET', `${PATH}/${path}`, headers)).text).toBe('Forbidden\n')
      for (const target of [
        'user=bob',
        'user=admin',
        'all=everyone',
        `handle=${await handleOf(site, 'bob')}`,
      ]) {
        const reply = await site.send('POST', `${PATH}/api/revoke`, {
          ...headers,
          'holdfast-dashboard': target,
        })
        expect([reply.status, reply.text]).toEqual([403, 'Forbidden\n'])
      }
    }
    expect(await site.sessions.stats()).toMatchObject({ sessions: 2 })
  })

  it('sends its headers with each answer', async () => {
    const site = await start(framework)
    const replies = [
      await site.send('GET', `${PATH}/`, site.asAdmin),
      await site.send('GET', `${PATH}/none`, site.asAdmin),
      await site.send('GET', `${PATH}/`),
      await site.get('/api/overview'),
    ]
    for (const { headers } of replies) {
      const policy = headers.get('content-security-policy')!
      for (const part of [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
      ])
        expect(policy).toContain(part)
      expect(policy).not.toMatch(/unsafe|https?:|\*/)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('referrer-policy')).toBe('no-referrer')
      expect(headers.get('cache-control')).toContain('no-store')
    }
  })

  it('lists, finds, and ends one, a user’s, everyone’s', async () => {
    const site = await start(framework)
    for (const user of ['ann', 'ann', 'bob', 'carol']) await site.signIn(user)
    const users = async (parameters = '') =>
      json(await site.get('/api/sessions', parameters))
        .sessions.map(({ userId }: { userId: string }) => userId)
        .sort()
    expect(await users()).toEqual(['admin', 'ann', 'ann', 'bob', 'carol'])
    expect(await users('user=ann')).toEqual(['ann', 'ann'])
    const handle = await handleOf(site, 'bob')
    expect(json(await site.get('/api/session', `handle=${handle}`))).toMatchObject({
      handle,
      userId: 'bob',
      generation: 2,
    })

    const revoke = async (parameters: string) => json(await site.post('/api/revoke', parameters))
    expect(await revoke(`handle=${handle}`)).toEqual({ count: 1 })
    expect(await revoke(`handle=${handle}`)).toEqual({ count: 0 })
    expect((await site.get('/api/session', `handle=${handle}`)).status).toBe(404)
    expect(await revoke('user=ann')).toEqual({ count: 2 })
    expect(await users()).toEqual(['admin', 'carol'])
    expect((await site.post('/api/revoke', 'all=yes')).status).toBe(400)
    expect((await site.post('/api/revoke')).status).toBe(400)
    expect(await revoke('all=everyone')).toEqual({ count: 2 })
    expect(await site.sessions.stats()).toMatchObject({ sessions: 0 })
    expect((await site.get('/api/overview')).status, 'the admin is signed out too').toBe(403)
  })

  it('refuses what another page has sent, and what does not say where it comes from', async () => {
    const site = await start(framework)
    await site.signIn('bob')
    const parameters = { 'holdfast-dashboard': 'user=bob' }
    for (const headers of [
      { 'sec-fetch-site': 'same-origin' },
      { ...parameters },
      ...['cross-site', 'same-site', 'none'].map((site) => ({ ...parameters, 'sec-fetch-site': site })),
      { ...parameters, origin: 'https://evil.example' },
      { ...parameters, origin: 'null' },
      { ...parameters, 'sec-fetch-site': 'same-site', origin: site.origin },
    ] as Record<string, string>[]) {
      const reply = await site.send('POST', `${PATH}/api/revoke`, { ...site.asAdmin, ...headers })
      expect([reply.status, json(reply).error]).toEqual([403, expect.stringContaining('Refused')])
    }
    expect((await site.send('GET', `${PATH}/api/sessions`, site.asAdmin)).status, 'no header').toBe(403)
    expect((await site.get('/api/sessions', '', { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    // A browser from before Sec-Fetch-Site, where the site's own answer to preflights lets everybody in.
    for (const origin of ['https://evil.example', 'null', `${site.origin}.evil.example`]) {
      const old = { ...site.asAdmin, ...parameters, origin }
      expect((await site.send('GET', `${PATH}/api/sessions`, old)).status, origin).toBe(403)
    }
    expect((await site.send('GET', `${PATH}/api/revoke`, { ...site.asAdmin, ...parameters })).status).toBe(
      404,
    )
    expect(await site.sessions.list('bob')).toHaveLength(1)
    const old = { ...site.asAdmin, ...parameters, origin: site.origin }
    expect(
      (await site.send('POST', `${PATH}/api/revoke`, old)).status,
      'a browser without Sec-Fetch-Site',
    ).toBe(200)
    expect(await site.sessions.list('bob')).toHaveLength(0)
  })

  it('shows no token, neither the admin’s nor anybody’s', async () => {
    const site = await start(framework, { revealData: () => true })
    const ann = await site.signIn('ann', { plan: 'large' })
    const handle = await handleOf(site, 'ann')
    const replies = [
      await site.send('GET', `${PATH}/`, site.asAdmin),
      await site.get('/api/overview'),
      await site.get('/api/sessions'),
      await site.get('/api/sessions', 'user=ann'),
      await site.get('/api/session', `handle=${handle}`),
      await site.get('/api/data', `handle=${handle}`),
      await site.post('/api/revoke', `handle=${handle}`),
    ]
    for (const { status, text, headers } of replies) {
      expect(status).toBe(200)
      const all = text + JSON.stringify([...headers].filter(([name]) => name !== 'set-cookie'))
      expect(all).not.toMatch(TOKEN)
      for (const { cookie } of [ann, site.admin]) expect(all).not.toContain(cookie)
    }
    expect(`x ${ann.cookie} x`, 'what is looked for is what a token looks like').toMatch(TOKEN)
  })
})

describe('authorize', () => {
  it('that throws, or says anything but true, is a 403, and an event if it threw', async () => {
    for (const answer of [false, undefined, 1, 'yes', {}, Promise.resolve('yes')]) {
      const site = await start('node', { authorize: () => answer as boolean })
      expect((await site.get('/')).status).toBe(403)
      expect(site.errors).toEqual([])
    }
    for (const authorize of [
      () => {
        throw new Error('no directory')
      },
      () => Promise.reject(new Error('no directory')),
    ]) {
      const site = await start('node', { authorize })
      expect(await site.get('/')).toMatchObject({ status: 403, text: 'Forbidden\n' })
      expect(String(site.errors)).toContain('authorize of the dashboard')
    }
  })

  it('that comes too late does no harm: somebody has answered already', async () => {
    const rejected = vi.fn()
    process.on('unhandledRejection', rejected)
    cleanUp.push(() => process.removeListener('unhandledRejection', rejected))
    const sessions = createSessions({ secret: SECRET, store: memoryStore() })
    let allow = (_: boolean) => {}
    const authorize = () => new Promise<boolean>((resolve) => void (allow = resolve))
    const board = dashboard({ sessions, authorize })
    const server = createServer((request, response) => {
      board.node(request, response, () => response.end('the site'))
      response.writeHead(503).end('late')
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanUp.push(() => server.close(), board.close)
    const { status } = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/sessions/`)
    expect(status).toBe(503)
    allow(true)
    await new Promise((later) => setTimeout(later, 50))
    expect(rejected).not.toHaveBeenCalled()
  })

  it('may require a recent login, which is no event', async () => {
    const clock = { now: 1_800_000_000_000 }
    const managers: Sessions<Visitor>[] = []
    const authorize = (request: object) => {
      managers[0]!.of(request).requireRecentLogin('15m')
      return true
    }
    const site = await start('node', { authorize }, { clock: () => clock.now })
    managers.push(site.sessions)
    expect((await site.get('/')).status).toBe(200)
    clock.now += 16 * 60_000
    expect(await site.get('/')).toMatchObject({ status: 403, text: 'Forbidden\n' })
    expect(site.errors).toEqual([])
  })

  it('is asked for the data of sessions once more', async () => {
    const reveal = vi.fn(() => false)
    const site = await start('node', { revealData: reveal })
    await site.signIn('ann', { plan: 'secret plan' })
    const handle = await handleOf(site, 'ann')
    const hidden = await site.get('/api/data', `handle=${handle}`)
    expect([hidden.status, hidden.text]).toEqual([403, expect.not.stringContaining('secret plan')])
    expect((await site.get('/api/session', `handle=${handle}`)).text).not.toContain('secret plan')
    expect(json(await site.get('/api/overview')).mayReveal).toBe(false)
    reveal.mockReturnValue(true)
    expect(json(await site.get('/api/data', `handle=${handle}`))).toEqual({
      data: { plan: 'secret plan' },
      messages: [],
    })
    expect(json(await site.get('/api/overview')).mayReveal).toBe(true)

    const without = await start('node')
    const own = await handleOf(without, 'admin')
    expect((await without.get('/api/data', `handle=${own}`)).status).toBe(403)
  })
})

describe('the overview', () => {
  const counted = async (site: Site) => {
    await vi.waitFor(async () => expect(json(await site.get('/api/overview')).count).not.toBeNull(), 5_000)
    return json(await site.get('/api/overview'))
  }

  it('counts sessions by user and device', async () => {
    const site = await start('node')
    for (const user of ['ann', 'ann', 'ann', 'bob']) await site.signIn(user)
    await browser(site.sessions).visit((session) => void (session.data.plan = 'small'))
    const { count, managers, store } = await counted(site)
    expect(store).toBe('memory')
    expect(managers).toEqual([{ name: 'id', store: 'memory', sessions: 6 }])
    expect(count).toMatchObject({ sessions: 6, loggedIn: 5, isPart: false, unreadable: 0 })
    expect(count.users[0]).toEqual({ name: 'ann', sessions: 3 })
    expect(count.devices).toEqual([{ name: 'a browser', sessions: 5 }])
  })

  it('has curves of logins, logouts, ends, conflicts, errors and how long the store takes', async () => {
    const store = faulty(memoryStore())
    const site = await start('node', {}, { store })
    const ann = await site.signIn('ann')
    await site.signIn('bob')
    await ann.visit((session) => session.logout())
    await site.sessions.revoke({ userId: 'bob' })
    const [one, other] = [
      await site.sessions.open(site.admin.header),
      await site.sessions.open(site.admin.header),
    ]
    one.data.plan = 'small'
    other.data.plan = 'large'
    await one.commit()
    await other.commit()
    store.error = new Error('refused')
    await expect(site.sessions.open(site.admin.header)).rejects.toThrow('load failed')
    store.error = undefined

    for (const range of ['hour', 'day']) {
      const { curves } = json(await site.get('/api/overview', `range=${range}`))
      const sum = (values: number[]) => values.reduce((total, each) => total + each, 0)
      const totals = Object.fromEntries(
        Object.entries(curves.counts as Record<string, number[]>).map(([name, values]) => [
          name,
          sum(values),
        ]),
      )
      expect(totals).toMatchObject({ login: 3, logout: 1, ended: 1, error: 1 })
      expect(totals.conflict, 'the commit that came second, and the value that it replaced').toBe(2)
      expect(curves.step).toBe(range === 'hour' ? 10_000 : 300_000)
      expect(sum(curves.operations)).toBeGreaterThan(8)
      expect(Math.max(...curves.p50)).toBeLessThanOrEqual(Math.max(...curves.p95))
      expect(Math.max(...curves.p95)).toBeGreaterThan(0)
    }
    const { notices } = json(await site.get('/api/overview'))
    expect(notices.map(({ name }: { name: string }) => name)).toEqual(['overwritten', 'revoked'])
    expect(notices[1]).toMatchObject({ userId: 'bob', text: '1 session' })
  })

  it('does not keep what goes wrong out of the log', async () => {
    const site = await start('node')
    const error = new Error('background')
    partsOf(site.sessions)!.core.events.emit('error', { operation: 'sweep', error })
    expect(String(site.errors)).toContain('sweep failed in the background')
    const { notices } = json(await site.get('/api/overview'))
    expect(notices[0]).toMatchObject({ name: 'error', text: 'sweep: background' })
  })

  it('is not pushed out by what a visitor does again and again, nor filled by how they spell it', async () => {
    const { sessions, board } = await start('node', { authorize: () => true })
    const { events } = partsOf(sessions)!.core
    events.emit('reuse', { handle: 'h', userId: 'ann', route: 'GET /' })
    for (let i = 0; i < 60; i++) {
      const cookie = `${sessions.policy.cookie.name}=${'A'.repeat(64)}`
      await sessions.open({ headers: { cookie }, method: 'GET', url: `/${i}${'x'.repeat(8_000)}` })
    }
    const { notices } = (await direct(board, 'overview')).body
    const names = notices.map(({ name }: { name: string }) => name)
    expect(names).toEqual([...Array.from({ length: 10 }, () => 'forged'), 'reuse'])
    expect(notices[0].text).toMatch(/^GET \/59x{200,}$/)
    expect(JSON.stringify(notices).length).toBeLessThan(5_000)
  })

  it('takes whatever somebody throws', async () => {
    const { sessions, board } = await start('node', { authorize: () => true })
    const uncaught = vi.fn()
    process.on('uncaughtException', uncaught)
    cleanUp.push(() => process.removeListener('uncaughtException', uncaught))
    const error = new Error('x')
    Object.assign(error, { message: { of: 'a driver' } })
    for (const thrown of [Object.create(null), Symbol('s'), undefined, error])
      partsOf(sessions)!.core.events.emit('error', { operation: 'sweep', error: thrown })
    await new Promise(setImmediate)
    expect(uncaught).not.toHaveBeenCalled()
    const { notices } = (await direct(board, 'overview')).body
    expect(notices.map(({ text }: { text: string }) => text)).toEqual([
      "sweep: { of: 'a driver' }",
      'sweep: undefined',
      'sweep: Symbol(s)',
      'sweep: [Object: null prototype] {}',
    ])
  })

  it('says since when the store is away, and when it is back', async () => {
    const store = faulty(memoryStore())
    const { board, sessions } = await start(
      'node',
      { authorize: () => true },
      { store, deadlines: { load: 50, write: 50, request: 100 } },
    )
    store.freeze()
    await sessions.find('x').catch(() => undefined)
    await vi.waitFor(async () => expect((await direct(board, 'overview')).body.outageSince).not.toBeNull())
    store.thaw()
    await vi.waitFor(
      async () => {
        await sessions.find('x').catch(() => undefined)
        const { outageSince, notices } = (await direct(board, 'overview')).body
        expect([outageSince, notices[0].name]).toEqual([null, 'recovered'])
      },
      { timeout: 10_000, interval: 200 },
    )
  })

  it('ceases to listen and to count when it is closed', async () => {
    const site = await start('node')
    site.board.close()
    await site.signIn('ann')
    const { curves, count, progress } = json(await site.get('/api/overview'))
    expect(Math.max(...curves.counts.login)).toBe(1)
    expect([count, progress]).toEqual([null, null])
  })

  it('shows several managers, each with its own', async () => {
    const admins = createSessions({ secret: SECRET, name: 'staff' })
    cleanUp.push(() => admins.close())
    await browser(admins, undefined, '__Host-staff').visit((session) => session.login('root'))
    const site = await start('node')
    const board = dashboard({ sessions: [site.sessions, admins], authorize: () => true, path: PATH })
    cleanUp.push(() => board.close())
    const usersOf = async (parameters: string) => {
      const { status, body } = await direct(board, 'sessions', parameters)
      return status === 200 ? body.sessions.map(({ userId }: { userId: string }) => userId) : status
    }
    const found = ['manager=0', 'manager=1', 'manager=2', 'manager=x'].map(usersOf)
    expect(await Promise.all(found)).toEqual([['admin'], ['root'], 404, 404])
    await direct(board, 'overview')
    await vi.waitFor(async () =>
      expect((await direct(board, 'overview')).body.managers).toEqual([
        { name: 'id', store: 'memory', sessions: 1 },
        { name: 'staff', store: 'memory', sessions: 1 },
      ]),
    )
  })

  it('goes through many sessions without holding a request up', async () => {
    const site = await start('node', {}, { store: slow(memoryStore(), 20) })
    for (let i = 0; i < 30; i++) await site.signIn(`user-${i}`)
    const began = performance.now()
    const first = json(await site.get('/api/overview'))
    expect(performance.now() - began).toBeLessThan(1_000)
    expect(first.count).toBeNull()
    expect((await counted(site)).count.sessions).toBe(31)
  })
})

/** Its pages come late, and hold one session each. */
function slow(store: Store, milliseconds: number): Store {
  const wrapped = faulty(store)
  return Object.assign(wrapped, {
    async scan(cursor: string | undefined) {
      await new Promise((resume) => setTimeout(resume, milliseconds))
      return store.scan!(cursor, 1)
    },
  })
}

it.each(['file', 'sqlite', 'redis'])('pages lead through all sessions, each once: %s', async (name) => {
  const running = await sharedStores[name]!()
  cleanUp.push(running.stop)
  const site = await start(
    'node',
    {},
    { store: openStore(running.url), deadlines: { write: '20s', request: '30s' } },
  )
  await Promise.all(Array.from({ length: 230 }, (_, i) => site.signIn(`user-${i % 115}`)))
  const through = async (user = '') => {
    const handles: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page: SessionList = json(
        await site.get('/api/sessions', `${new URLSearchParams({ ...(cursor && { cursor }) })}${user}`),
      )
      handles.push(...page.sessions.map(({ handle }) => handle))
      cursor = page.cursor
    }
    return { all: handles.length, once: new Set(handles).size }
  }
  expect(await through()).toEqual({ all: 231, once: 231 })
  expect(await through('&user=user-7')).toEqual({ all: 2, once: 2 })
  expect(json(await site.post('/api/revoke', 'user=user-7'))).toEqual({ count: 2 })
  expect(await through()).toEqual({ all: 229, once: 229 })
  expect(json(await site.post('/api/revoke', 'all=everyone'))).toEqual({ count: 229 })
})

describe('a store that', () => {
  it('cannot list says so, and shows and ends one by its handle', async () => {
    const { port, stop } = await startMemcached()
    cleanUp.push(stop)
    const site = await start('node', {}, { store: memcachedStore(`127.0.0.1:${port}`) })
    const ann = await site.signIn('ann')
    const handle = await ann.visit((session) => session.handle)
    expect(json(await site.get('/api/overview'))).toMatchObject({
      store: 'memcached',
      canList: false,
      canFindUsers: false,
      count: null,
      progress: null,
    })
    for (const [reply, message] of [
      [await site.get('/api/sessions'), 'cannot go through all its sessions'],
      [await site.get('/api/sessions', 'user=ann'), 'cannot find sessions by user'],
      [await site.post('/api/revoke', 'user=ann'), 'cannot find sessions by user'],
      [await site.post('/api/revoke', 'all=everyone'), 'cannot go through all its sessions'],
    ] as const)
      expect([reply.status, json(reply).error]).toEqual([501, expect.stringContaining(message)])
    expect(json(await site.get('/api/session', `handle=${handle}`))).toMatchObject({ userId: 'ann' })
    expect(json(await site.post('/api/revoke', `handle=${handle}`))).toEqual({ count: 1 })
    expect((await site.get('/api/session', `handle=${handle}`)).status).toBe(404)
  })

  it('keeps nothing itself says that too', async () => {
    const site = await start('node', { authorize: () => true }, { store: cookieStore() })
    expect(json(await site.get('/api/overview'))).toMatchObject({
      isCarried: true,
      canList: false,
      count: null,
    })
  })

  it('is away is a 503 with a line, and a problem of the count, while authorize needs no session of it', async () => {
    const store = faulty(memoryStore())
    const { board } = await start('node', { authorize: () => true }, { store })
    store.error = new Error('ECONNREFUSED 10.0.0.7')
    const reply = await direct(board, 'sessions')
    expect([reply.status, reply.body.error]).toEqual([
      503,
      expect.stringContaining('scan failed in the memory store'),
    ])
    expect(JSON.stringify(reply.body)).not.toContain('10.0.0.7')
    await vi.waitFor(async () =>
      expect((await direct(board, 'overview')).body.problem).toContain('scan failed'),
    )
  })
})
