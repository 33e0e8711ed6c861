/** OWASP ASVS 5.0, chapter V7: session management, seen over HTTP. */
import { createHash } from 'node:crypto'
import type { SessionInfo, SessionOptions } from 'holdfast'
import { afterEach, describe, expect, it } from 'vitest'
import type { Data } from '../frameworks/app.ts'
import type { Client } from '../helpers/client.ts'
import { FRAMEWORKS, HOUR, MINUTE, type Site, startSite } from './site.ts'

describe.each(FRAMEWORKS)('on %s', (framework) => {
  let site: Site
  afterEach(() => site.stop())
  const start = async (options: SessionOptions<Data> = {}) => {
    site = await startSite(framework, options)
    return site
  }
  const status = async (browser: Client) => (await browser.get('/me')).status
  const statuses = (...browsers: Client[]) => Promise.all(browsers.map(status))

  it('ASVS 7.1.1 the timeouts that the policy names are those in force', async () => {
    const { visitor, loggedIn, clock } = await start({ lifetime: { idle: '20m', absolute: '1h' } })
    const { lifetime } = JSON.parse((await visitor().get('/policy')).text)
    const began = clock.now
    const [idle, busy] = [await loggedIn('ann'), await loggedIn('bob')]
    clock.now = began + lifetime.idle - 1
    expect(await status(busy)).toBe(200)
    clock.now = began + lifetime.idle
    expect(await statuses(idle, busy)).toEqual([401, 200])
    for (let at = began + lifetime.idle; at < began + lifetime.absolute; at += 10 * MINUTE) {
      clock.now = at
      expect(await status(busy)).toBe(200)
    }
    clock.now = began + lifetime.absolute
    expect(await status(busy)).toBe(401)
  })

  it('ASVS 7.1.2 and WSTG-SESS-11: no user has more parallel sessions than the limit: the oldest ends', async () => {
    const { loggedIn, clock } = await start({ maxSessionsPerUser: { limit: 2, onLimit: 'evict-oldest' } })
    const browsers: Client[] = []
    for (let n = 0; n < 3; n++) {
      browsers.push(await loggedIn('ann'))
      clock.now += 1_000
    }
    expect(await statuses(...browsers)).toEqual([401, 200, 200])
  })

  it('ASVS 7.1.2 or the login beyond it is refused, and changes nothing', async () => {
    const { loggedIn, visitor } = await start({ maxSessionsPerUser: { limit: 2, onLimit: 'reject' } })
    const [first, second, third] = [await loggedIn('ann'), await loggedIn('ann'), visitor()]
    expect((await third.post('/login?user=ann')).status).toBe(409)
    expect(third.setCookies).toEqual([])
    expect(await statuses(first, second, third)).toEqual([200, 200, 401])
  })

  it('ASVS 7.2.1 and 11.2.4 a cookie with any one character changed is worth nothing', async () => {
    const { loggedIn, visitor } = await start()
    const { cookie } = await loggedIn('ann')
    const begins = cookie!.indexOf('=') + 1
    for (let at = begins; at < cookie!.length; at++) {
      const other = cookie![at] === 'A' ? 'B' : 'A'
      const forged = visitor(cookie!.slice(0, at) + other + cookie!.slice(at + 1))
      expect(await status(forged), `with character ${at - begins} changed`).toBe(401)
    }
    expect(await status(visitor(cookie))).toBe(200)
  })

  it('ASVS 7.2.2 a token of the client is never taken over', async () => {
    const { visitor } = await start()
    const chosen = visitor('__Host-id=chosen-by-the-attacker')
    await chosen.post('/login?user=ann')
    expect(chosen.cookie).not.toContain('chosen-by-the-attacker')
    expect(await status(chosen)).toBe(200)
    expect(await status(visitor('__Host-id=chosen-by-the-attacker'))).toBe(401)
  })

  it('ASVS 7.2.3 and 11.5.1 tokens are unique and random in at least 128 bits', async () => {
    const { visitor } = await start()
    const tokens: Buffer[] = []
    for (let n = 0; n < 500; n++) {
      const browser = visitor()
      await browser.post('/set?json=1')
      tokens.push(Buffer.from(browser.cookie!.split('=')[1]!, 'base64url'))
    }
    expect(new Set(tokens.map((token) => token.toString('hex'))).size).toBe(500)
    const bits = tokens[0]!.length * 8
    let random = 0
    for (let bit = 0; bit < bits; bit++) {
      const ones = tokens.filter((token) => (token[bit >> 3]! >> (bit & 7)) & 1).length
      if (ones === 0 || ones === 500) continue
      random++
      // Six standard deviations: a fair coin is further off once in half a billion bits.
      expect(Math.abs(ones - 250), `ones in bit ${bit}`).toBeLessThan(6 * Math.sqrt(500 / 4))
    }
    expect(random).toBeGreaterThanOrEqual(128)
  })

  it.each(['login?user=ann', 'elevate'])(
    'ASVS 7.2.4 and NIST 5.1(1) a new token at /%s, and the old one is dead at once',
    async (way) => {
      const { visitor, loggedIn } = await start()
      const browser = way === 'elevate' ? await loggedIn('ann') : visitor()
      await browser.post('/set?json=1')
      const thief = browser.copy()
      await browser.post(`/${way}`)
      expect(browser.cookie).not.toBe(thief.cookie)
      expect(await statuses(browser, thief)).toEqual([200, 401])
      expect((await thief.get('/')).text).toBe('nobody {}')
    },
  )

  it('ASVS 7.3.1 a session that is not used ends, and use keeps it', async () => {
    const { loggedIn, clock } = await start({ lifetime: { idle: '2m' } })
    const [used, unused] = [await loggedIn('ann'), await loggedIn('bob')]
    for (let minute = 0; minute < 4; minute++) {
      clock.now += MINUTE
      expect(await status(used)).toBe(200)
    }
    expect(await status(unused)).toBe(401)
  })

  it('ASVS 7.3.2 and attacker 22: neither use nor rotation moves the absolute end; NIST 5.2 a new login does', async () => {
    const { loggedIn, clock, events } = await start({ lifetime: { idle: '30m', absolute: '2h' } })
    const [used, again] = [await loggedIn('ann'), await loggedIn('bob')]
    for (let minutes = 10; minutes < 120; minutes += 10) {
      clock.now += 10 * MINUTE
      expect(await statuses(used, again)).toEqual([200, 200])
    }
    await again.post('/login?user=bob')
    clock.now += 10 * MINUTE
    expect(events.filter(({ name }) => name === 'rotated').length).toBeGreaterThanOrEqual(4)
    expect(await statuses(used, again)).toEqual([401, 200])
  })

  it('ASVS 7.4.1 and WSTG-SESS-06 a logout ends the session on the server', async () => {
    const { loggedIn } = await start()
    const browser = await loggedIn('ann')
    const copy = browser.copy()
    await browser.post('/logout')
    expect(browser.cookie).toBeUndefined()
    expect(await statuses(browser, copy)).toEqual([401, 401])
  })

  it('ASVS 7.4.1 and attacker 20: no slow request revives it, 20 of 20', async () => {
    const { loggedIn, slowly } = await start()
    const browsers = await Promise.all(Array.from({ length: 20 }, (_, n) => loggedIn(`user${n}`)))
    const copies = browsers.map((browser) => browser.copy())
    const replies = await slowly(
      copies.map((copy) => () => copy.post('/slow')),
      () => Promise.all(browsers.map((browser) => browser.post('/logout'))),
    )
    expect(replies.map((reply) => reply.status)).toEqual(Array(20).fill(409))
    expect(await statuses(...copies)).toEqual(Array(20).fill(401))
  })

  it('ASVS 7.4.2 and attacker 21: disabling an account ends all its sessions at the very next request', async () => {
    const { loggedIn, visitor } = await start()
    const [one, two, other] = [await loggedIn('ann'), await loggedIn('ann'), await loggedIn('bob')]
    expect((await visitor().post('/admin/revoke?user=ann')).text).toBe('2')
    expect(await statuses(one, two, other)).toEqual([401, 401, 200])
  })

  it('ASVS 7.4.3 and attacker 21: a changed password ends the other sessions, and gives this one a new token', async () => {
    const { loggedIn } = await start()
    const [here, there] = [await loggedIn('ann', '&stamp=old'), await loggedIn('ann', '&stamp=old')]
    const before = here.copy()
    await here.post('/login?user=ann&stamp=new&alone=1')
    expect(await statuses(here, there, before)).toEqual([200, 401, 401])
  })

  it('ASVS 7.4.3 a user can end the other sessions', async () => {
    const { loggedIn } = await start()
    const [here, there, other] = [await loggedIn('ann'), await loggedIn('ann'), await loggedIn('bob')]
    expect((await here.post('/sessions/revoke-others')).text).toBe('1')
    expect(await statuses(here, there, other)).toEqual([200, 401, 200])
  })

  it('ASVS 7.4.5 an administrator can end everybody’s sessions', async () => {
    const { loggedIn, visitor } = await start()
    const browsers = [await loggedIn('ann'), await loggedIn('bob')]
    await visitor().post('/admin/revoke-all')
    expect(await statuses(...browsers)).toEqual([401, 401])
    expect(await status(await loggedIn('ann'))).toBe(200)
  })

  it('ASVS 7.5.1 what changes how somebody logs in needs a recent login, and a step-up is none', async () => {
    const { loggedIn, clock } = await start()
    const browser = await loggedIn('ann')
    expect((await browser.post('/email')).status).toBe(200)
    clock.now += 11 * MINUTE
    expect((await browser.post('/email')).status).toBe(401)
    await browser.post('/elevate')
    expect((await browser.post('/email')).status).toBe(401)
    expect(await status(browser)).toBe(200)
    await browser.post('/login?user=ann')
    expect((await browser.post('/email')).status).toBe(200)
  })

  it('ASVS 7.5.2 and attacker 34: users see and end their own sessions, by names that are no tokens', async () => {
    const { loggedIn } = await start()
    const [here, there, bob] = [await loggedIn('ann'), await loggedIn('ann'), await loggedIn('bob')]
    const { text } = await here.get('/sessions')
    for (const { cookie } of [here, there]) {
      const token = cookie!.split('=')[1]!
      const hash = createHash('sha256').update(token)
      for (const secret of [token, hash.copy().digest('hex'), hash.copy().digest('base64url')]) {
        expect(text).not.toContain(secret)
      }
    }
    const handles = (JSON.parse(text) as SessionInfo[]).map(({ handle }) => handle)
    const ofThere = (await there.get('/handle')).text
    expect(handles.sort()).toEqual([ofThere, (await here.get('/handle')).text].sort())
    const end = async (browser: Client) => (await browser.post(`/sessions/revoke?handle=${ofThere}`)).status
    expect(await end(bob)).toBe(404)
    expect(await status(there)).toBe(200)
    expect(await end(here)).toBe(200)
    expect(await statuses(here, there, bob)).toEqual([200, 401, 200])
  })

  it('ASVS 7.5.3 a step-up opens what is sensitive, for as long as it is said to', async () => {
    const { loggedIn, clock } = await start()
    const browser = await loggedIn('ann')
    const transfer = async () => (await browser.post('/transfer')).status
    expect(await transfer()).toBe(401)
    await browser.post('/elevate')
    expect(await transfer()).toBe(200)
    clock.now += 5 * MINUTE
    expect(await transfer()).toBe(401)
    expect(await status(browser)).toBe(200)
  })

  it('ASVS 7.6.1 and 7.1.3 a logout at the identity provider ends the session that it began', async () => {
    const { loggedIn, visitor } = await start()
    const [ann, again] = [await loggedIn('ann', '&sid=idp-1'), await loggedIn('ann', '&sid=idp-2')]
    expect((await visitor().post('/backchannel-logout?sid=idp-1')).text).toBe('1')
    expect(await statuses(ann, again)).toEqual([401, 200])
  })

  it('ASVS 7.6.2 looking makes no session', async () => {
    const { visitor, store } = await start()
    const browser = visitor()
    for (const path of ['/', '/me', '/policy']) await browser.get(path)
    expect(browser.setCookies).toEqual([])
    expect([store.loads, store.writes]).toEqual([0, 0])
  })

  it('ASVS 14.2.7 what has expired is removed', async () => {
    const { loggedIn, visitor, sessions, clock } = await start({ lifetime: { absolute: '1h', idle: '1h' } })
    await loggedIn('ann')
    await visitor().post('/set?json=1')
    expect((await sessions.stats()).sessions).toBe(2)
    clock.now += 24 * HOUR
    expect(await sessions.sweep()).toBe(2)
    expect(await sessions.all()).toEqual({ sessions: [] })
  })
})
