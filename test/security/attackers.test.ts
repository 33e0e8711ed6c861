/** Attackers of the threat model (docs/security.md) who are not met on the way to a requirement: with near misses, races, old keys and outages; over HTTP. */
import type { SessionOptions, Store } from 'holdfast'
import { cookieStore } from 'holdfast/stores/cookie'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, describe, expect, it } from 'vitest'
import type { Data } from '../frameworks/app.ts'
import { SECRET } from '../helpers/browser.ts'
import type { Client } from '../helpers/client.ts'
import { FRAMEWORKS, HOUR, MINUTE, type Site, startSite } from './site.ts'

const NEWER = 'fB8sYq2Lw7RkXc5TnVz9JpGm4HdQa3Ue'
const NEWEST = 'Zt6WmK1oCb9NxPy4EjSv8RgUq5LfDh2A'
const TOKEN_LENGTH = 64

describe.each(FRAMEWORKS)('on %s', (framework) => {
  const sites: Site[] = []
  afterEach(async () => {
    for (const site of sites.splice(0)) await site.stop()
  })
  const start = async (options: SessionOptions<Data> = {}) => {
    const site = await startSite(framework, options)
    sites.push(site)
    return site
  }
  const status = async (browser: Client) => (await browser.get('/me')).status
  const statuses = (...browsers: Client[]) => Promise.all(browsers.map(status))
  const tokenOf = ({ cookie }: Client) => cookie!.split('=')[1]!

  it('attacker 4: a token that is nearly right is refused as any other text is, before the store is asked', async () => {
    const { loggedIn, visitor, store } = await start()
    const token = tokenOf(await loggedIn('ann'))
    const near = [2, 20, TOKEN_LENGTH - 2].map(
      (at) => token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1),
    )
    const { loads } = store
    const replies = await Promise.all(
      [...near, 'A'.repeat(TOKEN_LENGTH)].map((text) => visitor(`__Host-id=${text}`).get('/me')),
    )
    const seen = replies.map(({ headers, status, text }) =>
      JSON.stringify([status, text, [...headers].filter(([name]) => name !== 'date')]),
    )
    expect(new Set(seen).size).toBe(1)
    expect(store.loads).toBe(loads)
    expect(await status(visitor(`__Host-id=${token}`))).toBe(200)
  })

  it('attacker 4: tokens that are of no use any more, and one that we signed for nobody, take one way: one read and one answer', async () => {
    const { loggedIn, visitor, clock, store } = await start()
    const elsewhere = await start()
    const [expired, retired] = [await loggedIn('ann'), visitor()]
    await retired.post('/set?json=1')
    clock.now += 24 * HOUR
    const late = retired.copy()
    await retired.post('/set?json=2')
    const before = retired.copy()
    await retired.post('/login?user=eve')
    clock.now += 6 * MINUTE
    const ended = await loggedIn('bob')
    const after = ended.copy()
    await ended.post('/logout')
    const browsers = {
      expired,
      retired: before,
      late,
      ended: after,
      unknown: await elsewhere.loggedIn('ann'),
    }
    const seen = new Set<string>()
    for (const [name, browser] of Object.entries(browsers)) {
      const { loads, writes } = store
      const { status, text, headers } = await visitor(browser.cookie).get('/me')
      expect([name, store.loads - loads, store.writes - writes]).toEqual([name, 1, 0])
      seen.add(JSON.stringify([status, text, [...headers].filter(([header]) => header !== 'date')]))
    }
    expect([...seen]).toHaveLength(1)
    expect([...seen][0]).toMatch(/^\[401,/)
  })

  it('attacker 20: a session that is logged out stays so, whatever slow requests write, 200 of 200', async () => {
    const { loggedIn, slowly, sessions } = await start()
    const browsers = await Promise.all(Array.from({ length: 200 }, (_, n) => loggedIn(`user${n}`)))
    const copies = browsers.map((browser) => browser.copy())
    const replies = await slowly(
      copies.map((copy) => () => copy.post('/slow')),
      () => Promise.all(browsers.map((browser) => browser.post('/logout'))),
    )
    expect(new Set(replies.map((reply) => reply.status))).toEqual(new Set([409]))
    expect(replies.flatMap(({ headers }) => headers.getSetCookie())).toEqual([])
    expect(new Set(await statuses(...copies))).toEqual(new Set([401]))
    expect((await sessions.stats()).sessions).toBe(0)
  })

  it('attackers 20 and 21: nor does a slow request revive what an administrator, a changed password or an identity provider ended', async () => {
    const { loggedIn, slowly, visitor } = await start()
    const here = await loggedIn('ann', '&stamp=old')
    const ended = [
      await loggedIn('ann', '&stamp=old'),
      await loggedIn('bob'),
      await loggedIn('eve', '&sid=idp'),
    ]
    const replies = await slowly(
      ended.map((browser) => () => browser.copy().post('/slow')),
      async () => {
        await here.post('/login?user=ann&stamp=new&alone=1')
        await visitor().post('/admin/revoke?user=bob')
        await visitor().post('/backchannel-logout?sid=idp')
      },
    )
    expect(replies.map((reply) => reply.status)).toEqual([409, 409, 409])
    expect(await statuses(here, ...ended)).toEqual([200, 401, 401, 401])
  })

  it.each(['evict-oldest', 'reject'] as const)(
    'attacker 24 and WSTG-SESS-11: 20 logins at the same moment leave as many sessions as the limit says (%s)',
    async (onLimit) => {
      const { visitor, sessions } = await start({ maxSessionsPerUser: { limit: 3, onLimit } })
      const browsers = Array.from({ length: 20 }, () => visitor())
      const replies = await Promise.all(browsers.map((browser) => browser.post('/login?user=ann')))
      const live = (await statuses(...browsers)).filter((each) => each === 200).length
      expect(live).toBe(3)
      expect(await sessions.list('ann')).toHaveLength(3)
      const refused = replies.filter((reply) => reply.status === 409)
      expect(refused).toHaveLength(onLimit === 'reject' ? 17 : 0)
      expect(refused.flatMap(({ headers }) => headers.getSetCookie())).toEqual([])
    },
  )

  it('attacker 30 and ASVS 9.2.1 to 9.2.3: a sealed cookie counts under its own name and for its own session, until its time is over', async () => {
    const mine = await start({ store: cookieStore() })
    const admin = await start({ store: cookieStore(), name: 'admin' })
    const [ann, bob] = [await mine.loggedIn('ann'), await mine.loggedIn('bob')]
    const { setCookies } = await post(admin, '/login?user=root')
    expect(setCookies[0]).toMatch(/^__Host-admin=/)
    expect(await status(mine.visitor(`__Host-id=${setCookies[0]!.split(/[=;]/)[1]}`))).toBe(401)
    const [token, data] = [tokenOf(ann).slice(0, TOKEN_LENGTH), tokenOf(bob).slice(TOKEN_LENGTH)]
    expect(await status(mine.visitor(`__Host-id=${token}${data}`))).toBe(401)
    const kept = ann.copy()
    expect(await status(mine.visitor(`__Host-id=${token}${tokenOf(ann).slice(TOKEN_LENGTH)}`))).toBe(200)
    mine.clock.now += 15 * 24 * HOUR
    expect(await status(kept)).toBe(401)
  })

  it.each([
    ['tokens', () => memoryStore()],
    ['sealed cookies', () => cookieStore()],
  ] as [string, () => Store][])(
    'attacker 31 and ASVS 9.1.3: new %s are of the newest secret, and those of a removed one are worth nothing',
    async (_name, makeStore) => {
      const store = makeStore()
      const before = await start({ store, secret: SECRET })
      const leaked = await before.loggedIn('ann')
      const during = await start({ store, secret: [NEWER, SECRET] })
      const owner = during.visitor(leaked.cookie)
      expect(await status(owner)).toBe(200)
      await owner.post('/set?json=1')
      expect(owner.cookie).not.toBe(leaked.cookie)
      const fresh = await during.loggedIn('bob')
      const after = await start({ store, secret: [NEWEST, NEWER] })
      const seen = [owner, fresh, leaked].map(({ cookie }) => after.visitor(cookie))
      expect(await statuses(...seen)).toEqual([200, 200, 401])
      const forger = await start({ secret: SECRET, store })
      expect(await status(after.visitor((await forger.loggedIn('ann')).cookie))).toBe(401)
    },
  )

  it('attacker 31 and ASVS 9.1.3: what is sealed at rest stays readable after a new secret, and is sealed by it when it is next written', async () => {
    const store = memoryStore()
    const keyIds = async () => {
      const { items } = await store.scan!(undefined, 10)
      return items.map(([, { text }]) => /^s1\.([\w-]{4})\./.exec(text)?.[1])
    }
    const before = await start({ store, seal: true, secret: SECRET })
    const owner = await before.loggedIn('ann')
    await owner.post('/set?json=1')
    const [old] = await keyIds()
    const during = await start({ store, seal: true, secret: [NEWER, SECRET] })
    const browser = during.visitor(owner.cookie)
    expect((await browser.get('/')).text).toBe('ann {"given":1}')
    expect(await keyIds()).toEqual([old])
    await browser.post('/set?json=2')
    expect(await keyIds()).toEqual([expect.stringMatching(/^[\w-]{4}$/)])
    expect(await keyIds()).not.toEqual([old])
    const after = await start({ store, seal: true, secret: NEWER })
    expect((await after.visitor(browser.cookie).get('/')).text).toBe('ann {"given":2}')
  })

  it('attacker 32: of fifty step-ups at the same moment one succeeds, and its token alone is alive', async () => {
    const { loggedIn, slowly, visitor } = await start()
    const browser = await loggedIn('ann')
    const copies = Array.from({ length: 50 }, () => browser.copy())
    const replies = await slowly(
      copies.map((copy) => () => copy.post('/slow?elevate')),
      async () => {},
    )
    expect(replies.map((reply) => reply.status).sort()).toEqual([200, ...Array(49).fill(409)])
    const given = copies.flatMap(({ setCookies }) => setCookies.map((line) => line.split(';')[0]!))
    expect(given).toHaveLength(1)
    expect((await visitor(given[0]).post('/transfer')).status).toBe(200)
    expect(await status(browser)).toBe(401)
  })

  it('attacker 33: while the store cannot write nobody is logged in or out, and no answer says so', async () => {
    const store = memoryStore()
    const { loggedIn, visitor } = await start({ store })
    const browser = await loggedIn('ann')
    const { create, update, destroy } = store
    const down = () => Promise.reject(new Error('it is down'))
    Object.assign(store, { create: down, update: down, destroy: down })
    const failed = [
      await browser.copy().post('/set?json=1'),
      await browser.copy().post('/login?user=ann'),
      await browser.copy().post('/elevate'),
      await browser.copy().post('/logout'),
      await visitor().post('/login?user=bob'),
    ]
    expect(failed.map((reply) => reply.status)).toEqual([503, 503, 503, 503, 503])
    expect(failed.flatMap(({ headers }) => headers.getSetCookie())).toEqual([])
    Object.assign(store, { create, update, destroy })
    expect((await browser.get('/')).text).toBe('ann {}')
    expect((await browser.post('/transfer')).status).toBe(401)
  })

  it('ASVS 7.6.1 and 7.1.3 a session ends with the login at the identity provider, whatever the policy allows', async () => {
    const { loggedIn, clock } = await start({ lifetime: { absolute: '14d', idle: '24h' } })
    const browser = await loggedIn('ann', `&until=${clock.now + 40 * MINUTE}`)
    clock.now += 20 * MINUTE
    await browser.post('/elevate')
    clock.now += 20 * MINUTE - 1
    expect(await status(browser)).toBe(200)
    clock.now += 1
    expect(await status(browser)).toBe(401)
  })

  it('ASVS 14.2.7 nothing is left of sessions that were ended, once no request of theirs can be on its way', async () => {
    const { loggedIn, sessions, clock } = await start()
    for (const user of ['ann', 'bob']) await (await loggedIn(user)).post('/logout')
    clock.now += 4 * MINUTE
    expect(await sessions.sweep()).toBe(0)
    clock.now += 3 * MINUTE
    expect(await sessions.sweep()).toBe(2)
    expect(await sessions.sweep()).toBe(0)
  })
})

async function post({ visitor }: Site, path: string): Promise<{ setCookies: string[] }> {
  const { headers } = await visitor().post(path)
  return { setCookies: headers.getSetCookie() }
}
