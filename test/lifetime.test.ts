import { createSessions, type SessionOptions } from 'holdfast'
import { fakeClock } from 'holdfast/testing'
import { describe, expect, it, vi } from 'vitest'
import { browser, manager } from './helpers/browser.ts'
import { signIn } from './helpers/sign-in.ts'

interface Data {
  n?: number
}
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

function setUp(options: SessionOptions<Data> = {}) {
  const made = manager<Data>(options)
  const jar = browser(made.sessions)
  const wait = async (time: number) => {
    made.clock.now += time
    await made.sessions.list('nobody') // a turn for what goes on in the background
    await new Promise((resume) => setTimeout(resume, 5))
  }
  const who = () => jar.visit((session) => session.userId)
  /** So often the token is rotated, and the new one used until the old one's grace is over. */
  const rotate = async (times: number) => {
    for (let n = 0; n < times; n++) {
      await wait(16 * MINUTE)
      await who()
      await wait(6 * MINUTE)
      await who()
    }
  }
  return { ...made, jar, wait, who, rotate }
}

describe('the idle timeout', () => {
  it('ends a session that was not used, and use keeps it', async () => {
    const { jar, wait, who } = setUp({ lifetime: { idle: '30m' } })
    await jar.visit((session) => session.login('ann'))
    for (let n = 0; n < 5; n++) {
      await wait(29 * MINUTE)
      expect(await who()).toBe('ann')
    }
    await wait(35 * MINUTE)
    expect(await who()).toBeUndefined()
  })

  it('is moved by reading alone, at most once in touchEvery', async () => {
    const { jar, wait, store, who } = setUp({ lifetime: { idle: '30m', touchEvery: '60s' } })
    const touch = vi.spyOn(store, 'touch')
    await jar.visit((session) => session.login('ann'))
    for (let n = 0; n < 30; n++) {
      await wait(10_000)
      await who()
      await wait(0)
    }
    expect(touch.mock.calls.length).toBeGreaterThanOrEqual(4)
    expect(touch.mock.calls.length).toBeLessThanOrEqual(5)
  })

  it('never holds an answer up', async () => {
    const { jar, wait, store, who } = setUp({ lifetime: { idle: '30m' } })
    await jar.visit((session) => session.login('ann'))
    await wait(10 * MINUTE)
    vi.spyOn(store, 'touch').mockReturnValue(new Promise(() => {}))
    expect(await who()).toBe('ann')
  })

  it('of its own, and none, can be given to one session', async () => {
    const { jar, wait, who } = setUp({ lifetime: { idle: '30m', absolute: '90d' } })
    await jar.visit(async (session) => {
      await session.login('ann')
      session.setLifetime({ idle: false })
    })
    await wait(60 * DAY)
    expect(await who()).toBe('ann')
  })

  it('of visitors may be shorter than that of users', async () => {
    const { jar, wait, sessions } = setUp({ lifetime: { idle: '24h', anonymous: { idle: '1h' } } })
    const user = browser(sessions)
    await jar.visit((session) => void (session.data.n = 1))
    await user.visit((session) => session.login('ann'))
    await wait(2 * HOUR)
    expect(await jar.visit((session) => session.presented)).toBe('ended')
    expect(await user.visit((session) => session.userId)).toBe('ann')
  })
})

describe('the absolute timeout', () => {
  it('ends a session however much it is used, and rotation does not move it', async () => {
    const { jar, wait, who } = setUp({ lifetime: { idle: '1h', absolute: '5h' } })
    await jar.visit((session) => session.login('ann'))
    for (let n = 0; n < 9; n++) {
      await wait(30 * MINUTE)
      expect(await who()).toBe('ann')
    }
    await wait(31 * MINUTE)
    expect(await who()).toBeUndefined()
  })

  it('counts from the login, not from the first visit', async () => {
    const { jar, wait, who } = setUp({ lifetime: { idle: '5h', absolute: '5h' } })
    await jar.visit((session) => void (session.data.n = 1))
    await wait(4 * HOUR)
    await jar.visit((session) => session.login('ann'))
    await wait(4 * HOUR)
    expect(await who()).toBe('ann')
  })

  it('can be a moment', async () => {
    const { jar, wait, who, clock } = setUp()
    await jar.visit(async (session) => {
      await session.login('ann')
      session.setLifetime({ absolute: new Date(clock.now + HOUR) })
      expect(session.expiresAt).toEqual(new Date(clock.now + HOUR))
    })
    await wait(59 * MINUTE)
    expect(await who()).toBe('ann')
    await wait(2 * MINUTE)
    expect(await who()).toBeUndefined()
  })
})

