import { AuthenticationRequiredError, CookieWithheldError, SessionEndedError } from 'holdfast'
import { describe, expect, it, vi } from 'vitest'
import { browser, manager } from './helpers/browser.ts'

interface Data {
  cart?: string[]
  secret?: string
}

describe('login', () => {
  it('as another user leaves nothing of the first one', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit(async (session) => {
      await session.login('ann')
      session.data.secret = 'of ann'
      session.flash('info', 'for ann')
    })
    await jar.visit(async (session) => {
      await session.login('bob')
      session.data.cart = ['of bob']
    })
    expect(await jar.visit((session) => [session.userId, session.data, session.takeFlashes()])).toEqual([
      'bob',
      { cart: ['of bob'] },
      [],
    ])
    expect(await sessions.list('ann')).toEqual([])
  })

  it('as another user takes no data from a request of the first one that came in between', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const bob = await sessions.open(jar.header)
    await bob.login('bob')
    await jar.visit((session) => void (session.data.secret = 'of ann'))
    const { cookie } = await sessions.commit(bob)
    expect(await browser(sessions, cookie!.value).visit((session) => [session.userId, session.data])).toEqual(
      ['bob', {}],
    )
  })

  it('keeps what a parallel request put into the cart of the visitor', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.cart = ['tea']))
    const login = await sessions.open(jar.header)
    await login.login('ann')
    await jar.visit((session) => void session.data.cart!.push('milk'))
    const { cookie } = await sessions.commit(login)
    expect(await browser(sessions, cookie!.value).visit((session) => session.data.cart)).toEqual([
      'tea',
      'milk',
    ])
  })

  it('clicked twice is one login, and each answer carries the same token', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.cart = ['tea']))
    const [first, second] = [browser(sessions, jar.cookie), browser(sessions, jar.cookie)]
    await Promise.all([first, second].map((tab) => tab.visit((session) => session.login('ann'))))
    expect(first.cookie).toBe(second.cookie)
    const third = browser(sessions, jar.cookie) // its answer was lost, and the user tries again
    await third.visit(async (session) => {
      await session.login('ann')
      session.data.cart = ['sugar']
    })
    expect(third.cookie).toBe(first.cookie)
    expect(await first.visit((session) => session.data.cart)).toEqual(['tea', 'sugar'])
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('never joins the session of another user', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.cart = ['tea']))
    const other = browser(sessions, jar.cookie)
    await jar.visit(async (session) => {
      await session.login('ann')
      session.data.secret = 'of ann'
    })
    await other.visit((session) => session.login('bob'))
    expect(await other.visit((session) => [session.userId, session.data.secret])).toEqual(['bob', undefined])
    expect(await jar.visit((session) => session.userId)).toBe('ann')
  })

  it('works on a token that is dead, and data alone does not', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const stale = browser(sessions, jar.cookie)
    await jar.visit((session) => session.logout())
    await expect(stale.visit((session) => void (session.data.cart = []))).rejects.toThrow(SessionEndedError)
    expect(stale.setCookies).toEqual([])
    await stale.visit((session) => session.login('ann'))
    expect(await stale.visit((session) => session.userId)).toBe('ann')
  })

  it('is discarded with a status of 500', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'), 500)
    expect(jar.setCookies).toEqual([])
    expect(await sessions.list('ann')).toEqual([])
  })

  it('is not raised to by anything in data', async () => {
    const { sessions } = manager<Record<string, unknown>>()
    const jar = browser(sessions)
    await jar.visit(
      (session) => void Object.assign(session.data, { userId: 'admin', user: 'admin', level: 'aal3' }),
    )
    expect(await jar.visit((session) => [session.userId, session.level])).toEqual([undefined, undefined])
  })
})

