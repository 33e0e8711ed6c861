import { setTimeout as sleep } from 'node:timers/promises'
import { HeadersSentError, memoryStore, NotLoadedError, type Session, type Store } from 'holdfast'
import { describe, expect, it } from 'vitest'
import { browser, manager } from './helpers/browser.ts'

type Step = 'load' | 'create' | 'update' | 'destroy'

/** A memory store whose operations a test can hold up before they are done, or hold up or let fail after. */
function steered(
  steps: { [name in Step]?: () => unknown } = {},
  before: { [name in Step]?: () => unknown } = {},
) {
  const store = memoryStore()
  const around = (name: Step) => {
    const real = store[name].bind(store) as (...args: unknown[]) => Promise<unknown>
    return async (...args: unknown[]) => {
      await before[name]?.()
      const result = await real(...args)
      await steps[name]?.()
      return result
    }
  }
  const own = {
    load: around('load'),
    create: around('create'),
    update: around('update'),
    destroy: around('destroy'),
  }
  const proxy = new Proxy(store, {
    get: (target, key) => {
      if (key in own) return own[key as keyof typeof own]
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  }) as Store
  return { store: proxy, steps }
}

const done = () => new Promise((resolve) => setImmediate(resolve))

describe('what a handler does at once', () => {
  it('a logout beside an update leaves nobody logged in', async () => {
    const { store, steps } = steered()
    const { sessions } = manager<{ n?: number }>({ store })
    const visitor = browser(sessions)
    await visitor.visit(async (session) => {
      session.data.n = 1
      await session.login('ann')
    })
    await visitor.visit(async (session) => {
      steps.update = () => sleep(20)
      const update = session.update((data) => void (data.n = 2)).catch(() => {})
      await sleep(5)
      await session.logout()
      session.flash('info', 'Signed out')
      await update
    })
    expect(await visitor.visit((session) => [session.userId, session.data])).toEqual([undefined, {}])
  })

  it('a logout while an update waits in the lane leaves nobody logged in', async () => {
    const { store, steps } = steered()
    const { sessions } = manager<{ n?: number; m?: number }>({ store })
    const visitor = browser(sessions)
    await visitor.visit(async (session) => {
      session.data.n = 1
      await session.login('ann')
    })
    steps.update = () => sleep(30)
    const other = await sessions.open(visitor.header)
    other.data.m = 1
    const otherCommit = other.commit()
    await visitor.visit(async (session) => {
      const update = session.update((data) => void (data.n = 2)).catch((error) => error as Error)
      await sleep(5)
      await session.logout()
      session.flash('info', 'Signed out')
      expect(await update).not.toBeInstanceOf(TypeError)
    })
    await otherCommit
    expect(await visitor.visit((session) => [session.userId, session.data])).toEqual([undefined, {}])
  })

  it('login and commit unawaited before a failure do not cost the client its token', async () => {
    const { store } = steered({ update: () => sleep(5) })
    const { sessions } = manager<{ cart?: string[] }>({ store })
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.cart = ['tea']))
    await visitor.visit(async (session) => {
      void session.login('ann')
      void session.commit()
    }, 500)
    await sleep(20)
    expect(await visitor.visit((session) => session.data)).toEqual({ cart: ['tea'] })
  })

  it('an update begun while the answer is being saved is neither lost nor harmful (first visit)', async () => {
    const { store } = steered({}, { create: () => sleep(10) })
    const { sessions } = manager<{ a?: number; n?: number }>({ store })
    const visitor = browser(sessions)
    const session = await sessions.open(visitor.header)
    session.data.a = 1
    const answer = sessions.commit(session)
    await sleep(2)
    const update = session.update((data) => void (data.n = 1))
    visitor.cookie = (await answer).cookie?.value
    await update
    expect(await visitor.visit((again) => again.data)).toEqual({ a: 1, n: 1 })
    expect((await sessions.all()).sessions).toHaveLength(1)
  })

  it('a login begun while the answer is being saved is refused or given its cookie', async () => {
    const { store } = steered({ update: () => sleep(10) })
    const { sessions } = manager<{ a?: number }>({ store })
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.a = 1))
    const session = await sessions.open(visitor.header)
    session.data.a = 2
    const answer = Promise.resolve(sessions.commit(session))
    await sleep(2)
    const login = session.login('ann').then(() => session.commit())
    const outcome = login.then(
      () => 'done',
      (error: unknown) => error,
    )
    const { cookie } = await answer
    if (cookie) visitor.cookie = cookie.value
    const end = await outcome
    if (end !== 'done') expect(end).toBeInstanceOf(HeadersSentError)
    const after = await visitor.visit((again) => [again.userId, again.data.a])
    expect(after).toEqual([end === 'done' ? 'ann' : undefined, 2])
  })

  it('what a 500 discarded is not written by a later update, least of all a login without its cookie', async () => {
    const { sessions } = manager<{ a?: number; n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.a = 1))
    let held: Session<{ a?: number; n?: number }> | undefined
    await visitor.visit(async (session) => {
      held = session
      session.data.a = 2
      await session.login('ann')
    }, 500)
    await held!.update((data) => void (data.n = 1)).catch(() => {})
    const after = await visitor.visit((session) => [session.userId, session.data.a])
    expect(after).toEqual([undefined, 1])
  })

  it('two loads of a lazy session at once lose no change', async () => {
    const { store, steps } = steered()
    const { sessions } = manager<{ a?: number; n?: number }>({ store })
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.a = 1))
    const session = await sessions.open(visitor.header, { lazy: true })
    let loads = 0
    steps.load = () => sleep(++loads === 1 ? 1 : 15)
    const second = Promise.all([session.load().then(() => void (session.data.n = 1)), session.load()])
    await second
    await sessions.commit(session)
    expect(await visitor.visit((again) => again.data)).toEqual({ a: 1, n: 1 })
  })

  it('a login of another user beside a commit takes no data along', async () => {
    const slow = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: async (value: unknown) => {
          await sleep(5)
          return { value: value as { secret?: string } }
        },
      },
    }
    const { store, steps } = steered()
    const { sessions } = manager<{ secret?: string }>({ store, schema: slow })
    const texts: string[] = []
    steps.create = async () => {
      for (const [, record] of (await store.scan!(undefined, 9)).items)
        texts.push(`${record.user} ${record.text}`)
    }
    await browser(sessions).visit(async (session) => {
      await session.login('ann')
      session.data.secret = 'of ann'
      void session.commit()
      void session.login('bob')
    })
    expect(texts).toHaveLength(1)
    expect(texts[0]).not.toMatch(/id:bob.*of ann/s)
  })
})

