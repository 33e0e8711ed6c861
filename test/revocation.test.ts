/** ASVS 7.4.1 to 7.4.5, 7.6.1, attackers 20, 21 and 34: whatever ends a session has ended it at the very next request, on every store. */
import { createSessions, type Sessions, UnsupportedError } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { cookieStore } from 'holdfast/stores/cookie'
import { memcachedStore } from 'holdfast/stores/memcached'
import { memoryStore } from 'holdfast/stores/memory'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { browser, manager, SECRET } from './helpers/browser.ts'
import { type RunningStore, serverStores, sharedStores } from './helpers/stores.ts'

interface Data {
  n?: number
}
type Jar = ReturnType<typeof browser<Data>>

const LISTING = ['memory', 'file', 'sqlite', 'redis', 'postgres', 'mariadb'] as const
const userOf = (jar: Jar) => jar.visit((session) => session.userId)
const usersOf = (jars: readonly Jar[]) => Promise.all(jars.map(userOf))

describe.each(LISTING)('on %s', (name) => {
  let running: RunningStore
  let sessions: Sessions<Data>
  /** Another process, as far as the store can be shared. */
  let elsewhere: Sessions<Data>
  let users = 0

  beforeAll(async () => {
    running = name === 'memory' ? { url: 'memory:', stop: async () => {} } : await sharedStores[name]!()
    const start = () =>
      createSessions<Data>({ secret: SECRET, store: openStore(running.url), sweepEvery: false })
    sessions = start()
    elsewhere = name === 'memory' ? sessions : start()
  }, 60_000)
  afterAll(async () => {
    await sessions?.close()
    await elsewhere?.close()
    await running?.stop()
  })

  async function devices(count = 3) {
    const user = `ann-${users++}`
    const jars: Jar[] = []
    for (let n = 0; n < count; n++) {
      const jar = browser(n % 2 ? elsewhere : sessions)
      await jar.visit((session) => session.login(user, { externalId: `sid-${user}-${n}`, stamp: 'old' }))
      jars.push(jar)
    }
    return { user, jars }
  }

  it('ASVS 7.5.2: one session ends by its handle, and a handle of another user’s does not', async () => {
    const { user, jars } = await devices(2)
    const handle = await jars[0]!.visit((session) => session.handle)
    expect(await elsewhere.revoke({ handle, userId: 'somebody-else' })).toBe(0)
    expect(await userOf(jars[0]!)).toBe(user)
    expect(await elsewhere.revoke({ handle, userId: user })).toBe(1)
    expect(await usersOf(jars)).toEqual([undefined, user])
  })

  it('ASVS 7.4.2: all of a user end, and nobody else’s', async () => {
    const [ann, bob] = [await devices(), await devices(1)]
    expect(await elsewhere.revoke({ userId: ann.user })).toBe(3)
    expect(await usersOf(ann.jars)).toEqual([undefined, undefined, undefined])
    expect(await usersOf(bob.jars)).toEqual([bob.user])
  })

  it('ASVS 7.4.3: all others of a user end', async () => {
    const { user, jars } = await devices()
    expect(await jars[1]!.visit((session) => elsewhere.revokeOthers(session))).toBe(2)
    expect(await usersOf(jars)).toEqual([undefined, user, undefined])
  })

  it('ASVS 7.6.1: those of an identity provider’s session end', async () => {
    const { user, jars } = await devices(2)
    expect(await elsewhere.revoke({ externalId: `sid-${user}-1` })).toBe(1)
    expect(await usersOf(jars)).toEqual([user, undefined])
  })

  it('attacker 21: a changed password ends the others in one call, and gives this one a new token and stamp', async () => {
    const { user, jars } = await devices()
    const [mine] = jars as [Jar]
    const [stolen, revoked] = [browser(sessions, mine.cookie), vi.fn()]
    const stop = sessions.on('revoked', revoked)
    await mine.visit((session) => session.login(user, { stamp: 'new', revokeOthers: true }))
    stop()
    expect(mine.cookie).not.toBe(stolen.cookie)
    expect(await usersOf([...jars, stolen])).toEqual([user, undefined, undefined, undefined])
    expect(await mine.visit((session) => session.verifyStamp('new'))).toBe(true)
    expect(revoked.mock.calls).toEqual([[{ count: 2, userId: user }]])
    expect(await sessions.list(user)).toHaveLength(1)
  })

  it('ASVS 7.4.5: everybody’s sessions end, and new logins work', async () => {
    const [ann, bob] = [await devices(), await devices(1)]
    expect(await elsewhere.revokeAll()).toBeGreaterThanOrEqual(4)
    expect(await usersOf([...ann.jars, ...bob.jars])).toEqual(Array(4).fill(undefined))
    expect(await userOf((await devices(1)).jars[0]!)).toMatch(/^ann/)
  })
})

