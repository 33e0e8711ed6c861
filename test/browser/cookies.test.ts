/** What a real browser makes of the session cookie, and of those who are after it: attackers 5, 6, 8 and 11. */
import { createServer as createPlainServer } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createSessions } from 'holdfast'
import { nodeSessions } from 'holdfast/node'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { SECRET } from '../helpers/browser.ts'
import { makeCertificate } from './certificate.ts'
import { type Chromium, type Page, startChromium } from './chromium.ts'

const certificate = makeCertificate('shop.test', 'blog.shop.test')
const NAME = '__Host-id'
const TOSSED = `${NAME}=evil; Domain=shop.test; Path=/; Secure`

let chromium: Chromium
let page: Page
let stop: () => Promise<void>
let origin: (host: string) => string
let plainOrigin: string
/** The Cookie headers that came over plain http. */
const heard: (string | undefined)[] = []

beforeEach(async () => {
  const sessions = createSessions({ secret: SECRET, store: memoryStore(), csrf: true })
  const shop = nodeSessions(sessions, async (request, response, session) => {
    if (request.url === '/login') await session.login('ann')
    if (request.url === '/rotate') await session.elevate('2fa')
    if (request.url === '/logout') await session.logout()
    response.setHeader('Content-Type', 'text/html').end(session.userId ?? 'nobody')
  })
  const server = createServer(certificate, (request, response) => {
    if (!request.headers.host!.startsWith('blog')) return shop(request, response)
    response.setHeader('Set-Cookie', TOSSED).setHeader('Content-Type', 'text/html').end('blog')
  }).listen(0)
  const { port } = server.address() as AddressInfo
  origin = (host) => `https://${host}:${port}`
  chromium = await startChromium({ spki: [certificate.spki], hosts: ['*.test'] })
  page = await chromium.newPage()
  await page.goto(origin('shop.test'))
  heard.length = 0
  const plain = createPlainServer((request, response) => {
    heard.push(request.headers.cookie)
    if (request.url !== '/toss') return shop(request, response)
    response.setHeader('Set-Cookie', [`${NAME}=evil; Path=/`, `theme=dark; Path=/`]).end('tossed')
  }).listen(0)
  plainOrigin = `http://shop.test:${(plain.address() as AddressInfo).port}`
  stop = async () => {
    await chromium.stop()
    for (const each of [server, plain]) {
      each.closeAllConnections()
      await new Promise((closed) => each.close(closed))
    }
    await sessions.close()
  }
})
afterEach(() => stop())

const ask = (path: string) =>
  page.evaluate<string>(`fetch('${path}', { method: 'POST' }).then((response) => response.text())`)
const sessionCookies = async () => (await chromium.cookies()).filter(({ name }) => name === NAME)

it('is kept as it was meant, replaced by a new token, and cleared at the logout', async () => {
  await ask('/login')
  const [first, ...more] = await sessionCookies()
  expect(more).toEqual([])
  expect(first).toMatchObject({
    domain: 'shop.test',
    path: '/',
    secure: true,
    httpOnly: true,
    sameSite: 'Lax',
    expires: -1,
  })
  await ask('/rotate')
  const [second] = await sessionCookies()
  expect(second!.value).not.toBe(first!.value)
  expect(await ask('/me')).toBe('ann')
  expect(await ask('/logout')).toBe('nobody')
  expect(await sessionCookies()).toEqual([])
})

it('attackers 6 and 11: a script of the page can neither read it nor put another in its place', async () => {
  await ask('/login')
  const before = await sessionCookies()
  expect(await page.evaluate('document.cookie')).toBe('')
  for (const text of [`${NAME}=evil; Path=/; Secure`, `${NAME}=; Path=/; Secure; Max-Age=0`]) {
    await page.evaluate(`document.cookie = ${JSON.stringify(text)}`)
  }
  expect(await sessionCookies()).toEqual(before)
  expect(await ask('/me')).toBe('ann')
})

it('attacker 5: a sibling domain cannot toss one in, neither by a script nor by its server', async () => {
  await page.goto(origin('blog.shop.test'))
  await page.evaluate(`document.cookie = ${JSON.stringify(TOSSED)}`)
  await page.evaluate(`document.cookie = 'theme=dark; Domain=shop.test; Path=/; Secure'`)
  const names = (await chromium.cookies()).map(({ name, domain }) => `${name} ${domain}`)
  expect(names).toEqual(['theme .shop.test'])
})

it('attacker 8 and NIST 5.1: over plain http no token is sent, none is taken, and the one that https gave stays', async () => {
  await page.goto(plainOrigin)
  expect(await ask('/login')).toBe('ann')
  expect(await sessionCookies()).toEqual([])
  expect(await ask('/me')).toBe('nobody')

  await page.goto(origin('shop.test'))
  await ask('/login')
  const kept = await sessionCookies()
  expect(kept).toHaveLength(1)
  await page.goto(plainOrigin)
  expect(await ask('/toss')).toBe('tossed')
  expect(await ask('/me')).toBe('nobody')
  expect(await sessionCookies()).toEqual(kept)
  expect(heard.at(-1)).toBe('theme=dark')
  expect(heard.join()).not.toContain(NAME)
})
