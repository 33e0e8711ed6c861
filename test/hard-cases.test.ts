/** What a sceptical reading found broken, and what it tried that held. */
import { inspect } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import { createSessions, type Sessions, type Store } from 'holdfast'
import { fastifySessions } from 'holdfast/fastify'
import { cookieStore } from 'holdfast/stores/cookie'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Data as FrameworkData } from './frameworks/app.ts'
import { type Running, servers } from './frameworks/servers.ts'
import { browser, manager, SECRET } from './helpers/browser.ts'
import { type Client, client } from './helpers/client.ts'

interface Data {
  visits?: number
  text?: string
}

function stateless(options: Parameters<typeof manager<Data>>[0] = {}) {
  return manager<Data>({ store: cookieStore(), ...options })
}
function withRevocations() {
  const revocations = memoryStore()
  return { revocations, ...stateless({ store: cookieStore({ revocations }) }) }
}

describe('cookie store with revocations', () => {
  it('revoke({ userId }) and login again in one handler (changed password) leaves the user logged in', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    await jar.visit(async (session) => {
      await sessions.revoke({ userId: 'ann' })
      await session.login('ann')
    })
    expect(await jar.visit((session) => session.userId)).toBe('ann')
  })

  it('revoke({ handle }) and login again in one handler leaves the user logged in', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    await jar.visit(async (session) => {
      await sessions.revoke({ handle: session.handle })
      await session.login('ann')
    })
    expect(await jar.visit((session) => session.userId)).toBe('ann')
  })

  it('the same in a store on the server: revoked and logged in again', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    await jar.visit(async (session) => {
      await sessions.revoke({ userId: 'ann' })
      await session.login('ann')
    })
    expect(await jar.visit((session) => session.userId)).toBe('ann')
  })

  it('a login from another device while all were revoked is not dead: session opened before, logged in after', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const session = await sessions.open(jar.header)
    await sessions.revoke({ userId: 'ann' })
    await session.login('ann')
    const { cookie } = await sessions.commit(session)
    expect(await browser(sessions, cookie!.value).visit((s) => s.userId)).toBe('ann')
  })

  it('a session that was revoked does not come back when a later session of the same key is spared', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const stolen = jar.cookie!
    await jar.visit((session) => session.login('bob'))
    await sessions.revoke({ userId: 'ann' })
    expect(await browser(sessions, stolen).visit((s) => s.userId)).toBeUndefined()
    await jar.visit((session) => session.login('ann'))
    await jar.visit((session) => sessions.revokeOthers(session))
    expect(await browser(sessions, stolen).visit((s) => s.userId)).toBeUndefined()
  })

  it('the same by way of the anonymous cookie', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const anonymous = jar.cookie!
    await jar.visit((session) => session.login('ann'))
    const stolen = jar.cookie!
    await sessions.revoke({ userId: 'ann' })
    const again = browser(sessions, anonymous)
    await again.visit((session) => session.login('ann'))
    await again.visit((session) => sessions.revokeOthers(session))
    expect(await again.visit((s) => s.userId)).toBe('ann')
    expect(await browser(sessions, stolen).visit((s) => s.userId)).toBeUndefined()
  })

  it('five minutes after a revocation by handle the browser is an ordinary visitor again', async () => {
    const { sessions, clock } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const handle = await jar.visit((session) => session.handle)
    await sessions.revoke({ handle })
    clock.now += 6 * 60_000
    await jar.visit((session) => void (session.data.visits = 1))
    expect(await jar.visit((session) => session.data.visits)).toBe(1)
  })

  it('the same in a store on the server, after revocation by handle', async () => {
    const { sessions, clock } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const handle = await jar.visit((session) => session.handle)
    await sessions.revoke({ handle })
    clock.now += 6 * 60_000
    await jar.visit((session) => void (session.data.visits = 1))
    expect(await jar.visit((session) => session.data.visits)).toBe(1)
  })

  it('a login with the anonymous cookie of a session that was logged out holds', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const anonymous = jar.cookie!
    await jar.visit((session) => session.login('ann'))
    await jar.visit((session) => session.logout())
    const late = browser(sessions, anonymous)
    await late.visit((session) => session.login('ann'))
    expect(await late.visit((session) => session.userId)).toBe('ann')
  })

  it('revoke({ handle, userId }), the form for forms, ends the session', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const handle = await jar.visit((session) => session.handle)
    const outcome = await sessions.revoke({ handle, userId: 'ann' }).catch((error: Error) => error)
    if (!(outcome instanceof Error)) {
      expect(await jar.visit((session) => session.userId)).toBeUndefined()
    }
  })

  it('a session of an epoch from before the epochs were forgotten is revoked all the same', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const revocations = memoryStore()
    const { sessions } = stateless({
      store: cookieStore({ revocations }),
      lifetime: { idle: false, absolute: false },
      clock: Date.now,
    })
    const jar = browser(sessions)
    await sessions.revoke({ userId: 'ann' })
    await sessions.revoke({ userId: 'ann' })
    await jar.visit((session) => session.login('ann'))
    for (let day = 0; day < 402; day += 1) {
      vi.setSystemTime(Date.now() + 86_400_000)
      await jar.visit((session) => session.userId)
    }
    expect(await jar.visit((session) => session.userId)).toBe('ann')
    await sessions.sweep()
    await sessions.revoke({ userId: 'ann' })
    expect(await jar.visit((session) => session.userId)).toBeUndefined()
  })

  it('a report of the revocations store reaches the events', async () => {
    let report: ((operation: string, error: Error) => void) | undefined
    const revocations = Object.assign(memoryStore(), {
      reportTo(to: typeof report) {
        report = to
      },
    })
    stateless({ store: cookieStore({ revocations }) })
    expect(report).toBeDefined()
  })

  it('a failed carry says that nothing was applied', async () => {
    const { sessions, revocations } = withRevocations()
    const jar = browser(sessions)
    vi.spyOn(revocations, 'load').mockRejectedValue(new Error('down'))
    const error = await jar.visit((session) => session.login('ann')).catch((e) => e)
    expect(error).toMatchObject({ name: 'StoreUnavailableError', maybeApplied: false })
  })
})

