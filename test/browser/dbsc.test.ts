import type { IncomingHttpHeaders } from 'node:http'
import { createServer, get } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions, type SessionEvents } from 'holdfast'
import { deviceBinding } from 'holdfast/dbsc'
import { memoryStore } from 'holdfast/stores/memory'
import { beforeAll, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { boundSites, type Data } from '../helpers/bound-sites.ts'
import { SECRET } from '../helpers/browser.ts'
import { faulty } from '../helpers/faults.ts'
import { makeCertificate } from './certificate.ts'
import { startChromium } from './chromium.ts'

/** Both are needed on Linux: a key of software stands in for the chip that keeps it from leaving the machine. */
const FEATURES = ['DeviceBoundSessions', 'EnableBoundSessionCredentialsSoftwareKeysForManualTesting']
const MINUTE = 60_000
const BOUND = '__Host-id-bound'

/** A site on https with a browser that visits it. */
type Visit = Awaited<ReturnType<typeof startVisit>>

async function startVisit() {
  const certificate = makeCertificate('localhost', 'elsewhere.test')
  const store = faulty(memoryStore())
  const clock = { ahead: 0 }
  const sessions = createSessions<Data>({ secret: SECRET, store, clock: () => Date.now() + clock.ahead })
  const asked: { what: string; headers: IncomingHttpHeaders }[] = []
  const events: (keyof SessionEvents)[] = []
  for (const name of ['bound', 'unproven', 'refusedProof', 'revoked', 'error'] as const) {
    sessions.on(name, () => void events.push(name))
  }
  const listener = await boundSites.Express!(sessions, deviceBinding(sessions))
  const server = createServer(certificate, (request, response) => {
    response.on('finish', () => {
      asked.push({ what: `${request.url} ${response.statusCode}`, headers: request.headers })
    })
    if (request.url !== '/link') return listener(request, response)
    response.setHeader('Content-Type', 'text/html')
    return response.end(`<a href="${site}/me">to the site</a>`)
  }).listen(0)
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', async (request, socket, head) => {
    const { userId } = await sessions.open(request)
    sockets.handleUpgrade(request, socket, head, (client) => client.send(String(userId)))
  })
  const { port } = server.address() as AddressInfo
  const site = `https://localhost:${port}`
  const chromium = await startChromium({
    spki: [certificate.spki],
    features: FEATURES,
    hosts: ['elsewhere.test'],
  })
  const page = await chromium.newPage()
  await page.goto(`${site}/me`)

  const what = (path: string) => asked.map((one) => one.what).filter((one) => one.startsWith(path))
  return {
    site,
    elsewhere: `https://elsewhere.test:${port}`,
    page,
    store,
    clock,
    asked,
    events,
    registrations: () => what('/dbsc/register'),
    refreshes: () => what('/dbsc/refresh'),
    ask: (method: string, path: string) =>
      page.evaluate<string>(
        `fetch('${path}', { method: '${method}', cache: 'no-store' }).then(async (r) => r.status + ' ' + (await r.text()))`,
      ),
    cookies: async () => new Map((await chromium.cookies()).map((cookie) => [cookie.name, cookie] as const)),
    /** As after ten minutes, which no test can wait for. */
    expireBoundCookie: () => page.send('Network.deleteCookies', { name: BOUND, url: site }),
    async stop() {
      await chromium.stop()
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
      await sessions.close()
    },
  }
}

/** Another client, without the key. */
function asThief(url: string, cookie: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { cookie }, rejectUnauthorized: false }, (response) => {
      response.resume()
      resolve(response.statusCode!)
    }).on('error', reject)
  })
}