describe('rotation', () => {
  it('gives a logged-in session a new token every 15 minutes of use, and a visitor none', async () => {
    const { jar, wait, who, sessions } = setUp()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    await jar.visit((session) => session.login('ann'))
    for (let n = 0; n < 60; n++) {
      await wait(MINUTE)
      expect(await who()).toBe('ann')
      await visitor.visit((session) => session.data)
    }
    expect(jar.setCookies).toHaveLength(1 + 4)
    expect(visitor.setCookies).toHaveLength(1)
  })

  it('waits for a later answer where this one asks for that, and saves the rest', async () => {
    const { jar, wait, who, sessions } = setUp()
    await jar.visit((session) => session.login('ann'))
    await wait(16 * MINUTE)
    const session = await sessions.open(jar.header)
    session.data.n = 1
    const { cookie } = await sessions.commit(session, { rotate: false })
    expect(cookie).toBeUndefined()
    expect(await jar.visit(({ data, generation }) => [data.n, generation])).toEqual([1, 2])
    expect(await who()).toBe('ann')
    expect(jar.setCookies).toHaveLength(2)
  })

  it('gives the token again when its answer was lost', async () => {
    const { jar, wait, who, sessions } = setUp()
    await jar.visit((session) => session.login('ann'))
    await wait(16 * MINUTE)
    const before = jar.cookie
    await who()
    const rotated = jar.cookie
    expect(rotated).not.toBe(before)
    const other = browser(sessions, before) // as if that answer had never come
    await wait(4 * MINUTE)
    expect(await other.visit((session) => session.userId)).toBe('ann')
    expect(other.cookie).toBe(before)
    await wait(2 * MINUTE)
    expect(await other.visit((session) => session.userId)).toBe('ann')
    expect(other.cookie).toBe(rotated)
  })

  it('ends a logged-in session when a token of two generations ago is used, with an event', async () => {
    const { jar, who, rotate, sessions } = setUp()
    const reuse = vi.fn()
    sessions.on('reuse', reuse)
    await jar.visit((session) => session.login('ann'))
    const thief = browser(sessions, jar.cookie)
    await rotate(3)
    expect(await thief.visit((session) => session.userId)).toBeUndefined()
    expect(reuse).toHaveBeenCalledExactlyOnceWith({
      handle: expect.any(String),
      userId: 'ann',
      route: undefined,
    })
    expect(await who()).toBeUndefined()
    expect(thief.setCookies).toEqual([])
  })

  describe('where an old token is not to end the session', () => {
    const setUpReuse = async (onReuse: 'reject' | 'event') => {
      const { jar, wait, who, rotate, sessions } = setUp({ onReuse })
      const reuse = vi.fn()
      sessions.on('reuse', reuse)
      await jar.visit((session) => session.login('ann'))
      const thief = browser(sessions, jar.cookie)
      await rotate(2)
      return { jar, thief, reuse, who, wait, sessions }
    }

    it('`reject` takes it for nobody, who may begin anew, and the owner goes on', async () => {
      const { thief, reuse, who, sessions } = await setUpReuse('reject')
      expect(await thief.visit(({ userId, presented }) => [userId, presented])).toEqual([undefined, 'ended'])
      expect(thief.setCookies).toEqual([])
      expect(reuse).toHaveBeenCalledTimes(1)
      await thief.visit((session) => void (session.data.n = 1))
      expect(thief.setCookies).toHaveLength(1)
      expect(await who()).toBe('ann')
      expect(await sessions.list('ann')).toHaveLength(1)
    })

    it('`event` lets it in and writes what it changes, without a newer token for it', async () => {
      const { jar, thief, reuse, who } = await setUpReuse('event')
      await thief.visit((session) => void (session.data.n = 1))
      expect(await thief.visit(({ userId, data }) => [userId, data.n])).toEqual(['ann', 1])
      expect(await thief.visit((session) => session.rotate())).toBe(false)
      expect(thief.setCookies).toEqual([])
      expect(reuse).toHaveBeenCalledTimes(3)
      expect(await who()).toBe('ann')
      expect(await jar.visit((session) => session.data.n)).toBe(1)
    })

    it('`event` lets in nothing that a step-up has retired', async () => {
      const { jar, thief, reuse, who, wait, sessions } = await setUpReuse('event')
      const retired = browser(sessions, jar.cookie)
      await jar.visit((session) => session.elevate('2fa'))
      await jar.visit(() => {})
      await wait(6 * MINUTE)
      for (const each of [thief, retired]) expect(await each.visit(({ userId }) => userId)).toBeUndefined()
      expect(reuse).toHaveBeenCalledTimes(2)
      expect(await who()).toBe('ann')
    })
  })

  it('is done once by ten parallel requests, and the others change nothing about the cookie', async () => {
    const { jar, wait, sessions } = setUp()
    await jar.visit((session) => session.login('ann'))
    await wait(16 * MINUTE)
    const tabs = Array.from({ length: 10 }, () => browser(sessions, jar.cookie))
    await Promise.all(tabs.map((tab, i) => tab.visit((session) => void (session.data.n = i))))
    expect(tabs.flatMap((tab) => tab.setCookies)).toHaveLength(1)
    for (const tab of tabs) expect(await tab.visit((session) => session.userId)).toBe('ann')
    expect(await sessions.list('ann')).toHaveLength(1)
  })
})

