import { createSessions, OptionsError, type SessionOptions } from 'holdfast'
import { deviceBinding } from 'holdfast/dbsc'
import { cookieStore } from 'holdfast/stores/cookie'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { boundSites } from './helpers/bound-sites.ts'
import { SECRET } from './helpers/browser.ts'
import { challengeIn, Device, type Reply } from './helpers/device.ts'
import { faulty } from './helpers/faults.ts'
import { type Processes, startProcesses } from './helpers/processes.ts'
import { type RunningSite, startBoundSite } from './helpers/running-site.ts'
import { type RunningStore, sharedStores } from './helpers/stores.ts'

const MINUTE = 60_000

let site: RunningSite | undefined
afterEach(async () => {
  await site?.stop()
  site = undefined
})

async function start(...args: Parameters<typeof startBoundSite>): Promise<RunningSite> {
  site = await startBoundSite(...args)
  return site
}

describe.each(Object.keys(boundSites))('on %s, while the store is down', (framework) => {
  it('a refresh is told to try again later, keeps its cookies, and then works', async () => {
    const store = faulty(memoryStore())
    const { device } = await start(framework, { store })
    const proof = device.proof({ jti: await device.bind() })
    store.error = new Error('the store is down')
    for (const sent of [undefined, proof]) {
      const reply = await device.refresh(sent)
      expect([reply.status, reply.headers.get('retry-after'), reply.setCookies]).toEqual([503, '1', []])
      expect(challengeIn(reply)).toBe('')
    }
    const { status, setCookies } = await device.register({ jti: 'any' })
    expect([status, setCookies]).toEqual([503, []])
    store.error = undefined
    await expect.poll(async () => (await device.refresh(proof)).status, { timeout: 5_000 }).toBe(200)
  })
})

describe('a refresh', () => {
  it('costs one read and one write, and to ask for a challenge one read', async () => {
    const store = faulty(memoryStore())
    const { device } = await start('Express', { store })
    const proof = device.proof({ jti: await device.bind() })
    const asked = async (ask: () => Promise<Reply>) => {
      const before = store.asked
      return [(await ask()).status, store.asked - before]
    }
    expect(await asked(() => device.refresh())).toEqual([403, 1])
    expect(await asked(() => device.refresh(proof))).toEqual([200, 2])
    expect(await asked(() => device.refresh(proof))).toEqual([403, 1])
    expect(await asked(() => device.me())).toEqual([200, 1])
    store.freeze('before', ['create', 'update', 'touch', 'destroy'])
    for (let n = 0; n < 50; n++) expect((await device.refresh()).status).toBe(403)
    store.thaw()
  })

  it('whose write got no answer goes on by another signature', async () => {
    const store = faulty(memoryStore())
    const { device } = await start('Express', { store, deadlines: { write: 50 } })
    const proof = device.proof({ jti: await device.bind() })
    store.freeze('after', ['update'])
    expect((await device.refresh(proof)).status).toBe(503)
    store.thaw()
    let reply: Reply | undefined
    await expect.poll(async () => (reply = await device.refresh(proof)).status, { timeout: 5_000 }).toBe(403)
    expect((await device.refresh(device.proof({ jti: challengeIn(reply!) }))).status).toBe(200)
  })

  it('whose session has just got a new token by a step-up tries again later, and the binding stays', async () => {
    const { device } = await start('Express')
    const jti = await device.bind()
    const before = new Map(device.jar)
    expect((await device.ask('POST', '/elevate')).status).toBe(200)
    const after = new Map(device.jar)
    device.jar.clear()
    for (const [name, value] of before) device.jar.set(name, value)
    expect((await device.refresh(device.proof({ jti }))).status).toBe(503)
    for (const [name, value] of after) device.jar.set(name, value)
    expect((await device.refresh(device.proof({ jti }))).status).toBe(200)
    expect((await device.me()).status).toBe(200)
  })

  it('is over once the session was revoked, and for a device whose user has logged in anew', async () => {
    const { device, sessions } = await start('Express')
    await device.bind()
    const { id } = device
    await device.bind()
    const reply = await device.refresh(undefined, id)
    expect([reply.status, JSON.parse(reply.text)]).toEqual([200, { session_identifier: id, continue: false }])
    await sessions.revoke({ userId: 'ann' })
    expect(JSON.parse((await device.refresh()).text).continue).toBe(false)
  })

  it('shows no more of an id than is one', async () => {
    const { device } = await start('Express')
    expect((await device.refresh(undefined, '<script>')).text).toBe('{"continue":false}')
  })
})

