import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createShop } from '../examples/shop/app.ts'
import { describeDevice } from '../examples/shop/sessions.ts'
import { buildPage } from './helpers/dashboard-page.ts'

type Shop = Awaited<ReturnType<typeof openShop>>

let folder: string
let shop: Shop

beforeAll(buildPage, 60_000)

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-shop-'))
  shop = await openShop()
})

afterEach(async () => {
  await shop.close()
  rmSync(folder, { recursive: true })
})

describe('the counter', () => {
  test('counts the visits of one browser', async () => {
    const visitor = browser()
    expect(await visitor.get('/').then(text)).toContain('for the first time')
    expect(await visitor.get('/').then(text)).toContain('<b>2</b> times')
    expect(await browser().get('/').then(text)).toContain('for the first time')
  })

  test('counts 200 parallel visits of one session, each of them', async () => {
    const visitor = browser()
    await visitor.get('/')
    const answers = await Promise.all(Array.from({ length: 200 }, () => visitor.get('/')))
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(await kept(visitor)).toMatchObject({ visits: 201 })
  })
})

describe('the basket', () => {
  test('fills, changes, and is emptied by an order', async () => {
    const visitor = browser()
    const added = await visitor.post('/cart/add', { sku: 'fog-signal' })
    expect([added.status, added.headers.get('location')]).toEqual([303, '/#fog-signal'])
    await visitor.post('/cart/add', { sku: 'fog-signal' })
    await visitor.post('/cart/change', { sku: 'fog-signal', change: 'more' })
    await visitor.post('/cart/add', { sku: 'turnstone' })
    await visitor.post('/cart/change', { sku: 'turnstone', change: 'fewer' })
    expect((await kept(visitor)).cart).toEqual({ 'fog-signal': 3 })
    expect(await visitor.get('/cart').then(text)).toContain('£28.80')

    const orders = await Promise.all([visitor.post('/order'), visitor.post('/order')])
    expect(orders.map(({ status }) => status)).toEqual([303, 303])
    const page = await visitor.get('/cart').then(text)
    expect(page.match(/3 × 100 g/g)).toHaveLength(1)
    expect(page).toContain('Nothing in it yet')
  })

  test('keeps each of 100 teas added in parallel', async () => {
    const visitor = browser()
    await visitor.get('/')
    const skus = ['saltings', 'deep-water']
    await Promise.all(Array.from({ length: 100 }, (_, i) => visitor.post('/cart/add', { sku: skus[i % 2]! })))
    expect((await kept(visitor)).cart).toEqual({ saltings: 50, 'deep-water': 50 })
  })

  test('takes no tea that is not sold', async () => {
    const visitor = browser()
    expect((await visitor.post('/cart/add', { sku: '__proto__' })).status).toBe(404)
    expect((await visitor.post('/cart/change', { sku: 'saltings', change: '1e9' })).status).toBe(404)
    expect(visitor.cookie).toBeUndefined()
  })
})

describe('signing in', () => {
  test('needs the right password', async () => {
    const visitor = browser()
    for (const [name, password] of [
      ['marina', 'lantern on the quay'],
      ['nobody', 'flood tide at noon'],
      ['', ''],
    ]) {
      const answer = await visitor.post('/login', { name: name!, password: password! })
      expect(answer.status).toBe(422)
      expect(await text(answer)).toContain('do not belong together')
    }
    expect(visitor.cookie).toBeUndefined()
    expect((await signIn(visitor)).headers.get('location')).toBe('/')
    expect(await visitor.get('/devices').then(text)).toContain('<span>Marina</span>')
  })

  test('gives a new token, and takes the basket along', async () => {
    const visitor = browser()
    await visitor.post('/cart/add', { sku: 'saltings' })
    const before = visitor.cookie
    await signIn(visitor)
    expect(visitor.cookie).not.toBe(before)
    expect((await kept(visitor)).cart).toEqual({ saltings: 1 })
  })

  test('is remembered for a month if the visitor asks, and else until the browser closes', async () => {
    const month = 30 * 24 * 60 * 60
    const remembered = await signIn(browser(), { remember: 'yes' })
    expect(remembered.headers.get('set-cookie')).toMatch(new RegExp(`Max-Age=(${month}|${month - 1});?`))
    const visiting = await signIn(browser())
    expect(visiting.headers.get('set-cookie')).toMatch(/^id=/)
    expect(visiting.headers.get('set-cookie')).not.toMatch(/Max-Age|Expires/)
  })

  test('ends with signing out', async () => {
    const visitor = browser()
    await signIn(visitor)
    const stolen = browser(visitor.cookie)
    await visitor.post('/logout')
    expect(await visitor.get('/').then(text)).toContain('You are signed out.')
    expect((await visitor.get('/devices')).headers.get('location')).toBe('/login')
    expect((await stolen.get('/devices')).headers.get('location')).toBe('/login')
  })
})

