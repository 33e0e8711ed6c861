/** ASVS 7.1.2 and attacker 24: how many sessions a user may have, and what happens at the limit. */
import {
  createSessions,
  type SessionEvents,
  SessionLimitError,
  type SessionOptions,
  type Sessions,
  type Store,
} from 'holdfast'
import { openStore } from 'holdfast/stores'
import { cookieStore } from 'holdfast/stores/cookie'
import { memcachedStore } from 'holdfast/stores/memcached'
import { memoryStore } from 'holdfast/stores/memory'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { servers } from './frameworks/servers.ts'
import { browser, manager, SECRET } from './helpers/browser.ts'
import { client } from './helpers/client.ts'
import { startProcesses } from './helpers/processes.ts'
import { type RunningStore, serverStores } from './helpers/stores.ts'

interface Data {
  n?: number
  cart?: string[]
}
type Limit = NonNullable<SessionOptions<Data>['maxSessionsPerUser']>
const evicting: Limit = { limit: 2, onLimit: 'evict-oldest' }
const rejecting: Limit = { limit: 2, onLimit: 'reject' }

function limited(maxSessionsPerUser: Limit, options: SessionOptions<Data> = {}) {
  const made = manager<Data>({ maxSessionsPerUser, ...options })
  const events: [string, object][] = []
  for (const name of ['created', 'login', 'revoked', 'refused', 'logout'] as const) {
    made.sessions.on(name, (event: SessionEvents[typeof name]) => events.push([name, event]))
  }
  async function login(user: string, jar = browser(made.sessions)) {
    made.clock.now += 1_000
    await jar.visit((session) => session.login(user))
    return jar
  }
  return { ...made, events, login, jar: () => browser(made.sessions) }
}

type Jar = ReturnType<typeof browser<Data>>
const userOf = (jar: Jar) => jar.visit((session) => session.userId)

describe('evict-oldest', () => {
  it('ASVS 7.1.2: ends the session whose login is the longest ago, at the login of one too many', async () => {
    const { login, sessions, events } = limited(evicting)
    const [first, second] = [await login('ann'), await login('ann')]
    const oldest = (await sessions.list('ann'))[1]!.handle
    const third = await login('ann')
    expect(await Promise.all([first, second, third].map(userOf))).toEqual([undefined, 'ann', 'ann'])
    expect(events.filter(([name]) => name === 'revoked')).toEqual([
      ['revoked', { count: 1, handle: oldest, userId: 'ann', reason: 'limit' }],
    ])
  })

  it('goes by the login, not by the last use', async () => {
    const { login, clock } = limited(evicting)
    const [first, second] = [await login('ann'), await login('ann')]
    clock.now += 120_000
    await userOf(first)
    await login('ann')
    expect(await Promise.all([first, second].map(userOf))).toEqual([undefined, 'ann'])
  })

  it('never ends the login that is newest, be the clock of an earlier one half a minute ahead', async () => {
    const { login, clock } = limited({ limit: 1, onLimit: 'evict-oldest' })
    const first = await login('ann')
    clock.now -= 30_000 // as on a node whose clock is behind
    const second = await login('ann')
    expect(await Promise.all([first, second].map(userOf))).toEqual([undefined, 'ann'])
  })

  it('counts each user alone, expired sessions not, and a login in one’s own session once', async () => {
    const { login, sessions, clock } = limited(evicting)
    const [ann, bob] = [await login('ann'), await login('bob')]
    await login('bob')
    await login('ann')
    await login('ann', ann)
    expect(await Promise.all([ann, bob].map(userOf))).toEqual(['ann', 'bob'])
    clock.now += 25 * 3_600_000
    await login('ann')
    await login('ann')
    expect(await sessions.list('ann')).toHaveLength(2)
  })

  it('counts a session once that is listed twice, as one that moves to another store meanwhile can be', async () => {
    const store = memoryStore()
    const { list } = store.users
    const { login } = limited(evicting, { store })
    const first = await login('ann')
    Object.assign(store.users, {
      list: async (...args: Parameters<typeof list>) => {
        const page = await list.apply(store.users, args)
        return { ...page, items: [...page.items, ...page.items] }
      },
    })
    const second = await login('ann')
    expect(await Promise.all([first, second].map(userOf))).toEqual(['ann', 'ann'])
  })

  it('counts a session that passes from one user to another, and trims what is above a lowered limit', async () => {
    const { login, sessions, store, jar } = limited({ limit: 5, onLimit: 'evict-oldest' })
    for (let n = 0; n < 5; n++) await login('bob')
    const other = await login('ann')
    await login('bob', other)
    expect(await sessions.list('bob')).toHaveLength(5)
    expect(await sessions.list('ann')).toHaveLength(0)
    await sessions.close()
    const lowered = limited({ limit: 2, onLimit: 'evict-oldest' }, { store })
    lowered.clock.now += 10_000
    await lowered.login('bob')
    expect(await lowered.sessions.list('bob')).toHaveLength(2)
    expect(jar().cookie).toBeUndefined()
  })
})

