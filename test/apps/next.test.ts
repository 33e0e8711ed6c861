/** A real application of Next.js, built and started as in production. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Chromium, type Page, startChromium } from '../browser/chromium.ts'
import { buildNextApp, type NextApp, type RunningNext, stateIn, type Tab, tab } from '../helpers/next-app.ts'
import { startRedis } from '../servers/redis.ts'

let app: NextApp
let server: RunningNext
let folder: string

beforeAll(async () => {
  app = await buildNextApp()
  folder = await mkdtemp(join(tmpdir(), 'holdfast-next-'))
  server = await app.start({ SESSION_STORE: `file:${folder}/sessions` })
}, 180_000)
afterAll(async () => {
  await server?.stop()
  await app?.remove()
  await rm(folder, { recursive: true, force: true })
})

async function loggedIn(user = 'ann'): Promise<Tab> {
  const browser = tab(server.url)
  await browser.submit('login', { user })
  return browser
}

const cart = (browser: Tab, item: string, after = 0) =>
  browser.post('/api/cart', { body: JSON.stringify({ item, after }) })

/** The action of a form without fields, as the scripts of Next.js call it. */
function sentByScript(form: FormData): RequestInit {
  const action = [...form.keys()].find((name) => name.startsWith('$ACTION_ID_'))!.slice('$ACTION_ID_'.length)
  return { headers: { 'Next-Action': action, Accept: 'text/x-component' }, body: '[]' }
}

