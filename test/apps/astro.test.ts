import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type App, startApp } from '../helpers/app.ts'
import { type Client, client } from '../helpers/client.ts'
import { installIn, runIn, writeApp } from '../helpers/documented-app.ts'
import { itKeepsItsPromises, type State } from './promises.ts'

let folder: string
let app: App

beforeAll(async () => {
  folder = await writeApp('astro', 'docs/astro.md')
  await installIn(folder)
  await runIn(folder, 'astro', ['build'])
  app = await startApp([`${folder}/dist/server/entry.mjs`], { HOST: 'localhost' })
}, 180_000)
afterAll(() => app?.stop())

const look = async (tab: Client): Promise<State> => JSON.parse((await tab.get('/api')).text)

function act(tab: Client, fields: Record<string, string>) {
  return tab.post('/', { body: new URLSearchParams(fields), headers: { origin: app.url } })
}
const byScript = (tab: Client, name: string) => tab.post(`/act?act=${name}`, { headers: { origin: app.url } })

describe('an Astro application, as docs/astro.md has it', () => {
  it('is right about its types', async () => {
    expect(await runIn(folder, 'tsc', ['-p', '.'])).toBe('')
  }, 60_000)

  itKeepsItsPromises(() => app, {
    signIn: (tab, name) => act(tab, { act: 'login', name }),
    signOut: (tab) => act(tab, { act: 'logout' }),
    count: (tab) => byScript(tab, 'count'),
    put: (tab, item) => act(tab, { act: 'put', item }),
    rotate: (tab) => byScript(tab, 'rotate'),
    slow: (tab) => byScript(tab, 'slow'),
    look,
  })

  it('shows what its form has done, after the redirect', async () => {
    const tab = client(app.url)
    const { status, headers } = await act(tab, { act: 'login', name: 'ann' })
    expect([status, headers.get('location')]).toEqual([303, '/'])
    await act(tab, { act: 'put', item: 'tea' })
    expect((await tab.get('/')).text).toMatch(/Cart: tea.*Hello ann/s)
    await act(tab, { act: 'logout' })
    expect((await tab.get('/')).text).toMatch(/Signed out\..*Sign in/s)
    expect((await tab.get('/')).text).not.toContain('Signed out.')
  })

  it('saves what a page has changed before it redirects', async () => {
    const tab = client(app.url)
    expect((await tab.get('/account')).headers.get('location')).toBe('/')
    expect((await tab.get('/')).text).toContain('Sign in first.')
  })

  it('streams: the headers leave with the cookie, and what a component does is saved by update', async () => {
    const tab = client(app.url)
    const response = await fetch(`${app.url}/stream`)
    tab.cookie = response.headers.getSetCookie()[0]!.split(';', 1)[0]!
    expect((await look(tab)).data.cart).toEqual(['begun']) // while the stream is open
    expect(await response.text()).toContain('HeadersSentError')
    expect((await look(tab)).data.cart).toEqual(['begun', 'late'])
  })

  it('discards what an endpoint has changed that answers with 500', async () => {
    const tab = client(app.url)
    await act(tab, { act: 'login', name: 'ann' })
    expect((await byScript(tab, 'fail')).status).toBe(500)
    expect((await look(tab)).data.visits).toBeUndefined()
  })

  it('has no visitor in a page that was made when it was built', async () => {
    const { text, headers } = await client(app.url).get('/about')
    expect(text).toContain('About us: without a visitor')
    expect(headers.getSetCookie()).toEqual([])
  })
})