describe('devices', () => {
  test('lists them, and signs out another one', async () => {
    const [laptop, phone] = [browser(undefined, FIREFOX_ON_LINUX), browser(undefined, SAFARI_ON_IPHONE)]
    await signIn(laptop)
    await signIn(phone)
    const page = await laptop.get('/devices').then(text)
    expect(page).toContain('Firefox on Linux <span class="tag">This one</span>')
    expect(page).toContain('<h2>Safari on iPhone</h2>')

    const handle = await handleOf(phone)
    await laptop.post('/devices/sign-out', { handle })
    expect(await laptop.get('/devices').then(text)).toContain('Signed out there.')
    expect((await phone.get('/devices')).headers.get('location')).toBe('/login')
    expect((await laptop.get('/devices')).status).toBe(200)
  })

  test('signs out everywhere else', async () => {
    const [here, there, elsewhere] = [browser(), browser(), browser()]
    for (const one of [here, there, elsewhere]) await signIn(one)
    await here.post('/devices/sign-out-others')
    expect(await here.get('/devices').then(text)).toContain('Signed out on 2 other devices.')
    for (const one of [there, elsewhere])
      expect((await one.get('/devices')).headers.get('location')).toBe('/login')
  })

  test('that were signed out are told so, and can sign in or go on without', async () => {
    const [here, there, elsewhere] = [browser(), browser(), browser()]
    for (const one of [here, there, elsewhere]) await signIn(one)
    await here.post('/devices/sign-out-others')
    for (const one of [there, elsewhere]) {
      const answer = await one.get('/')
      expect([answer.status, answer.headers.get('set-cookie')]).toEqual([409, null])
      expect(await text(answer)).toContain('You were signed out')
    }
    await signIn(there)
    expect(await there.get('/').then(text)).toContain('<span>Marina</span>')
    await elsewhere.post('/logout')
    expect(await elsewhere.get('/').then(text)).toContain('for the first time')
  })

  test('signs out no other user', async () => {
    const [marina, jonas] = [browser(), browser()]
    await signIn(marina)
    await signIn(jonas, { name: 'jonas', password: 'lantern on the quay' })
    await jonas.post('/devices/sign-out', { handle: await handleOf(marina) })
    expect((await marina.get('/devices')).status).toBe(200)
  })

  test('are named by browser and system', () => {
    expect(describeDevice(FIREFOX_ON_LINUX)).toEqual({ browser: 'Firefox', system: 'Linux' })
    expect(describeDevice(SAFARI_ON_IPHONE)).toEqual({ browser: 'Safari', system: 'iPhone' })
    expect(describeDevice(`${CHROME_ON_ANDROID}`)).toEqual({ browser: 'Chrome', system: 'Android' })
    expect(describeDevice(`${CHROME_ON_ANDROID} EdgA/126.0`)).toEqual({ browser: 'Edge', system: 'Android' })
    expect(describeDevice('')).toEqual({ browser: 'A browser', system: 'an unknown system' })
  })
})