describe('an application of Next.js', () => {
  it('gives no cookie to who only looks, and none for a static page', async () => {
    const browser = tab(server.url)
    for (const path of ['/', '/write', '/static', '/api/me']) await browser.get(path)
    expect(browser.setCookies).toEqual([])
  })

  it('logs in by a Server Action that redirects, with a new cookie that keeps the data', async () => {
    const browser = tab(server.url)
    await browser.post('/api/count')
    const before = browser.copy()
    const { status, headers } = await browser.submit('login', { user: 'ann' })
    expect([status, headers.get('location')]).toEqual([303, '/account'])
    expect(browser.setCookies.at(-1)).toMatch(/^__Host-id=[^;]+; Path=\/; Secure; HttpOnly; SameSite=lax/)
    expect(browser.cookie).not.toBe(before.cookie)
    expect((await browser.get('/account')).text).toMatch(/ann<!-- --> since <!-- -->\d{4}-/)
    expect(await browser.state()).toMatchObject({ user: 'ann', visits: 1 })
    expect(JSON.parse((await before.get('/api/me')).text)).toMatchObject({ user: 'nobody' })
  })

  it('shows in the page after an action what the action has saved, in one request', async () => {
    const browser = tab(server.url)
    const { text } = await browser.submit('loginHere', { user: 'bob' })
    expect(stateIn(text)).toMatchObject({ user: 'bob' })
    expect(text).toContain('<title>bob</title>')
    expect(await browser.state()).toMatchObject({ user: 'bob' })
  })

  it('hands data on to client components as what it is', async () => {
    const browser = await loggedIn()
    await cart(browser, 'tea')
    const { text } = await browser.get('/')
    const year = new Date().getFullYear()
    expect(stateIn(text, 'shown')).toEqual({ cart: { tea: 1 }, year, seen: ['tea'] })
    expect(text).toMatch(/\$D\d{4}-/) // in what the browser hydrates with, as a Date
  })

  it('keeps visitors without a login from a page, in the proxy', async () => {
    const { status, headers } = await tab(server.url).get('/account')
    expect([status, headers.get('location')]).toEqual([307, '/'])
  })

  it('merges what two tabs write at the same time', async () => {
    const first = await loggedIn()
    const second = tab(server.url, first.cookie)
    const answers = await Promise.all([
      cart(first, 'tea', 200),
      cart(second, 'milk', 200),
      second.submit('add'),
    ])
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(await first.state()).toMatchObject({ cart: { tea: 1, milk: 1 }, visits: 1 })
  })

  it('counts all of 50 parallel requests, half of them Server Actions', async () => {
    const browser = await loggedIn()
    const ways = Array.from({ length: 50 }, (_, i) =>
      i % 2 ? browser.post('/api/count') : browser.submit('add'),
    )
    for (const { status, text } of await Promise.all(ways)) expect(status, text).toBe(200)
    expect(await browser.state()).toMatchObject({ visits: 50 })
  })

  it('signs out in one tab, and so in the other', async () => {
    const first = await loggedIn()
    const second = tab(server.url, first.cookie)
    const { status, headers } = await first.submit('logout')
    expect([status, headers.get('location')]).toEqual([303, '/'])
    expect((await first.get('/')).text).toContain('<p>Signed out</p>')
    expect(await second.state()).toMatchObject({ user: 'nobody' })
    expect((await second.get('/account')).status).toBe(307)
  })

  it('revives nothing by a request that ends after the logout', async () => {
    const browser = await loggedIn()
    const { cookie } = browser
    const slow = cart(browser, 'late', 1_000)
    await tab(server.url, cookie).submit('logout')
    const { status, headers } = await slow
    expect([status, headers.getSetCookie()]).toEqual([409, []])
    expect(await tab(server.url, cookie).state()).toEqual({ user: 'nobody', generation: 1 })
  })

  it('keeps logins over a restart', async () => {
    const browser = await loggedIn()
    await cart(browser, 'tea')
    await server.stop()
    server = await app.start({ SESSION_STORE: `file:${folder}/sessions` })
    const again = tab(server.url, browser.cookie)
    expect(await again.state()).toMatchObject({ user: 'ann', cart: { tea: 1 } })
    expect((await again.submit('add')).status).toBe(200)
  })

  it('refuses what a page of another origin sends', async () => {
    const browser = await loggedIn()
    const sent = { headers: { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' } }
    expect((await browser.post('/api/count', sent)).status).toBe(403)
    expect((await browser.post('/write', { ...sent, body: await browser.form('add') })).status).toBe(500) // by Next.js itself
    expect(await browser.state()).not.toHaveProperty('visits')
  })

  it('saves before notFound(), and nothing of an action that fails', async () => {
    const browser = await loggedIn()
    expect((await browser.submit('addAndMiss')).status).toBe(404)
    expect((await browser.submit('addAndFail')).status).toBe(500)
    expect(await browser.state()).toMatchObject({ user: 'ann', visits: 100 })
  })

  it('saves nothing of an action whose session has ended meanwhile, and tells the page why', async () => {
    const browser = await loggedIn()
    const { cookie } = browser
    const add = await browser.form('add')
    await browser.submit('logout')
    const late = tab(server.url, cookie)
    expect((await late.post('/write', { body: add })).status).toBe(500)
    const { status, text } = await late.post('/write', sentByScript(add))
    expect([status, late.setCookies]).toEqual([500, []])
    expect(text).toContain('"digest":"HOLDFAST_SESSION_ENDED"')
    expect(text).not.toContain('under way') // the message stays on the server
  })

  it('lets actions that call one another change one session', async () => {
    const browser = await loggedIn()
    expect((await browser.submit('addTwice')).status).toBe(200)
    expect(await browser.state()).toMatchObject({ visits: 1, cart: { nested: 1 } })
  })

  it('refuses every write of a Server Component, and says where to write', async () => {
    const browser = await loggedIn()
    await Promise.all([cart(browser, 'tea'), browser.post('/api/count')])
    const results = stateIn((await browser.get('/write')).text, 'results')
    expect(Object.keys(results)).toHaveLength(7)
    for (const [name, result] of Object.entries(results)) {
      expect(result, name).toMatch(/^ReadOnlySessionError: session\.\S+: .*Server Action.*Route Handler/)
    }
    expect(results.nested).toContain('session.data.cart.tea:')
    expect(await browser.state()).toMatchObject({ user: 'ann', visits: 1, cart: { tea: 1 } })
  })

  it('takes the cookie that it has cleared for none when it fetches the page behind a redirect()', async () => {
    const browser = await loggedIn()
    const { headers } = await browser.post('/', sentByScript(await browser.form('leave')))
    expect([headers.get('x-action-redirect'), browser.cookie]).toEqual(['/;push', undefined])
    expect(server.output()).not.toContain('event: forged')
  })

  it('clears the cookie before a redirect() in a Route Handler', async () => {
    const browser = await loggedIn()
    const { status, headers } = await browser.get('/api/leave')
    expect([status, headers.get('location')]).toEqual([307, '/'])
    expect(browser.cookie).toBeUndefined()
  })

  it('sends all headers from a Route Handler, and says of an action that it cannot', async () => {
    const first = await loggedIn()
    expect((await first.post('/api/leave')).headers.get('clear-site-data')).toContain('"cookies"')
    const second = await loggedIn()
    expect((await second.submit('leaveCleanly')).status).toBe(500)
    expect(server.output()).toMatch(/must carry Clear-Site-Data, and Next\.js lets a Server Action/)
    expect(await second.state()).toMatchObject({ user: 'nobody' })
  })

  it('answers 503 with Retry-After while the store is away, touches no cookie, and has everybody back', async () => {
    const redis = await startRedis()
    const running = await app.start({
      SESSION_STORE: `redis://127.0.0.1:${redis.port}`,
      LOAD_DEADLINE: '500ms',
    })
    try {
      const browser = tab(running.url)
      await browser.submit('login', { user: 'ann' })
      const { cookie } = browser
      const sent = browser.setCookies.length
      const form = await browser.form('add')
      redis.freeze()
      for (const path of ['/', '/account', '/static']) {
        const { status, headers } = await browser.get(path) // by the proxy
        expect([path, status, headers.get('retry-after')]).toEqual([path, 503, '1'])
      }
      const counted = await browser.post('/api/count') // by the route itself
      expect([counted.status, counted.headers.get('retry-after')]).toEqual([503, '1'])
      const page = await browser.get('/write')
      expect([page.status, page.text.includes('HOLDFAST_STORE_UNAVAILABLE')]).toEqual([500, true])
      expect((await browser.post('/', { body: form })).status).toBe(503)
      expect((await browser.post('/write', { body: form })).status).toBe(500) // by the action, since no proxy stands before it
      expect([browser.cookie, browser.setCookies.length]).toEqual([cookie, sent])
      redis.thaw()
      await expect.poll(async () => (await browser.get('/account')).status, { timeout: 10_000 }).toBe(200)
      expect(await browser.state()).toMatchObject({ user: 'ann' })
    } finally {
      redis.thaw()
      await running.stop()
      await redis.stop()
    }
  })
})

describe('a rotation that is due', () => {
  let quick: RunningNext
  beforeAll(async () => {
    quick = await app.start({ SESSION_STORE: `file:${folder}/quick`, ROTATE_EVERY: '500ms', GRACE: '1m' })
  }, 60_000)
  afterAll(() => quick?.stop())

  const pause = () => new Promise((resume) => setTimeout(resume, 700))

  async function due(): Promise<Tab> {
    const browser = tab(quick.url)
    await browser.submit('login', { user: 'ann' })
    await pause()
    browser.setCookies.length = 0
    return browser
  }

  it('waits while only Server Components read, and comes with the proxy; both tokens work meanwhile', async () => {
    const browser = await due()
    const before = browser.copy()
    await browser.get('/write')
    await browser.get('/api/me')
    expect(browser.setCookies).toEqual([])
    const { text } = await browser.get('/')
    expect(browser.setCookies).toHaveLength(1)
    expect(browser.cookie).not.toBe(before.cookie)
    expect(stateIn(text)).toMatchObject({ user: 'ann' })
    for (const each of [before, browser]) {
      expect(JSON.parse((await each.get('/api/me')).text)).toMatchObject({ user: 'ann' })
    }
  })

  it('lets no cache keep the static page that brings it', async () => {
    const { headers } = await (await due()).get('/static')
    expect(headers.getSetCookie()).toHaveLength(1)
    expect(headers.get('cache-control')).toContain('no-store')
  })

  it('gives way to a login in the same request', async () => {
    const browser = await due()
    await browser.get('/api/take?user=bob')
    expect(JSON.parse((await browser.get('/api/me')).text)).toMatchObject({ user: 'bob' })
  })

  it('comes with a Route Handler', async () => {
    const browser = await due()
    await browser.post('/api/count')
    expect(browser.setCookies).toHaveLength(1)
  })

  it('comes with an action, but for one that redirects, whose new page Next.js fetches itself', async () => {
    const browser = tab(quick.url)
    await browser.submit('login', { user: 'ann' })
    const [add, move] = await Promise.all(['add', 'addAndMove'].map((id) => browser.form(id)))
    await pause()
    browser.setCookies.length = 0
    const scripted = await browser.post('/', sentByScript(move!))
    expect(scripted.headers.get('x-action-redirect')).toMatch(/^\/account/)
    expect(scripted.text).toContain('ann')
    expect((await browser.post('/', { body: move! })).status).toBe(303)
    expect(browser.setCookies).toEqual([])
    expect((await browser.post('/', { body: add! })).status).toBe(200)
    expect(browser.setCookies).toHaveLength(1)
    expect(JSON.parse((await browser.get('/api/me')).text)).toMatchObject({ user: 'ann', visits: 3 })
  })

  it('ends nobody’s session', () => {
    expect(quick.output()).not.toMatch(/event: (reuse|uncommitted)/)
  })
})

describe('in a browser', () => {
  let chromium: Chromium
  beforeAll(async () => {
    chromium = await startChromium({ spki: [] })
  }, 60_000)
  afterAll(() => chromium?.stop())

  const click = (form: string) => `document.querySelector('#${form} button').click()`
  /** Waits for what an action does to the page, which loads no other one. */
  const shows = (page: Page, wanted: string) =>
    page.evaluate<string>(`new Promise((resolve, reject) => {
      const end = Date.now() + 10_000
      const look = () => {
        if (document.body.innerText.includes(${JSON.stringify(wanted)})) resolve(document.body.innerText)
        else if (Date.now() > end) reject(new Error('the page shows: ' + document.body.innerText))
        else setTimeout(look, 20)
      }
      look()
    })`)

  it('logs in, works in two tabs and signs out, by actions that JavaScript sends', async () => {
    const page = await chromium.newPage()
    await page.goto(server.url)
    await page.evaluate('window.stayed = true')
    await page.evaluate(click('login'))
    await shows(page, 'ann since')
    expect(await page.evaluate('window.stayed')).toBe(true)

    const second = await chromium.newPage()
    await second.goto(server.url)
    await shows(second, '"user":"ann"')
    await page.evaluate('history.back()')
    await shows(page, '"user"')
    await page.evaluate(click('logout'))
    await shows(page, 'Signed out')
    await second.goto(`${server.url}/account`)
    await shows(second, '"user":"nobody"')
    expect(server.output()).not.toMatch(/event: (forged|reuse|uncommitted)/)
  })
})
