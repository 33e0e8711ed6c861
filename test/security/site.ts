import { setTimeout as sleep } from 'node:timers/promises'
import type { SessionEvents, SessionOptions, Sessions } from 'holdfast'
import { createSessions } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import type { Data, Routes } from '../frameworks/app.ts'
import { held } from '../frameworks/app.ts'
import { servers } from '../frameworks/servers.ts'
import { SECRET } from '../helpers/browser.ts'
import { type Client, client } from '../helpers/client.ts'
import { type CountingStore, counting } from '../helpers/counting-store.ts'

export const FRAMEWORKS = ['express 5', 'fastify', 'hono', 'web']

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE

/** The sample application of the requirements, with a clock that the test moves. */
export interface Site {
  readonly url: string
  readonly sessions: Sessions<Data>
  readonly clock: { now: number }
  readonly store: CountingStore
  readonly events: { name: keyof SessionEvents; event: object }[]
  visitor(cookie?: string): Client
  /** A browser in which this user has just logged in. */
  loggedIn(user: string, query?: string): Promise<Client>
  /** Starts requests that hold what they have read until `during` is over, and then write. */
  slowly<T>(requests: readonly (() => Promise<T>)[], during: () => Promise<unknown>): Promise<T[]>
  stop(): Promise<void>
}

const HEARD = ['created', 'login', 'logout', 'rotated', 'revoked', 'reuse', 'forged', 'duplicate'] as const

export async function startSite(framework: string, options: SessionOptions<Data> = {}): Promise<Site> {
  const clock = { now: 1_800_000_000_000 }
  const store = counting(options.store ?? memoryStore())
  const sessions = createSessions<Data>({
    secret: SECRET,
    clock: () => clock.now,
    csrf: true,
    sweepEvery: false,
    ...options,
    store,
  })
  const events: Site['events'] = []
  for (const name of HEARD) sessions.on(name, (event) => void events.push({ name, event }))
  const server = await servers[framework]!(sessions, routesOf(sessions))
  const visitor = (cookie?: string) => client(server.url, cookie)
  return {
    url: server.url,
    sessions,
    clock,
    store,
    events,
    visitor,
    async loggedIn(user, query = '') {
      const browser = visitor()
      const { status } = await browser.post(`/login?user=${user}${query}`)
      if (status !== 200) throw new Error(`the login of ${user} was answered ${status}`)
      return browser
    },
    async slowly(requests, during) {
      const replies = requests.map((request) => request())
      await held.all(requests.length)
      await during()
      held.release()
      return Promise.all(replies)
    },
    async stop() {
      held.release()
      await server.close()
      await sessions.close()
    },
  }
}

/** The same on every framework. Sessions are what each handler asks; nothing else knows who somebody is. */
function routesOf(sessions: Sessions<Data>): Routes {
  return {
    '/': (session, io) => io.text(`${session.userId ?? 'nobody'} ${JSON.stringify(session.data)}`),
    async '/login'(session, io, query) {
      await session.login(query.get('user')!, {
        ...(query.has('stamp') && { stamp: query.get('stamp')! }),
        ...(query.has('sid') && { externalId: query.get('sid')! }),
        ...(query.has('alone') && { revokeOthers: true }),
      })
      if (query.has('until')) session.setLifetime({ absolute: new Date(Number(query.get('until'))) })
      return io.text('welcome')
    },
    async '/logout'(session, io, query) {
      await session.logout({ clearSiteData: query.has('clear') })
      return io.text('bye')
    },
    '/me': ({ userId }, io) => (userId === undefined ? io.text('log in first', 401) : io.text(userId)),
    '/set'(session, io, query) {
      Object.assign(session.data, { given: JSON.parse(query.get('json')!) })
      return io.text('kept')
    },
    async '/slow'(session, io, query) {
      const { data } = session
      await held.here()
      if (query.has('elevate')) await session.elevate('2fa', { ttl: '5m' })
      else data.slow = 'written'
      return io.text('kept')
    },
    async '/elevate'(session, io) {
      await session.elevate('2fa', { ttl: '5m' })
      return io.text('elevated')
    },
    '/transfer'(session, io) {
      session.requireLevel('2fa')
      return io.text('transferred')
    },
    '/email'(session, io) {
      session.requireRecentLogin('10m')
      return io.text('changed')
    },
    '/handle': ({ handle }, io) => io.text(handle),
    async '/sessions'(session, io) {
      return io.text(JSON.stringify(await sessions.list(session.userId!)))
    },
    async '/sessions/revoke'(session, io, query) {
      const count = await sessions.revoke({ handle: query.get('handle')!, userId: session.userId! })
      return io.text(String(count), count === 0 ? 404 : 200)
    },
    async '/sessions/revoke-others'(session, io) {
      return io.text(String(await sessions.revokeOthers(session)))
    },
    async '/admin/revoke'(_session, io, query) {
      return io.text(String(await sessions.revoke({ userId: query.get('user')! })))
    },
    async '/admin/revoke-all'(_session, io) {
      return io.text(String(await sessions.revokeAll()))
    },
    async '/backchannel-logout'(_session, io, query) {
      return io.text(String(await sessions.revoke({ externalId: query.get('sid')! })))
    },
    '/policy': (_session, io) => io.text(JSON.stringify(sessions.policy)),
    async '/everything'(session, io) {
      session.data.given = 1
      await session.login('ann')
      await session.rotate()
      await session.elevate('2fa')
      session.setLifetime({ persistent: true, absolute: '30d' })
      await sleep(1)
      session.data.given = 2
      return io.text('done')
    },
  }
}