describe('cookies', () => {
  it('a session made and ended by one request gives an answer without a cookie', async () => {
    const { sessions } = manager<{ n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit(async (session) => {
      session.data.n = 1
      await session.commit()
      await session.logout()
    })
    expect(visitor.cookie).toBeUndefined()
  })

  it('verifyStamp after a commit that made a token gives an answer', async () => {
    const { sessions } = manager<{ n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => session.login('ann', { stamp: 'old' }))
    const result = await visitor.visit(async (session) => {
      await session.elevate('mfa')
      await session.commit()
      return session.verifyStamp('new')
    })
    expect(result).toBe(false)
  })
})

const shared = { items: [] as string[] }
const schemaWithDefaults = {
  '~standard': {
    version: 1 as const,
    vendor: 'test',
    validate: (value: unknown) => ({ value: { cart: shared, ...(value as object) } }),
    types: undefined as unknown as { input: unknown; output: { cart: { items: string[] }; n?: number } },
  },
}

describe('objects that are not the session’s own', () => {
  it('a default of the schema is not shared between visitors', async () => {
    shared.items.length = 0
    const { sessions } = manager<{ cart: { items: string[] }; n?: number }>({ schema: schemaWithDefaults })
    await browser(sessions).visit((session) => void session.data.cart.items.push('of ann'))
    expect(await browser(sessions).visit((session) => session.data)).toEqual({ cart: { items: [] } })
  })

  it('repaired data of onInvalid is not shared between visitors', async () => {
    const repaired = { cart: { items: [] as string[] } }
    const store = memoryStore()
    const strict = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          (value as { cart?: object }).cart || Object.keys(value as object).length === 0
            ? { value: value as typeof repaired }
            : { issues: [{ message: 'no cart' }] },
      },
    }
    const old = manager<{ old?: number }>({ store })
    const [ann, bob] = [browser(old.sessions), browser(old.sessions)]
    await ann.visit((session) => void (session.data.old = 1))
    await bob.visit((session) => void (session.data.old = 1))
    await old.sessions.close()
    const { sessions } = manager<typeof repaired>({ store, schema: strict, onInvalid: () => repaired })
    await browser(sessions, ann.cookie).visit((session) => void session.data.cart.items.push('of ann'))
    expect(await browser(sessions, bob.cookie).visit((session) => session.data.cart.items)).toEqual([])
  })
})