describe('a login with revokeOthers', () => {
  it('ends nobody when the handler fails, or before the answer', async () => {
    const { sessions } = manager<Data>()
    const [other, mine] = [browser(sessions), browser(sessions)]
    for (const jar of [other, mine]) await jar.visit((session) => session.login('ann'))
    await mine.visit((session) => session.login('ann', { revokeOthers: true }), 500)
    expect(await usersOf([other, mine])).toEqual(['ann', 'ann'])
  })

  it('that is clicked twice ends the others and not itself', async () => {
    const { sessions } = manager<Data>()
    const [other, mine] = [browser(sessions), browser(sessions)]
    for (const jar of [other, mine]) await jar.visit((session) => session.login('ann'))
    const again = browser(sessions, mine.cookie)
    const login = (jar: Jar) =>
      jar.visit((session) => session.login('ann', { stamp: 'new', revokeOthers: true }))
    await Promise.all([login(mine), login(again)])
    expect(mine.cookie).toBe(again.cookie)
    expect(await usersOf([other, mine])).toEqual([undefined, 'ann'])
  })

  it('ends the others when the same request has logged in before, or does again', async () => {
    const { sessions } = manager<Data>()
    const orders = [
      [{}, { revokeOthers: true }],
      [{ revokeOthers: true }, {}],
    ]
    for (const [first, second] of orders) {
      const [other, mine] = [browser(sessions), browser(sessions)]
      await other.visit((session) => session.login('ann'))
      await mine.visit(async (session) => {
        await session.login('ann', first)
        await session.login('ann', second)
      })
      expect(await usersOf([other, mine])).toEqual([undefined, 'ann'])
    }
  })

  it('makes room where the number of sessions is limited', async () => {
    const { sessions } = manager<Data>({ maxSessionsPerUser: { limit: 1, onLimit: 'reject' } })
    const [other, mine] = [browser(sessions), browser(sessions)]
    await other.visit((session) => session.login('ann'))
    await mine.visit((session) => session.login('ann', { revokeOthers: true }))
    expect(await usersOf([other, mine])).toEqual([undefined, 'ann'])
  })

  it('whose others could not be ended is no login: 503, no cookie, and the next attempt ends them', async () => {
    const store = memoryStore()
    const { destroy } = store.users
    const { sessions } = manager<Data>({ store })
    const [other, mine] = [browser(sessions), browser(sessions)]
    for (const jar of [other, mine]) await jar.visit((session) => session.login('ann'))
    const { cookie } = mine
    const login = () => mine.visit((session) => session.login('ann', { stamp: 'new', revokeOthers: true }))
    Object.assign(store.users, { destroy: () => Promise.reject(new Error('down')) })
    await expect(login()).rejects.toMatchObject({ status: 503 })
    expect(mine.cookie).toBe(cookie)
    Object.assign(store.users, { destroy })
    await login()
    expect(await usersOf([other, mine])).toEqual([undefined, 'ann'])
  })

  it('works on sessions in cookies that have revocations', async () => {
    const store = cookieStore({ revocations: memoryStore() })
    const { sessions } = manager<Data>({ store })
    const [other, mine] = [browser(sessions), browser(sessions)]
    for (const jar of [other, mine]) await jar.visit((session) => session.login('ann'))
    await mine.visit((session) => session.login('ann', { revokeOthers: true }))
    expect(await usersOf([other, mine])).toEqual([undefined, 'ann'])
  })
})

describe('a store that cannot find sessions by user', () => {
  it('refuses the call and names the stamp, which ends them at their next request', async () => {
    const server = await serverStores.memcached()
    for (const store of [cookieStore(), memcachedStore(server.url.replace('memcached://', ''))]) {
      const sessions = createSessions<Data>({ secret: SECRET, store })
      const [other, mine] = [browser(sessions), browser(sessions)]
      for (const jar of [other, mine]) await jar.visit((session) => session.login('ann', { stamp: 'old' }))
      const all = { revokeOthers: true, stamp: 'new' }
      await mine.visit(async (session) => {
        await expect(session.login('ann', all)).rejects.toThrow(/verifyStamp\(\) ends the others/)
        await expect(sessions.revoke({ userId: 'ann' })).rejects.toThrow(UnsupportedError)
      })
      await mine.visit((session) => session.login('ann', { stamp: 'new' }))
      const check = (jar: Jar) =>
        jar.visit(async (session) => [await session.verifyStamp('new'), session.userId])
      expect(await check(other)).toEqual([false, undefined])
      expect(await check(mine)).toEqual([true, 'ann'])
      await sessions.close()
    }
    await server.stop()
  })
})