describe('cookie store, beside', () => {
  it('asking for a list that cannot be made is no outage', async () => {
    const { sessions } = withRevocations()
    const error = await sessions.list('ann').catch((e) => e)
    expect(error).toBeInstanceOf(Error)
    expect(error.name).not.toBe('StoreUnavailableError')
  })

  it('closes nothing that it was handed', async () => {
    const shared = memoryStore()
    const close = vi.fn(async () => {})
    Object.assign(shared, { close })
    const admin = manager<Data>({ store: shared, name: 'admin' })
    const site = stateless({ store: cookieStore({ revocations: shared }) })
    await site.sessions.close()
    expect(close).not.toHaveBeenCalled()
    await admin.sessions.close()
  })

  it('revoke({ handle }) of a visitor without a login does not claim what it did not do', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const handle = await jar.visit((session) => session.handle)
    const count = await sessions.revoke({ handle }).catch(() => 0)
    const isAlive = (await jar.visit((session) => session.data.visits)) === 1
    expect([count, isAlive]).not.toEqual([1, true])
  })

  it('a user name of any kind is a key that a store of the contract need take', async () => {
    const revocations = memoryStore()
    const load = vi.spyOn(revocations, 'load')
    const { sessions } = stateless({ store: cookieStore({ revocations }) })
    const user = 'Zoë of \n the ☃ '.padEnd(255, '☃')
    await browser(sessions).visit((session) => session.login(user))
    for (const [key] of load.mock.calls) expect(key).toMatch(/^[\x21-\x7e]{1,250}$/)
  })

  it('parallel raises of two processes count each, and end what began before', async () => {
    const revocations = memoryStore()
    const [one, two] = [1, 2].map(() => stateless({ store: cookieStore({ revocations }) }).sessions)
    const jar = browser(one!)
    await jar.visit((session) => session.login('ann'))
    await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? one! : two!).revoke({ userId: 'ann' })))
    expect(await jar.visit((session) => session.userId)).toBeUndefined()
    const next = browser(two!)
    await next.visit((session) => session.login('ann'))
    await next.visit((session) => two!.revokeOthers(session))
    await next.visit((session) => one!.revokeOthers(session))
    expect(await next.visit((session) => session.userId)).toBe('ann')
  })
})