describe('merging', () => {
  it('reload after a write whose answer was lost counts it once', async () => {
    const { store, steps } = steered()
    const { sessions } = manager<{ n: number }>({ store, merge: { n: 'sum' } })
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 0))
    await visitor.visit(async (session) => {
      session.data.n += 1
      steps.update = () => {
        delete steps.update
        throw new Error('connection reset')
      }
      await session.commit().catch(() => {})
      await session.reload()
    })
    expect(await visitor.visit((session) => session.data.n)).toBe(1)
  })

  it('a double click on a login that changes the user takes nothing of the earlier user along', async () => {
    const { sessions } = manager<{ visits?: number }>({ merge: { visits: 'sum' } })
    const visitor = browser(sessions)
    await visitor.visit(async (session) => {
      session.data.visits = 10
      await session.login('ann')
    })
    const clicks = await Promise.all([sessions.open(visitor.header), sessions.open(visitor.header)])
    for (const session of clicks) {
      await session.login('bob')
      session.data.visits = (session.data.visits ?? 0) + 1
      visitor.cookie = (await sessions.commit(session)).cookie!.value
    }
    expect(await visitor.visit((session) => [session.userId, session.data.visits])).toEqual(['bob', 2])
  })

  it('a change made while a merge is being validated is not lost', async () => {
    const slowSchema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: async (value: unknown) => {
          await sleep(5)
          return { value: value as { a?: number; b?: number; c: Record<string, number> } }
        },
      },
    }
    const { sessions } = manager<{ a?: number; b?: number; c: Record<string, number> }>({
      schema: slowSchema,
    })
    const visitor = browser(sessions)
    await visitor.visit((session) => {
      session.data.a = 1
      session.data.c = {}
    })
    await visitor.visit(async (session) => {
      session.data.a = 2
      await visitor.visit((other) => void (other.data.b = 1))
      const commit = session.commit()
      for (let i = 0; i < 20; i++) {
        session.data.c[`at${i}`] = i
        await sleep(1)
      }
      await commit
      expect(Object.keys(session.data.c)).toHaveLength(20)
    })
    const { c } = await visitor.visit((session) => session.data)
    expect(Object.keys(c)).toHaveLength(20)
  })

  it('an update runs once in effect, whatever the handler does meanwhile', async () => {
    const { sessions } = manager<{ log: string[]; n: number }>({ merge: { n: 'sum' } })
    const visitor = browser(sessions)
    await visitor.visit((session) => {
      session.data.log = ['a']
      session.data.n = 0
    })
    await visitor.visit(async (session) => {
      await visitor.visit((other) => {
        other.data.log.push('x')
        other.data.n += 1
      })
      const update = session.update((data) => {
        data.log.push('u')
        data.n += 1
      })
      // A little later, while the update is on its way to the store.
      await Promise.resolve()
      await Promise.resolve()
      session.data.log.push('h')
      session.data.n += 1
      await update
    })
    const { log, n } = await visitor.visit((session) => session.data)
    expect([[...log].sort(), n]).toEqual([['a', 'h', 'u', 'x'], 3])
  })
})

