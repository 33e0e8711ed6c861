/** A real browser that is given what Playwright would be given is logged in. */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { visitor } from 'holdfast/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createShop } from '../../examples/shop/app.ts'
import { buildPage } from '../helpers/dashboard-page.ts'
import { type Chromium, type Page, startChromium } from './chromium.ts'

let shop: ReturnType<typeof createShop>
let chromium: Chromium
let page: Page
let port: number
let stop: () => Promise<void>

beforeEach(async () => {
  buildPage()
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
  shop = createShop({ folder, secure: true })
  const server = createServer(shop.app).listen(0)
  port = (server.address() as AddressInfo).port
  chromium = await startChromium({ spki: [] })
  page = await chromium.newPage()
  stop = async () => {
    await chromium.stop()
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
    await shop.sessions.close()
    await rm(folder, { recursive: true })
  }
})
afterEach(() => stop())

const text = () => page.evaluate<string>('document.body.innerText')

it.each(['localhost', '127.0.0.1'])(
  'shows the pages of a user who never saw the login page, on http://%s',
  async (host) => {
    const site = `http://${host}:${port}`
    const marina = await visitor(shop.sessions, {
      userId: 'marina',
      data: { cart: { 'outer-roads': 2 } },
      lifetime: { persistent: true, absolute: '30d' },
    })
    const { cookies } = marina.storageState(site)
    await page.send('Network.setCookies', { cookies })

    const kept = await chromium.cookies()
    expect(kept).toMatchObject(cookies)
    expect(kept).toHaveLength(1)

    await page.goto(`${site}/devices`)
    expect(new URL(await page.evaluate<string>('location.href')).pathname).toBe('/devices')
    expect(await text()).toMatch(/Marina.*You are signed in here, and nowhere else/s)
    await page.goto(`${site}/cart`)
    expect(await text()).toContain('Outer Roads')
  },
)

it('shows the login page to who has no session', async () => {
  await page.send('Network.setCookies', {
    cookies: (await visitor(shop.sessions)).storageState(`http://localhost:${port}`).cookies,
  })
  await page.goto(`http://localhost:${port}/devices`)
  expect(new URL(await page.evaluate<string>('location.href')).pathname).toBe('/login')
})
