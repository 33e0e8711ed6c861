import type { Session, Store, WriteOptions } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { beforeEach, describe, expect, it } from 'vitest'
import { browser, manager } from './helpers/browser.ts'

interface Data {
  visits?: number
}

/** What the core has asked of the store, and whether durably. */
let asked: string[]
let jar: ReturnType<typeof browser<Data>>
let site: ReturnType<typeof manager<Data>>

beforeEach(() => {
  asked = []
  site = manager<Data>({ store: telling(memoryStore()) })
  jar = browser(site.sessions)
})

function telling(store: Store): Store {
  const note = (operation: string, options: WriteOptions | undefined) =>
    asked.push(options?.durable ? `${operation}, durably` : operation)
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown
      if (name === 'users' || name === 'externalIds') return telling(value as Store)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (['create', 'update', 'touch', 'destroy'].includes(String(name))) {
          note(
            String(name),
            args.find(
              (arg): arg is WriteOptions => typeof arg === 'object' && arg !== null && 'durable' in arg,
            ),
          )
        }
        return value.apply(target, args)
      }
    },
  })
}

async function askedFor(work: () => Promise<unknown>): Promise<string[]> {
  asked.length = 0
  await work()
  return [...asked]
}

const visit = (act: (session: Session<Data>) => unknown) => askedFor(() => jar.visit(act as () => void))

describe('durable is', () => {
  it('a login, in a new session and in one that exists, a step-up, and a login that joins another', async () => {
    expect(await visit((session) => session.login('ada'))).toEqual(['create, durably'])
    expect(await visit((session) => session.elevate('2fa'))).toEqual(['update, durably'])
    jar = browser(site.sessions)
    await visit((session) => void (session.data.visits = 1))
    const anonymous = jar.cookie
    expect(await visit((session) => session.login('ada'))).toEqual(['update, durably'])
    jar = browser(site.sessions, anonymous)
    expect(await visit((session) => session.login('ada'))).toEqual(['update, durably'])
  })

  it('every end of a session: logout, a changed stamp, a reused token, revocations', async () => {
    const { sessions, clock } = site
    const enter = (user = 'ada') =>
      visit((session) => session.login(user, { stamp: 'old', externalId: 'sid' }))
    const handle = () => jar.visit((session) => session.handle)
    const ends: Record<string, () => Promise<unknown>> = {
      logout: () => jar.visit((session) => session.logout()),
      stamp: () => jar.visit((session) => session.verifyStamp('new')),
      handle: async () => sessions.revoke({ handle: await handle() }),
      'handle of a user': async () => sessions.revoke({ handle: await handle(), userId: 'ada' }),
      user: () => sessions.revoke({ userId: 'ada' }),
      'external id': () => sessions.revoke({ externalId: 'sid' }),
      all: () => sessions.revokeAll(),
      old: () => sessions.revoke({ olderThan: new Date(clock.now + 1) }),
      others: async () => sessions.revokeOthers(await sessions.open(jar.header)),
    }
    for (const [name, end] of Object.entries(ends)) {
      jar = browser(site.sessions)
      await enter()
      expect([name, await askedFor(end)]).toEqual([name, ['destroy, durably']])
    }
  })

  it('the end by a reused token', async () => {
    const { clock } = site
    await visit((session) => session.login('ada'))
    const stolen = jar.cookie
    clock.now += 16 * 60_000
    await visit((session) => void (session.data.visits = 1))
    await visit((session) => void (session.data.visits = 2))
    clock.now += 6 * 60_000
    jar = browser(site.sessions, stolen)
    expect(await visit(({ userId }) => userId)).toEqual(['destroy, durably'])
  })

  it('no change of data, no rotation and no touch: what a failover takes of them harms nobody', async () => {
    const { clock } = site
    expect(await visit((session) => void (session.data.visits = 1))).toEqual(['create'])
    await visit((session) => session.login('ada'))
    expect(await visit((session) => void (session.data.visits = 2))).toEqual(['update'])
    clock.now += 16 * 60_000
    expect(await visit(({ userId }) => userId)).toEqual(['update'])
  })

  it('a logout with a token whose session is destroyed already: the one who destroyed it may not know whether it stays so', async () => {
    await visit((session) => session.login('ada'))
    const { cookie } = jar
    await visit((session) => session.logout())
    jar = browser(site.sessions, cookie)
    expect(await visit((session) => session.logout())).toEqual(['destroy, durably'])
  })

  it('a revocation of what is destroyed already, for the same reason', async () => {
    await visit((session) => session.login('ada'))
    const handle = await jar.visit((session) => session.handle)
    const revoke = (userId: string) => site.sessions.revoke({ handle, userId })
    expect(await revoke('ada')).toBe(1)
    expect(await askedFor(() => revoke('ada'))).toEqual(['destroy, durably'])
    expect(await revoke('ada')).toBe(0)
  })
})
