import { once } from 'node:events'
import { type IncomingHttpHeaders, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { createSessions, type SessionOptions, type Sessions, type Store } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, describe, expect, it } from 'vitest'
import { SECRET } from '../helpers/browser.ts'
import { requests, TRUSTED, upgrades } from '../helpers/cross-origin-requests.ts'
import { signIn } from '../helpers/sign-in.ts'
import type { Data } from './app.ts'
import { type Running, servers } from './servers.ts'

describe.each(Object.entries(servers))('the guard on %s', (name, serve) => {
  let server: Running
  let sessions: Sessions<Data>
  let store: Store
  let calls: string[]

  async function start(options: SessionOptions<Data>) {
    calls = []
    store = recording(memoryStore(), calls)
    sessions = createSessions<Data>({ secret: SECRET, store, sweepEvery: false, ...options })
    server = await serve(sessions)
  }
  afterEach(async () => {
    await server.close()
    await sessions.close()
  })

  const send = (method: string, path: string, headers: Record<string, string | undefined>) =>
    exchange(server.url + path, method, headers)

  it('ASVS 3.5.1, attackers 12 and 13: judges each request as the table says, and a refused one has touched nothing', async () => {
    await start({ csrf: { trustedOrigins: [TRUSTED] } })
    const cookie = await signIn(sessions, 'ann', { plan: 'kept' })
    let plan: unknown = 'kept'
    for (const [i, [method, site, origin, host, status]] of requests.entries()) {
      calls.length = 0
      const answer = await send(method, `/set?key=plan&value=${i}`, {
        cookie,
        host,
        origin,
        'sec-fetch-site': site,
      })
      const row = `${method} ${site} ${origin} ${host}`
      expect(`${row} ${answer.status}`).toBe(`${row} ${status}`)
      if (status === 403) {
        expect(calls, row).toEqual([])
        expect(answer.headers['set-cookie'], row).toBeUndefined()
        if (name !== 'koa') expect(answer.body, row).toBe('error page') // Koa's own error path shows the message
      } else {
        expect(calls, row).toContain('load')
        plan = String(i)
      }
      expect((await sessions.open(cookie)).data.plan, row).toBe(plan)
    }
  })

  it('attacker 13: takes a WebSocket upgrade for what it leads to', async () => {
    await start({ csrf: { trustedOrigins: [TRUSTED] } })
    const cookie = await signIn(sessions, 'ann')
    for (const [site, origin, status] of upgrades) {
      calls.length = 0
      const answer = await send('GET', '/me', {
        cookie,
        host: 'shop.example',
        origin,
        'sec-fetch-site': site,
        connection: 'Upgrade',
        upgrade: 'websocket',
      })
      const row = `${site} ${origin}`
      expect(`${row} ${answer.status}`).toBe(`${row} ${status}`)
      if (status === 403) expect(calls, row).toEqual([])
    }
  })

  it('attacker 14: refuses a login that another site posts, without any cookie', async () => {
    await start({ csrf: true })
    for (const site of ['cross-site', 'same-site']) {
      const forged = await send('POST', '/login?user=mallory', { 'sec-fetch-site': site })
      expect(forged.status).toBe(403)
      expect(forged.headers['set-cookie']).toBeUndefined()
      expect(calls).toEqual([])
    }
    const own = await send('POST', '/login?user=ann', { 'sec-fetch-site': 'same-origin' })
    expect(own.status).toBe(200)
    expect(own.headers['set-cookie']).toHaveLength(1)
  })

  it('ASVS 3.5.3: asks for no content type, and takes none for an excuse', async () => {
    await start({ csrf: true })
    for (const type of [
      'application/json',
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
    ]) {
      const answer = await send('POST', '/none', { 'sec-fetch-site': 'cross-site', 'content-type': type })
      expect(answer.status).toBe(403)
    }
  })

  it('believes no X-Forwarded-Host, which anybody can send', async () => {
    await start({ csrf: true })
    const forged = await send('POST', '/none', {
      host: 'inner:8080',
      origin: 'https://shop.example',
      'x-forwarded-host': 'shop.example',
      forwarded: 'host=shop.example',
    })
    expect(forged.status).toBe(403)
  })

  it('refuses in strict mode what brings a session cookie and says nothing of its page', async () => {
    await start({ csrf: { strict: true } })
    const cookie = await signIn(sessions, 'ann')
    calls.length = 0
    expect((await send('POST', '/visits', { cookie })).status).toBe(403)
    expect((await send('POST', '/visits', { cookie: '__Host-id=forged' })).status).toBe(403)
    expect(calls).toEqual([])
    expect((await send('POST', '/visits', { cookie: 'theme=dark' })).status).toBe(200)
    expect((await send('POST', '/visits', { cookie, 'sec-fetch-site': 'same-origin' })).status).toBe(200)
    expect((await send('GET', '/visits', { cookie })).status).toBe(200)
  })

  it('is not there unless asked for', async () => {
    await start({})
    const cookie = await signIn(sessions, 'ann')
    expect((await send('POST', '/visits', { cookie, 'sec-fetch-site': 'cross-site' })).status).toBe(200)
  })
})

interface Exchanged {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** `fetch` would not let Host and Upgrade through. */
async function exchange(
  url: string,
  method: string,
  headers: Record<string, string | undefined>,
): Promise<Exchanged> {
  const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined))
  const sent = request(url, { method, headers: given as Record<string, string>, agent: false })
  sent.end()
  const [response] = await once(sent, 'response')
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

/** Notes every method that is called. */
function recording(store: Store, calls: string[]): Store {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        calls.push(String(name))
        return value.apply(target, args)
      }
    },
  })
}