describe('reject', () => {
  it('ASVS 7.1.2: refuses the login that is one too many, until there is room', async () => {
    const { login, sessions, events } = limited(rejecting)
    const jars = [await login('ann'), await login('ann')]
    events.length = 0
    const refused = browser(sessions)
    const error = await refused.visit((session) => session.login('ann')).catch((error) => error)
    expect(error).toBeInstanceOf(SessionLimitError)
    expect(error).toMatchObject({ status: 409, code: 'HOLDFAST_SESSION_LIMIT' })
    expect(error.message).not.toContain('ann')
    expect(refused.setCookies).toEqual([])
    expect(events).toEqual([['refused', { userId: 'ann', limit: 2, route: undefined }]])
    expect(await Promise.all(jars.map(userOf))).toEqual(['ann', 'ann'])
    await jars[0]!.visit((session) => session.logout())
    expect(await userOf(await login('ann', refused))).toBe('ann')
  })

  it('leaves the visitor’s session as it was, to go on with', async () => {
    const { login, jar: visitor } = limited(rejecting)
    await login('ann')
    await login('ann')
    const jar = visitor()
    await jar.visit((session) => void (session.data.cart = ['tea']))
    const { cookie } = jar
    await jar.visit(async (session) => {
      await expect(session.login('ann')).rejects.toThrow(SessionLimitError)
      session.flash('error', 'Sign out elsewhere first')
    })
    expect(jar.cookie).toBe(cookie)
    expect(await jar.visit((session) => [session.userId, session.data, session.takeFlashes()])).toEqual([
      undefined,
      { cart: ['tea'] },
      [{ category: 'error', message: 'Sign out elsewhere first' }],
    ])
  })

  it('leaves another user’s session to that user', async () => {
    const { login } = limited(rejecting)
    const bob = await login('bob')
    await bob.visit((session) => void (session.data.n = 7))
    await login('ann')
    await login('ann')
    await expect(login('ann', bob)).rejects.toThrow(SessionLimitError)
    expect(await bob.visit((session) => [session.userId, session.data.n])).toEqual(['bob', 7])
  })

  it('lets a user log in again in their own session, and a second click join the first', async () => {
    const { login, jar, sessions } = limited(rejecting)
    await login('ann')
    const own = jar()
    await own.visit((session) => void (session.data.n = 1))
    const stale = browser(sessions, own.cookie)
    await login('ann', own)
    await login('ann', own)
    await stale.visit((session) => session.login('ann'))
    expect(stale.cookie).toBe(own.cookie)
  })
})

/** The same store, as another process has it. */
function sharedBy(store: Store): Store {
  const { name, compareAndSet, users } = store
  return {
    name,
    compareAndSet,
    ...(users && { users }),
    load: store.load.bind(store),
    create: store.create.bind(store),
    update: store.update.bind(store),
    touch: store.touch.bind(store),
    destroy: store.destroy.bind(store),
  }
}