describe('the page on what is kept', () => {
  test('says nothing is kept, and keeps nothing, for one who only looks', async () => {
    const visitor = browser()
    expect(await visitor.get('/kept').then(text)).toContain('looking at this page made none')
    expect(visitor.cookie).toBeUndefined()
    expect(await shop.sessions.stats()).toMatchObject({ sessions: 0 })
  })

  test('never shows a token, old or new', async () => {
    const visitor = browser()
    await visitor.get('/')
    await signIn(visitor)
    const first = visitor.cookie!
    await visitor.get('/')
    expect((await visitor.post('/kept/rotate')).status).toBe(303)
    expect(visitor.cookie).not.toBe(first)
    const page = await visitor.get('/kept').then(text)
    expect(page).toContain('Your browser has a new token now.')
    expect(page).toContain(await handleOf(visitor))
    // A token is version, key id, id, generation and tag: its id alone, 24 bytes from the fourth character on, would be too much.
    for (const token of [first, visitor.cookie!]) {
      expect(page).not.toContain(token)
      for (let start = 0; start + 16 <= token.length; start++)
        expect(page).not.toContain(token.slice(start, start + 16))
    }
  })
})

describe('the dashboard', () => {
  test('is for the admin, whose password was made at the first start and is kept', async () => {
    const [admin, marina, nobody] = [browser(), browser(), browser()]
    const { adminPassword } = shop
    expect((await signIn(admin, { name: 'admin', password: 'flood tide at noon' })).status).toBe(422)
    expect((await signIn(marina, { password: adminPassword })).status).toBe(422)
    await signIn(marina)
    const welcome = await signIn(admin, { name: 'admin', password: adminPassword })
    expect(welcome.headers.get('location')).toBe('/admin/sessions')
    const page = await admin.get('/admin/sessions/')
    expect([page.status, page.headers.get('content-security-policy')]).toEqual([
      200,
      expect.stringContaining("script-src 'self'"),
    ])
    expect(await admin.get('/').then(text)).toContain('href="/admin/sessions"')
    expect(await marina.get('/').then(text)).not.toContain('/admin')
    for (const path of ['/admin/sessions/', '/admin/sessions/api/overview']) {
      const answer = await marina.get(path)
      expect([answer.status, await text(answer)]).toEqual([403, 'Forbidden\n'])
    }
    expect((await nobody.get('/admin/sessions')).headers.get('location')).toBe('/login')
    expect((await nobody.get('/admin/sessions/api/overview')).status).toBe(403)
    expect(readFileSync(join(folder, 'admin-password'), 'utf8')).toBe(adminPassword)
    await shop.close()
    shop = await openShop()
    expect(shop.adminPassword).toBe(adminPassword)
    expect((await admin.get('/admin/sessions/')).status).toBe(200)
  })

  test('ends the session of a customer, who is told so', async () => {
    const [admin, marina] = [browser(), browser()]
    await signIn(admin, { name: 'admin', password: shop.adminPassword })
    await signIn(marina)
    const answer = await admin.post(
      '/admin/sessions/api/revoke',
      {},
      {
        'sec-fetch-site': 'same-origin',
        'holdfast-dashboard': 'user=marina',
      },
    )
    expect(await answer.json()).toEqual({ count: 1 })
    expect(await marina.get('/').then(text)).toContain('You were signed out')
  })
})

test('a flash message is shown once', async () => {
  const visitor = browser()
  await visitor.post('/cart/add', { sku: 'saltings' })
  expect(await visitor.get('/').then(text)).toContain('Saltings is in your basket.')
  expect(await visitor.get('/').then(text)).not.toContain('Saltings is in your basket.')
})

test('a restart keeps everybody: visits, login and basket', async () => {
  const visitor = browser()
  await visitor.get('/')
  await signIn(visitor, { remember: 'yes' })
  await visitor.post('/cart/add', { sku: 'lamplighter' })
  await shop.close()
  shop = await openShop()
  const page = await visitor.get('/').then(text)
  expect(page).toContain('<b>2</b> times')
  expect(page).toContain('<span>Marina</span>')
  expect((await kept(visitor)).cart).toEqual({ lamplighter: 1 })
})

test('a change to a session that ends meanwhile is answered with a page and 409', async () => {
  const visitor = browser()
  await signIn(visitor)
  const handle = await handleOf(visitor)
  const body = 'sku=saltings'
  const upload = request(`${shop.address}/cart/add`, {
    method: 'POST',
    headers: {
      cookie: `id=${visitor.cookie}`,
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': body.length,
      expect: '100-continue',
    },
  })
  upload.flushHeaders()
  await once(upload, 'continue') // the session is open, and the form has not arrived
  await shop.sessions.revoke({ handle })
  upload.end(body)
  const [answer] = (await once(upload, 'response')) as [IncomingMessage]
  expect([answer.statusCode, answer.headers['set-cookie']]).toEqual([409, undefined])
  expect((await answer.toArray()).join('')).toContain('You were signed out')
})

