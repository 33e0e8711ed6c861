/** NIST SP 800-63B-4, OWASP's cheat sheet and testing guide, RFC 6265bis: what ASVS does not have; over HTTP. */
import type { SessionOptions } from 'holdfast'
import { isTombstone } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
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

  it('NIST 5.1 the cookie is Secure, whatever a proxy says of the connection', async () => {
    const { visitor } = await start()
    for (const proto of ['', 'https', 'http']) {
      const headers: HeadersInit = proto === '' ? {} : { 'X-Forwarded-Proto': proto }
      const browser = visitor()
      await browser.post('/login?user=ann', { headers })
      expect(browser.setCookies[0]).toContain('; Secure')
    }
  })

  it('NIST 5.1(5) the server ends a session whatever the browser keeps', async () => {
    const { visitor, clock } = await start()
    const browser = visitor()
    await browser.post('/everything')
    expect(browser.setCookies[0]).toMatch(/; Max-Age=2592000/)
    const { cookie } = browser
    clock.now += 31 * 24 * HOUR
    expect(await status(visitor(cookie))).toBe(401)
  })

  it('NIST 5.1.1(7) a cookie says nothing of its user', async () => {
    const { loggedIn } = await start()
    const browser = await loggedIn('ann.example@mail.example')
    await browser.post('/set?json="a word of hers"')
    const value = browser.cookie!.split('=')[1]!
    const ways = [
      value,
      ...(['base64url', 'hex'] as const).map((way) => Buffer.from(value, way).toString('latin1')),
    ]
    for (const text of ways) expect(text).not.toMatch(/ann|mail|word/)
  })

  it('NIST 5.3 no address and no browser is kept', async () => {
    const { visitor, store } = await start()
    await visitor().post('/login?user=ann', { headers: { 'User-Agent': 'Mozilla/5.0 (a rare browser)' } })
    const dump = JSON.stringify(await store.scan!(undefined, 10))
    expect(dump).toContain('ann')
    expect(dump).not.toMatch(/rare browser|127\.0\.0\.1|::1/)
  })

  it('CS-strict, attackers 1 and 23: 1,000 unknown tokens are never adopted, cost no read and leave the store empty', async () => {
    const { visitor, store } = await start()
    const replies = await Promise.all(
      Array.from({ length: 1_000 }, () => {
        const token = Buffer.from(Array.from({ length: 40 }, () => Math.random() * 256)).toString('base64url')
        return visitor(`__Host-id=${token}`).get('/')
      }),
    )
    expect(replies.flatMap(({ headers }) => headers.getSetCookie())).toEqual([])
    expect([store.loads, store.writes]).toEqual([0, 0])
  })

  it('CS-input what is no token reaches no store', async () => {
    const { visitor, store } = await start()
    for (const text of [
      '../../etc/passwd',
      "' OR 1=1 --",
      'x'.repeat(8_000),
      '__proto__',
      'constructor',
      '%00',
      '"quoted"',
    ]) {
      expect(await status(visitor(`__Host-id=${text}`))).toBe(401)
    }
    expect([store.loads, store.writes]).toEqual([0, 0])
  })

  it('CS-renew and attacker 16: a token is renewed in use; the old one works while the new one is on its way, and betrays a thief later', async () => {
    const { loggedIn, clock, events } = await start()
    const owner = await loggedIn('ann')
    const thief = owner.copy()
    clock.now += 16 * MINUTE
    const parallel = owner.copy()
    expect(await status(owner)).toBe(200)
    expect(owner.cookie).not.toBe(thief.cookie)
    expect(await statuses(owner, parallel)).toEqual([200, 200])
    for (let n = 0; n < 2; n++) {
      clock.now += 16 * MINUTE
      await owner.get('/me')
      await owner.get('/me')
    }
    clock.now += 6 * MINUTE
    expect(await status(thief)).toBe(401)
    expect(events.map(({ name }) => name)).toContain('reuse')
    expect(await status(owner)).toBe(401)
  })

  it('CS-name the cookie’s name says nothing of what is behind it', async () => {
    const { loggedIn } = await start()
    expect((await loggedIn('ann')).cookie).toMatch(/^__Host-id=/)
  })

  it('WSTG-SESS-03 and attacker 5: a token that was forced on a visitor is dead when the visitor has logged in', async () => {
    const { visitor } = await start()
    const attacker = visitor()
    await attacker.post('/set?json="of the attacker"')
    const victim = attacker.copy()
    await victim.post('/login?user=ann')
    expect(await statuses(victim, attacker)).toEqual([200, 401])
    expect((await attacker.post('/set?json=1')).status).toBe(409)
  })

  it('WSTG-SESS-08, NIST 5.1 and attacker 29: no data makes a user, a level or a login', async () => {
    const { visitor } = await start()
    const browser = visitor()
    const auth = { userId: 'ann', level: '2fa', authenticatedAt: 1, user: 'ann', lv: '2fa' }
    await browser.post(`/set?json=${encodeURIComponent(JSON.stringify(auth))}`)
    expect((await browser.get('/')).text).toContain('"userId":"ann"')
    expect(await status(browser)).toBe(401)
    expect((await browser.post('/transfer')).status).toBe(401)
  })

  it('RFC 6265bis and attacker 7: two different tokens, names that look alike and cookies without a name are never mixed up', async () => {
    const { loggedIn, visitor, events } = await start()
    const [ann, bob] = [await loggedIn('ann'), await loggedIn('bob')]
    expect((await visitor(`${ann.cookie}; ${bob.cookie}`).get('/')).text).toBe('nobody {}')
    expect(events.map(({ name }) => name)).toContain('duplicate')
    expect((await visitor(`${ann.cookie}; ${ann.cookie}`).get('/')).text).toBe('ann {}')
    const value = ann.cookie!.split('=')[1]!
    for (const cookie of [
      `=__Host-id=${value}`,
      `__host-id=${value}`,
      `%5F_Host-id=${value}`,
      `x__Host-id=${value}`,
      `\u00a0__Host-id=${value}`,
    ]) {
      expect(await status(visitor(cookie)), cookie).toBe(401)
    }
    expect((await visitor(`\u00a0${bob.cookie}; ${ann.cookie}`).get('/')).text).toBe('ann {}')
  })

  it('attacker 2: nothing in the store is a token', async () => {
    const { loggedIn, visitor, store } = await start()
    await (await loggedIn('ann')).post('/set?json="kept"')
    const { items } = await store.scan!(undefined, 10)
    const words = JSON.stringify(items).match(/[A-Za-z0-9_.:-]{8,}/g)!
    expect(words.length).toBeGreaterThan(2)
    for (const word of new Set(words.flatMap((each) => [each, ...each.split(':')]))) {
      expect(await status(visitor(`__Host-id=${word}`))).toBe(401)
    }
  })

  it('attacker 3: who writes the store cannot give one session what is another’s, if records are sealed', async () => {
    const store = memoryStore()
    const { loggedIn } = await start({ store, seal: true })
    const [ann, bob] = [await loggedIn('ann'), await loggedIn('bob')]
    expect(await statuses(ann, bob)).toEqual([200, 200])
    const [one, two] = (await store.scan!(undefined, 10)).items
    for (const [to, from] of [
      [one!, two!],
      [two!, one!],
    ] as const) {
      const there = await store.load(to[0])
      if (there === undefined || isTombstone(there)) throw new Error('it should be there')
      await store.update(to[0], { ...there, rev: `${there.rev}x`, text: from[1].text }, there.rev)
    }
    expect(await statuses(ann, bob)).toEqual([401, 401])
  })

  it('attackers 25 and 26: 16 kB of cookies or thousands of them hold nobody up', async () => {
    const { loggedIn, visitor } = await start()
    const { cookie } = await loggedIn('ann')
    for (const junk of [
      `a=${'x'.repeat(12_000)}`,
      `${'a=b; '.repeat(2_000)}a=b`,
      `${'__Secure-id=x; '.repeat(500)}a=b`,
    ]) {
      const began = performance.now()
      expect(await status(visitor(`${junk}; ${cookie}`))).toBe(200)
      expect(performance.now() - began).toBeLessThan(250)
    }
  })

  it('attackers 27 and 28: data that is too large, or would change prototypes, is an error, and nothing of it is kept', async () => {
    const { visitor } = await start({ maxBytes: 1_000 })
    const browser = visitor()
    await browser.post('/set?json=1')
    for (const json of ['{"__proto__":{"admin":1}}', JSON.stringify('x'.repeat(1_001))]) {
      expect((await browser.post(`/set?json=${encodeURIComponent(json)}`)).status).toBe(500)
    }
    expect((await browser.get('/')).text).toBe('nobody {"given":1}')
    expect(({} as { admin?: number }).admin).toBeUndefined()
  })

  it('attacker 32: fifty parallel requests at a rotation all succeed, and one token goes on', async () => {
    const { loggedIn, clock } = await start()
    const browser = await loggedIn('ann')
    clock.now += 16 * MINUTE
    const copies = Array.from({ length: 50 }, () => browser.copy())
    expect(await statuses(...copies)).toEqual(Array(50).fill(200))
    const given = copies.flatMap(({ setCookies }) => setCookies.map((line) => line.split(';')[0]!))
    expect(new Set(given).size).toBe(1)
    expect(await status(site.visitor(given[0]))).toBe(200)
  })

  it('attacker 33: a store that fails logs nobody out', async () => {
    const store = memoryStore()
    const { loggedIn } = await start({ store })
    const browser = await loggedIn('ann')
    const { load } = store
    store.load = () => Promise.reject(new Error('it is down'))
    const reply = await browser.get('/me')
    expect([reply.status, reply.headers.getSetCookie()]).toEqual([503, []])
    store.load = load
    expect(await status(browser)).toBe(200)
  })

  it('attacker 35: a clock that is a minute behind revives nothing that has ended', async () => {
    const { loggedIn, clock, sessions } = await start({ lifetime: { idle: '10m' } })
    const [out, idle] = [await loggedIn('ann'), await loggedIn('bob')]
    const copy = out.copy()
    await out.post('/logout')
    clock.now += 12 * MINUTE
    expect(await status(idle)).toBe(401)
    await sessions.sweep()
    clock.now -= MINUTE
    expect(await statuses(copy, idle)).toEqual([401, 401])
  })
})
