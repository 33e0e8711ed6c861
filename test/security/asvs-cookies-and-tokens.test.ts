/** OWASP ASVS 5.0, chapters V3 (cookies, cross-site requests), V9 and V11 (tokens, cryptography) and V14 (data), as far as sessions go; over HTTP. */
import type { SessionOptions } from 'holdfast'
import { createSessions } from 'holdfast'
import { cookieStore } from 'holdfast/stores/cookie'
import { afterEach, describe, expect, it } from 'vitest'
import { recordSeal } from '../../src/seal.ts'
import type { Data } from '../frameworks/app.ts'
import { SECRET } from '../helpers/browser.ts'
import type { Client } from '../helpers/client.ts'
import { FRAMEWORKS, type Site, startSite } from './site.ts'

const CROSS = { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' }
const SIBLING = { 'Sec-Fetch-Site': 'same-site', Origin: 'https://evil.shop.example' }

describe.each(FRAMEWORKS)('on %s', (framework) => {
  let site: Site
  afterEach(() => site.stop())
  const start = async (options: SessionOptions<Data> = {}) => {
    site = await startSite(framework, options)
    return site
  }
  const status = async (browser: Client) => (await browser.get('/me')).status

  it('ASVS 3.3.1, 3.3.2, 3.3.3, 3.3.4, NIST 5.1(3) and WSTG-SESS-09: __Host-, Secure, HttpOnly, SameSite, no Domain, also when it is cleared', async () => {
    const { loggedIn } = await start()
    const browser = await loggedIn('ann')
    await browser.post('/elevate')
    await browser.post('/logout')
    expect(browser.setCookies).toHaveLength(3)
    for (const line of browser.setCookies) {
      const [pair, ...attributes] = line.split('; ')
      expect(pair).toMatch(/^__Host-id=/)
      const bare = attributes.filter((attribute) => attribute !== 'Max-Age=0')
      expect(bare.sort()).toEqual(['HttpOnly', 'Path=/', 'SameSite=Lax', 'Secure'])
    }
    expect(browser.setCookies[2]).toMatch(/^__Host-id=;.*Max-Age=0/)
  })

  it('ASVS 3.3.5 what does not fit into a cookie is an error, and the cookie before it stays', async () => {
    const { visitor } = await start({ store: cookieStore(), csrf: false })
    const browser = visitor()
    await browser.post('/set?json=1')
    const { cookie } = browser
    expect((await browser.post(`/set?json="${'x'.repeat(5000)}"`)).status).toBe(500)
    expect([browser.cookie, browser.setCookies.length]).toEqual([cookie, 1])
    expect((await browser.get('/')).text).toBe('nobody {"given":1}')
  })

  it('ASVS 3.5.1, 3.5.3, attackers 12, 13 and 14: pages of other origins change nothing and log nobody in', async () => {
    const { loggedIn, visitor, store } = await start()
    const browser = await loggedIn('ann')
    const { loads, writes } = store
    for (const headers of [CROSS, SIBLING]) {
      for (const path of ['/set?json=1', '/login?user=mallory', '/logout', '/elevate']) {
        expect((await browser.post(path, { headers })).status, path).toBe(403)
        expect((await visitor().post(path, { headers })).status, path).toBe(403)
      }
    }
    expect([store.loads, store.writes, browser.setCookies.length]).toEqual([loads, writes, 1])
    expect((await browser.get('/', { headers: CROSS })).text).toBe('ann {}')
  })

  it('ASVS 9.1.1 to 9.1.3 and attacker 31: a token is worth what one of the configured secrets says, and no other', async () => {
    const { loggedIn, sessions } = await start()
    const browser = await loggedIn('ann')
    const other = createSessions<Data>({
      secret: 'another secret that is at least as long as that',
    })
    const foreign = await other.open(undefined)
    await foreign.login('ann')
    const { cookie } = await other.commit(foreign)
    expect(await status(site.visitor(`${cookie!.name}=${cookie!.value}`))).toBe(401)
    expect(await status(browser)).toBe(200)
    await other.close()
    expect(sessions.policy.cookie.name).toBe('__Host-id')
  })

  it('ASVS 9.2.1 to 9.2.3 and attacker 30: a token of another manager, or made for a form, is no session', async () => {
    const { store, visitor, sessions, loggedIn } = await start()
    const admins = createSessions<Data>({ secret: SECRET, store, name: 'admin' })
    const admin = await admins.open(undefined)
    await admin.login('root')
    const { cookie } = await admins.commit(admin)
    expect(await status(visitor(`__Host-id=${cookie!.value}`))).toBe(401)
    await admins.close()
    const browser = await loggedIn('ann')
    const session = await sessions.open(browser.cookie)
    expect(await status(visitor(`__Host-id=${session.csrfToken()}`))).toBe(401)
    expect(await status(visitor(`__Host-id=${session.handle}`))).toBe(401)
  })

  it('ASVS 11.2.5 all that is wrong with a cookie looks the same', async () => {
    const { visitor, loggedIn } = await start()
    const { cookie } = await loggedIn('ann')
    const value = cookie!.split('=')[1]!
    const wrong = [
      '',
      'x',
      value.slice(0, -1),
      value.slice(1),
      `${value}A`,
      `z${value.slice(1)}`,
      `%${value}`,
    ]
    const replies = await Promise.all(wrong.map((text) => visitor(`__Host-id=${text}`).get('/me')))
    const seen = replies.map((reply) => `${reply.status} ${reply.text} ${reply.headers.getSetCookie()}`)
    expect(new Set(seen)).toEqual(new Set(['401 log in first ']))
  })

  it('ASVS 14.2.1 a token counts in the cookie, and nowhere else', async () => {
    const { visitor, loggedIn } = await start()
    const value = (await loggedIn('ann')).cookie!.split('=')[1]!
    expect((await visitor().get(`/me?id=${value}&sid=${value}&__Host-id=${value}`)).status).toBe(401)
    for (const Authorization of [value, `Bearer ${value}`]) {
      expect((await visitor().get('/me', { headers: { Authorization } })).status).toBe(401)
    }
    const browser = await loggedIn('bob')
    const replies = [await browser.get('/'), await browser.get('/sessions')]
    const seen = replies.map(({ headers, text }) => JSON.stringify([...headers]) + text).join()
    expect(seen).not.toContain(browser.cookie!.split('=')[1])
  })

  it('ASVS 14.2.2, 14.3.2, CS-cache and attacker 9: no cache gives one user another’s page', async () => {
    const { loggedIn, visitor } = await start()
    const varies = (headers: Headers) => (headers.get('vary') ?? '').toLowerCase().split(/, */)
    const login = await visitor().post('/login?user=ann')
    expect(varies(login.headers)).toContain('cookie')
    expect(login.headers.get('cache-control')).toContain('no-store')
    for (const browser of [await loggedIn('ann'), visitor()]) {
      for (const path of ['/', '/me', '/handle']) {
        expect(varies((await browser.get(path)).headers), path).toContain('cookie')
      }
    }
  })

  it('ASVS 14.3.1 a logout can have the browser clear what it keeps', async () => {
    const { loggedIn } = await start()
    const { headers } = await (await loggedIn('ann')).post('/logout?clear=1')
    expect(headers.get('clear-site-data')).toBe('"cache", "cookies", "storage"')
  })

  it('RFC 6265bis: one Set-Cookie of ours, whatever a request does to its session', async () => {
    const { visitor } = await start()
    const browser = visitor()
    const { headers } = await browser.post('/everything')
    expect(headers.getSetCookie()).toHaveLength(1)
    expect((await browser.get('/')).text).toBe('ann {"given":2}')
  })
})

it('ASVS 3.3.1 cookie options that break the prefix are refused when the manager is made', () => {
  const make = (cookie: SessionOptions<object>['cookie']) => () =>
    createSessions({ secret: SECRET, cookie: cookie! })
  expect(make({ name: '__Host-id', domain: 'shop.example' })).toThrow(
    /__Host-id needs secure, path "\/" and no domain/,
  )
  expect(make({ name: '__Host-id', path: '/shop' })).toThrow(/__Host-id needs/)
  expect(make({ name: '__Secure-id', secure: false })).toThrow(/__Secure-id needs secure/)
  expect(make({ sameSite: 'none', secure: false })).toThrow(/sameSite 'none' needs secure/)
})

it('ASVS 11.3 no two seals are alike, of the same text under the same key', () => {
  const seal = recordSeal([Buffer.from(SECRET)], 'id')
  const sealed = Array.from({ length: 10_000 }, () => seal.seal('the same', 'key'))
  expect(new Set(sealed).size).toBe(10_000)
})