describe('what nobody may overlook', () => {
  it('an update that fails after the answer, and that nobody awaits, is an event', async () => {
    const { store, steps } = steered()
    const { sessions } = manager<{ n?: number }>({ store })
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    const errors: unknown[] = []
    sessions.on('error', ({ error }) => errors.push(error))
    const session = await sessions.open(visitor.header)
    await sessions.commit(session)
    steps.update = () => {
      throw new Error('down')
    }
    void session.update((data) => void (data.n = 2))
    await sleep(20)
    expect(errors).toHaveLength(1)
  })

  it('logout ends a session whose record this version cannot read', async () => {
    const store = memoryStore()
    const old = manager<{ old?: number }>({ store })
    const visitor = browser(old.sessions)
    await visitor.visit(async (session) => {
      session.data.old = 1
      await session.login('ann')
    })
    await old.sessions.close()
    const strict = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          'old' in (value as object)
            ? { issues: [{ message: 'old' }] }
            : { value: value as Record<string, unknown> },
      },
    }
    const next = manager({ store, schema: strict })
    const stolen = visitor.cookie
    await browser(next.sessions, visitor.cookie).visit((session) => session.logout())
    await next.sessions.close()
    const rolledBack = manager<{ old?: number }>({ store })
    expect(await browser(rolledBack.sessions, stolen).visit((session) => session.userId)).toBeUndefined()
  })

  it('looking at a session by its handle does not keep it alive', async () => {
    const { sessions, clock } = manager<{ n?: number }>({ lifetime: { idle: '1h' } })
    const visitor = browser(sessions)
    const handle = await visitor.visit((session) => {
      session.data.n = 1
      return session.handle
    })
    clock.now += 3_599_000
    await sessions.find(handle)
    await sleep(5)
    clock.now += 2_000
    expect(await sessions.find(handle)).toBeUndefined()
  })

  it('a message that the same answer shows makes no session', async () => {
    const { sessions } = manager()
    const visitor = browser(sessions)
    await visitor.visit((session) => {
      session.flash('info', 'Signed out')
      session.takeFlashes()
    })
    expect(visitor.setCookies).toEqual([])
  })

  it('revokeOthers does not pass over a session that is not loaded', async () => {
    const { sessions } = manager()
    const [here, there] = [browser(sessions), browser(sessions)]
    await here.visit((session) => session.login('ann'))
    await there.visit((session) => session.login('ann'))
    const session = await sessions.open(here.header, { lazy: true })
    const outcome = await sessions.revokeOthers(session).catch((error: unknown) => error)
    if (outcome !== 1) expect(outcome).toBeInstanceOf(NotLoadedError)
  })

  it('closing one manager leaves the store of another open', async () => {
    const store = memoryStore()
    let isClosed = false
    Object.assign(store, { close: async () => void (isClosed = true) })
    const one = manager({ store, name: 'one' })
    manager({ store, name: 'two' })
    await one.sessions.close()
    expect(isClosed).toBe(false)
  })

  it('data replaced after the answer and never committed is reported', async () => {
    const { sessions } = manager<{ n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    let reports = 0
    sessions.on('uncommitted', () => reports++)
    const session = await sessions.open(visitor.header)
    await sessions.commit(session)
    session.data = { n: 2 }
    await sleep(1_100)
    expect(reports).toBe(1)
  })

  it('revoke refuses an invalid date', async () => {
    const { sessions } = manager()
    await browser(sessions).visit((session) => session.login('ann'))
    await expect(sessions.revoke({ olderThan: new Date('never') })).rejects.toThrow(TypeError)
  })

  it('a request opened lazily by one and loaded by another is loaded', async () => {
    const { sessions } = manager<{ n?: number }>()
    const request = new Request('https://example.org/')
    await sessions.open(request, { lazy: true })
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    const second = new Request('https://example.org/', { headers: { cookie: visitor.header! } })
    await sessions.open(second, { lazy: true })
    expect((await sessions.open(second)).data).toEqual({ n: 1 })
  })

  it('a rotation whose answer was lost does not give a retired request the elevated token', async () => {
    const { store, steps } = steered()
    const { sessions, clock } = manager<{ n?: number }>({ store })
    const visitor = browser(sessions)
    await visitor.visit((session) => session.login('ann'))
    clock.now += 600_000
    const slow = await sessions.open(visitor.header)
    const other = await sessions.open(visitor.header)
    steps.update = () => {
      delete steps.update
      throw new Error('connection reset')
    }
    await slow.rotate()
    await slow.commit().catch(() => {})
    await other.elevate('mfa')
    await sessions.commit(other)
    const answer = await Promise.resolve()
      .then(() => sessions.commit(slow))
      .catch(() => undefined)
    const token = answer?.cookie?.value
    if (token) expect(await browser(sessions, token).visit((session) => session.level)).toBeUndefined()
  })

  it('the record does not grow without limit through messages nobody takes', async () => {
    const { sessions, store } = manager({ maxBytes: 1_000 })
    const visitor = browser(sessions)
    for (let i = 0; i < 50; i++) {
      await visitor.visit((session) => session.flash('info', 'x'.repeat(100))).catch(() => {})
    }
    const [[, record] = []] = (await store.scan!(undefined, 1)).items
    expect(record!.text.length).toBeLessThan(3_000)
  })

  it('too much data is this request’s own fault, also when another left a message meanwhile', async () => {
    const { sessions } = manager({ maxBytes: 1_000 })
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    const [one, other] = [await sessions.open(visitor.header), await sessions.open(visitor.header)]
    other.flash('info', 'hello')
    await sessions.commit(other)
    one.data.text = 'x'.repeat(2_000)
    await expect(one.commit()).rejects.toThrow(/data takes 20\d\d bytes, over the limit of 1000/)
  })

  it('a confirmation after a late logout is no error', async () => {
    const { sessions, clock } = manager()
    const errors: unknown[] = []
    sessions.on('error', ({ error }) => errors.push(error))
    const visitor = browser(sessions)
    await visitor.visit((session) => session.login('ann'))
    clock.now += 1_000_000
    await visitor.visit(() => {})
    const session = await sessions.open(visitor.header)
    await sessions.commit(session)
    await session.logout()
    await done()
    await done()
    expect(errors).toEqual([])
  })
})

