import { inspect } from 'node:util'
import express from 'express'
import Fastify from 'fastify'
import { createSessions, StoreUnavailableError } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { honoSessions } from 'holdfast/hono'
import { koaSessions } from 'holdfast/koa'
import { nodeSessions } from 'holdfast/node'
import { cookieStore } from 'holdfast/stores/cookie'
import { layeredStore } from 'holdfast/stores/layered'
import { memoryStore } from 'holdfast/stores/memory'
import { migratingStore } from 'holdfast/stores/migrating'
import { mysqlStore, postgresStore, sqliteStore } from 'holdfast/stores/sql'
import { webSessions } from 'holdfast/web'
import supertest from 'supertest'
import { describe, expect, it, vi } from 'vitest'
import { browser, manager, SECRET } from './helpers/browser.ts'

/** What people do who come from another library, or are in a hurry. Types stop most of it; these are for those who have none. */
describe('a mistake is an error that says what to do', () => {
  const untyped = (value: unknown) => value as never

  it.each([
    [
      'options that are no object',
      () => createSessions(untyped('secret')),
      /createSessions: takes an object of options, not a string/,
    ],
    [
      'a merge that is no object',
      () => createSessions({ secret: SECRET, merge: untyped('sum') }),
      /^merge: "sum" must be an object/,
    ],
    [
      'a schema that is none',
      () => createSessions({ secret: SECRET, schema: untyped({ visits: 'number' }) }),
      /^schema: this is no Standard Schema/,
    ],
    [
      'secure that is no boolean',
      () => createSessions({ secret: SECRET, cookie: { secure: untyped('auto') } }),
      /^cookie\.secure: "auto" must be a boolean/,
    ],
    [
      'a size as text',
      () => createSessions({ secret: SECRET, maxBytes: untyped('32kb') }),
      /^maxBytes: "32kb" must be a number/,
    ],
    [
      'an empty list of secrets',
      () => createSessions({ secret: [] }),
      /^secret: the list is empty\. Make one/,
    ],
    [
      'an event that does not exist',
      () => createSessions({ secret: SECRET }).on(untyped('logn'), () => {}),
      /^there is no event 'logn'/,
    ],
    [
      'a listener that is none',
      () => createSessions({ secret: SECRET }).on('login', untyped(undefined)),
      /^on: the listener of 'login' must be a function, not undefined/,
    ],
    [
      'a URL in place of a store',
      () => createSessions({ secret: SECRET, store: untyped('redis://localhost') }),
      /^store: a string is not a store\..*openStore\(url\)/,
    ],
    [
      'an option that memoryStore does not have',
      () => memoryStore(untyped({ checkPeriod: 1 })),
      /^memoryStore: there is no option checkPeriod\. There are: maxSessions/,
    ],
    [
      'an option that postgresStore does not have',
      () => postgresStore('postgres://localhost/app', untyped({ tableName: 'x' })),
      /^postgresStore: there is no option tableName\. There are: table, schema, prepare/,
    ],
    [
      'an option that mysqlStore does not have',
      () => mysqlStore('mysql://localhost/app', untyped({ schema: 'x' })),
      /^mysqlStore: there is no option schema/,
    ],
    [
      'an option that sqliteStore does not have',
      () => sqliteStore(':memory:', untyped({ tableName: 'x' })),
      /^sqliteStore: there is no option tableName/,
    ],
    [
      'an option that cookieStore does not have, which would have been for revocation',
      () => cookieStore(untyped({ revocation: memoryStore() })),
      /^cookieStore: there is no option revocation\. There are: revocations/,
    ],
    [
      'a cookieStore whose revocations are no store',
      () => cookieStore({ revocations: untyped('redis://localhost') }),
      /^cookieStore: revocations must be a store/,
    ],
    [
      'an option that layeredStore does not have',
      () => layeredStore(untyped({ cache: memoryStore(), database: memoryStore(), ttl: 1 })),
      /^layeredStore: there is no option ttl/,
    ],
    [
      'an option that migratingStore does not have',
      () => migratingStore(untyped({ from: memoryStore(), to: memoryStore(), move: false })),
      /^migratingStore: there is no option move\./,
    ],
    [
      'createSessions in place of what it makes',
      () => expressSessions(untyped(createSessions)),
      /^expressSessions: sessions must be what createSessions\(\) made, not a function$/,
    ],
    [
      'expressSessions without sessions',
      () => expressSessions(untyped(undefined)),
      /^expressSessions: sessions must be what createSessions\(\) made/,
    ],
    [
      'koaSessions without sessions',
      () => koaSessions(untyped({ secret: SECRET })),
      /^koaSessions: sessions must be/,
    ],
    [
      'honoSessions without sessions',
      () => honoSessions(untyped(undefined)),
      /^honoSessions: sessions must be/,
    ],
    [
      'nodeSessions without sessions',
      () => nodeSessions(untyped(undefined), () => {}),
      /^nodeSessions: sessions must be/,
    ],
    [
      'webSessions without sessions',
      () => webSessions(untyped(undefined), () => new Response()),
      /^webSessions: sessions must be/,
    ],
    [
      'a misspelt option of an adapter',
      () => expressSessions(manager().sessions, untyped({ prop: 'x' })),
      /^expressSessions: prop: there is no such option/,
    ],
  ] as const)('%s', (_what, make, message) => {
    expect(make as () => unknown).toThrow(message)
  })

  it('fastifySessions without sessions does not become ready', async () => {
    const app = Fastify()
    app.register(fastifySessions, untyped({ session: manager().sessions }))
    await expect(app.ready()).rejects.toThrow(/^fastifySessions: sessions must be/)
  })

  it('in what a session is told', async () => {
    const { sessions } = manager<Record<string, unknown>>()
    const jar = browser(sessions)
    const doing = (wrong: (session: Awaited<ReturnType<typeof sessions.open>>) => unknown) =>
      expect(jar.visit(wrong)).rejects
    await doing((session) => session.login(untyped(42))).toThrow(/not 42; pass String\(id\)/)
    await doing((session) => session.login('ann', untyped({ remember: true }))).toThrow(
      /^login: remember: there is no such option/,
    )
    await doing((session) => session.setLifetime(untyped({ persistant: true }))).toThrow(
      /^setLifetime: persistant: there is no such option/,
    )
    await doing((session) => session.setLifetime({ persistent: true, idle: '30d' })).toThrow(
      /^setLifetime: idle \(30d\) is longer than absolute \(14d\), so it would never count/,
    )
    await doing((session) => session.setLifetime({ absolute: '30 dayz' })).toThrow(
      /^setLifetime: absolute: "30 dayz" is not a duration/,
    )
    await doing((session) => session.flash('hello', untyped(undefined))).toThrow(
      /^flash: takes a category and a message, both text, not a string and undefined$/,
    )
    await doing((session) => session.requireLevel('2fa')).toThrow('nobody is logged in')
    await doing((session) => void (session.data = untyped(null))).toThrow(
      /data must be a plain object, not null\. To empty it/,
    )
    await doing((session) => void Object.assign(session, { userName: 'ann' })).toThrow(/userName/)
    expect(jar.setCookies).toEqual([])
  })

  it('in what a session is told, without repeating what may be secret', async () => {
    const { sessions } = manager<Record<string, unknown>>()
    const jar = browser(sessions)
    const secret = 'dc724af18fbdd4e5'
    const user = { id: 7, passwordHash: secret }
    const wrongs: Record<string, (session: Awaited<ReturnType<typeof sessions.open>>) => unknown> = {
      'not an object; pass String': (session) => session.login(untyped(user)),
      'login: externalId must be text .* not an object; pass String': (session) =>
        session.login('ann', { externalId: untyped(user) }),
      'login: stamp: an object must be a string': (session) => session.login('ann', { stamp: untyped(user) }),
      'login: takes an object of options, not a string': (session) => session.login('ann', untyped(secret)),
      'not an array': (session) => void (session.data = untyped([secret])),
      'not a string': (session) => void (session.data = untyped(secret)),
      'not a string and an object': (session) => session.flash(secret, untyped({ secret })),
      'not a number and a string': (session) => session.flash(untyped(1), secret),
    }
    for (const [message, wrong] of Object.entries(wrongs)) {
      const thrown = await jar.visit(wrong).catch((error: Error) => error)
      expect(String(thrown)).toMatch(new RegExp(message))
      expect(inspect(thrown)).not.toContain(secret)
    }
  })

  it('in putting something in the place of the session', async () => {
    const { sessions } = manager<{ n?: number }>()
    const app = express()
    app.use(expressSessions(sessions))
    app.get('/', (req, res) => {
      ;(req as { session?: unknown }).session = null
      res.send('this must not be seen')
    })
    await supertest(app)
      .get('/')
      .expect(500, /read only property/)
  })

  it('in a handler that returns nothing', async () => {
    const handler = webSessions(
      manager().sessions,
      untyped(() => undefined),
    )
    await expect(handler(new Request('https://example.org/'))).rejects.toThrow(
      'the handler returned no Response',
    )
  })

  it('in a merge rule for a key that the data does not have, which the types refuse', () => {
    const { name } = createSessions<{ visits?: number }>({
      secret: SECRET,
      // @ts-expect-error: visits is the name
      merge: { vists: 'sum' },
    })
    expect(name).toBe('id')
  })

  it('in production, sessions in memory are warned of', () => {
    vi.stubEnv('NODE_ENV', 'production')
    const logger = { warn: vi.fn(), error: vi.fn() }
    createSessions({ secret: SECRET, logger })
    expect(logger.warn).toHaveBeenCalledWith(expect.stringContaining('memory of this process'))
    vi.unstubAllEnvs()
  })
})

