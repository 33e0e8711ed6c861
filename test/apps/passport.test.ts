import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import express5 from 'express'
// @ts-expect-error: types come under the name of version 5
import express4 from 'express4'
import { createSessions, OptionsError, SessionLimitError, type Sessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { passportSessions } from 'holdfast/passport'
import { Passport } from 'passport'
import { Strategy } from 'passport-local'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type App, startApp } from '../helpers/app.ts'
import { SECRET } from '../helpers/browser.ts'
import { type Client, client } from '../helpers/client.ts'
import { signIn } from '../helpers/sign-in.ts'
import { itKeepsItsPromises } from './promises.ts'

let provider: Server
let app: App

beforeAll(async () => {
  provider = await startProvider()
  const PROVIDER = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`
  app = await startApp(['--import', 'tsx', 'test/apps/passport/server.ts'], { PROVIDER })
})
afterAll(async () => {
  await app?.stop()
  provider?.close()
})

/** Lets everybody in who names a user, and wants the verifier of PKCE where there was a challenge. */
async function startProvider(): Promise<Server> {
  const challenges = new Map<string, string>()
  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, 'http://localhost')
    if (url.pathname === '/authorize') {
      const back = new URL(url.searchParams.get('redirect_uri')!)
      const code = `code of ${url.searchParams.get('user')} ${challenges.size}`
      challenges.set(code, url.searchParams.get('code_challenge') ?? '')
      back.searchParams.set('code', code)
      back.searchParams.set('state', url.searchParams.get('state')!)
      return response.writeHead(302, { Location: back.href }).end()
    }
    const form = new URLSearchParams(await text(request))
    const code = form.get('code')!
    const isRight = challenges.has(code) && Boolean(challenges.get(code)) === form.has('code_verifier')
    response.setHeader('Content-Type', 'application/json')
    const answer = isRight ? { access_token: `id of ${code.split(' ')[2]}` } : { error: 'invalid_grant' }
    response.writeHead(isRight ? 200 : 400).end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

const form = (fields: Record<string, string>) => ({ body: new URLSearchParams(fields) })
const signInAs = (tab: Client, username: string, password = 'correct horse', path = '/login') =>
  tab.post(path, form({ username, password }))
const state = async (tab: Client) => JSON.parse((await tab.get('/')).text)

async function signedIn(name: string): Promise<Client> {
  const tab = client(app.url)
  expect((await signInAs(tab, name)).status).toBe(302)
  return tab
}

/** Goes to the provider and comes back, as a browser would; the address to which it comes back can be changed on the way. */
async function signInElsewhere(tab: Client, strategy: string, user: string, change = (_back: URL) => {}) {
  const there = new URL((await tab.get(`/with/${strategy}`)).headers.get('location')!)
  there.searchParams.set('user', user)
  const { headers } = await fetch(there, { redirect: 'manual' })
  const back = new URL(headers.get('location')!)
  change(back)
  return tab.get(back.pathname + back.search)
}

describe('an application on Passport', () => {
  itKeepsItsPromises(() => app, {
    signIn: signInAs,
    signOut: (tab) => tab.post('/logout'),
    count: (tab) => tab.post('/visit'),
    put: (tab, item) => tab.post('/put', form({ item })),
    rotate: (tab) => tab.post('/rotate'),
    slow: (tab) => tab.post('/slow'),
    look: async (tab) => {
      const { user, ...rest } = await state(tab)
      return { ...rest, userId: user?.name }
    },
  })

  it('logs in by the session itself: a new token, and a session that belongs to the user', async () => {
    const visitor = client(app.url)
    await visitor.post('/put', form({ item: 'tea' }))
    const before = visitor.copy()
    const { status, headers } = await signInAs(visitor, 'ann')
    expect([status, headers.get('location')]).toEqual([302, '/'])
    expect(visitor.cookie).not.toBe(before.cookie)
    const { user, isAuthenticated, userId, handle, data } = await state(visitor)
    expect({ user, isAuthenticated, userId, data }).toEqual({
      user: { id: 'id of ann', name: 'ann' },
      isAuthenticated: true,
      userId: 'id of ann',
      data: { cart: ['tea'] },
    })
    expect((await state(before)).isAuthenticated).toBe(false)
    expect(JSON.parse((await visitor.get('/devices')).text)).toContain(handle)
  })

  it('gives nothing of one user to the next one in the same browser', async () => {
    const tab = await signedIn('ann')
    await tab.post('/put', form({ item: 'tea' }))
    await signInAs(tab, 'bob')
    const { user, data } = await state(tab)
    expect({ user: user.name, data }).toEqual({ user: 'bob', data: {} })
  })

  it('ends the other devices of a user', async () => {
    const [here, there] = [await signedIn('carl'), await signedIn('carl')]
    expect(JSON.parse((await here.get('/devices')).text)).toHaveLength(2)
    expect((await here.post('/revoke-others')).text).toBe('1')
    expect([(await state(here)).isAuthenticated, (await state(there)).isAuthenticated]).toEqual([true, false])
  })

  it('ends the session of a user who is no longer there', async () => {
    const tab = await signedIn('carl')
    await tab.post('/delete-account')
    expect((await tab.get('/account')).headers.get('location')).toBe('/login')
    await app.restart() // where carl is back
    expect((await state(tab)).isAuthenticated).toBe(false)
  })
})

describe("what Passport's strategies and options keep in the session", () => {
  it('is there after the redirect: a flash message of a failure, once', async () => {
    const tab = client(app.url)
    const { headers } = await signInAs(tab, 'ann', 'wrong')
    expect(headers.get('location')).toBe('/login')
    const flashes = [{ category: 'error', message: 'That is not right.' }]
    expect(JSON.parse((await tab.get('/login')).text).flashes).toMatchObject(flashes)
    expect(JSON.parse((await tab.get('/login')).text).flashes).toEqual([])
    await signInAs(tab, 'ann', 'wrong')
    expect(JSON.parse((await tab.get('/flashes')).text)).toEqual({ error: ['That is not right.'] })
    expect(JSON.parse((await tab.get('/flashes')).text)).toEqual({})
  })

  it('is there: messages of failures, until the application takes them', async () => {
    const tab = client(app.url)
    for (let n = 0; n < 2; n++) await signInAs(tab, 'ann', 'wrong', '/login-with-message')
    const { messages } = JSON.parse((await tab.get('/login')).text)
    expect(messages).toEqual(['That is not right.', 'That is not right.'])
  })

  it('is there: where a visitor wanted to go, and goes after the login, once', async () => {
    const tab = client(app.url)
    expect((await tab.get('/account')).headers.get('location')).toBe('/login')
    expect((await signInAs(tab, 'ann')).headers.get('location')).toBe('/account')
    expect((await state(tab)).data).toEqual({})
    expect((await signInAs(tab, 'ann')).headers.get('location')).toBe('/')
  })

  it.each(['state', 'pkce'])(
    'lets somebody in who comes back from an OAuth 2 provider (%s)',
    async (strategy) => {
      const tab = client(app.url)
      const { status, headers } = await signInElsewhere(tab, strategy, 'bob')
      expect([status, headers.get('location')]).toEqual([302, '/'])
      const { user, userId, data } = await state(tab)
      expect({ user: user?.name, userId, data }).toEqual({ user: 'bob', userId: 'id of bob', data: {} })
    },
  )

  it('refuses an answer that was meant for another browser, or comes twice', async () => {
    const [tab, thief] = [client(app.url), client(app.url)]
    await thief.get('/with/state')
    let address = ''
    const refused = await signInElsewhere(tab, 'state', 'bob', (back) => {
      address = back.pathname + back.search
      back.searchParams.set('state', 'another')
    })
    expect(refused.headers.get('location')).toBe('/login')
    for (const one of [thief, tab]) {
      expect((await one.get(address)).headers.get('location')).toBe('/login')
      expect((await state(one)).isAuthenticated).toBe(false)
    }
  })

  it('is nothing where a login is for one request only', async () => {
    const tab = client(app.url)
    const { text: body } = await signInAs(tab, 'ann', 'correct horse', '/login-once')
    expect([JSON.parse(body).user.name, tab.setCookies]).toEqual(['ann', []])
  })
})

describe('passportSessions', () => {
  it('leaves alone what has no session, but for the question whether somebody is there', async () => {
    expect((await client(app.url).get('/health')).text).toBe('{"isAuthenticated":false}')
  })

  it('refuses to keep data beyond a logout, and does not log out then', async () => {
    const tab = await signedIn('ann')
    const { status, text: message } = await tab.post('/logout-keeping')
    expect([status, message]).toEqual([500, expect.stringContaining('keepSessionInfo')])
    expect((await state(tab)).isAuthenticated).toBe(true)
  })

  it('refuses what is no Passport, and no manager', () => {
    const sessions = createSessions({ secret: SECRET })
    expect(() => passportSessions(sessions, undefined as never)).toThrow(OptionsError)
    expect(() => passportSessions({} as never, new Passport())).toThrow(OptionsError)
  })
})

describe.each([
  ['Express 4', express4 as typeof express5],
  ['Express 5', express5],
])('on %s', (_name, express) => {
  it('a login and a logout are those of the session', async () => {
    const sessions = createSessions({ secret: SECRET })
    const passport = new Passport()
    passport.use(new Strategy((id, _password, done) => done(null, { id })))
    passport.serializeUser<string>((user, done) => done(null, (user as { id: string }).id))
    passport.deserializeUser<string>((id, done) => done(null, { id }))
    const site = express()
    site.use(
      express.urlencoded({ extended: false }),
      expressSessions(sessions),
      passportSessions(sessions, passport),
    )
    site.post('/login', passport.authenticate('local', { successRedirect: '/' }))
    site.post('/logout', (req, res, next) => req.logout((error) => (error ? next(error) : res.redirect('/'))))
    site.get('/', (req, res) => void res.json({ user: req.user, userId: sessions.of(req).userId }))
    const server = site.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const tab = client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    await signInAs(tab, 'ann')
    expect(await state(tab)).toEqual({ user: { id: 'ann' }, userId: 'ann' })
    expect(await sessions.list('ann')).toHaveLength(1)
    await tab.post('/logout')
    expect(await state(tab)).toEqual({})
    expect(await sessions.list('ann')).toEqual([])
    server.close()
  })
})

describe('a request through passportSessions', () => {
  /** What a visitor's request meets whose `req.session` is of one manager, and Passport's of another or the same. */
  async function request(
    use: (req: Incoming, passport: InstanceType<typeof Passport>, sessions: Sessions<object>) => unknown,
    mounted: 'own' | 'other' | 'both' = 'own',
    isInitialized = false,
  ) {
    const maxSessionsPerUser = { limit: 1, onLimit: 'reject' } as const
    const sessions = createSessions<Record<string, unknown>>({ secret: SECRET, maxSessionsPerUser })
    const passport = new Passport()
    passport.deserializeUser((id, done) => done(null, { id } as never))
    const other = createSessions({ secret: SECRET, name: 'other' })
    const middleware = [
      ...(mounted === 'own' ? [] : [expressSessions(other)]),
      ...(mounted === 'other'
        ? []
        : [expressSessions(sessions, mounted === 'both' ? { property: 'mine' } : {})]),
      passportSessions(sessions, passport),
    ]
    let seen: unknown
    const server = createServer(async (incoming, response) => {
      try {
        if (isInitialized) await initialize(passport, incoming)
        for (const one of middleware) {
          await new Promise<void>((done, fail) =>
            one(incoming, response, (error) => (error ? fail(error) : done())),
          )
        }
        seen = await use(incoming as unknown as Incoming, passport, sessions)
      } catch (error) {
        seen = error
      }
      response.end()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    server.close()
    return { seen, sessions }
  }
  interface Incoming {
    session: Record<string, unknown>
    logIn(user: unknown, done: (error: unknown) => void): void
    user?: unknown
  }
  const initialize = (passport: InstanceType<typeof Passport>, request: object) =>
    new Promise((next) => passport.initialize()(request as never, {} as never, next))
  const logIn = (req: Incoming, user: unknown) => new Promise((done) => req.logIn(user, done))

  it.each([
    ['a number', 7, 'pass String(user.id)'],
    ['an object', { id: '7' }, 'pass the id'],
  ])('fails a login whose serializeUser gives %s, and says the cure', async (_what, id, cure) => {
    const { seen } = await request(async (req, passport) => {
      passport.serializeUser((_user, done) => done(null, id))
      return { error: await logIn(req, { id }), user: req.user, userId: req.session.userId }
    })
    const { error, ...rest } = seen as { error: unknown }
    expect(error).toBeInstanceOf(TypeError)
    expect((error as TypeError).message).toContain(cure)
    expect(rest).toEqual({ user: undefined, userId: undefined })
  })

  it('fails a login that the sessions refuse, with their error, and nobody is logged in', async () => {
    const { seen } = await request(async (req, passport, sessions) => {
      await signIn(sessions, 'id of ann')
      passport.serializeUser((_user, done) => done(null, 'id of ann'))
      return { error: await logIn(req, {}), user: req.user, userId: req.session.userId }
    })
    expect(seen).toEqual({ error: expect.any(SessionLimitError), user: undefined, userId: undefined })
  })

  it('gives all flash messages by category, whatever it is called', async () => {
    const { seen } = await request((req) => {
      const { flash } = req as unknown as { flash(category?: string, message?: string): unknown }
      for (const category of ['__proto__', 'constructor', 'error']) flash(category, `of ${category}`)
      flash('error', 'another')
      return flash()
    })
    expect(Object.entries(seen as object)).toEqual([
      ['__proto__', ['of __proto__']],
      ['constructor', ['of constructor']],
      ['error', ['of error', 'another']],
    ])
  })

  it('fails a login that serializeUser refuses, with its error', async () => {
    const refusal = new Error('no')
    const { seen } = await request((req, passport) => {
      passport.serializeUser((_user, done) => done(refusal))
      return logIn(req, {})
    })
    expect(seen).toBe(refusal)
  })

  it.each([
    ['nothing opened its session', 'other', /has no session|no session/],
    ['req.session is of another manager', 'both', /same manager/],
  ] as const)('fails where %s', async (_what, mounted, message) => {
    const { seen } = await request(() => 'reached', mounted)
    expect(seen).toBeInstanceOf(Error)
    expect((seen as Error).message).toMatch(message)
  })

  it('has a req.session that is the session to its manager, and keeps beside it what belongs into data', async () => {
    const { seen, sessions } = await request(async ({ session }) => {
      session['oauth2:example.org'] = { state: 'a' }
      const isThere = ['oauth2:example.org' in session, 'login' in session, 'nothing' in session]
      const kept = { ...(session.data as object) }
      delete session['oauth2:example.org']
      return { isThere, kept, left: session.data, session }
    })
    const { session, ...rest } = seen as { session: never }
    expect(rest).toEqual({
      isThere: [true, true, false],
      kept: { 'oauth2:example.org': { state: 'a' } },
      left: {},
    })
    expect(await sessions.revokeOthers(session)).toBe(0)
  })

  it.each(['before', 'behind'])(
    'logs in by the session, though a passport.initialize() is left %s it',
    async (where) => {
      const { seen } = await request(
        async (req, passport) => {
          passport.serializeUser((_user, done) => done(null, 'id of ann'))
          if (where === 'behind') await initialize(passport, req)
          return { error: await logIn(req, {}), userId: req.session.userId, data: req.session.data }
        },
        'own',
        where === 'before',
      )
      expect(seen).toEqual({ error: null, userId: 'id of ann', data: {} })
    },
  )

  it('does not take what is in data for a login, though a passport.session() is left behind it', async () => {
    const { seen } = await request(async (req, passport) => {
      ;(req.session.data as Record<string, unknown>).passport = { user: 'id of ann' }
      await new Promise((next) => passport.session()(req as never, {} as never, next))
      return req.user
    })
    expect(seen).toBeUndefined()
  })
})