describe('open', () => {
  it('logout clears the cookie, also when two came', async () => {
    const { sessions } = manager()
    const [one, two] = [browser(sessions), browser(sessions)]
    await one.visit((session) => session.login('ann'))
    await two.visit((session) => session.login('ann'))
    const session = await sessions.open(`${one.header}; ${two.header}`)
    await session.logout()
    expect((await sessions.commit(session)).cookie?.value).toBe('')
  })

  it('a lifetime set before the login of another user holds', async () => {
    const { sessions } = manager()
    const visitor = browser(sessions)
    await visitor.visit((session) => session.login('ann'))
    await visitor.visit(async (session) => {
      session.setLifetime({ persistent: true })
      await session.login('bob')
    })
    expect(visitor.setCookies.at(-1)).toContain('Max-Age')
  })

  it('a logout by a request from before the login does not end the login', async () => {
    const { sessions } = manager<{ n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    const old = await sessions.open(visitor.header)
    await visitor.visit((session) => session.login('ann'))
    await old.logout()
    await sessions.commit(old)
    expect(await visitor.visit((session) => session.userId)).toBe('ann')
  })

  it('a login that joins keeps its level and stamp', async () => {
    const { sessions } = manager<{ n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    const late = await sessions.open(visitor.header)
    await visitor.visit((session) => session.login('ann', { stamp: 'old' }))
    await late.login('ann', { stamp: 'new', level: 'mfa' })
    const { cookie } = await sessions.commit(late)
    const joined = browser(sessions, cookie!.value)
    expect(await joined.visit((session) => session.level)).toBe('mfa')
    expect(await joined.visit((session) => session.verifyStamp('new'))).toBe(true)
  })

  it('what a reload overwrote is told once it is written', async () => {
    const { sessions } = manager<{ a?: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.a = 1))
    const paths: string[] = []
    sessions.on('overwritten', (event) => paths.push(...event.paths))
    await visitor.visit(async (session) => {
      session.data.a = 2
      await visitor.visit((other) => void (other.data.a = 3))
      await session.reload()
    })
    expect(await visitor.visit((session) => session.data.a)).toBe(2)
    expect(paths).toEqual(['a'])
  })
})