describe('a request of a bound session without its bound cookie', () => {
  it('is answered in the moment in which the browser may not have it yet', async () => {
    const { device, clock } = await start('Express')
    await device.bind()
    device.forgetBoundCookie()
    clock.now += 10_000 - 1
    expect((await device.me()).status).toBe(200)
    clock.now += 1
    expect((await device.me()).status).toBe(401)
  })

  it('can log in, to a session of its own, and the bound one is left alone', async () => {
    const { device, clock, sessions } = await start('Express')
    await device.bind()
    const thief = device.thief()
    clock.now += 10 * MINUTE
    expect((await thief.ask('POST', '/note')).status).toBe(401)
    expect(await thief.login()).not.toBe('')
    expect((await thief.me()).status).toBe(200)
    expect(await sessions.list('ann')).toHaveLength(2)
    expect((await device.refresh(device.proof({ jti: await device.challenge() }))).status).toBe(200)
    expect((await device.me()).text).toBe('ann: undefined')
  })

  it('can log in and end the user’s other sessions, the bound one among them', async () => {
    const { device, clock, sessions } = await start('Express')
    await device.bind()
    clock.now += 10 * MINUTE
    const session = await sessions.open(`__Host-id=${device.jar.get('__Host-id')}`)
    await session.login('ann')
    expect(await sessions.revokeOthers(session)).toBe(1)
    await sessions.commit(session)
    expect((await sessions.list('ann')).map(({ handle }) => handle)).toEqual([session.handle])
    expect((await device.me()).status).toBe(401)
  })

  it('can log out, which ends the session', async () => {
    const { device, clock, sessions } = await start('Express')
    await device.bind()
    clock.now += 10 * MINUTE
    expect((await device.ask('POST', '/logout')).status).toBe(200)
    expect(device.jar.size).toBe(0)
    expect(await sessions.list('ann')).toEqual([])
  })

  it('ends nothing with a token that rotation has replaced: who has not the key is no second party', async () => {
    const { device, clock, events } = await start('Express', { lifetime: { rotateEvery: '15m' } })
    await device.bind()
    const thief = device.thief()
    const use = async () => {
      expect((await device.refresh(device.proof({ jti: await device.challenge() }))).status).toBe(200)
      expect((await device.me()).status).toBe(200)
    }
    for (let n = 0; n < 4; n++) {
      clock.now += 8 * MINUTE
      await use()
    }
    expect(device.jar.get('__Host-id')).not.toBe(thief.jar.get('__Host-id'))
    for (const ask of [() => thief.me(), () => thief.ask('POST', '/note')]) {
      const { status, setCookies } = await ask()
      expect([status, setCookies]).toEqual([401, []])
    }
    for (const proof of [undefined, thief.proof({ jti: await device.challenge() })]) {
      const { status, setCookies } = await thief.refresh(proof)
      expect([status, setCookies]).toEqual([503, []])
    }
    expect((await thief.register({ jti: 'any' })).status).toBe(400)
    await use()
    expect(events.unproven).toHaveLength(2)
    expect(events.reuse).toBeUndefined()
    // With the bound cookie two do hold this login.
    thief.jar.set('__Host-id-bound', device.boundCookie!)
    expect((await thief.me()).status).toBe(401)
    expect(events.reuse).toHaveLength(1)
    expect((await device.me()).status).toBe(401)
  })

  it('does not keep the session alive', async () => {
    const { device, clock, sessions } = await start('Express', {
      lifetime: { idle: '30m', rotateEvery: false },
    })
    await device.bind()
    const [info] = await sessions.list('ann')
    for (let n = 0; n < 4; n++) {
      clock.now += 10 * MINUTE
      expect((await device.me()).status).toBe(401)
    }
    expect(info!.expiresAt.getTime()).toBeLessThan(clock.now)
    expect(await sessions.list('ann')).toEqual([])
  })

  it('is an event, with what the browser says of it', async () => {
    const { device, clock, events } = await start('Express')
    await device.bind()
    clock.now += 10 * MINUTE
    const headers = { 'secure-session-skipped': `quota_exceeded;session_identifier="${device.id}"` }
    expect((await device.ask('GET', '/me', headers)).status).toBe(401)
    await device.ask('GET', '/me', { 'secure-session-skipped': 'because' })
    expect(events.unproven).toEqual(
      ['quota_exceeded', undefined].map((skipped) => ({
        handle: events.bound![0]!.handle,
        userId: 'ann',
        route: 'GET /me',
        skipped,
      })),
    )
  })
})