describe('a persistent cookie', () => {
  it('lasts to the absolute timeout, and that of others as long as the browser', async () => {
    const { jar, sessions } = setUp({ lifetime: { absolute: '30d' } })
    await jar.visit(async (session) => {
      await session.login('ann')
      session.setLifetime({ persistent: true })
    })
    expect(jar.setCookies.at(-1)).toContain(`; Max-Age=${30 * 86_400};`)
    const other = browser(sessions)
    await other.visit((session) => session.login('bob'))
    expect(other.setCookies.at(-1)).not.toContain('Max-Age')
  })

  it('is sent again when persistence is asked for later, and taken back', async () => {
    const { jar } = setUp()
    await jar.visit((session) => session.login('ann'))
    await jar.visit((session) => session.setLifetime({ persistent: true }))
    expect(jar.setCookies.at(-1)).toContain('Max-Age')
    await jar.visit((session) => session.setLifetime({ persistent: false }))
    expect(jar.setCookies).toHaveLength(3)
    expect(jar.setCookies.at(-1)).not.toContain('Max-Age')
  })

  it('that could not reach the end of the session is renewed once half of it is gone', async () => {
    const { jar, wait } = setUp({
      lifetime: { absolute: false, idle: false, persistent: true, rotateEvery: false },
    })
    await jar.visit((session) => session.login('ann'))
    expect(jar.setCookies.at(-1)).toContain(`Max-Age=${400 * 86_400};`)
    await wait(199 * DAY)
    await jar.visit((session) => session.userId)
    expect(jar.setCookies).toHaveLength(1)
    await wait(2 * DAY)
    await jar.visit((session) => session.userId)
    expect(jar.setCookies).toHaveLength(2)
  })
})

describe('sweeping', () => {
  it('removes what has expired, and nothing that another clock could still hold for live', async () => {
    const clock = fakeClock()
    const sessions = createSessions<Data>({
      clock,
      lifetime: { idle: '30m' },
      logger: { warn() {}, error() {} },
    })
    for (const user of ['ann', 'bob']) await signIn(sessions, user)
    clock.advance('20m')
    await signIn(sessions, 'eve')
    clock.advance('10.5m')
    expect(await sessions.sweep()).toBe(0)
    clock.advance('1m')
    const swept = vi.fn()
    sessions.on('swept', swept)
    expect(await sessions.sweep()).toBe(2)
    expect(swept).toHaveBeenCalledExactlyOnceWith({ count: 2 })
    expect(await sessions.stats()).toMatchObject({ sessions: 1, loggedIn: 1 })
  })

  it('goes on by itself, and stops with close()', async () => {
    const { sessions, store } = setUp({ sweepEvery: 5 })
    const sweep = vi.spyOn(store, 'sweep')
    await vi.waitFor(() => expect(sweep.mock.calls.length).toBeGreaterThan(2))
    await sessions.close()
    sweep.mockClear()
    await new Promise((resume) => setTimeout(resume, 40))
    expect(sweep).not.toHaveBeenCalled()
  })
})
