import { createSessions, SessionEndedError, type Sessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { browser, SECRET } from './helpers/browser.ts'
import { type RunningStore, sharedStores } from './helpers/stores.ts'

interface Data {
  visits?: number
  cart?: Record<string, number>
}

const stores: Record<string, () => Promise<RunningStore>> = {
  memory: async () => ({ url: 'memory:', stop: async () => {} }),
  ...sharedStores,
}

/** What the store suite cannot see: the promises, kept by the core and each store together. */
describe.each(Object.keys(stores))('sessions in a store: %s', (name) => {
  let running: RunningStore
  let sessions: Sessions<Data>
  let canList: boolean
  beforeAll(async () => {
    running = await stores[name]!()
  }, 60_000)
  afterAll(() => running?.stop())
  beforeEach(() => {
    const store = openStore(running.url)
    canList = store.users !== undefined
    const deadlines = { request: '30s' }
    sessions = createSessions<Data>({ secret: SECRET, store, merge: { visits: 'sum' }, deadlines })
  })
  afterEach(() => sessions.close())
  const countOf = async (user: string) => (canList ? (await sessions.list(user)).length : 0)
  const parallel = <T>(count: number, work: (i: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, i) => work(i)))

  it('are not revived by a request that read before the logout and writes after it: 20 of 20 dead', async () => {
    const outcomes = await parallel(20, async (i) => {
      const jar = browser(sessions)
      await jar.visit((session) => session.login(`user-${i}`))
      const slow = await sessions.open(jar.header)
      const header = jar.header
      await jar.visit((session) => session.logout())
      slow.data.visits = 1
      await expect(slow.commit()).rejects.toThrow(SessionEndedError)
      await expect(slow.update((data) => (data.visits = 2))).rejects.toThrow(SessionEndedError)
      return [(await sessions.open(header)).userId, await countOf(`user-${i}`)]
    })
    expect(outcomes).toEqual(Array(20).fill([undefined, 0]))
  })

  it('are not revived by a touch or a confirmation that comes after the logout', async () => {
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    const header = jar.header
    await parallel(10, async (i) => {
      const session = await sessions.open(header)
      if (i === 5) await session.logout()
      await Promise.resolve(sessions.commit(session)).catch(() => undefined)
    })
    await new Promise((resume) => setTimeout(resume, 20))
    expect((await sessions.open(header)).presented).toBe('ended')
    expect(await countOf('ann')).toBe(0)
  })

  it('lose none of 200 parallel changes', async () => {
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 0))
    await parallel(200, (i) =>
      jar.visit(async (session) => {
        const visits = session.data.visits!
        await new Promise((resume) => setTimeout(resume, 5))
        session.data.visits = visits + 1
        session.data.cart ??= {}
        session.data.cart[`item-${i}`] = 1
      }),
    )
    const data = await jar.visit((session) => session.data)
    expect([data.visits, Object.keys(data.cart!).length]).toEqual([200, 200])
  })
})

it.each(['file', 'sqlite'])('sessions in a store survive a restart: %s', async (name) => {
  const running = await sharedStores[name]!()
  const start = () => createSessions<Data>({ secret: SECRET, store: openStore(running.url) })
  const before = start()
  const jar = browser(before)
  await jar.visit(async (session) => {
    session.data.visits = 7
    await session.login('ann')
  })
  await before.close()
  const after = start()
  expect(await browser(after, jar.cookie).visit((session) => [session.userId, session.data.visits])).toEqual([
    'ann',
    7,
  ])
  await after.close()
  await running.stop()
})

it('two applications in one process share nothing', async () => {
  const [first, second] = [0, 1].map(() => createSessions<Data>({ secret: SECRET }))
  const jar = browser(first!)
  await jar.visit((session) => session.login('ann'))
  expect(await browser(second!, jar.cookie).visit((session) => [session.presented, session.userId])).toEqual([
    'ended',
    undefined,
  ])
  expect(await second!.list('ann')).toEqual([])
  const request = new Request('https://example.org/', { headers: { cookie: jar.header! } })
  await Promise.all([first!.open(request), second!.open(request)])
  expect([first!.of(request).userId, second!.of(request).userId]).toEqual(['ann', undefined])
})