describe('a registration', () => {
  const offered = ({ headers }: Reply) => headers.has('secure-session-registration')

  it('is offered by the answer to a login, and to a step-up in the next five minutes', async () => {
    const { device, clock } = await start('Express')
    expect(offered(await device.ask('POST', '/note'))).toBe(false)
    expect(offered(await device.ask('POST', '/login'))).toBe(true)
    clock.now += 5 * MINUTE - 1
    expect(offered(await device.ask('POST', '/elevate'))).toBe(true)
    clock.now += 1
    expect(offered(await device.ask('POST', '/elevate'))).toBe(false)
    const { headers } = await device.ask('POST', '/login-mfa')
    const jti = /challenge="([^"]+)"/.exec(headers.get('secure-session-registration')!)![1]!
    expect((await device.register({ jti })).status).toBe(200)
    expect(offered(await device.ask('POST', '/elevate'))).toBe(false)
  })

  it('is offered to nobody who has not just logged in, whatever cookie the answer sets', async () => {
    const { device } = await start('Express')
    await device.login()
    for (const path of ['/remember', '/rotate']) {
      const reply = await device.ask('POST', path)
      expect([reply.setCookies.length, offered(reply)], path).toEqual([1, false])
    }
  })

  it('comes from a page of the site', async () => {
    const { device, url } = await start('Express')
    const jti = await device.login()
    const foreign: Record<string, string>[] = [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'none' },
      { origin: 'https://elsewhere.example' },
      { origin: 'null' },
      { origin: url },
    ]
    for (const headers of foreign) {
      expect((await device.register({ jti }, headers)).status).toBe(400)
    }
    expect((await device.register({ jti }, { 'sec-fetch-site': 'same-origin' })).status).toBe(200)
  })
})

describe('a link on another site', () => {
  const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }

  it.each(Object.keys(boundSites))('leads to the page by way of a refresh, on %s', async (framework) => {
    const { device, clock, events } = await start(framework)
    await device.bind()
    clock.now += 10_000
    expect((await device.ask('GET', '/me', link)).headers.get('refresh')).toBeNull()
    device.forgetBoundCookie()
    const { status, headers, text, setCookies } = await device.ask('GET', '/me', link)
    expect([status, headers.get('refresh'), headers.get('cache-control'), text, setCookies]).toEqual([
      200,
      '0',
      'no-store',
      '',
      [],
    ])
    expect((await device.ask('GET', '/me', { ...link, 'sec-fetch-site': 'same-origin' })).status).toBe(401)
    expect(events.unproven).toHaveLength(1)
  })

  it('costs nobody else a thing', async () => {
    const { device, url } = await start('Express')
    expect((await new Device(url).ask('GET', '/me', link)).status).toBe(401)
    await device.login()
    for (const other of [{}, { 'sec-fetch-mode': 'cors' }, { 'sec-fetch-dest': 'iframe' }]) {
      const { status, headers } = await device.ask('GET', '/me', { ...link, ...other })
      expect([status, headers.get('refresh')]).toEqual([200, null])
    }
  })
})

describe('a registration whose write got no answer', () => {
  it('is answered all the same where it has been written, or its user would be out in ten seconds', async () => {
    const store = memoryStore()
    const { update } = store
    const { device, clock, events } = await start('Express', { store })
    const jti = await device.login()
    store.update = async (...args: Parameters<typeof update>) => {
      store.update = update
      await store.update(...args)
      throw new Error('the connection was reset')
    }
    expect((await device.register({ jti })).status).toBe(200)
    clock.now += 11_000
    expect((await device.me()).status).toBe(200)
    expect(device.boundCookie).toBeDefined()
    expect(events.bound).toHaveLength(1)
  })
})

