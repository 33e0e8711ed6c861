import { createSessions, type SessionEvents, type SessionOptions, type Sessions, type Store } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SECRET } from '../helpers/browser.ts'
import { type Client, client } from '../helpers/client.ts'
import { type CountingStore, counting } from '../helpers/counting-store.ts'
import { type Data, held } from './app.ts'
import { type Running, servers } from './servers.ts'

const frameworks = process.env.HOLDFAST_FRAMEWORKS?.split(',') ?? Object.keys(servers)

/** One behaviour on all frameworks: the same tests, the same answers. */
describe.each(frameworks)('on %s', (framework) => {
  let store: CountingStore
  let sessions: Sessions<Data>
  let server: Running
  let visitor: Client

  async function start(options: SessionOptions<Data> = {}) {
    store = counting(memoryStore())
    sessions = createSessions<Data>({ secret: SECRET, store, merge: { visits: 'sum' }, ...options })
    server = await servers[framework]!(sessions)
    visitor = client(server.url)
  }
  async function stop() {
    await server.close()
    await sessions.close()
  }
  async function restart(options: SessionOptions<Data>) {
    await stop()
    await start(options)
  }
  beforeEach(() => start())
  afterEach(stop)

  const data = async (who = visitor) => JSON.parse((await who.get('/data')).text) as Data
  const parallel = <T>(count: number, work: (i: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, i) => work(i)))

  it('counts visits', async () => {
    expect((await visitor.get('/visits')).text).toBe('Total visits: 1')
    expect((await visitor.get('/visits')).text).toBe('Total visits: 2')
  })

  it('counts 200 of 200 parallel visits', async () => {
    await visitor.get('/visits')
    await parallel(200, () => visitor.get('/slow-visits'))
    expect((await data()).visits).toBe(201)
  })

  it('keeps 200 of 200 items that parallel requests put into one object', async () => {
    await visitor.get('/visits')
    await parallel(200, (i) => visitor.get(`/cart?item=${i}`))
    expect(Object.keys((await data()).cart!)).toHaveLength(200)
  })

  it('keeps 200 of 200 keys that parallel requests set', async () => {
    await visitor.get('/visits')
    await parallel(200, (i) => visitor.get(`/set?key=k${i}&value=${i}&ms=5`))
    expect(Object.keys(await data())).toHaveLength(201)
  })

  it('counts 200 of 200 parallel updates', async () => {
    await visitor.get('/visits')
    await parallel(200, () => visitor.get('/update'))
    expect((await data()).visits).toBe(201)
  })

  it('lets no request that read before a logout revive the session', async () => {
    const users = await parallel(20, async () => {
      const user = client(server.url)
      await user.get('/login?user=ann')
      return user
    })
    const thieves = users.map((user) => user.copy())
    const slow = thieves.map((thief) => thief.get('/held-set?key=a&value=b'))
    await held.all(20)
    await Promise.all(users.map((user) => user.get('/logout')))
    held.release()
    expect((await Promise.all(slow)).map(({ status }) => status)).toEqual(Array(20).fill(409))
    for (const one of [...thieves, ...users]) expect((await one.get('/me')).text).toBe('nobody')
    expect(await sessions.list('ann')).toEqual([])
  })

  it('clears the cookie at logout, with the attributes it was set with', async () => {
    await visitor.get('/login?user=ann')
    await visitor.get('/leave')
    expect(visitor.setCookies.at(-1)).toBe('__Host-id=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax')
  })

  it('shows a message that was left before a logout was answered', async () => {
    await visitor.get('/login?user=ann')
    await visitor.get('/logout')
    expect((await visitor.get('/flashes')).text).toBe('Signed out')
    expect((await visitor.get('/flashes')).text).toBe('')
  })

  it('gives a new token at login, and the old one is dead', async () => {
    await visitor.get('/set?key=a&value=1')
    const before = visitor.copy()
    await visitor.get('/login?user=ann')
    expect(visitor.cookie).not.toBe(before.cookie)
    expect((await visitor.get('/me')).text).toBe('ann')
    expect((await before.get('/me')).text).toBe('nobody')
    expect(await data()).toEqual({ a: '1' })
  })

  it('logs nobody out when ten parallel requests surround a rotation', async () => {
    let ahead = 0
    await restart({ clock: () => Date.now() + ahead })
    await visitor.get('/login?user=ann')
    ahead = 6 * 60_000 // the grace of the login is over
    const replies = await parallel(11, (i) =>
      i === 5 ? visitor.copy().get('/rotate') : visitor.copy().get(`/set?key=k${i}&value=v&ms=${i * 3}`),
    )
    const rotated = replies[5]!
    expect(rotated.text).toBe('true')
    const cookies = replies.flatMap(({ headers }) => headers.getSetCookie())
    expect(cookies).toHaveLength(1)
    const after = client(server.url, cookies[0]!.split(';', 1)[0])
    expect((await after.get('/me')).text).toBe('ann')
    expect(Object.keys(await data(after))).toHaveLength(10)
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('saves before a redirect leaves, so that whoever follows it sees what was written', async () => {
    await restart({ store: delayed(memoryStore(), 10) })
    await visitor.get('/visits')
    await parallel(50, async (i) => {
      const own = client(server.url)
      for (let n = 0; n < 10; n++) {
        const reply = await own.get(`/redirect?value=${i}.${n}`)
        expect(reply.status).toBe(302)
        expect((await data(own.copy())).last).toBe(`${i}.${n}`)
      }
    })
  }, 60_000)

  it('saves before the first byte of a stream', async () => {
    const reply = await visitor.get('/stream')
    expect(reply.text).toBe('one two')
    expect(await data()).toEqual({ streamed: true })
  })

  it('tells of a change that was made after the headers had left and never committed', async () => {
    const events: SessionEvents['uncommitted'][] = []
    sessions.on('uncommitted', (event) => events.push(event))
    await visitor.get('/late')
    await vi.waitFor(() => expect(events).toHaveLength(1), 3_000)
    expect(events[0]!.route).toBe('GET /late')
    expect(await data()).toEqual({ early: true })
  })

  it('saves a change made after the headers had left when it is committed', async () => {
    await visitor.get('/late-commit')
    expect(await data()).toEqual({ early: true, late: true })
  })

  it('refuses a login after the headers have left', async () => {
    expect((await visitor.get('/late-login')).text).toBe('headers are gone HeadersSentError')
  })

  it('does not save what a handler left behind when it threw', async () => {
    await visitor.get('/set?key=a&value=1')
    expect((await visitor.get('/throw')).status).toBe(500)
    expect((await visitor.get('/error')).status).toBe(500)
    expect(await data()).toEqual({ a: '1' })
  })

  it('saves it with saveOnError', async () => {
    await restart({ saveOnError: true })
    await visitor.get('/set?key=a&value=1')
    expect((await visitor.get('/error')).status).toBe(500)
    expect(await data()).toEqual({ a: '1', half: 'done' })
  })

  it('keeps what was committed before the handler threw, and its cookie leaves with the error', async () => {
    expect((await visitor.get('/commit-and-throw')).status).toBe(500)
    expect(await data()).toEqual({ whole: 'done' })
  })

  it('answers with an error when the session cannot be saved, and drops what the handler said', async () => {
    const unstorable = await visitor.get('/unstorable')
    expect(unstorable.status).toBe(500)
    expect(unstorable.text).not.toContain('must not be seen')
    const unawaited = await visitor.get('/unawaited')
    expect(unawaited.status).toBe(500)
    expect(unawaited.text).not.toContain('must not be seen')
    expect((await visitor.get('/caught')).text).toBe('handled')
  })

  it('answers 409 to the later of two requests that set a guarded key, without its headers', async () => {
    await restart({ merge: { guarded: 'reject' } })
    await visitor.get('/visits')
    const replies = await parallel(2, () => visitor.get('/conflict'))
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 409])
    const loser = replies.find(({ status }) => status === 409)!
    expect(loser.headers.get('x-app')).toBeNull()
    expect(loser.text).not.toContain('must not be seen')
  })

  it('answers 503 while the store is down, sets no cookie, and everybody is still logged in afterwards', async () => {
    const broken = breakable(memoryStore())
    await restart({ store: broken })
    await visitor.get('/login?user=ann')
    const cookies = visitor.setCookies.length
    broken.isDown = true
    expect((await visitor.get('/me')).status).toBe(503)
    expect((await client(server.url).get('/none')).status).toBe(200)
    expect((await client(server.url).get('/visits')).status).toBe(503)
    broken.isDown = false
    expect((await visitor.get('/me')).text).toBe('ann')
    expect(visitor.setCookies).toHaveLength(cookies)
  })

  it('adds to the headers of the application, and weakens none', async () => {
    const { headers } = await visitor.get('/headers')
    expect(headers.getSetCookie()).toEqual(['theme=dark', expect.stringMatching(/^__Host-id=/)])
    expect(headers.get('vary')).toBe('Accept-Encoding, Cookie')
    expect(headers.get('cache-control')).toBe('no-store')
  })

  it('says Vary: Cookie when the handler looked at the session, and nothing when it did not', async () => {
    expect((await visitor.get('/look')).headers.get('vary')).toBe('Cookie')
    const none = await visitor.get('/none')
    expect(none.headers.get('vary')).toBeNull()
    expect(none.headers.getSetCookie()).toEqual([])
  })

  it('creates nothing for requests without a cookie or with a forged one, and reads nothing for forged ones', async () => {
    const token = Buffer.alloc(48, 1).toString('base64url')
    for (const cookie of [undefined, `__Host-id=${token}`, '__Host-id=', '__Host-id=x; __Host-id=y']) {
      const nobody = client(server.url, cookie)
      expect((await nobody.get('/data')).text).toBe('{}')
      expect(nobody.setCookies).toEqual([])
    }
    expect([store.loads, store.writes]).toEqual([0, 0])
  })

  it('costs one load to read, one more trip to write, and none without a cookie', async () => {
    await visitor.get('/none')
    expect([store.loads, store.writes]).toEqual([0, 0])
    await visitor.get('/visits')
    expect([store.loads, store.writes]).toEqual([0, 1])
    await visitor.get('/data')
    expect([store.loads, store.writes]).toEqual([1, 1])
    await visitor.get('/visits')
    expect([store.loads, store.writes]).toEqual([2, 2])
  })
})

function delayed(store: Store, milliseconds: number): Store {
  const wait = () => new Promise((resume) => setTimeout(resume, milliseconds))
  return Object.assign(Object.create(store) as Store, {
    create: async (...args: Parameters<Store['create']>) => wait().then(() => store.create(...args)),
    update: async (...args: Parameters<Store['update']>) => wait().then(() => store.update(...args)),
    load: (...args: Parameters<Store['load']>) => store.load(...args),
    destroy: (...args: Parameters<Store['destroy']>) => store.destroy(...args),
    touch: (...args: Parameters<Store['touch']>) => store.touch(...args),
  })
}

function breakable(store: Store): Store & { isDown: boolean } {
  const state = { isDown: false }
  return new Proxy(store, {
    get(target, name) {
      if (name === 'isDown') return state.isDown
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (state.isDown) return Promise.reject(new Error('the store is down'))
        return value.apply(target, args)
      }
    },
    set(_target, name, value) {
      if (name !== 'isDown') return false
      state.isDown = value
      return true
    },
  }) as Store & { isDown: boolean }
}
