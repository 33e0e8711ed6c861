import { createSessions, DataError, type Session } from 'holdfast'
import { svelteKitSessions } from 'holdfast/sveltekit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type App, startApp } from '../helpers/app.ts'
import { SECRET } from '../helpers/browser.ts'
import { type Client, client } from '../helpers/client.ts'
import { runIn, writeApp } from '../helpers/documented-app.ts'
import { itKeepsItsPromises, type State } from './promises.ts'

let folder: string
let app: App

beforeAll(async () => {
  folder = await writeApp('sveltekit', 'docs/sveltekit.md')
  await runIn(folder, 'vite', ['build'])
  app = await startApp([`${folder}/build/index.js`])
}, 120_000)
afterAll(() => app?.stop())

const BY_SCRIPT = { accept: 'application/json', 'x-sveltekit-action': 'true' }
const look = async (tab: Client): Promise<State> => JSON.parse((await tab.get('/api')).text)

/** A form action, as a browser posts it, or as `use:enhance` does. */
function act(
  tab: Client,
  action: string,
  fields: Record<string, string> = {},
  headers: HeadersInit = { accept: 'text/html' },
) {
  const body = new URLSearchParams(fields)
  return tab.post(action, { body, headers: { origin: app.url, ...headers } })
}

describe('a SvelteKit application, as docs/sveltekit.md has it', () => {
  it('is right about its types', async () => {
    expect(await runIn(folder, 'tsc', ['-p', '.'])).toBe('')
  }, 60_000)

  itKeepsItsPromises(() => app, {
    signIn: (tab, name) => act(tab, '/?/login', { name }),
    signOut: (tab) => act(tab, '/?/logout'),
    count: (tab) => tab.post('/api'),
    put: (tab, item) => act(tab, '/?/put', { item }, BY_SCRIPT),
    rotate: (tab) => tab.post('/api?act=rotate'),
    slow: (tab) => tab.post('/api?act=slow'),
    look,
  })

  it('shows what its form actions have done: in the page that answers, and to a script', async () => {
    const tab = client(app.url)
    expect((await act(tab, '/?/login', { name: 'ann' })).text).toContain('Hello ann')
    const { text } = await act(tab, '/?/put', { item: 'tea' }, BY_SCRIPT)
    expect(JSON.parse(text)).toMatchObject({ type: 'success' })
    expect((await tab.get('/')).text).toContain('Cart: tea')
    const { text: page } = await act(tab, '/?/logout')
    expect(page).toContain('Signed out.')
    expect(page).not.toContain('Hello')
    expect((await tab.get('/')).text).not.toContain('Signed out.')
  })

  it('saves what a hook has changed before it redirects, whoever asks', async () => {
    const ways: Record<string, (tab: Client) => ReturnType<Client['get']>> = {
      'a browser': (tab) => tab.get('/account'),
      'a link that a script follows': (tab) => tab.get('/account/__data.json'),
      'a form that a script posts': (tab) => act(tab, '/account?/any', {}, BY_SCRIPT),
      'a form that a browser posts': (tab) => act(tab, '/account?/any'),
    }
    for (const [who, ask] of Object.entries(ways)) {
      const tab = client(app.url)
      const { status, headers, text } = await ask(tab)
      const goesHome = headers.get('location') ?? JSON.parse(text).location
      expect([who, goesHome, tab.setCookies.length]).toEqual([who, '/', 1])
      expect([who, status]).toEqual([who, who.includes('script') ? 200 : 303])
      expect((await tab.get('/')).text).toContain('Sign in first.')
      expect((await tab.get('/')).text).not.toContain('Sign in first.')
    }
  })

  it('says in a redirect that sets a cookie that nobody may keep it', async () => {
    const { headers } = await client(app.url).get('/account')
    expect([headers.get('cache-control'), headers.get('vary')]).toEqual(['no-store', 'Cookie'])
  })

  it('saves what a load function has changed before it redirects', async () => {
    const tab = client(app.url)
    expect((await tab.get('/stream?away')).status).toBe(303)
    expect((await look(tab)).data.cart).toEqual(['begun'])
  })

  it('streams: the headers leave with the cookie, and what comes later is saved by update', async () => {
    const tab = client(app.url)
    const response = await fetch(`${app.url}/stream`)
    tab.cookie = response.headers.getSetCookie()[0]!.split(';', 1)[0]!
    const { data } = await look(tab) // while the stream is open
    expect(data.cart).toEqual(['begun'])
    expect(await response.text()).toContain('HeadersSentError')
    expect((await look(tab)).data.cart).toEqual(['begun', 'late'])
  })

  it('lets a load function ask its own routes, each a request of its own', async () => {
    const tab = client(app.url)
    await act(tab, '/?/login', { name: 'ann' })
    const { visits = 0 } = (await look(tab)).data
    expect((await tab.get('/inner')).text).toContain(`seen: of the page, visits: ${visits + 1}`)
  })

  it('discards what an endpoint has changed that answers with 500', async () => {
    const tab = client(app.url)
    await act(tab, '/?/login', { name: 'ann' })
    const { visits } = (await look(tab)).data
    expect((await tab.post('/api?act=fail')).status).toBe(500)
    expect((await look(tab)).data.visits).toBe(visits)
  })
})

describe('svelteKitSessions', () => {
  const sessions = createSessions<{ visits?: number }>({ secret: SECRET })
  const event = () => {
    const locals: { session?: Session<{ visits?: number }>; mine?: unknown } = {}
    const set: unknown[] = []
    const cookies = { set: (...cookie: unknown[]) => void set.push(cookie) }
    return { request: new Request('https://site.example/'), isDataRequest: false, locals, cookies, set }
  }

  it('leaves alone what it is told to skip', async () => {
    const given = event()
    await svelteKitSessions(sessions, { skip: () => true })({ event: given, resolve: () => new Response() })
    expect(given.locals).toEqual({})
  })

  it('puts the session where it is told to', async () => {
    const given = event()
    await svelteKitSessions(sessions, { property: 'mine' })({ event: given, resolve: () => new Response() })
    expect(Object.keys(given.locals)).toEqual(['mine'])
  })

  it('discards what a hook has changed that fails, and hands its error on, or to onError', async () => {
    const fail = (failing: ReturnType<typeof event>) => {
      failing.locals.session!.data.visits = 1
      throw Object.assign(new Error('no'), { status: 303, location: '/' }) // an error, whatever it looks like
    }
    const [one, other] = [event(), event()]
    await expect(svelteKitSessions(sessions)({ event: one, resolve: fail })).rejects.toThrow('no')
    const onError = () => new Response('sorry', { status: 500 })
    const answer = await svelteKitSessions(sessions, { onError })({ event: other, resolve: fail })
    expect([await answer.text(), answer.headers.getSetCookie()]).toEqual(['sorry', []])
    expect([one.set, other.set]).toEqual([[], []])
  })

  it('answers with what went wrong, and not with the redirect, when a script asks and the change cannot be saved', async () => {
    const given = { ...event(), isDataRequest: true }
    const answer = await svelteKitSessions(sessions)({
      event: given,
      resolve({ locals }) {
        ;(locals.session!.data as Record<string, unknown>).cart = () => 'cannot be stored'
        throw { status: 303, location: '/' }
      },
    }).catch((error: Error) => error)
    expect(answer).toBeInstanceOf(DataError)
    expect(given.set).toEqual([])
  })

  it('refuses options that it does not know', () => {
    expect(() => svelteKitSessions(sessions, { propery: 'mine' } as never)).toThrow(/propery/)
  })
})
