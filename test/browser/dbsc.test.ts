import { createServer, get } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions, type SessionEvents } from 'holdfast'
import { deviceBinding } from 'holdfast/dbsc'
import { beforeAll, describe, expect, it } from 'vitest'
import { boundSites, type Data } from '../helpers/bound-sites.ts'
import { SECRET } from '../helpers/browser.ts'
import { makeCertificate } from './certificate.ts'
import { type Chromium, type Page, startChromium } from './chromium.ts'

/** Both are needed on Linux: a key of software stands in for the chip that keeps it from leaving the machine. */
const FEATURES = ['DeviceBoundSessions', 'EnableBoundSessionCredentialsSoftwareKeysForManualTesting']
const MINUTE = 60_000

/** Browsers sign six times in nine minutes, registration included, and this takes six. */
describe('a session that Chromium has bound', () => {
  let chromium: Chromium
  let page: Page
  let site: string
  let elsewhere: string
  let ahead = 0
  const asked: string[] = []
  const events: [string, unknown][] = []

  beforeAll(async () => {
    const certificate = makeCertificate('localhost', 'elsewhere.test')
    const sessions = createSessions<Data>({ secret: SECRET, clock: () => Date.now() + ahead })
    for (const name of ['bound', 'unproven', 'refusedProof', 'revoked', 'error'] as const) {
      sessions.on(name, (event: SessionEvents[typeof name]) => events.push([name, event]))
    }
    const listener = await boundSites.Express!(sessions, deviceBinding(sessions))
    const server = createServer(certificate, (request, response) => {
      response.on('finish', () => asked.push(`${request.url} ${response.statusCode}`))
      if (request.url !== '/link') return listener(request, response)
      response.setHeader('Content-Type', 'text/html')
      return response.end(`<a href="${site}/me">to the site</a>`)
    }).listen(0)
    const { port } = server.address() as AddressInfo
    site = `https://localhost:${port}`
    elsewhere = `https://elsewhere.test:${port}`
    chromium = await startChromium({
      spki: [certificate.spki],
      features: FEATURES,
      hosts: ['elsewhere.test'],
    })
    page = await chromium.newPage()
    await page.goto(`${site}/me`)
    return async () => {
      await chromium.stop()
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
      await sessions.close()
    }
  }, 60_000)

  const ask = (method: string, path: string) =>
    page.evaluate<string>(
      `fetch('${path}', { method: '${method}', cache: 'no-store' }).then(async (r) => r.status + ' ' + (await r.text()))`,
    )
  const cookies = async () =>
    new Map((await chromium.cookies()).map((cookie) => [cookie.name, cookie] as const))
  /** As after ten minutes, which no test can wait for. */
  const expireBoundCookie = () => page.send('Network.deleteCookies', { name: '__Host-id-bound', url: site })
  const refreshes = () => asked.filter((line) => line.startsWith('/dbsc/refresh'))

  it('is registered after the login, by the browser itself', async () => {
    expect(await ask('POST', '/login')).toBe('200 welcome')
    await expect.poll(() => asked, { timeout: 10_000 }).toContain('/dbsc/register 200')
    expect(events).toEqual([['bound', { handle: expect.any(String), userId: 'ann' }]])
    await expect.poll(async () => (await cookies()).has('__Host-id-bound')).toBe(true)
    const bound = (await cookies()).get('__Host-id-bound')!
    expect(bound).toMatchObject({
      httpOnly: true,
      secure: true,
      sameSite: 'Lax',
      path: '/',
      domain: 'localhost',
    })
    expect(bound.expires - Date.now() / 1000).toBeGreaterThan(540)
    expect(await ask('GET', '/me')).toBe('200 ann: undefined')
    expect(refreshes(), 'what is told of the cookie is what it is').toEqual([])
  })

  it('is refreshed when the bound cookie is gone, before the request leaves', async () => {
    ahead = MINUTE
    const before = (await cookies()).get('__Host-id-bound')!.value
    await expireBoundCookie()
    expect(await ask('GET', '/me')).toBe('200 ann: undefined')
    expect(refreshes()).toEqual(['/dbsc/refresh 200'])
    expect((await cookies()).get('__Host-id-bound')!.value).not.toBe(before)
  })

  it('is there for whoever follows a link on another site', async () => {
    await expireBoundCookie()
    await page.goto(`${elsewhere}/link`)
    await page.evaluate(`document.querySelector('a').click()`)
    await expect
      .poll(() => page.evaluate('document.body?.innerText').catch(() => ''), { timeout: 10_000 })
      .toBe('ann: undefined')
    expect(refreshes()).toEqual(['/dbsc/refresh 200', '/dbsc/refresh 200'])
    expect(events).toHaveLength(1)
  })

  it('is of no use to whoever has stolen the cookies, ten minutes later', async () => {
    const stolen = [...(await cookies()).values()].map(({ name, value }) => `${name}=${value}`).join('; ')
    expect(await asThief(stolen)).toBe(200)
    ahead += 10 * MINUTE
    expect(await asThief(stolen)).toBe(401)
    await expireBoundCookie()
    expect(await ask('GET', '/me')).toBe('200 ann: undefined')
    expect(refreshes().slice(2), 'the challenge it had kept was too old').toEqual([
      '/dbsc/refresh 403',
      '/dbsc/refresh 200',
    ])
    expect(await asThief(stolen)).toBe(401)
    expect(events.map(([name]) => name)).toEqual(['bound', 'unproven', 'unproven'])
  })

  it('is over after a logout, and the browser asks no more', async () => {
    expect(await ask('POST', '/logout')).toBe('200 bye')
    expect([...(await cookies()).keys()]).toEqual([])
    const before = refreshes().length
    expect(await ask('GET', '/me')).toBe('401 undefined: undefined')
    expect(refreshes().slice(before)).toEqual(['/dbsc/refresh 200'])
    expect([...(await cookies()).keys()]).toEqual([])
    await sleep(500)
    expect(await ask('GET', '/me')).toBe('401 undefined: undefined')
    expect(refreshes()).toHaveLength(before + 1)
  })

  /** Another client, without the key. */
  async function asThief(cookie: string): Promise<number> {
    return new Promise((resolve, reject) => {
      get(`${site}/me`, { headers: { cookie }, rejectUnauthorized: false }, (response) => {
        response.resume()
        resolve(response.statusCode!)
      }).on('error', reject)
    })
  }
})
