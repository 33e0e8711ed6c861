import { createHmac, hkdfSync } from 'node:crypto'
import {
  createSessions,
  NotLoadedError,
  NotSavedError,
  type Session,
  type SessionOptions,
  StoreUnavailableError,
} from 'holdfast'
import { cookieStore } from 'holdfast/stores/cookie'
import { memoryStore } from 'holdfast/stores/memory'
import { describe, expect, it } from 'vitest'
import { browser, manager, SECRET } from './helpers/browser.ts'
import { faulty } from './helpers/faults.ts'

const OTHER = 'mP7dHq2Vx9Lr4TnBz6WkYc1Fs8JgUa3e'

async function signedIn(options: SessionOptions<Record<string, unknown>> = {}) {
  const { sessions, store, clock } = manager(options)
  const visitor = browser(sessions)
  await visitor.visit((session) => session.login('ann'))
  const token = () => visitor.visit((session) => session.csrfToken())
  const verify = (value: unknown, who = visitor) => who.visit((session) => session.verifyCsrfToken(value))
  return { sessions, store, clock, visitor, token, verify }
}

describe('a token for forms', () => {
  it('is good for its session, as often as it is sent, and another text each time', async () => {
    const { token, verify } = await signedIn()
    const tokens = [await token(), await token(), await token()]
    expect(new Set(tokens).size).toBe(3)
    for (const one of [...tokens, ...tokens]) expect(await verify(one)).toBe(true)
    // What all have in common is which secret signed them: what a compressed page repeats tells nothing.
    expect(new Set(tokens.map((one) => one.slice(0, 4))).size).toBe(1)
    expect(new Set(tokens.map((one) => one.slice(4, 8))).size).toBe(3)
    for (const one of tokens) expect(one).toMatch(/^[A-Za-z0-9_-]{52}$/)
  })

  it('is not good for another session, of the same user or not', async () => {
    const { sessions, token, verify } = await signedIn()
    const value = await token()
    for (const user of ['ann', 'bob']) {
      const other = browser(sessions)
      await other.visit((session) => session.login(user))
      expect(await verify(value, other)).toBe(false)
    }
    expect(await verify(value)).toBe(true)
  })

  it('ends with a login, of whomever, and with a logout', async () => {
    const { visitor, verify } = await signedIn()
    for (const next of [
      (session: Session) => session.login('ann'),
      (session: Session) => session.login('bob'),
      async (session: Session) => {
        await session.logout()
        session.data.fresh = true
      },
    ]) {
      const value = await visitor.visit((session) => session.csrfToken())
      expect(await verify(value)).toBe(true)
      await visitor.visit(next)
      expect(await verify(value)).toBe(false)
    }
  })

  it('made before the login is worth nothing after it (CVE-2023-27495)', async () => {
    const { sessions } = manager()
    const visitor = browser(sessions)
    await visitor.visit((session) => {
      session.data.cart = 'tea'
    })
    const value = await visitor.visit((session) => session.csrfToken())
    expect(await visitor.visit((session) => session.verifyCsrfToken(value))).toBe(true)
    await visitor.visit((session) => session.login('ann'))
    expect(await visitor.visit((session) => session.verifyCsrfToken(value))).toBe(false)
  })

  it('survives rotations and step-ups, as the forms in other tabs must', async () => {
    const { clock, visitor, token, verify } = await signedIn()
    const value = await token()
    clock.now += 16 * 60_000
    const before = visitor.cookie
    await visitor.visit((session) => session.userId)
    expect(visitor.cookie).not.toBe(before)
    expect(await verify(value)).toBe(true)
    await visitor.visit((session) => session.elevate('2fa'))
    expect(await verify(value)).toBe(true)
  })

  it('survives a new secret for as long as the old one is listed', async () => {
    const store = faulty(memoryStore())
    const { clock, visitor, token } = await signedIn({ store })
    const value = await token()
    const verifiedBy = async (secret: string[]) => {
      const sessions = createSessions({
        secret,
        store: Object.create(store), // as in another process, where it would be another object too
        clock: () => clock.now,
        sweepEvery: false,
      })
      const fresh = await sessions.find(await visitor.visit((session) => session.handle))
      return fresh!.verifyCsrfToken(value)
    }
    expect(await verifiedBy([SECRET])).toBe(true)
    expect(await verifiedBy([OTHER, SECRET])).toBe(true)
    expect(await verifiedBy([OTHER])).toBe(false)
  })

  it('is worth nothing to another manager of the same secret and store', async () => {
    const { store, clock, visitor, token } = await signedIn()
    const admins = createSessions({
      secret: SECRET,
      store,
      name: 'admin',
      clock: () => clock.now,
      sweepEvery: false,
    })
    const admin = browser(admins, undefined, '__Host-admin')
    await admin.visit((session) => session.login('ann'))
    const value = await token()
    expect(await admin.visit((session) => session.verifyCsrfToken(value))).toBe(false)
    expect(await visitor.visit((session) => session.verifyCsrfToken(value))).toBe(true)
  })

  it('is refused when any of it is changed, and whatever else comes in its place', async () => {
    const { visitor, token, verify } = await signedIn()
    const value = await token()
    for (let i = 0; i < value.length; i++) {
      const changed = value.slice(0, i) + (value[i] === 'A' ? 'B' : 'A') + value.slice(i + 1)
      expect(await verify(changed), `character ${i}`).toBe(false)
    }
    const others = [
      '',
      value.slice(1),
      `${value}A`,
      ` ${value}`,
      value.toLowerCase(),
      'ä'.repeat(52),
      `${value.slice(0, 10)}ä${value.slice(11)}`,
      `${value.slice(0, 51)}ä`,
      visitor.cookie,
    ]
    for (const other of [...others, undefined, null, 7, {}, [value], Symbol('x')])
      expect(await verify(other), String(other)).toBe(false)
  })

  it('is made as its format says, so that no deployment makes forms fail by accident', async () => {
    const { visitor, token } = await signedIn()
    const value = await token()
    const handle = await visitor.visit((session) => session.handle)
    const key = Buffer.from(hkdfSync('sha256', SECRET, '', 'holdfast/1/id/csrf', 32))
    const tag = createHmac('sha256', key)
      .update(`${value.slice(4, 20)} ${handle} 2`)
      .digest('base64url')
    expect(value.slice(20)).toBe(tag.slice(0, 32))
    expect(value.slice(0, 4)).toBe(visitor.cookie!.slice(0, 4))
  })

  it('is no session token, and a session token is none', async () => {
    const { sessions, visitor, token, verify } = await signedIn()
    const value = await token()
    const forged = browser(sessions, value.padEnd(64, 'A'))
    expect(await forged.visit((session) => session.presented)).toBe('forged')
    expect(await verify(visitor.cookie!.slice(0, 52))).toBe(false)
  })

  it('costs no write and no cookie', async () => {
    const store = faulty(memoryStore())
    const { visitor, token, verify } = await signedIn({ store })
    const [asked, cookies] = [store.asked, visitor.setCookies.length]
    expect(await verify(await token())).toBe(true)
    expect(store.asked - asked).toBe(2) // the loads of two visits
    expect(visitor.setCookies).toHaveLength(cookies)
  })

  it('makes the answer vary with the cookie, given or checked', async () => {
    const { sessions, visitor } = await signedIn()
    for (const ask of [
      (session: Session) => session.csrfToken(),
      (session: Session) => session.verifyCsrfToken('x'),
    ]) {
      const session = await sessions.open(visitor.header)
      ask(session)
      expect(await sessions.commit(session)).toEqual({ headers: [['Vary', 'Cookie', 'append']] })
    }
  })

  it('is refused to a session without a record, which none is made for', async () => {
    const { sessions } = manager()
    const visitor = browser(sessions)
    await visitor.visit((session) => {
      expect(() => session.csrfToken()).toThrow(NotSavedError)
      expect(() => session.csrfToken()).toThrow('`await session.commit()` first')
      expect(session.verifyCsrfToken('x')).toBe(false)
    })
    expect(visitor.setCookies).toEqual([])
    expect(await sessions.stats()).toMatchObject({ sessions: 0 })
  })

  it('is refused before data or a login are saved, and given after', async () => {
    const { sessions } = manager()
    const visitor = browser(sessions)
    const changes = [
      (session: Session) => {
        session.data.cart = 'tea'
      },
      (session: Session) => session.login('ann'),
      (session: Session) => session.login('bob'),
    ]
    for (const change of changes) {
      const value = await visitor.visit(async (session) => {
        await change(session)
        expect(() => session.csrfToken()).toThrow(NotSavedError)
        await session.commit()
        return session.csrfToken()
      })
      expect(await visitor.visit((session) => session.verifyCsrfToken(value))).toBe(true)
    }
  })

  it('is refused after a logout, and where the session has ended elsewhere', async () => {
    const { sessions, visitor, token, verify } = await signedIn()
    const value = await token()
    await sessions.revokeAll()
    await expect(token()).rejects.toThrow(NotSavedError)
    expect(await verify(value)).toBe(false)
    await visitor.visit((session) => session.login('ann'))
    await visitor.visit(async (session) => {
      await session.logout()
      expect(() => session.csrfToken()).toThrow(NotSavedError)
    })
  })

  it('waits for load() in a lazy session', async () => {
    const { sessions, visitor, token } = await signedIn()
    const value = await token()
    const session = await sessions.open(visitor.header, { lazy: true })
    expect(() => session.csrfToken()).toThrow(NotLoadedError)
    expect(() => session.verifyCsrfToken(value)).toThrow(NotLoadedError)
    await session.load()
    expect(session.verifyCsrfToken(value)).toBe(true)
  })

  it('is neither given nor called wrong while the store is away', async () => {
    const store = faulty(memoryStore())
    const { visitor, token } = await signedIn({ store, onStoreFailure: 'anonymous' })
    const value = await token()
    store.error = new Error('away')
    await visitor.visit((session) => {
      expect(session.isUnavailable).toBe(true)
      expect(() => session.csrfToken()).toThrow(StoreUnavailableError)
      expect(() => session.verifyCsrfToken(value)).toThrow(StoreUnavailableError)
    })
    store.error = undefined
  })

  it('works for sessions in cookies too', async () => {
    const { visitor, token, verify } = await signedIn({ store: cookieStore() })
    const value = await token()
    expect(await verify(value)).toBe(true)
    await visitor.visit((session) => {
      session.data.more = 'data'
    })
    expect(await verify(value)).toBe(true)
    await visitor.visit((session) => session.login('ann'))
    expect(await verify(value)).toBe(false)
  })
})