describe('a login that finds out only when it is written that it is one too many', () => {
  /** Another login of ann comes in just before the first write of this one. */
  function raced(maxSessionsPerUser: Limit) {
    const inner = memoryStore()
    const between = { run: undefined as (() => Promise<unknown>) | undefined }
    const first = (): Promise<unknown> => {
      const { run } = between
      between.run = undefined
      return run?.() ?? Promise.resolve()
    }
    const { create, update } = inner
    const store: Store = Object.assign(inner, {
      create: async (...args: Parameters<typeof create>) => {
        await first()
        return create.apply(inner, args)
      },
      update: async (...args: Parameters<typeof update>) => {
        await first()
        return update.apply(inner, args)
      },
    })
    return { ...limited(maxSessionsPerUser, { store }), between }
  }

  it('is taken back: the session, its data, its token and its cookie are what they were', async () => {
    const { login, jar: visitor, between, sessions, events } = raced({ limit: 1, onLimit: 'reject' })
    const jar = visitor()
    await jar.visit((session) => void (session.data.cart = ['tea']))
    const { cookie } = jar
    events.length = 0
    const rival = visitor()
    between.run = () => login('ann', rival)
    const visit = jar.visit(async (session) => {
      session.data.cart!.push('milk')
      await session.login('ann')
    })
    await expect(visit).rejects.toThrow(SessionLimitError)
    expect(jar.cookie).toBe(cookie)
    expect(await jar.visit((session) => [session.userId, session.data, session.presented])).toEqual([
      undefined,
      { cart: ['tea'] },
      'live',
    ])
    expect(await userOf(rival)).toBe('ann')
    expect(await sessions.list('ann')).toHaveLength(1)
    expect(events.map(([name]) => name)).toEqual(['created', 'login', 'refused'])
  })

  it('is the only one to go where an earlier one waits with it for room', async () => {
    const store = memoryStore()
    /** Of a process that writes, and looks at what there is after that, when it is let. */
    const visitor = (place: number, mayWrite?: Promise<void>, mayLook?: Promise<void>) => {
      let isWritten = false
      const { clock, jar } = limited(rejecting, {
        deadlines: { write: 200 },
        store: {
          ...sharedBy(store),
          async create(key, record) {
            await mayWrite
            isWritten = await store.create(key, record)
            return isWritten
          },
          users: {
            destroy: store.users.destroy.bind(store.users),
            async list(...args) {
              if (isWritten) await mayLook
              return store.users.list(...args)
            },
          },
        },
      })
      clock.now += place
      return jar()
    }
    let write = () => {}
    let look = () => {}
    const mayWrite = new Promise<void>((resolve) => (write = resolve))
    const mayLook = new Promise<void>((resolve) => (look = resolve))
    const [first, second, third] = [visitor(1, undefined, mayLook), visitor(2, mayWrite), visitor(3)]
    const login = (each: Jar) => each.visit((session) => session.login('ann'))
    const early = [login(first), login(second)]
    await login(third) // it sees the first and itself: there is room
    write()
    await vi.waitFor(async () => expect((await store.users.list('id:ann')).items).toHaveLength(3))
    look()
    const results = await Promise.allSettled(early)
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(await Promise.all([first, second, third].map(userOf))).toEqual(['ann', undefined, 'ann'])
  })

  it('stands when a second click in another process has joined it, and was let in', async () => {
    const { login, jar: visitor, between, store, clock } = raced({ limit: 1, onLimit: 'reject' })
    const other = manager<Data>({
      maxSessionsPerUser: { limit: 1, onLimit: 'reject' },
      store: sharedBy(store),
      clock: () => clock.now,
    })
    const [jar, rival] = [visitor(), visitor()]
    await jar.visit((session) => void (session.data.cart = ['tea']))
    const second = browser(other.sessions, jar.cookie)
    between.run = async () => {
      await login('ann', rival)
      between.run = async () => {
        await rival.visit((session) => session.logout())
        await second.visit((session) => session.login('ann'))
      }
    }
    await expect(jar.visit((session) => session.login('ann'))).rejects.toThrow(SessionLimitError)
    expect(await userOf(second)).toBe('ann')
  })

  it('ends the session of the user before, whose revocation would not have found it meanwhile', async () => {
    const { login, between, sessions, store } = raced({ limit: 1, onLimit: 'reject' })
    const bob = await login('bob')
    await bob.visit((session) => void (session.data.n = 7))
    between.run = async () => {
      await login('ann')
      const { list } = store.users!
      vi.spyOn(store.users!, 'list').mockImplementationOnce(async (...args) => {
        expect(await sessions.revoke({ userId: 'bob' })).toBe(0)
        return list(...args)
      })
    }
    await expect(bob.visit((session) => session.login('ann'))).rejects.toThrow(SessionLimitError)
    expect(await bob.visit(({ userId, data }) => [userId, data.n])).toEqual([undefined, undefined])
    expect(await sessions.stats()).toMatchObject({ sessions: 1 })
  })

  it('leaves nothing where there was no session', async () => {
    const { login, jar: visitor, between, sessions } = raced({ limit: 1, onLimit: 'reject' })
    const jar = visitor()
    between.run = () => login('ann')
    const caught = jar.visit(async (session) => {
      await session.login('ann')
      await expect(session.commit()).rejects.toThrow(SessionLimitError)
      expect([session.userId, session.isNew]).toEqual([undefined, true])
    })
    await caught
    expect(jar.setCookies).toEqual([])
    expect(await sessions.list('ann')).toHaveLength(1)
    expect(await sessions.stats()).toMatchObject({ sessions: 1 })
  })
})