describe('logout', () => {
  it('counts when it resolves, whatever comes after, and clears the cookie on any answer', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    await jar.visit((session) => session.logout(), 500)
    expect(jar.cookie).toBeUndefined()
    expect(await sessions.list('ann')).toEqual([])
  })

  it('leaves a fresh session, with nothing of the old one', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit(async (session) => {
      await session.login('ann')
      session.data.secret = 'x'
    })
    await jar.visit(async (session) => {
      const { data, handle } = session
      await session.logout()
      expect([session.userId, session.data, session.isNew]).toEqual([undefined, {}, true])
      expect(session.data).toBe(data)
      expect(session.handle).not.toBe(handle)
      session.flash('info', 'Signed out')
    })
    expect(await jar.visit((session) => [session.takeFlashes(), session.data])).toEqual([
      [{ category: 'info', message: 'Signed out' }],
      {},
    ])
  })

  it('also ends the session when a step-up has just replaced the token', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const stale = browser(sessions, jar.cookie)
    await jar.visit((session) => session.elevate('2fa'))
    await stale.visit((session) => session.logout())
    expect(await jar.visit((session) => session.userId)).toBeUndefined()
  })

  it('with a token from before the login ends nothing', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.cart = []))
    const stale = browser(sessions, jar.cookie)
    await jar.visit((session) => session.login('ann'))
    await stale.visit((session) => session.logout())
    expect(await jar.visit((session) => session.userId)).toBe('ann')
  })
})

describe('a level', () => {
  it('holds for its time, gives a new token, and ends with the login', async () => {
    const { sessions, clock } = manager<Data>()
    const jar = browser(sessions)
    await expect(jar.visit((session) => session.elevate('2fa'))).rejects.toThrow(AuthenticationRequiredError)
    await jar.visit((session) => session.login('ann'))
    const before = browser(sessions, jar.cookie)
    await jar.visit((session) => session.elevate('2fa', { ttl: '15m' }))
    expect(await jar.visit((session) => [session.level, session.requireLevel('2fa')])).toEqual([
      '2fa',
      undefined,
    ])
    expect(await before.visit((session) => session.userId)).toBeUndefined()
    clock.now += 16 * 60_000
    await expect(jar.visit((session) => session.requireLevel('2fa'))).rejects.toThrow(
      AuthenticationRequiredError,
    )
    await expect(jar.visit((session) => session.requireRecentLogin('10m'))).rejects.toThrow(
      AuthenticationRequiredError,
    )
    await jar.visit((session) => session.requireRecentLogin('20m'))
    await jar.visit((session) => session.login('ann'))
    expect(await jar.visit((session) => session.level)).toBeUndefined()
  })

  it('is not had by a login that joins from before it', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const tab = browser(sessions, jar.cookie)
    await jar.visit((session) => session.elevate('2fa'))
    await tab.visit((session) => session.login('ann'))
    expect(await tab.visit((session) => [session.userId, session.level])).toEqual(['ann', undefined])
  })
})

describe('a stamp', () => {
  it('that has changed ends the session', async () => {
    const { sessions, store } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann', { stamp: 'hash of the password' }))
    expect(JSON.stringify(await store.scan!(undefined, 9))).not.toContain('hash of the password')
    expect(await jar.visit((session) => session.verifyStamp('hash of the password'))).toBe(true)
    expect(await jar.visit((session) => session.verifyStamp('hash of another'))).toBe(false)
    expect(await jar.visit((session) => session.userId)).toBeUndefined()
  })
})

describe('a request that another site sent, without its cookie', () => {
  const request = (site: string, method = 'POST', cookie?: string) =>
    new Request('https://shop.example/callback', {
      method,
      headers: { 'Sec-Fetch-Site': site, ...(cookie && { Cookie: cookie }) },
    })

  it('may log in, and start no session otherwise', async () => {
    const { sessions } = manager<Data>()
    const write = await sessions.open(request('cross-site'))
    write.data.cart = []
    await expect(async () => sessions.commit(write)).rejects.toThrow(CookieWithheldError)
    const login = await sessions.open(request('cross-site'))
    await login.login('ann')
    expect((await sessions.commit(login)).cookie).toBeDefined()
    for (const harmless of [request('same-origin'), request('cross-site', 'GET')]) {
      const session = await sessions.open(harmless)
      session.data.cart = []
      expect((await sessions.commit(session)).cookie).toBeDefined()
    }
  })
})

