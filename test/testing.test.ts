import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import express from 'express'
import Fastify from 'fastify'
import { createSessions, type SessionOptions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { honoSessions } from 'holdfast/hono'
import { type Answered, fakeClock, type Visitor, visitor } from 'holdfast/testing'
import { Hono } from 'hono'
import supertest from 'supertest'
import { describe, expect, it } from 'vitest'
import { SECRET } from './helpers/browser.ts'

interface Data {
  cart?: string[]
  visits?: number
}

function setup(options: SessionOptions<Data> = {}) {
  const clock = fakeClock()
  return { clock, sessions: createSessions<Data>({ secret: SECRET, clock, ...options }) }
}
type TestSessions = ReturnType<typeof setup>['sessions']

function expressShop(sessions: TestSessions) {
  const app = express()
  app.use(expressSessions(sessions))
  app.get('/me', (req, res) => {
    const { userId, data } = sessions.of(req)
    res.json({ userId, data })
  })
  app.post('/visits', (req, res) => {
    const { data } = sessions.of(req)
    data.visits = (data.visits ?? 0) + 1
    res.send(String(data.visits))
  })
  app.post('/login', async (req, res) => {
    await sessions.of(req).login('ann')
    res.sendStatus(204)
  })
  app.post('/logout', async (req, res) => {
    await sessions.of(req).logout()
    res.sendStatus(204)
  })
  app.post('/login-form', async (req, res) => {
    await sessions.of(req).login('ann')
    res.redirect(303, '/me')
  })
  app.post('/logout-form', async (req, res) => {
    await sessions.of(req).logout()
    res.redirect(303, '/cookies')
  })
  app.post('/theme', (_req, res) => {
    res.cookie('theme', 'dark blue').cookie('lang', 'en').sendStatus(204)
  })
  app.post('/no-theme', (_req, res) => {
    res.clearCookie('theme').sendStatus(204)
  })
  app.get('/cookies', (req, res) => {
    res.json(req.headers.cookie ?? 'none')
  })
  return app
}

async function fastifyShop(sessions: TestSessions) {
  const app = Fastify()
  await app.register(fastifySessions, { sessions })
  app.get('/me', (request) => {
    const { userId, data } = sessions.of(request)
    return { userId, data }
  })
  app.post('/elevate', async (request) => {
    await sessions.of(request).elevate('2fa')
    return 'done'
  })
  app.get('/cookies', (request) => request.headers.cookie)
  return app
}

function honoShop(sessions: TestSessions) {
  const app = new Hono()
  app.use(honoSessions(sessions))
  app.get('/me', (c) => {
    const { userId, data } = sessions.of(c)
    return c.json({ userId, data })
  })
  app.post('/logout', async (c) => {
    await sessions.of(c).logout()
    return c.text('bye')
  })
  return app
}

const ANN = { userId: 'ann', data: { cart: ['tea'] } }

describe('a visitor of a test', () => {
  it('comes with a session as a login would have made it', async () => {
    const { sessions } = setup()
    const ann = await visitor(sessions, {
      ...ANN,
      level: '2fa',
      stamp: 'hash of a password',
      externalId: 'idp-1',
      lifetime: { persistent: true, absolute: '30d' },
    })
    const session = await ann.session()
    expect(session).toMatchObject({ ...ANN, level: '2fa', isNew: false, presented: 'live' })
    expect(await session.verifyStamp('hash of a password')).toBe(true)
    expect(await sessions.list('ann')).toHaveLength(1)
    expect(await sessions.revoke({ externalId: 'idp-1' })).toBe(1)
  })

  it('may be anonymous, with data or without anything', async () => {
    const { sessions } = setup()
    const somebody = await visitor(sessions, { data: { visits: 2 } })
    expect(await somebody.session()).toMatchObject({ userId: undefined, data: { visits: 2 }, isNew: false })

    const nobody = await visitor(sessions)
    expect(nobody).toMatchObject({ cookie: '', headers: {}, cookies: {} })
    expect(nobody.storageState('https://shop.test')).toEqual({ cookies: [], origins: [] })
    expect((await nobody.session()).isNew).toBe(true)
    expect((await sessions.stats()).sessions).toBe(1)
  })

  it('refuses what only a login has, without a user, and what there is not', async () => {
    const { sessions } = setup()
    await expect(visitor(sessions, { level: '2fa' })).rejects.toThrow(
      'visitor: level: this is an option of a login, and there is no userId',
    )
    await expect(visitor(sessions, { userId: 'ann', role: 'admin' } as object)).rejects.toThrow(
      /role: there is no such option/,
    )
  })

  it('shows its session without using it', async () => {
    const { sessions, clock } = setup({ lifetime: { idle: '30m' } })
    const ann = await visitor(sessions, ANN)
    clock.advance('29m')
    const { cookie } = ann
    expect((await ann.session()).data.cart).toEqual(['tea'])
    clock.advance('2m')
    expect((await ann.session()).userId).toBeUndefined()
    expect(ann.cookie).toBe(cookie)
  })

  it('changes its session as a request would, and gives what the change gives', async () => {
    const { sessions } = setup()
    const ann = await visitor(sessions, ANN)
    const before = ann.cookie
    const size = await ann.edit(({ data }) => data.cart!.push('milk'))
    expect(size).toBe(2)
    expect((await ann.session()).data.cart).toEqual(['tea', 'milk'])
    expect(ann.cookie).toBe(before)

    await ann.edit((session) => session.elevate('2fa'))
    expect(ann.cookie).not.toBe(before)
    expect((await ann.session()).level).toBe('2fa')

    await ann.edit((session) => session.logout())
    expect(ann.cookie).toBe('')
    expect((await ann.session()).userId).toBeUndefined()
  })

  it('passes on what a change throws, and saves nothing of it', async () => {
    const { sessions } = setup()
    const ann = await visitor(sessions, ANN)
    const failed = ann.edit(({ data }) => {
      data.cart = []
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    expect((await ann.session()).data).toEqual(ANN.data)
  })

  it('has sessions of two managers, which it keeps apart', async () => {
    const { sessions } = setup()
    const admins = createSessions({ secret: SECRET, name: 'admin' })
    const ann = await visitor(sessions, ANN)
    const root = await visitor(admins, { userId: 'root' })
    const both = `${ann.cookie}; ${root.cookie}`
    expect((await sessions.open(both)).userId).toBe('ann')
    expect((await admins.open(both)).userId).toBe('root')
    await admins.close()
  })
})

describe('supertest', () => {
  it('is logged in', async () => {
    const { sessions } = setup()
    const ann = await visitor(sessions, ANN)
    await ann
      .agent(supertest(expressShop(sessions)))
      .get('/me')
      .expect(ANN)
  })

  it('is logged in on a server that listens', async () => {
    const { sessions } = setup()
    const server = expressShop(sessions).listen(0)
    try {
      const ann = await visitor(sessions, ANN)
      await ann.agent(supertest(server)).get('/me').expect(ANN)
    } finally {
      await new Promise((closed) => server.close(closed))
    }
  })

  it('keeps what the responses set, and drops what they clear', async () => {
    const { sessions } = setup()
    const somebody = await visitor(sessions)
    const agent = somebody.agent(supertest(expressShop(sessions)))
    await agent.post('/visits').expect('1')
    await agent.post('/visits').expect('2')
    expect((await somebody.session()).data).toEqual({ visits: 2 })
    await agent.post('/login').expect(204)
    expect(await somebody.session()).toMatchObject({ userId: 'ann', data: { visits: 2 } })
    await agent.post('/logout').expect(204)
    await agent.post('/visits').expect('1')
  })

  it('keeps what a redirect sets, before it follows', async () => {
    const { sessions } = setup()
    const somebody = await visitor(sessions)
    const agent = somebody.agent(supertest(expressShop(sessions)))
    await agent.post('/login-form').redirects(1).expect(200, { userId: 'ann', data: {} })
    expect((await somebody.session()).userId).toBe('ann')
    await agent.post('/logout-form').redirects(1).expect(200, '"none"')
    expect(somebody.cookie).toBe('')
  })

  it('takes no cookie to another origin, and none from there', async () => {
    const { sessions } = setup()
    const ann = await visitor(sessions, ANN)
    const { cookie } = ann
    const other = createServer((request, response) => {
      response.setHeader('Set-Cookie', 'theirs=1').end(request.headers.cookie ?? 'none')
    }).listen(0)
    try {
      const { port } = other.address() as AddressInfo
      const app = express().get('/', (_req, res) => res.redirect(`http://localhost:${port}/`))
      const { text } = await ann.agent(supertest(app)).get('/').redirects(1)
      expect(text).toBe('none')
      expect(ann.cookie).toBe(cookie)
    } finally {
      other.closeAllConnections()
      await new Promise((closed) => other.close(closed))
    }
  })

  it('keeps cookies that are none of a session', async () => {
    const { sessions } = setup()
    const agent = (await visitor(sessions)).agent(supertest(expressShop(sessions)))
    await agent.post('/theme').expect(204)
    await agent.get('/cookies').expect('"theme=dark%20blue; lang=en"')
    await agent.post('/no-theme').expect(204)
    await agent.get('/cookies').expect('"lang=en"')
  })

  it('stays logged in over rotations, and no longer than it should', async () => {
    const { sessions, clock } = setup({ lifetime: { idle: '30m' } })
    const ann = await visitor(sessions, ANN)
    const agent = ann.agent(supertest(expressShop(sessions)))
    const tokens = new Set([ann.cookie])
    for (let i = 0; i < 4; i++) {
      clock.advance('20m')
      await agent.get('/me').expect(ANN)
      tokens.add(ann.cookie)
    }
    expect(tokens.size).toBeGreaterThan(1)
    clock.advance('31m')
    await agent.get('/me').expect({ data: {} })
  })
})

/** The two that have no agent: requests are given the cookies, and `keep` takes what comes back. */
interface Tool {
  readonly name: string
  /** Makes the application, and gives a function that asks it. */
  open(
    sessions: TestSessions,
  ): Promise<(ann: Visitor<Data>) => Promise<{ response: Answered; body: unknown }>>
}
const TOOLS: Tool[] = [
  {
    name: "Fastify's inject",
    async open(sessions) {
      const app = await fastifyShop(sessions)
      return async ({ cookies }) => {
        const response = await app.inject({ url: '/me', cookies })
        return { response, body: response.json() }
      }
    },
  },
  {
    name: "Hono's request",
    async open(sessions) {
      const app = honoShop(sessions)
      return async ({ headers }) => {
        const response = await app.request('/me', { headers })
        return { response, body: await response.json() }
      }
    },
  },
]

describe.each(TOOLS)('$name', ({ open }) => {
  it('is logged in, and anonymous without a session', async () => {
    const { sessions } = setup()
    const me = await open(sessions)
    expect((await me(await visitor(sessions, ANN))).body).toEqual(ANN)
    expect((await me(await visitor(sessions))).body).toEqual({ data: {} })
  })

  it('stays logged in over rotations when the responses are kept', async () => {
    const { sessions, clock } = setup()
    const me = await open(sessions)
    const ann = await visitor(sessions, ANN)
    const tokens = new Set([ann.cookie])
    for (let i = 0; i < 4; i++) {
      clock.advance('20m')
      const { response, body } = await me(ann)
      expect(body).toEqual(ANN)
      expect(ann.keep(response)).toBe(response)
      tokens.add(ann.cookie)
    }
    expect(tokens.size).toBeGreaterThan(1)
  })
})

it('keeps what a handler under inject set beside other cookies, each as it was', async () => {
  const { sessions } = setup()
  const app = await fastifyShop(sessions)
  const ann = await visitor(sessions, ANN)
  ann.keep({ headers: { 'set-cookie': ['theme=dark%20blue; Path=/', 'odd=100%; Path=/'] } })
  const before = ann.cookie
  ann.keep(await app.inject({ method: 'POST', url: '/elevate', cookies: ann.cookies }))
  expect(ann.cookie).not.toBe(before)
  expect((await ann.session()).level).toBe('2fa')
  const { body } = await app.inject({ url: '/cookies', cookies: { theme: ann.cookies.theme! } })
  expect(body).toBe('theme=dark%20blue')
  expect(ann.cookie).toContain('; odd=100%')
  expect(ann.cookies.odd).toBe('100%')
})

it('is logged out after a logout under Hono whose response is kept', async () => {
  const { sessions } = setup()
  const app = honoShop(sessions)
  const ann = await visitor(sessions, ANN)
  ann.keep(await app.request('/logout', { method: 'POST', headers: ann.headers }))
  expect(ann.headers).toEqual({})
})

describe('storage state for Playwright', () => {
  it('has the cookie with all that a browser keeps of it', async () => {
    const { sessions } = setup()
    const ann = await visitor(sessions, ANN)
    expect(ann.storageState('https://shop.test:8443/login')).toEqual({
      cookies: [
        {
          name: '__Host-id',
          value: ann.cookies['__Host-id'],
          domain: 'shop.test',
          path: '/',
          expires: -1,
          httpOnly: true,
          secure: true,
          sameSite: 'Lax',
        },
      ],
      origins: [],
    })
  })

  it('has the end of a persistent cookie, by the clock of the browser', async () => {
    const { sessions } = setup({ clock: fakeClock(0) })
    const ann = await visitor(sessions, { ...ANN, lifetime: { persistent: true, absolute: '30d' } })
    const [cookie] = ann.storageState('https://shop.test').cookies
    const days = (cookie!.expires - Date.now() / 1000) / 86_400
    expect(days).toBeGreaterThan(29.9)
    expect(days).toBeLessThanOrEqual(30)
  })

  it('has the domain, the path and the rest as they were set', async () => {
    const { sessions } = setup({
      cookie: { domain: 'shop.test', path: '/app', secure: false, sameSite: 'strict' },
    })
    const ann = await visitor(sessions, ANN)
    expect(ann.storageState(new URL('http://www.shop.test/app')).cookies).toMatchObject([
      { name: 'id', domain: '.shop.test', path: '/app', secure: false, sameSite: 'Strict', httpOnly: true },
    ])
    ann.keep({
      headers: { 'set-cookie': 'theme=dark; Expires=Tue, 01 Jan 2999 00:00:00 GMT; SameSite=None' },
    })
    expect(ann.storageState('http://shop.test').cookies[1]).toEqual({
      name: 'theme',
      value: 'dark',
      domain: 'shop.test',
      path: '/',
      expires: Date.UTC(2999, 0, 1) / 1000,
      httpOnly: false,
      secure: false,
      sameSite: 'None',
    })
  })

  it('refuses a site to which no browser would send it, and says the cure', async () => {
    const ann = await visitor(setup().sessions, ANN)
    expect(() => ann.storageState('http://shop.test:3000/')).toThrow(
      'storageState: the cookie __Host-id is Secure, and no browser sends it to http://shop.test:3000. Use https, ' +
        'http://localhost, or sessions with cookie: { secure: false }.',
    )
    for (const local of [
      'http://localhost:3000',
      'http://shop.localhost',
      'http://127.0.0.1',
      'http://[::1]',
    ]) {
      expect(ann.storageState(local).cookies).toHaveLength(1)
    }
    const bob = await visitor(setup({ cookie: { domain: 'shop.test' } }).sessions, ANN)
    expect(() => bob.storageState('https://notshop.test')).toThrow(
      /the cookie __Secure-id has Domain=shop\.test, and no browser sends it to https:\/\/notshop\.test\. Give a URL of/,
    )
  })
})

describe('every example of docs/testing.md that needs no server', () => {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const text = readFileSync(`${root}docs/testing.md`, 'utf8')
  const examples = Array.from(text.matchAll(/^```ts\n(.*?)^```/gms), ([, code]) => code!)
  const runnable = examples.filter((code) => !code.includes('redis://'))

  it('is there', () => expect(runnable).toHaveLength(5))

  it.each(runnable.map((code, i) => [i, code] as const))('runs: %i', async (i, code) => {
    const folder = `${root}.cache/testing-examples`
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}/${i}.ts`, code)
    await import(`${folder}/${i}.ts`)
  })
})