/** Browsers sign six times in nine minutes, registration included, and this takes six. */
describe('a session that Chromium has bound', () => {
  let visit: Visit
  beforeAll(async () => {
    visit = await startVisit()
    return visit.stop
  }, 60_000)

  it('is registered after the login, by the browser itself', async () => {
    const { ask, cookies, registrations, refreshes, events } = visit
    expect(await ask('POST', '/login')).toBe('200 welcome')
    await expect.poll(registrations, { timeout: 10_000 }).toEqual(['/dbsc/register 200'])
    expect(events).toEqual(['bound'])
    await expect.poll(async () => (await cookies()).has(BOUND)).toBe(true)
    const bound = (await cookies()).get(BOUND)!
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
    const { ask, cookies, clock, refreshes, expireBoundCookie } = visit
    clock.ahead = MINUTE
    const before = (await cookies()).get(BOUND)!.value
    await expireBoundCookie()
    expect(await ask('GET', '/me')).toBe('200 ann: undefined')
    expect(refreshes()).toEqual(['/dbsc/refresh 200'])
    expect((await cookies()).get(BOUND)!.value).not.toBe(before)
  })

  it('is there for whoever follows a link on another site', async () => {
    const { page, elsewhere, events, refreshes, expireBoundCookie } = visit
    await expireBoundCookie()
    await page.goto(`${elsewhere}/link`)
    await page.evaluate(`document.querySelector('a').click()`)
    await expect
      .poll(() => page.evaluate('document.body?.innerText').catch(() => ''), { timeout: 10_000 })
      .toBe('ann: undefined')
    expect(refreshes()).toEqual(['/dbsc/refresh 200', '/dbsc/refresh 200'])
    expect(events).toEqual(['bound'])
  })

  it('is of no use to whoever has stolen the cookies, ten minutes later', async () => {
    const { site, ask, cookies, clock, events, refreshes, expireBoundCookie } = visit
    const stolen = [...(await cookies()).values()].map(({ name, value }) => `${name}=${value}`).join('; ')
    expect(await asThief(`${site}/me`, stolen)).toBe(200)
    clock.ahead += 10 * MINUTE
    expect(await asThief(`${site}/me`, stolen)).toBe(401)
    await expireBoundCookie()
    expect(await ask('GET', '/me')).toBe('200 ann: undefined')
    expect(refreshes().slice(2), 'the challenge it had kept was too old').toEqual([
      '/dbsc/refresh 403',
      '/dbsc/refresh 200',
    ])
    expect(await asThief(`${site}/me`, stolen)).toBe(401)
    expect(events).toEqual(['bound', 'unproven', 'unproven'])
  })

  it('is over after a logout, and the browser asks no more', async () => {
    const { ask, cookies, refreshes } = visit
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
})

describe('another session in Chromium', () => {
  let visit: Visit
  beforeAll(async () => {
    visit = await startVisit()
    return visit.stop
  }, 60_000)

  it('is bound anew by a new login, and the binding before it is over', async () => {
    const { ask, clock, registrations, refreshes, expireBoundCookie } = visit
    for (const count of [1, 2]) {
      expect(await ask('POST', '/login')).toBe('200 welcome')
      await expect.poll(registrations, { timeout: 10_000 }).toHaveLength(count)
    }
    await expect.poll(async () => (await visit.cookies()).has(BOUND)).toBe(true)
    clock.ahead = MINUTE
    await expireBoundCookie()
    expect(await ask('GET', '/me')).toBe('200 ann: undefined')
    // The one before is asked as well, unless the newer one was first.
    expect(new Set(refreshes())).toEqual(new Set(['/dbsc/refresh 200']))
  })

  it('outlives an outage of the store', async () => {
    const { ask, asked, store, events, expireBoundCookie } = visit
    await expireBoundCookie()
    store.error = new Error('the store is down')
    expect(await ask('GET', '/me')).toBe('503 error page')
    expect(asked.at(-1)!.headers['secure-session-skipped']).toMatch(/^server_error;session_identifier="/)
    store.error = undefined
    await expect.poll(() => ask('GET', '/me'), { timeout: 20_000, interval: 500 }).toBe('200 ann: undefined')
    expect(events).toEqual(['bound', 'bound'])
  })

  it('is refreshed before a WebSocket opens', async () => {
    const { page, site, expireBoundCookie } = visit
    await expireBoundCookie()
    const user = await page.evaluate(`new Promise((resolve, reject) => {
      const socket = new WebSocket('${site.replace('https', 'wss')}/socket')
      socket.onmessage = ({ data }) => resolve(data)
      socket.onerror = reject
    })`)
    expect(user).toBe('ann')
  })
})
