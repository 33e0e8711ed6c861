import { DataError, HeadersSentError } from 'holdfast'
import { cookieStore } from 'holdfast/stores/cookie'
import { memoryStore } from 'holdfast/stores/memory'
import { describe, expect, it, vi } from 'vitest'
import { browser, manager, SECRET } from './helpers/browser.ts'

interface Data {
  visits?: number
  text?: string
  cart?: Record<string, number>
}

function stateless(options: Parameters<typeof manager<Data>>[0] = {}) {
  return manager<Data>({ store: cookieStore(), ...options })
}

function withRevocations() {
  const revocations = memoryStore()
  return { revocations, ...stateless({ store: cookieStore({ revocations }) }) }
}

describe('a session in its cookie', () => {
  it('is there again at the next request, also with another process of the same secret', async () => {
    const jar = browser(stateless().sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const elsewhere = browser(stateless().sessions, jar.cookie)
    expect(await elsewhere.visit((session) => session.data.visits)).toBe(1)
  })

  it('cannot be read, and is never the same text twice', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    const seen = new Set<string>()
    for (let n = 0; n < 20; n++) {
      await jar.visit((session) => void (session.data.text = n % 2 ? 'odd secret' : 'even secret'))
      seen.add(jar.cookie!.slice(-20))
      const [, , , sealed = ''] = jar.cookie!.split('.')
      expect(Buffer.from(sealed, 'base64url').toString('latin1')).not.toContain('secret')
    }
    expect(seen.size).toBe(20)
  })

  it('is sent when it has changed, and not when it was only read', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    await jar.visit((session) => session.data.visits)
    expect(jar.setCookies).toHaveLength(1)
    await jar.visit((session) => session.data.visits!++)
    expect(jar.setCookies).toHaveLength(2)
    await jar.visit((session) => session.update((data) => data.visits!++))
    expect(jar.setCookies).toHaveLength(3)
    expect(await jar.visit((session) => session.data.visits)).toBe(3)
  })

  it('starts with nothing: no cookie for who leaves no data', async () => {
    const jar = browser(stateless().sessions)
    await jar.visit((session) => session.data.visits)
    expect(jar.cookie).toBeUndefined()
  })

  it('with any character changed is anonymous, and the event says so', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const invalid = vi.fn()
    sessions.on('invalid', invalid)
    const cookie = jar.cookie!
    for (let at = 65; at < cookie.length - 1; at++) {
      const changed = cookie.slice(0, at) + (cookie[at] === 'A' ? 'B' : 'A') + cookie.slice(at + 1)
      expect(await browser(sessions, changed).visit((session) => session.data)).toEqual({})
    }
    expect(invalid).toHaveBeenCalled()
    expect(await browser(sessions, cookie.slice(0, 64)).visit((session) => session.data)).toEqual({})
    expect(await browser(sessions, cookie.slice(0, 65)).visit((session) => session.data)).toEqual({})
  })

  it("goes with no other session's token, and with no other generation of its own", async () => {
    const { sessions } = stateless()
    const [ann, bob] = [browser(sessions), browser(sessions)]
    await ann.visit((session) => void (session.data.text = 'of ann'))
    await bob.visit((session) => void (session.data.text = 'of bob'))
    const before = ann.cookie!
    await ann.visit((session) => session.login('ann'))
    for (const mixed of [
      bob.cookie!.slice(0, 64) + ann.cookie!.slice(64),
      ann.cookie!.slice(0, 64) + before.slice(64),
      before.slice(0, 64) + ann.cookie!.slice(64),
    ]) {
      expect(await browser(sessions, mixed).visit(({ data, userId }) => [data, userId])).toEqual([
        {},
        undefined,
      ])
    }
  })

  it('is not taken where sessions are kept on the server', async () => {
    const jar = browser(stateless().sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    expect(await browser(manager().sessions, jar.cookie).visit(({ presented }) => presented)).toBe('forged')
  })

  it('over 4096 bytes is an error that says so, and the one before stays good', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    await expect(jar.visit((session) => void (session.data.text = 'x'.repeat(3_000)))).rejects.toThrow(
      /the cookie would take 4\d\d\d bytes, over the 4096 that browsers keep/,
    )
    await expect(
      jar.visit((session) => session.update((data) => (data.text = 'x'.repeat(4_000)))),
    ).rejects.toThrow(DataError)
    expect(await jar.visit((session) => session.data)).toEqual({ visits: 1 })
    await expect(
      browser(sessions).visit((session) => void (session.data.text = 'x'.repeat(3_000))),
    ).rejects.toThrow(DataError)
    let fits = 2_500
    for (; ; fits += 50) {
      try {
        await jar.visit((session) => void (session.data.text = 'x'.repeat(fits)))
      } catch {
        break
      }
      expect(jar.setCookies.at(-1)!.length).toBeLessThanOrEqual(4096)
    }
    expect(fits).toBeGreaterThan(2_700)
  })

  it('expires when it has not been used, and lives on while it is', async () => {
    const { sessions, clock } = stateless({ lifetime: { idle: '10m', touchEvery: '60s' } })
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const left = browser(sessions, jar.cookie)
    for (let minutes = 0; minutes < 30; minutes += 5) {
      clock.now += 5 * 60_000
      expect(await jar.visit((session) => session.data.visits)).toBe(1)
    }
    expect(await left.visit((session) => session.data.visits)).toBeUndefined()
  })

  it('is not sent again more often than once in touchEvery', async () => {
    const { sessions, clock } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    for (let seconds = 0; seconds < 125; seconds += 5) {
      await jar.visit((session) => session.data.visits)
      clock.now += 5_000
    }
    expect(jar.setCookies).toHaveLength(3)
  })

  it('is sealed anew by the newest secret when it is next seen', async () => {
    const old = 'a former secret that is long enough'
    const jar = browser(stateless({ secret: old }).sessions)
    await jar.visit((session) => void (session.data.visits = 7))
    const both = browser(stateless({ secret: [SECRET, old] }).sessions, jar.cookie)
    expect(await both.visit((session) => session.data.visits)).toBe(7)
    const renewed = browser(stateless().sessions, both.cookie)
    expect(await renewed.visit((session) => session.data.visits)).toBe(7)
  })

  it('cannot be saved once the headers are gone, and that is an error', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const session = await sessions.open(jar.header)
    await sessions.commit(session)
    session.data.visits = 2
    await expect(session.commit()).rejects.toThrow(HeadersSentError)
  })

  it('keeps what parallel requests to one process did, in the answer of the last', async () => {
    const { sessions } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.cart = {}))
    const answers = await Promise.all(
      ['tea', 'milk', 'rice'].map(async (item) => {
        const session = await sessions.open(jar.header)
        session.data.cart![item] = 1
        return sessions.commit(session)
      }),
    )
    const last = browser(sessions, answers.at(-1)!.cookie!.value)
    expect(await last.visit((session) => session.data.cart)).toEqual({ tea: 1, milk: 1, rice: 1 })
  })

  it('rotates, and the former token is as good as ever: nothing can be revoked', async () => {
    const { sessions, clock } = stateless()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const copy = browser(sessions, jar.cookie)
    clock.now += 20 * 60_000
    await jar.visit((session) => session.data)
    expect(jar.cookie!.slice(0, 64)).not.toBe(copy.cookie!.slice(0, 64))
    await jar.visit((session) => session.logout())
    expect(jar.cookie).toBeUndefined()
    expect(await copy.visit((session) => session.userId)).toBe('ann')
    await expect(sessions.revoke({ userId: 'ann' })).rejects.toThrow(/cannot find sessions by user/)
  })
})