describe('what a session is bound to', () => {
  it('makes it an invalid session if it cannot be read, which login and logout get through, and never an unbound one', async () => {
    const store = memoryStore()
    const { load } = store
    const { device, sessions } = await start('Express', { store })
    const invalid: string[] = []
    sessions.on('invalid', ({ error }) => invalid.push(error.message))
    await device.bind()
    store.load = async (...args: Parameters<typeof load>) => {
      const found = await load.apply(store, args)
      if (!found || !('text' in found)) return found
      return { ...found, text: found.text.replace(/"bd":"[^"]+"/, '"bd":"of.another.version"') }
    }
    expect((await device.me()).status).toBe(401)
    expect(invalid).toEqual([expect.stringContaining('holdfast/dbsc')])
    expect((await device.ask('POST', '/logout')).status).toBe(200)
    expect(await sessions.list('ann')).toEqual([])
  })

  it('is nothing that the application could write', async () => {
    const { sessions } = await start('Express')
    const first = await sessions.open(undefined)
    await first.login('ann')
    Object.assign(first.data, { bound: 'x', bd: 'x' })
    const { cookie } = await sessions.commit(first)
    const again = await sessions.open(`${cookie!.name}=${cookie!.value}`)
    expect([again.userId, again.data]).toEqual(['ann', { bound: 'x', bd: 'x' }])
  })

  it('ends with the login, and the bound cookie of the one before is worth nothing', async () => {
    const { device, clock } = await start('Express')
    await device.bind()
    const first = device.boundCookie!
    await device.bind()
    clock.now += MINUTE
    expect((await device.me()).status).toBe(200)
    device.jar.set('__Host-id-bound', first)
    expect((await device.me()).status).toBe(401)
  })

  it('is one key, when two registrations come at once', async () => {
    const { device, events } = await start('Express')
    const jti = await device.login()
    const other = device.thief()
    const replies = await Promise.all([device.register({ jti }), other.register({ jti })])
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 400])
    expect(events.bound).toHaveLength(1)
  })

  it('outlives a secret that is replaced, until that one is removed', async () => {
    const store = memoryStore()
    const NEWER = 'mZ6sT1kQ9vB4xYc7LhWd2RfGp8NjUe3A'
    const { device, stop } = await startBoundSite('Express', { store })
    const jti = await device.bind()
    await stop()
    const { url } = await start('Express', { store, secret: [NEWER, SECRET] })
    const moved = device.movedTo(url)
    expect((await moved.me()).status).toBe(200)
    const before = moved.boundCookie!
    expect((await moved.refresh(moved.proof({ jti }))).status).toBe(200)
    expect(moved.boundCookie!.slice(0, 4)).not.toBe(before.slice(0, 4))
    const session = moved.jar.get('__Host-id')!
    await site!.stop()
    await start('Express', { store, secret: NEWER })
    const last = new Device(site!.url, [
      ['__Host-id', session],
      ['__Host-id-bound', before],
    ])
    site!.clock.now += MINUTE
    expect((await last.me()).status).toBe(401)
  })
})

describe('what deviceBinding refuses', () => {
  const secret = SECRET
  it.each<[string, SessionOptions<object>, object, RegExp]>([
    ['sessions in cookies', { store: cookieStore() }, {}, /cookie store cannot see to it/],
    [
      'a store that does not compare',
      { store: Object.create(memoryStore(), { compareAndSet: { value: false } }) },
      {},
      /compares and sets/,
    ],
    ['plain http', { cookie: { secure: false } }, {}, /over https only/],
    ['partitioned cookies', { cookie: { partitioned: true } }, {}, /partitioned/],
    ['a domain', { cookie: { domain: 'app.example' } }, {}, /one host/],
    ['a path without the session cookie', { cookie: { path: '/app' } }, { path: '/dbsc' }, /below \/app\//],
    ['a path that is none', {}, { path: 'dbsc' }, /must be a path/],
    ['a lifetime that browsers cannot keep', {}, { lifetime: '4m' }, /5 minutes or more/],
    ['what is excluded and no path', {}, { exclude: ['static'] }, /must be a path such as/],
    ['an origin that is none', {}, { origins: ['app.example'] }, /must be an origin/],
    ['an option that there is not', {}, { paths: '/x' }, /there is no such option/],
  ])('%s', (_name, options, given, message) => {
    const sessions = createSessions<object>({ secret, ...options })
    expect(() => deviceBinding(sessions, given)).toThrow(OptionsError)
    expect(() => deviceBinding(sessions, given)).toThrow(message)
  })

  it('being called twice, or for what is no manager', () => {
    const sessions = createSessions({ secret })
    deviceBinding(sessions)
    expect(() => deviceBinding(sessions)).toThrow(/have one already/)
    expect(() => deviceBinding({} as never)).toThrow(/createSessions/)
  })
})

const SHARED = ['sqlite', 'redis', 'memcached', 'postgres', 'redis in front of postgres']

describe.each(SHARED)('three processes on one store: %s', (name) => {
  let store: RunningStore
  let processes: Processes
  beforeAll(async () => {
    store = await sharedStores[name]!()
    processes = await startProcesses(store.url, [], new URL('./helpers/bound-process.ts', import.meta.url))
    return async () => {
      await processes.stop()
      await store.stop()
    }
  }, 60_000)

  it('take one proof once, and the bound cookie and the challenges of each other', async () => {
    const device = new Device(processes.urls[0]!)
    let jti = await device.bind()
    for (let round = 0; round < 30; round++) {
      const proof = device.proof({ jti })
      const replies = await Promise.all(
        processes.urls.flatMap((url) => [1, 2].map(() => device.movedTo(url).refresh(proof))),
      )
      const statuses = replies.map(({ status }) => status).sort()
      expect(statuses).toEqual([200, 403, 403, 403, 403, 403])
      const winner = replies.find(({ status }) => status === 200)!
      device.jar.set('__Host-id-bound', /^__Host-id-bound=([^;]+)/.exec(winner.setCookies[0]!)![1]!)
      for (const url of processes.urls) expect((await device.movedTo(url).me()).status).toBe(200)
      jti = challengeIn(replies[round % replies.length]!)
    }
  }, 60_000)
})