describe('cookie store', () => {
  it('revoke({ handle }) without revocations does not claim to have ended a session', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const revoked = vi.fn()
    sessions.on('revoked', revoked)
    const handle = await jar.visit((session) => session.handle)
    const outcome = await sessions.revoke({ handle }).catch((error: Error) => error)
    expect(await jar.visit((session) => session.userId)).toBe('ann')
    expect(outcome).not.toBe(1)
    expect(revoked).not.toHaveBeenCalled()
  })

  it('logout after the headers is an error, since no cookie can be cleared any more', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const session = await sessions.open(jar.header)
    await sessions.commit(session)
    const outcome = await session.logout().then(
      () => 'logged out',
      () => 'error',
    )
    const isStillIn = (await jar.visit((s) => s.userId)) === 'ann'
    expect([outcome, isStillIn]).not.toEqual(['logged out', true])
  })

  it('verifyStamp that fails ends the session for an honest browser', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann', { stamp: 'old hash' }))
    expect(await jar.visit((session) => session.verifyStamp('new hash'))).toBe(false)
    expect(await jar.visit((session) => session.userId)).toBeUndefined()
  })

  it('early commit, then 500: the committed state reaches the client', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    await jar.visit(async (session) => {
      session.data.visits = 2
      await session.commit()
      session.data.visits = 3
    }, 500)
    expect(await jar.visit((session) => session.data.visits)).toBe(2)
  })

  it('early commit, then too much data: the committed state reaches the client', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    const session = await sessions.open(jar.header)
    session.data.visits = 2
    await session.commit()
    session.data.text = 'x'.repeat(5000)
    await expect(Promise.resolve(sessions.commit(session))).rejects.toThrow(/over the 4096/)
    const { cookie } = await sessions.commit(session, { discard: true })
    expect(await browser(sessions, cookie!.value).visit((s) => s.data)).toEqual({ visits: 2 })
  })

  it('seal: true, flash, elevate, persistent, rotate twice, reload', async () => {
    const { sessions, clock } = stateless({ seal: true })
    const jar = browser(sessions)
    await jar.visit((session) => session.login('änn ☃', { level: 'x', stamp: 's' }))
    await jar.visit((session) => session.flash('a', 'b'))
    const copy = browser(sessions, jar.cookie)
    expect(await jar.visit((session) => session.takeFlashes())).toHaveLength(1)
    expect(await jar.visit((session) => session.takeFlashes())).toHaveLength(0)
    expect(copy.cookie).not.toBe(jar.cookie)
    await jar.visit((session) => session.setLifetime({ persistent: true, absolute: '30d', idle: '30d' }))
    expect(jar.setCookies.at(-1)).toMatch(/Max-Age=2592000/)
    clock.now += 86_400_000
    await jar.visit((session) => session.userId)
    expect(jar.setCookies.at(-1)).toMatch(/Max-Age=2505600/)
    await jar.visit((session) => session.elevate('sudo', { ttl: '5m' }))
    expect(await jar.visit((session) => session.level)).toBe('sudo')
    await jar.visit(async (session) => {
      await session.rotate()
      await session.rotate()
      await session.commit()
      await session.reload()
      await session.rotate()
      session.data.visits = 5
    })
    expect(await jar.visit(({ data, userId }) => [data, userId])).toEqual([{ visits: 5 }, 'änn ☃'])
    for (let i = 0; i < 20; i++) {
      clock.now += 7 * 60_000
      await jar.visit((session) => session.userId)
    }
    expect(await jar.visit((session) => session.generation)).toBeGreaterThan(5)
  })

  it("onInvalid: 'error' with a damaged cookie is that error", async () => {
    const { sessions } = stateless({ onInvalid: 'error' })
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const broken = browser(sessions, `${jar.cookie!.slice(0, -3)}AAA`)
    await expect(broken.visit((s) => s.userId)).rejects.toThrow()
  })
})