describe('a session in its cookie, with revocations', () => {
  it('is dead after logout, copies included', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const copy = browser(sessions, jar.cookie)
    const slow = await sessions.open(copy.header)
    await jar.visit((session) => session.logout())
    expect(await copy.visit((session) => session.userId)).toBeUndefined()
    slow.data.visits = 1
    const { cookie } = await sessions.commit(slow)
    expect(await browser(sessions, cookie!.value).visit((session) => session.userId)).toBeUndefined()
  })

  it('is dead when its user ends all sessions, whatever was on its way, and a new login is not', async () => {
    const { sessions } = withRevocations()
    const [first, second] = [browser(sessions), browser(sessions)]
    await first.visit((session) => session.login('ann'))
    await second.visit((session) => session.login('ann'))
    const other = browser(sessions)
    await other.visit((session) => session.login('bob'))
    const slow = await sessions.open(first.header)
    expect(await sessions.revoke({ userId: 'ann' })).toBe(1)
    slow.data.visits = 1
    const { cookie } = await sessions.commit(slow)
    for (const jar of [first, second, browser(sessions, cookie!.value)]) {
      expect(await jar.visit((session) => session.userId)).toBeUndefined()
    }
    expect(await other.visit((session) => session.userId)).toBe('bob')
    await first.visit((session) => session.login('ann'))
    expect(await first.visit((session) => session.userId)).toBe('ann')
  })

  it('lives on when its user ends all others, also after it was written again', async () => {
    const { sessions } = withRevocations()
    const [mine, other] = [browser(sessions), browser(sessions)]
    await mine.visit((session) => session.login('ann'))
    await other.visit((session) => session.login('ann'))
    await mine.visit((session) => sessions.revokeOthers(session))
    await mine.visit((session) => void (session.data.visits = 1))
    expect(await mine.visit(({ userId, data }) => [userId, data.visits])).toEqual(['ann', 1])
    expect(await other.visit((session) => session.userId)).toBeUndefined()
    await other.visit((session) => session.login('ann'))
    await other.visit((session) => sessions.revokeOthers(session))
    expect(await mine.visit((session) => session.userId)).toBeUndefined()
    expect(await other.visit((session) => session.userId)).toBe('ann')
  })

  it('that was ended with all of its user does not come back by ending all others', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const late = await sessions.open(jar.header)
    await sessions.revoke({ userId: 'ann' })
    await sessions.revokeOthers(late)
    expect((await sessions.open(jar.header)).userId).toBeUndefined()
  })

  it('can be ended by its handle', async () => {
    const { sessions } = withRevocations()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const handle = await jar.visit((session) => session.handle)
    expect(await sessions.revoke({ handle })).toBe(1)
    expect(await jar.visit((session) => session.userId)).toBeUndefined()
  })

  it('reads once for a visitor, twice for a user, not at all for nobody, and fails if it cannot read', async () => {
    const { sessions, revocations } = withRevocations()
    const [visitor, user] = [browser(sessions), browser(sessions)]
    await visitor.visit((session) => void (session.data.visits = 1))
    await user.visit((session) => session.login('ann'))
    const load = vi.spyOn(revocations, 'load')
    const readsOf = async (jar: typeof visitor) => {
      load.mockClear()
      await jar.visit((session) => session.userId)
      return load.mock.calls.length
    }
    expect([await readsOf(visitor), await readsOf(user), await readsOf(browser(sessions))]).toEqual([1, 2, 0])
    load.mockRejectedValue(new Error('down'))
    for (const jar of [visitor, user]) {
      await expect(jar.visit((session) => session.userId)).rejects.toThrow(/load failed in the cookie store/)
    }
  })

  it('whose login cannot end the one before stays what it was, and its answer sets no cookie', async () => {
    const { sessions, revocations } = withRevocations()
    const jar = browser(sessions)
    await jar.visit(async (session) => {
      await session.login('ann')
      session.data.visits = 1
    })
    const failing = vi.spyOn(revocations, 'destroy').mockRejectedValue(new Error('down'))
    const session = await sessions.open(jar.header)
    await session.login('ann')
    await expect(sessions.commit(session)).rejects.toMatchObject({ status: 503 })
    expect((await sessions.commit(session, { discard: true })).cookie).toBeUndefined()
    failing.mockRestore()
    expect(await jar.visit(({ userId, data }) => [userId, data.visits])).toEqual(['ann', 1])
  })

  it('has deadlines, unless the revocations are in this process too', () => {
    expect(cookieStore().inProcess).toBe(true)
    expect(cookieStore({ revocations: memoryStore() }).inProcess).toBe(true)
    // As the stores on servers, which leave it out.
    const elsewhere = Object.assign(memoryStore(), { inProcess: undefined })
    expect(cookieStore({ revocations: elsewhere }).inProcess).toBe(false)
  })

  it('refuses a time to remember that is none', () => {
    expect(() => cookieStore({ rememberFor: 0 })).toThrow(/rememberFor is 0/)
  })
})