describe('a login that is written, while its user’s sessions cannot be listed', () => {
  it('is no login until they can: 503 and no cookie, and the next attempt is counted', async () => {
    const store = memoryStore()
    const { list } = store.users
    const { login, sessions, clock } = limited({ limit: 1, onLimit: 'evict-oldest' }, { store })
    const first = await login('ann')
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.n = 1))
    const { cookie } = jar
    Object.assign(store.users, { list: () => Promise.reject(new Error('down')) })
    await expect(login('ann', jar)).rejects.toMatchObject({ status: 503, maybeApplied: true })
    expect(jar.cookie).toBe(cookie)
    Object.assign(store.users, { list })
    clock.now += 1_000
    await login('ann', jar)
    expect(await Promise.all([first, jar].map(userOf))).toEqual([undefined, 'ann'])
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('gives its token to no second click whose own write gets no answer either', async () => {
    const store = memoryStore()
    const { update } = store
    const { login, sessions, clock } = limited({ limit: 1, onLimit: 'evict-oldest' }, { store })
    const [first, jar] = [await login('ann'), browser(sessions)]
    await jar.visit((session) => void (session.data.n = 1))
    const click = async () => {
      clock.now += 1_000
      const session = await sessions.open(jar.header)
      await session.login('ann')
      await expect(sessions.commit(session)).rejects.toMatchObject({ status: 503, maybeApplied: true })
      return (await sessions.commit(session, { status: 503 })).cookie
    }
    store.update = async (...args) => {
      await update.apply(store, args)
      throw new Error('the answer is lost')
    }
    expect(await click()).toBeUndefined()
    store.update = () => Promise.reject(new Error('no answer'))
    expect(await click()).toBeUndefined()
    store.update = update
    await login('ann', jar)
    expect(await Promise.all([first, jar].map(userOf))).toEqual([undefined, 'ann'])
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('goes on in the same request as soon as they can', async () => {
    const store = memoryStore()
    const { list } = store.users
    const { login, sessions, clock } = limited({ limit: 1, onLimit: 'evict-oldest' }, { store })
    const [first, jar] = [await login('ann'), browser(sessions)]
    clock.now += 1_000
    await jar.visit(async (session) => {
      Object.assign(store.users, { list: () => Promise.reject(new Error('down')) })
      await session.login('ann')
      await expect(session.commit()).rejects.toMatchObject({ status: 503 })
      Object.assign(store.users, { list })
      await session.update((data) => (data.n = 1))
    })
    expect(await Promise.all([first, jar].map(userOf))).toEqual([undefined, 'ann'])
  })
})

describe('the option', () => {
  it('is refused on a store that cannot list by user, and says why', () => {
    const stores = [
      cookieStore(),
      cookieStore({ revocations: memoryStore() }),
      memcachedStore('localhost:11211'),
    ]
    for (const store of stores) {
      expect(() => createSessions({ secret: SECRET, store, maxSessionsPerUser: evicting })).toThrow(
        new RegExp(`maxSessionsPerUser: the ${store.name} store cannot list sessions by user`),
      )
    }
  })

  it('is refused when it is malformed', () => {
    const made = (maxSessionsPerUser: unknown) => () =>
      createSessions({ secret: SECRET, maxSessionsPerUser: maxSessionsPerUser as Limit })
    expect(made({ limit: 0, onLimit: 'reject' })).toThrow(/limit: 0 must be a whole number/)
    expect(made({ limit: 1.5, onLimit: 'reject' })).toThrow(/limit: 1.5 must be/)
    expect(made({ limit: 2 })).toThrow(/onLimit: undefined must be 'evict-oldest' or 'reject'/)
    expect(made({ limit: 2, onLimit: 'reject', max: 3 })).toThrow(/max: there is no such option/)
    expect(made(3)).toThrow(/takes an object/)
  })
})

const stores: Record<string, () => Promise<RunningStore>> = {
  memory: async () => ({ url: 'memory:', stop: async () => {} }),
  redis: serverStores.redis,
  postgres: serverStores.postgres,
}

describe.each(Object.keys(stores))('20 parallel logins of one user on %s', (name) => {
  let running: RunningStore
  beforeAll(async () => {
    running = await stores[name]!()
  }, 60_000)
  afterAll(() => running?.stop())

  /** Three managers, as three processes would be, where the store can be shared. */
  function managers(maxSessionsPerUser: Limit): Sessions<Data>[] {
    const count = name === 'memory' ? 1 : 3
    const deadlines = { load: '10s', write: '10s', request: '30s' }
    return Array.from({ length: count }, () =>
      createSessions<Data>({
        secret: SECRET,
        store: openStore(running.url),
        deadlines,
        maxSessionsPerUser,
        sweepEvery: false,
      }),
    )
  }

  it.each([evicting.onLimit, rejecting.onLimit])(
    '%s: never leave more than three, and three',
    async (onLimit) => {
      const all = managers({ limit: 3, onLimit })
      for (let round = 0; round < 5; round++) {
        const user = `${onLimit}-${round}`
        const jars = Array.from({ length: 20 }, (_, i) => browser(all[i % all.length]!))
        const visitors = jars.filter((_, i) => i % 2 === 0)
        await Promise.all(visitors.map((jar) => jar.visit((session) => void (session.data.n = 1))))
        const results = await Promise.allSettled(
          jars.map((jar) => jar.visit((session) => session.login(user))),
        )
        expect(await all[0]!.list(user)).toHaveLength(3)
        const users = await Promise.all(jars.map(userOf))
        expect(users.filter((each) => each === user)).toHaveLength(3)
        const refused = results.filter((result) => result.status === 'rejected')
        for (const { reason } of refused as PromiseRejectedResult[])
          expect(reason).toBeInstanceOf(SessionLimitError)
        expect(refused).toHaveLength(onLimit === 'reject' ? 17 : 0)
        if (onLimit === 'evict-oldest') continue
        // What the visitors had is theirs still.
        const kept = await Promise.all(visitors.map((jar) => jar.visit((session) => session.data.n)))
        expect(kept).toEqual(visitors.map(() => 1))
      }
      await Promise.all(all.map((sessions) => sessions.close()))
    },
    60_000,
  )
})

describe('over HTTP', () => {
  it.each(['express 5', 'fastify 5', 'hono 4', 'web'])(
    'on %s, the login is a 409 without a cookie',
    async (framework) => {
      const start = Object.entries(servers).find(([name]) => name.startsWith(framework.split(' ')[0]!))![1]
      const sessions = createSessions({ secret: SECRET, maxSessionsPerUser: rejecting })
      const server = await start(sessions)
      const jars = [client(server.url), client(server.url), client(server.url)]
      const statuses: number[] = []
      for (const jar of jars) statuses.push((await jar.get('/login?user=ann')).status)
      expect(statuses).toEqual([200, 200, 409])
      expect(jars[2]!.setCookies).toEqual([])
      expect((await jars[2]!.get('/me')).text).toBe('nobody')
      await server.close()
      await sessions.close()
    },
  )

  it.each(['redis', 'postgres'] as const)(
    '20 parallel logins in three processes on %s',
    async (name) => {
      const running = await serverStores[name]()
      for (const onLimit of ['evict-oldest', 'reject'] as const) {
        const processes = await startProcesses(running.url, [], undefined, {
          maxSessionsPerUser: { limit: 3, onLimit },
          // How long they wait for each other, on a busy machine.
          deadlines: { load: '10s', write: '10s', request: '30s' },
        })
        for (let round = 0; round < 5; round++) {
          const user = `${onLimit}-${round}`
          const jars = Array.from({ length: 20 }, () => client(processes.anyUrl()))
          const replies = await Promise.all(jars.map((jar) => jar.get(`/login?user=${user}`)))
          const isRejecting = onLimit === 'reject'
          expect(replies.filter(({ status }) => status === 409)).toHaveLength(isRejecting ? 17 : 0)
          expect(replies.filter(({ status }) => status === 200)).toHaveLength(isRejecting ? 3 : 20)
          const users = await Promise.all(jars.map(async (jar) => (await jar.get('/me')).text))
          expect(users.filter((each) => each === user)).toHaveLength(3)
        }
        await processes.stop()
      }
      await running.stop()
    },
    120_000,
  )
})