describe('a request that is opened', () => {
  it('a frozen request can be opened', async () => {
    const { sessions } = manager<Data>()
    const session = await sessions.open(Object.freeze({ headers: {}, method: 'GET', url: '/' }))
    expect(session.isNew).toBe(true)
  })

  it("M: a copy of a request with another cookie is not the first one's session", async () => {
    const { sessions } = manager<Data>()
    const [ann, bob] = [browser(sessions), browser(sessions)]
    await ann.visit((session) => session.login('ann'))
    await bob.visit((session) => session.login('bob'))
    const request = { headers: { cookie: ann.header }, method: 'GET', url: '/' }
    expect((await sessions.open(request)).userId).toBe('ann')
    expect((await sessions.open({ ...request, headers: { cookie: bob.header } })).userId).toBe('bob')
  })
})

describe('a request that is opened, more', () => {
  it('an object that inherits from a request but has a cookie of its own is a request of its own', async () => {
    const { sessions } = manager<Data>()
    const [ann, bob] = [browser(sessions), browser(sessions)]
    await ann.visit((session) => session.login('ann'))
    await bob.visit((session) => session.login('bob'))
    const request = { headers: { cookie: ann.header }, method: 'GET', url: '/' }
    await sessions.open(request)
    const derived = Object.create(request, { headers: { value: { cookie: bob.header } } })
    expect((await sessions.open(derived)).userId).toBe('bob')
  })

  it('two managers of one name on two stores do not meet on one request', async () => {
    const [a, b] = [manager<Data>().sessions, manager<Data>().sessions]
    const request = { headers: {}, method: 'GET', url: '/' }
    const [one, two] = [await a.open(request), await b.open(request)]
    expect(one).not.toBe(two)
    expect(a.of(request)).toBe(one)
    expect(b.of(request)).toBe(two)
  })

  it('shows no data and no token where a request is logged', async () => {
    const { sessions } = manager<Data>()
    const request = new Request('http://localhost/')
    const session = await sessions.open(request)
    session.data.text = 'very secret'
    await sessions.commit(session)
    expect(inspect(request, { depth: 9, showHidden: true })).not.toContain('very secret')
    expect(() => new Request(request)).not.toThrow()
  })

  it('may be opened again after an opening that failed', async () => {
    const store = memoryStore()
    const { sessions } = manager<Data>({ store })
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const request = { headers: { cookie: jar.header }, method: 'GET', url: '/' }
    const load = vi.spyOn(store, 'load').mockRejectedValueOnce(new Error('down'))
    await expect(sessions.open(request)).rejects.toThrow()
    expect((await sessions.open(request)).data.visits).toBe(1)
    expect(load).toHaveBeenCalledTimes(2)
  })
})