test('an outage is answered with a page and 503, and loses nobody', async () => {
  const visitor = browser()
  await signIn(visitor)
  await shop.sessions.close() // the database with it
  const log = vi.spyOn(console, 'error').mockImplementation(() => {})
  const answer = await visitor.get('/')
  expect(log).toHaveBeenCalledWith(expect.objectContaining({ code: 'HOLDFAST_STORE_UNAVAILABLE' }))
  log.mockRestore()
  expect([answer.status, answer.headers.get('retry-after'), answer.headers.get('set-cookie')]).toEqual([
    503,
    '5',
    null,
  ])
  expect(await text(answer)).toContain('Nobody is signed out by that')
  await shop.close({ sessionsToo: false })
  shop = await openShop()
  expect((await visitor.get('/devices')).status).toBe(200)
})

describe('a form sent from another site', () => {
  for (const [name, headers] of Object.entries<Record<string, string>>({
    'by Sec-Fetch-Site': { 'sec-fetch-site': 'cross-site' },
    'of a sibling domain': { 'sec-fetch-site': 'same-site' },
    'by Origin': { origin: 'https://elsewhere.example' },
    'with an opaque origin': { origin: 'null' },
  })) {
    test(`is refused ${name}`, async () => {
      const visitor = browser()
      await signIn(visitor)
      const answer = await visitor.post('/cart/add', { sku: 'saltings' }, headers)
      expect(answer.status).toBe(403)
      expect(await kept(visitor)).not.toHaveProperty('cart')
    })
  }

  test('is taken from our own', async () => {
    const visitor = browser()
    const ours: Record<string, string>[] = [{ 'sec-fetch-site': 'same-origin' }, { origin: shop.address }]
    for (const headers of ours)
      expect((await visitor.post('/cart/add', { sku: 'saltings' }, headers)).status).toBe(303)
  })
})

test('what a visitor types is escaped', async () => {
  const answer = await browser().post('/login', { name: `"><script>alert('x')</script>&`, password: 'x' })
  const page = await text(answer)
  expect(page).toContain('value="&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;"')
  expect(page).not.toContain('<script')
})

test('no page has a script, an inline style, or an image from elsewhere, and none may', async () => {
  const visitor = browser()
  await signIn(visitor)
  await visitor.post('/cart/add', { sku: 'saltings' })
  for (const [path, status] of [
    ['/', 200],
    ['/cart', 200],
    ['/devices', 200],
    ['/kept', 200],
    ['/nowhere', 404],
  ] as const) {
    const answer = await visitor.get(path)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'")
    const page = await text(answer)
    expect(page).not.toMatch(/<script|javascript:|\son\w+=|\sstyle=|<style|src=/i)
    expect(page.match(/<h1/g)).toHaveLength(1)
  }
})

test('the styles are cached for good and need no session', async () => {
  const visitor = browser()
  const [, url] = /href="(\/styles[^"]+)"/.exec(await visitor.get('/').then(text))!
  await shop.sessions.close()
  const answer = await visitor.get(url!)
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/css; charset=utf-8'])
  expect(answer.headers.get('cache-control')).toContain('immutable')
  await shop.close({ sessionsToo: false })
  shop = await openShop()
})

describe('the folder', () => {
  test('is for this user only, and so are the secret and the database', async () => {
    await shop.close()
    rmSync(folder, { recursive: true })
    shop = await openShop()
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    for (const file of ['secret', 'admin-password', 'sessions.db'])
      expect(statSync(join(folder, file)).mode & 0o777, file).toBe(0o600)
    expect(Buffer.from(readFileSync(join(folder, 'secret'), 'utf8'), 'base64url')).toHaveLength(32)
  })

  test('whose secret cannot be read keeps the shop from opening', () => {
    const broken = join(folder, 'broken')
    mkdirSync(join(broken, 'secret'), { recursive: true })
    expect(() => createShop({ folder: broken, secure: false })).toThrow(/The secret in .*broken/)
  })
})

