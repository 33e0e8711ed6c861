import { SessionEndedError } from 'holdfast'
import { describe, expect, it } from 'vitest'
import { browser, manager } from './helpers/browser.ts'

describe('a session', () => {
  it('keeps what a handler put into data, without any flag', async () => {
    const { sessions } = manager<{ cart?: Record<string, number> }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => {
      session.data.cart = { tea: 1 }
    })
    await visitor.visit((session) => {
      session.data.cart!.tea = 2
    })
    expect(await visitor.visit((session) => session.data)).toEqual({ cart: { tea: 2 } })
  })

  it('sets a cookie when it is created, and not again', async () => {
    const { sessions } = manager<{ n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    expect(visitor.setCookies).toHaveLength(1)
    await visitor.visit((session) => void (session.data.n = 2))
    expect(visitor.setCookies).toHaveLength(1)
  })

  it('creates nothing for a visitor whose handler only looked', async () => {
    const { sessions, store } = manager()
    const visitor = browser(sessions)
    await visitor.visit((session) => [session.data, session.userId, session.handle])
    expect(visitor.setCookies).toEqual([])
    expect((await store.scan!(undefined, 10)).items).toEqual([])
  })

  it('gives a new token at login and keeps the data', async () => {
    const { sessions } = manager<{ cart?: string[] }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.cart = ['tea']))
    const before = visitor.cookie
    await visitor.visit((session) => session.login('ann'))
    expect(visitor.cookie).not.toBe(before)
    expect(await visitor.visit((session) => [session.userId, session.data])).toEqual([
      'ann',
      { cart: ['tea'] },
    ])
    const thief = browser(sessions, before)
    expect(await thief.visit((session) => [session.userId, session.data, session.presented])).toEqual([
      undefined,
      {},
      'ended',
    ])
  })

  it('ends at logout, and a request that read before writes nothing after', async () => {
    const { sessions, store } = manager<{ n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit(async (session) => {
      session.data.n = 1
      await session.login('ann')
    })
    const slow = await sessions.open(visitor.header)
    await visitor.visit((session) => session.logout())
    expect(visitor.cookie).toBeUndefined()
    slow.data.n = 2
    await expect(async () => sessions.commit(slow)).rejects.toThrow(SessionEndedError)
    expect((await store.scan!(undefined, 10)).items).toEqual([])
  })

  it('loses none of 200 parallel changes', async () => {
    const { sessions } = manager<{ visits?: number; cart?: Record<string, number> }>({
      merge: { visits: 'sum' },
    })
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.visits = 0))
    await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        visitor.visit(async (session) => {
          const visits = session.data.visits!
          await new Promise((resume) => setTimeout(resume, 5))
          session.data.visits = visits + 1
          ;(session.data.cart ??= {})[`item${i}`] = i
        }),
      ),
    )
    const data = await visitor.visit((session) => session.data)
    expect(data.visits).toBe(200)
    expect(Object.keys(data.cart!)).toHaveLength(200)
  })

  it('counts 200 parallel updates', async () => {
    const { sessions } = manager<{ visits: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.visits = 0))
    await Promise.all(
      Array.from({ length: 200 }, () => visitor.visit((session) => session.update((data) => ++data.visits))),
    )
    expect(await visitor.visit((session) => session.data.visits)).toBe(200)
  })

  it('is answered without a promise when nothing has changed', async () => {
    const { sessions } = manager<{ n?: number }>()
    const visitor = browser(sessions)
    await visitor.visit((session) => void (session.data.n = 1))
    for (const header of [undefined, visitor.header]) {
      const session = await sessions.open(header)
      expect(session.data.n).toBe(header && 1)
      expect(sessions.commit(session)).toEqual({ headers: [['Vary', 'Cookie', 'append']] })
    }
  })
})