describe('the record', () => {
  it('what setLifetime and elevate take can be read again', async () => {
    const { sessions } = manager<Data>()
    for (const lifetime of [
      { idle: false as const },
      { absolute: false as const },
      { absolute: new Date(8.64e15) },
      { absolute: new Date(-8.64e15) },
      { idle: 1e300, absolute: false as const },
      { idle: 0.1 },
      { absolute: Number.MAX_VALUE },
    ]) {
      const jar = browser(sessions)
      const invalid = vi.fn()
      sessions.on('invalid', invalid)
      await jar.visit(async (session) => {
        await session.login('ann')
        session.setLifetime({ ...lifetime, persistent: true })
      })
      await jar.visit((s) => s.userId)
      expect(invalid).not.toHaveBeenCalled()
    }
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    await jar.visit((session) => session.elevate('x', { ttl: Number.MAX_VALUE }))
    expect(await jar.visit((session) => session.level)).toBe('x')
  })
})

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('fastify', () => {
  async function app(handlers: (app: FastifyInstance) => void, store: Store = memoryStore()) {
    const sessions = createSessions<Data>({ secret: SECRET, store, sweepEvery: false })
    const server = Fastify()
    await server.register(fastifySessions, { sessions })
    handlers(server)
    await server.listen({ port: 0, host: '127.0.0.1' })
    const { port } = server.server.address() as { port: number }
    return { sessions, server, url: `http://127.0.0.1:${port}` }
  }

  /** The answer, and what ended up in nobody's hands, which would have ended the process. */
  async function asked(server: FastifyInstance, url: string) {
    const lost: unknown[] = []
    const listen = (error: unknown) => void lost.push(error)
    process.on('unhandledRejection', listen)
    process.on('uncaughtException', listen)
    const answer = await fetch(url, { signal: AbortSignal.timeout(2000) }).catch((e) => e)
    await new Promise((r) => setTimeout(r, 50))
    process.off('unhandledRejection', listen)
    process.off('uncaughtException', listen)
    server.server.closeAllConnections()
    await server.close()
    return { answer, lost }
  }

  for (const changes of [true, false]) {
    it(`a header that Node refuses is an error, not the end of the process (changes: ${changes})`, async () => {
      const { sessions, server, url } = await app((server) => {
        server.get('/', async (request, reply) => {
          const session = sessions.of(request)
          if (changes) session.data.visits = 1
          else void session.data
          reply.header('x-name', '日本')
          return 'ok'
        })
      })
      const { answer, lost } = await asked(server, url)
      expect(lost).toEqual([])
      expect(answer.status).toBe(500)
    })
  }

  it('an onSend hook after ours that gives nonsense', async () => {
    const { sessions, server, url } = await app((server) => {
      server.addHook('onSend', (_request, reply, payload, next) =>
        next(null, reply.statusCode === 200 ? ({ a: 1 } as never) : payload),
      )
      server.get('/', async (request) => {
        sessions.of(request).data.visits = 1
        return 'ok'
      })
    })
    const { answer, lost } = await asked(server, url)
    expect(lost).toEqual([])
    expect(answer.status).toBe(500)
  })

  it('what was committed early keeps its cookie when the answer cannot be sent', async () => {
    const { sessions, server, url } = await app((server) => {
      server.get('/', async (request, reply) => {
        const session = sessions.of(request)
        await session.login('ann')
        await session.commit()
        reply.header('x-name', '日本')
        return 'ok'
      })
    })
    const answer = await fetch(url, { signal: AbortSignal.timeout(2000) }).catch((e) => e)
    server.server.closeAllConnections()
    await server.close()
    expect(answer.status).toBe(500)
    expect(answer.headers.get('set-cookie')).toMatch(/__Host-id=/)
  })
})