describe('flash messages', () => {
  it('come in order, by category, and stay until they are taken by a request that succeeds', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => {
      session.flash('info', 'one')
      session.flash('error', 'two')
      session.flash('info', 'three')
    })
    expect(await jar.visit((session) => session.peekFlashes().length)).toBe(3)
    await jar.visit((session) => session.takeFlashes(), 500)
    expect(await jar.visit((session) => session.takeFlashes('info').map(({ message }) => message))).toEqual([
      'one',
      'three',
    ])
    expect(await jar.visit((session) => session.takeFlashes().map(({ message }) => message))).toEqual(['two'])
    expect(await jar.visit((session) => session.takeFlashes())).toEqual([])
  })

  it('of parallel requests all arrive, and one taken meanwhile does not come back', async () => {
    const { sessions } = manager<Data>()
    const jar = browser(sessions)
    await jar.visit((session) => session.flash('info', 'old'))
    const slow = await sessions.open(jar.header)
    slow.flash('info', 'slow')
    await jar.visit((session) => session.takeFlashes())
    await Promise.all(
      Array.from({ length: 5 }, (_, i) =>
        browser(sessions, jar.cookie).visit((session) => session.flash('info', `${i}`)),
      ),
    )
    await sessions.commit(slow)
    const messages = await jar.visit((session) => session.takeFlashes().map(({ message }) => message))
    expect(messages.sort()).toEqual(['0', '1', '2', '3', '4', 'slow'])
  })
})

describe('a secret', () => {
  it('that is replaced signs the token anew, and nobody is logged out', async () => {
    const [old, fresh] = ['old-secret-of-thirty-two-letters!', 'new-secret-of-thirty-two-letters!']
    const before = manager<Data>({ secret: old })
    const jar = browser(before.sessions)
    await jar.visit((session) => session.login('ann'))
    await before.sessions.close()
    const both = manager<Data>({ secret: [fresh, old], store: before.store })
    const renewed = browser(both.sessions, jar.cookie)
    expect(await renewed.visit((session) => session.userId)).toBe('ann')
    expect(renewed.setCookies).toHaveLength(1)
    await renewed.visit((session) => session.userId)
    expect(renewed.setCookies).toHaveLength(1)
    await both.sessions.close()
    const only = manager<Data>({ secret: fresh, store: before.store })
    expect(await browser(only.sessions, renewed.cookie).visit((session) => session.userId)).toBe('ann')
    expect(await browser(only.sessions, jar.cookie).visit((session) => session.presented)).toBe('forged')
  })
})

describe('constants that a handler puts into data', () => {
  it('are never changed by what other requests commit', async () => {
    const { sessions } = manager<{ prefs?: Record<string, unknown> }>()
    const DEFAULTS = { theme: 'light' }
    const [ann, eve] = [browser(sessions), browser(sessions)]
    for (const jar of [ann, eve]) await jar.visit((session) => session.login('x'))
    const slow = await sessions.open(ann.header)
    slow.data.prefs = DEFAULTS
    await ann.visit((session) => void (session.data.prefs = { phone: 'of ann' }))
    await slow.commit()
    expect(slow.data.prefs).toEqual({ theme: 'light', phone: 'of ann' })
    expect(DEFAULTS).toEqual({ theme: 'light' })
  })
})

it('an early commit of a session keeps objects what they are when others have changed it', async () => {
  const { sessions } = manager<{ cart: Record<string, number>; tags?: string[] }>()
  const jar = browser(sessions)
  await jar.visit((session) => void (session.data.cart = { tea: 1 }))
  const session = await sessions.open(jar.header)
  const { cart } = session.data
  cart.milk = 1
  await jar.visit(({ data }) => void (data.cart.sugar = 1))
  await session.commit()
  expect(session.data.cart).toBe(cart)
  cart.bread = 1
  await sessions.commit(session)
  expect(await jar.visit(({ data }) => data.cart)).toEqual({ tea: 1, milk: 1, sugar: 1, bread: 1 })
})

it('two requests that set the same value: the later wins, and an event names the path', async () => {
  const { sessions } = manager<{ name?: string }>()
  const overwritten = vi.fn()
  sessions.on('overwritten', overwritten)
  const jar = browser(sessions)
  await jar.visit((session) => void (session.data.name = 'a'))
  const slow = await sessions.open(jar.header)
  slow.data.name = 'slow'
  await jar.visit((session) => void (session.data.name = 'fast'))
  await sessions.commit(slow)
  expect(await jar.visit((session) => session.data.name)).toBe('slow')
  expect(overwritten).toHaveBeenCalledExactlyOnceWith({
    handle: slow.handle,
    paths: ['name'],
    route: undefined,
  })
})
