/** What a request costs its store, counted on the wire between the two. */
import { createSessions, type Sessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { browser, SECRET } from './helpers/browser.ts'
import { type RunningStore, serverStores } from './helpers/stores.ts'
import { type Wire, wireTo } from './helpers/wire.ts'

interface Data {
  visits?: number
  text?: string
}

/** Of the first, the second and the third login of a user who may have two sessions; absent where a store cannot list by user. */
const LOGIN_TRIPS: Record<string, object> = {
  redis: { 'evict-oldest': [4, 4, 6], reject: [5, 6, 2] },
  postgres: { 'evict-oldest': [2, 2, 3], reject: [3, 3, 1] },
  mariadb: { 'evict-oldest': [2, 2, 3], reject: [3, 3, 1] },
}

describe.each(Object.keys(serverStores))('requests to %s', (name) => {
  let server: RunningStore
  let wire: Wire
  let sessions: Sessions<Data>
  const clock = { now: Date.now() }

  beforeAll(async () => {
    server = await serverStores[name as keyof typeof serverStores]()
    wire = await wireTo(Number(/:(\d+)(?:\/|$)/.exec(server.url)![1]))
    sessions = createSessions<Data>({
      secret: SECRET,
      store: openStore(server.url.replace(/:\d+(\/|$)/, `:${wire.port}$1`)),
      clock: () => clock.now,
      sweepEvery: false,
    })
    // The first ones connect, make what is missing, and prepare each statement on each connection.
    for (let round = 0; round < 3; round++) {
      const jars = Array.from({ length: 30 }, () => browser(sessions))
      const all = (work: (jar: (typeof jars)[number]) => Promise<unknown>) => Promise.all(jars.map(work))
      await all((jar) => jar.visit((session) => void (session.data.visits = 1)))
      await all((jar) => jar.visit((session) => session.data.visits!++))
      clock.now += 61_000
      await all((jar) => jar.visit((session) => session.data.visits))
      await all((jar) => jar.visit((session) => session.login('warm')))
      await all((jar) => jar.visit((session) => session.data.visits!++))
      await idle()
    }
    await idle()
  }, 60_000)
  afterAll(async () => {
    await sessions?.close()
    await wire?.close()
    await server?.stop()
  })

  /** Until what goes on behind an answer has been done as well. */
  const idle = () => new Promise((resume) => setTimeout(resume, 50))

  async function tripsOf(work: () => Promise<unknown>): Promise<number> {
    wire.reset()
    await work()
    await idle()
    return wire.traffic().roundTrips
  }

  it('cost none without a cookie, none with a forged one', async () => {
    expect(await tripsOf(() => browser(sessions).visit((session) => session.data.visits))).toBe(0)
    const forged = 'A'.repeat(64)
    expect(await tripsOf(() => browser(sessions, forged).visit((session) => session.data.visits))).toBe(0)
  })

  it('cost one to read, two to change, and one touch in each interval', async () => {
    const jar = browser(sessions)
    expect(await tripsOf(() => jar.visit((session) => void (session.data.text = 'x'.repeat(400))))).toBe(1)
    for (let n = 0; n < 3; n++) {
      expect(await tripsOf(() => jar.visit((session) => session.data.text))).toBe(1)
      expect(await tripsOf(() => jar.visit((session) => void (session.data.visits = n)))).toBe(2)
    }
    clock.now += 61_000
    expect(await tripsOf(() => jar.visit((session) => session.data.text))).toBe(2)
    expect(await tripsOf(() => jar.visit((session) => session.data.text))).toBe(1)
    clock.now += 30_000
    expect(await tripsOf(() => jar.visit((session) => session.data.text))).toBe(1)
  })

  it('cost one where the handler looks at nothing', async () => {
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    expect(await tripsOf(() => jar.visit(() => undefined))).toBe(1)
  })

  it('of a user cost as much', async () => {
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann'))
    await jar.visit((session) => session.data.visits)
    expect(await tripsOf(() => jar.visit((session) => session.userId))).toBe(1)
    expect(await tripsOf(() => jar.visit((session) => void (session.data.visits = 7)))).toBe(2)
  })

  const limitedTrips = LOGIN_TRIPS[name]
  if (limitedTrips === undefined) {
    it('of a user cannot be limited where nobody can list them', () => {
      const store = openStore(server.url)
      const maxSessionsPerUser = { limit: 2, onLimit: 'reject' } as const
      expect(() => createSessions({ secret: SECRET, store, maxSessionsPerUser })).toThrow(
        /cannot list sessions by user/,
      )
    })
    return
  }

  it('of a limited user: a login costs one list more, or two, and what ends', async () => {
    const costs: Record<string, number[]> = {}
    for (const onLimit of ['evict-oldest', 'reject'] as const) {
      const store = openStore(server.url.replace(/:\d+(\/|$)/, `:${wire.port}$1`))
      const limited = createSessions<Data>({
        secret: SECRET,
        store,
        clock: () => clock.now,
        sweepEvery: false,
        maxSessionsPerUser: { limit: 2, onLimit },
      })
      const login = (user: string) => browser(limited).visit((session) => session.login(user))
      // At the least, since connections have yet to prepare what they are given.
      const least = [99, 99, 99]
      for (let user = 0; user < 6; user++) {
        for (let n = 0; n < 3; n++) {
          clock.now += 1
          const trips = await tripsOf(() => login(`${onLimit}-${user}`).catch(() => {}))
          least[n] = Math.min(least[n]!, trips)
        }
      }
      costs[onLimit] = least
      await limited.close()
    }
    // The third is one too many.
    expect(costs).toEqual(limitedTrips)
  })
})