describe.each(Object.keys(servers))('cookie store on %s', (framework) => {
  let sessions: Sessions<FrameworkData>
  let server: Running
  let visitor: Client
  beforeEach(async () => {
    sessions = createSessions<FrameworkData>({ secret: SECRET, store: cookieStore() })
    server = await servers[framework]!(sessions)
    visitor = client(server.url)
  })
  afterEach(async () => {
    await server.close()
    await sessions.close()
  })

  it('what was committed before the handler failed reaches the client', async () => {
    await visitor.get('/visits')
    expect((await visitor.get('/commit-and-throw')).status).toBe(500)
    expect(JSON.parse((await visitor.get('/data')).text)).toEqual({ visits: 1, whole: 'done' })
  })
  it('the ordinary ways', async () => {
    for (const path of [
      '/visits',
      '/redirect?value=x',
      '/stream',
      '/update',
      '/login?user=ann',
      '/set?key=a&value=b',
    ]) {
      await visitor.get(path)
    }
    expect(JSON.parse((await visitor.get('/data')).text)).toEqual({
      visits: 2,
      last: 'x',
      streamed: true,
      a: 'b',
    })
    expect((await visitor.get('/me')).text).toBe('ann')
    expect((await visitor.get('/late-login')).text).toMatch(/HeadersSentError/)
    await visitor.get('/late')
    expect((await visitor.get('/throw')).status).toBe(500)
    expect((await visitor.get('/unstorable')).status).toBe(500)
    expect(JSON.parse((await visitor.get('/data')).text)).toMatchObject({ visits: 2, early: true })
    await visitor.get('/logout')
    expect((await visitor.get('/flashes')).text).toBe('Signed out')
    expect((await visitor.get('/flashes')).text).toBe('')
    await visitor.get('/leave')
    expect(visitor.cookie).toBeUndefined()
  })
  it('sizes around the limit are sent whole or refused', async () => {
    for (let size = 2700; size < 3000; size += 7) {
      const before = visitor.cookie
      const { status } = await visitor.get(`/set?key=big&value=${'x'.repeat(size)}`)
      if (status === 200) {
        expect(visitor.setCookies.at(-1)!.length).toBeLessThanOrEqual(4096)
        expect(JSON.parse((await visitor.get('/data')).text).big.length).toBe(size)
      } else {
        expect(status).toBeGreaterThanOrEqual(400)
        expect(visitor.cookie).toBe(before)
      }
    }
  })
})

describe('commit', () => {
  it('whatever is set while commits are on their way is committed by the last', async () => {
    let seed = 7
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647
    const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms))
    const schema = {
      '~standard': {
        version: 1 as const,
        vendor: 'x',
        validate: async (value: unknown) => {
          await sleep(random() * 3)
          return { value: value as Record<string, number> }
        },
      },
    }
    for (const withSchema of [false, true]) {
      for (const delay of [false, true]) {
        for (let round = 0; round < 15; round++) {
          const inner = memoryStore()
          const update = inner.update.bind(inner)
          inner.update = async (...args) => {
            if (delay) await sleep(random() * 4)
            const result = await update(...args)
            if (delay) await sleep(random() * 4)
            return result
          }
          const { sessions } = manager<Record<string, number>>({
            store: inner,
            merge: { n: 'sum' },
            ...(withSchema && { schema: schema as never }),
          })
          const jar = browser(sessions)
          await jar.visit((session) => void (session.data.n = 0))
          const expected = new Set<string>(['n'])
          let count = 0
          await Promise.all(
            Array.from({ length: 5 }, async (_, who) => {
              const session = await sessions.open(jar.header)
              const pending: Promise<unknown>[] = []
              for (let step = 0; step < 6; step++) {
                const key = `k${who}_${step}`
                const what = random()
                if (what < 0.4) session.data[key] = 1
                else if (what < 0.6) pending.push(session.update((data) => void (data[key] = 1)))
                else if (what < 0.8) {
                  session.data.n = (session.data.n ?? 0) + 1
                  count++
                  session.data[key] = 1
                } else {
                  session.data[key] = 1
                  pending.push(session.commit())
                }
                expected.add(key)
                if (random() < 0.5) await sleep(random() * 3)
                if (random() < 0.1) await session.reload()
              }
              await sessions.commit(session)
              await Promise.all(pending)
            }),
          )
          const data = await jar.visit((session) => ({ ...session.data }))
          expect(new Set(Object.keys(data))).toEqual(expected)
          expect(data.n).toBe(count)
        }
      }
    }
  })
})