it('a device is signed out only by its own user', async () => {
  const { sessions } = manager()
  const [ann, eve] = [browser(sessions), browser(sessions)]
  await ann.visit((session) => session.login('ann'))
  await eve.visit((session) => session.login('eve'))
  const handle = await ann.visit((session) => session.handle)
  expect(await sessions.revoke({ handle, userId: 'eve' })).toBe(0)
  expect(await ann.visit((session) => session.userId)).toBe('ann')
  expect(await sessions.revoke({ handle, userId: 'ann' })).toBe(1)
})

it('error handlers may write to what they are given, as to any error', async () => {
  const { sessions } = manager()
  const session = await sessions.open(undefined, { lazy: true })
  await session.load()
  let thrown: unknown
  try {
    session.requireLevel('aal2')
  } catch (error) {
    thrown = error
  }
  const error = thrown as Error & { statusCode: number; status: number; headers?: object }
  expect([error.statusCode, error.status]).toEqual([401, 401])
  error.statusCode ||= 500
  error.name = 'Unauthorized'
  error.headers = { 'X-Reason': 'level' }
  expect(error).toMatchObject({ statusCode: 401, name: 'Unauthorized', headers: { 'X-Reason': 'level' } })

  const outage = new StoreUnavailableError('down', { maybeApplied: false, retryable: true })
  Object.assign(outage, { headers: { ...outage.headers, 'X-Down': '1' }, statusCode: 500 })
  expect(outage).toMatchObject({
    headers: { 'Retry-After': '1', 'X-Down': '1' },
    statusCode: 500,
    status: 503,
  })
  expect(outage.getResponse().headers.get('X-Down')).toBe('1')
})

it('what is changed after the answer is warned of once, unless somebody listens', async () => {
  const warnings: unknown[] = []
  const logger = { warn: (text: unknown) => warnings.push(text), error() {} }
  const { sessions } = manager<{ late?: number }>({ logger })
  const late = async (on = sessions) => {
    const session = await on.open('a=b')
    session.data.late = 1
    await on.commit(session)
    session.data.late = 2
    on.closed(session)
  }
  await late()
  await late()
  expect(warnings).toEqual([
    expect.stringMatching(
      /^holdfast: a request changed session \S+ after its answer had left, and that is not saved\. .*commit\(\)/,
    ),
  ])
  const heard = manager<{ late?: number }>({ logger })
  heard.sessions.on('uncommitted', () => {})
  await late(heard.sessions)
  expect(warnings).toHaveLength(1)
})
