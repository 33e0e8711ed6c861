import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createSessions, type Session } from 'holdfast'
import { nodeSessions } from 'holdfast/node'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { SECRET } from '../helpers/browser.ts'
import { makeCertificate } from './certificate.ts'
import { type Chromium, startChromium } from './chromium.ts'

const certificate = makeCertificate('shop.test', 'blog.shop.test', 'evil.test')
const COOKIE = '__Host-id'

interface Asked {
  readonly what: string
  readonly site: string | undefined
  readonly origin: string | undefined
  readonly hasCookie: boolean
}

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanUp.splice(0).reverse()) await clean()
})

/** A shop, a blog on its sibling domain, and a site of somebody else: one server, three origins, and a real browser. */
async function start(guard: 'unguarded' | 'guarded' | 'trusting the blog') {
  const asked: Asked[] = []
  const serveShop = async (
    request: IncomingMessage,
    response: ServerResponse,
    session: Session<{ plan?: string }>,
  ) => {
    const { pathname, searchParams } = new URL(request.url!, 'https://shop.test')
    if (pathname === '/no-referrer') response.setHeader('Referrer-Policy', 'no-referrer')
    response.setHeader('Content-Type', 'text/html')
    if (pathname === '/login') await session.login(searchParams.get('user')!)
    if (pathname === '/set') session.data.plan = searchParams.get('plan')!
    if (pathname === '/logout') await session.logout()
    if (pathname === '/leave') {
      response.setHeader('Set-Cookie', 'theme=dark; Path=/; Secure')
      await session.logout({ clearSiteData: true })
      session.flash('info', 'Signed out')
    }
    response.end(`${session.userId} ${session.data.plan}`)
  }
  const server = createServer(certificate, (request, response) => {
    const { method, headers } = request
    const [host] = headers.host!.split(':')
    if (host !== 'shop.test' || request.url === '/favicon.ico')
      return void response.setHeader('Content-Type', 'text/html').end(host)
    response.on('finish', () => {
      asked.push({
        what: `${method} ${request.url!.split('?')[0]} ${response.statusCode}`,
        site: headers['sec-fetch-site'] as string | undefined,
        origin: headers.origin,
        hasCookie: headers.cookie?.includes(COOKIE) ?? false,
      })
    })
    return shop(request, response)
  }).listen(0)
  const { port } = server.address() as AddressInfo
  const origin = (host: string) => `https://${host}:${port}`
  const csrf =
    guard === 'trusting the blog' ? { trustedOrigins: [origin('blog.shop.test')] } : guard === 'guarded'
  const sessions = createSessions<{ plan?: string }>({ secret: SECRET, store: memoryStore(), csrf })
  const shop = nodeSessions(sessions, serveShop)
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    sessions.open(request).then(
      ({ userId }) =>
        sockets.handleUpgrade(request, socket, head, (client) => client.send(`welcome ${userId}`)),
      ({ status }) => socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\n\r\n`),
    )
  })
  const chromium = await startChromium({ spki: [certificate.spki], hosts: ['*.test'] })
  const page = await chromium.newPage()
  cleanUp.push(async () => {
    await chromium.stop()
    sockets.close()
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
    await sessions.close()
  })
  const shopOrigin = origin('shop.test')
  const ask = (path: string, method = 'GET') =>
    page.evaluate<string>(`fetch('${path}', { method: '${method}' }).then((response) => response.text())`)
  return {
    asked,
    chromium,
    page,
    origin,
    ask,
    cookies: () => named(chromium),
    visit: (host: string, path = '/') => page.goto(origin(host) + path),
    /** Posts a form to the shop from the page that is open, into a frame of that page. */
    async postForm(path: string) {
      asked.length = 0
      await page.evaluate(`new Promise((loaded) => {
        document.body.innerHTML = '<iframe name="frame"></iframe><form method="post" target="frame" action="${shopOrigin}${path}"></form>'
        document.querySelector('iframe').onload = loaded
        document.querySelector('form').submit()
      })`)
      return asked.at(-1)!
    },
    /** What a WebSocket to the shop is first told, if it opens. */
    openSocket: () =>
      page.evaluate<string>(`new Promise((told) => {
        const socket = new WebSocket('${shopOrigin.replace('https', 'wss')}')
        socket.onmessage = ({ data }) => told(data)
        socket.onerror = () => told('refused')
      })`),
    async signIn() {
      await page.goto(shopOrigin)
      await ask('/login?user=ann', 'POST')
      await ask('/set?plan=small', 'POST')
    },
  }
}

async function named(chromium: Chromium) {
  return (await chromium.cookies()).map(({ name }) => name)
}

describe('in Chromium', () => {
  it('a form of a sibling domain brings the cookie along, and is refused only with the guard', async () => {
    for (const [guard, status, plan] of [
      ['unguarded', 200, 'large'],
      ['trusting the blog', 200, 'large'],
      ['guarded', 403, 'small'],
    ] as const) {
      const site = await start(guard)
      await site.signIn()
      await site.visit('blog.shop.test')
      expect(await site.postForm('/set?plan=large')).toEqual({
        what: `POST /set ${status}`,
        site: 'same-site',
        origin: site.origin('blog.shop.test'),
        hasCookie: true,
      })
      await site.visit('shop.test')
      expect(await site.ask('/me')).toBe(`ann ${plan}`)
    }
  })

  it('a form of another site logs nobody in as somebody else', async () => {
    const site = await start('guarded')
    await site.visit('evil.test')
    expect(await site.postForm('/login?user=mallory')).toMatchObject({
      what: 'POST /login 403',
      site: 'cross-site',
      hasCookie: false,
    })
    expect(await site.cookies()).toEqual([])
  })

  it('a WebSocket of a sibling domain brings the cookie along, and is refused only with the guard', async () => {
    for (const [guard, expected] of [
      ['unguarded', 'welcome ann'],
      ['trusting the blog', 'welcome ann'],
      ['guarded', 'refused'],
    ] as const) {
      const site = await start(guard)
      await site.signIn()
      expect(await site.openSocket()).toBe('welcome ann')
      await site.visit('blog.shop.test')
      expect(await site.openSocket()).toBe(expected)
    }
  })

  it('our own forms and scripts go through, also without a referrer', async () => {
    const site = await start('guarded')
    await site.signIn()
    expect(await site.postForm('/set?plan=large')).toMatchObject({
      what: 'POST /set 200',
      site: 'same-origin',
    })
    await site.visit('shop.test', '/no-referrer')
    expect(await site.postForm('/set?plan=huge')).toMatchObject({
      what: 'POST /set 200',
      site: 'same-origin',
      origin: 'null',
    })
    expect(await site.ask('/me')).toBe('ann huge')
  })

  it('a link from another site opens the page, logged in', async () => {
    const site = await start('guarded')
    await site.signIn()
    await site.visit('evil.test')
    await site.page.evaluate(`location.href = '${site.origin('shop.test')}/me'`)
    await expect
      .poll(() => site.asked.at(-1))
      .toMatchObject({ what: 'GET /me 200', site: 'cross-site', hasCookie: true })
  })

  it('a logout clears the __Host- cookie', async () => {
    const site = await start('guarded')
    await site.signIn()
    expect(await site.cookies()).toEqual([COOKIE])
    await site.ask('/logout', 'POST')
    expect(await site.cookies()).toEqual([])
  })

  it('ASVS 14.3.1: a logout with clearSiteData leaves no cookie and nothing stored, a flash message kept after it included', async () => {
    const site = await start('guarded')
    await site.signIn()
    await site.page.evaluate(`localStorage.setItem('draft', 'private')`)
    await site.ask('/leave', 'POST')
    expect(await site.cookies()).toEqual([])
    await site.visit('shop.test')
    expect(await site.page.evaluate(`localStorage.getItem('draft')`)).toBeNull()
  })
})