test('over https the cookie is Secure and bound to the host', async () => {
  await shop.close()
  shop = await openShop({ secure: true })
  const answer = await browser().get('/')
  expect(answer.headers.get('set-cookie')).toMatch(/^__Host-id=[^;]+;.*Secure/)
})

describe('started from the command line', () => {
  const running: ChildProcess[] = []
  afterEach(() => running.splice(0).forEach((child) => void child.kill('SIGKILL')))

  function start(env: Record<string, string>) {
    const child = spawn(
      process.execPath,
      [
        file('node_modules/tsx/dist/cli.mjs'),
        '--tsconfig',
        file('tsconfig.json'),
        file('examples/shop/server.ts'),
      ],
      { cwd: folder, env: { ...process.env, NODE_ENV: 'production', ...env } },
    )
    running.push(child)
    const output = { text: '' }
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output.text += chunk))
    return { child, output }
  }

  test('prints its address, and stops on SIGTERM', async () => {
    const { child, output } = start({ PORT: '0' })
    await expect.poll(() => output.text, { timeout: 15_000 }).toContain('lantern on the quay')
    expect(output.text).toMatch(
      /admin {3}\S{20} {4}for the dashboard at http:\/\/localhost:\d+\/admin\/sessions\n/,
    )
    const [address] = /http:\/\/localhost:\d+\//.exec(output.text)!
    expect((await fetch(address)).status).toBe(200)
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(statSync(join(folder, '.data', 'secret')).mode & 0o777).toBe(0o600)
  })

  test('says what to do when the port is taken', async () => {
    const { child, output } = start({ PORT: new URL(shop.address).port })
    expect(await once(child, 'exit')).toEqual([1, null])
    expect(output.text).toMatch(/Port \d+ is taken\. Choose another: PORT=/)
  })
})

async function openShop({ secure = false } = {}) {
  const { app, sessions, adminPassword } = createShop({ folder, secure })
  const server: Server = app.listen(0)
  await once(server, 'listening')
  return {
    sessions,
    adminPassword,
    address: `http://localhost:${(server.address() as AddressInfo).port}`,
    async close({ sessionsToo = true } = {}) {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
      if (sessionsToo) await sessions.close()
    },
  }
}

/** A browser, as far as cookies go. */
function browser(cookie?: string, userAgent = FIREFOX_ON_LINUX) {
  const jar = {
    cookie,
    get: (path: string) => send(path, {}),
    post: (path: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}) =>
      send(path, { method: 'POST', body: new URLSearchParams(fields), headers }),
  }
  async function send(path: string, { headers, ...init }: RequestInit) {
    const response = await fetch(shop.address + path, {
      ...init,
      redirect: 'manual',
      headers: {
        ...(headers as Record<string, string>),
        'user-agent': userAgent,
        ...(jar.cookie !== undefined && { cookie: `id=${jar.cookie}` }),
      },
    })
    for (const line of response.headers.getSetCookie()) {
      const [, value] = /^(?:__Host-)?id=([^;]*)/.exec(line)!
      jar.cookie = value === '' ? undefined : value
    }
    return response
  }
  return jar
}

type Browser = ReturnType<typeof browser>

function signIn(visitor: Browser, fields: Record<string, string> = {}) {
  return visitor.post('/login', { name: 'marina', password: 'flood tide at noon', ...fields })
}

function text(response: Response): Promise<string> {
  return response.text()
}

/** The data, as the page on what is kept shows it. */
async function kept(visitor: Browser): Promise<{ visits?: number; cart?: Record<string, number> }> {
  const [, data] = /<pre[^>]*><code>(.*?)<\/code>/s.exec(await visitor.get('/kept').then(text))!
  return JSON.parse(data!.replaceAll('&quot;', '"'))
}

async function handleOf(visitor: Browser): Promise<string> {
  const [, handle] = /<dd><code>([^<]+)<\/code>/.exec(await visitor.get('/kept').then(text))!
  return handle!
}

function file(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url))
}

const FIREFOX_ON_LINUX = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'
const SAFARI_ON_IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1'
const CHROME_ON_ANDROID =
  'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36'
