import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSessions, type Store } from 'holdfast'
import { type AnySessions, type DashboardOptions, dashboard } from 'holdfast/dashboard'
import { nodeSessions } from 'holdfast/node'
import { memoryStore } from 'holdfast/stores/memory'
import { formatRecord, newRecord } from '../../src/record.ts'
import { SECRET } from './browser.ts'
import { buildPage } from './dashboard-page.ts'

interface Visitor {
  cart?: Record<string, number>
  plan?: string
}

const MINUTE = 60_000
const DEVICES = [
  ...Array(9).fill({ browser: 'Chrome', system: 'Windows' }),
  ...Array(6).fill({ browser: 'Safari', system: 'iPhone' }),
  ...Array(5).fill({ browser: 'Chrome', system: 'Android' }),
  ...Array(3).fill({ browser: 'Safari', system: 'Mac' }),
  ...Array(2).fill({ browser: 'Firefox', system: 'Linux' }),
  { browser: 'Edge', system: 'Windows' },
] as const
const NAMES = ['ann', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy']

/** A user id that tries to be markup. */
export const MARKUP = '<img src=x onerror=alert(1)>'

/** A site that has sessions, with a dashboard for `admin`, who signs in at /login?user=admin. */
export async function startDemo(
  given: Partial<DashboardOptions> & { store?: Store; clock?: () => number; also?: AnySessions[] } = {},
) {
  buildPage()
  const { store = memoryStore({ maxSessions: 300_000 }), clock = Date.now, also = [], ...options } = given
  const sessions = createSessions<Visitor>({
    secret: SECRET,
    store,
    clock,
    cookie: { secure: false },
    describe: () => DEVICES[Math.floor(clock() / 1_000) % DEVICES.length]!,
    merge: { cart: 'sum' },
    logger: { warn() {}, error() {} },
  })
  const board = dashboard({
    sessions: [sessions, ...also],
    authorize: (request) => sessions.of(request).userId === 'admin',
    path: '/admin/sessions',
    ...options,
  })
  const site = nodeSessions(sessions, (request, response, session) =>
    board.node(request, response, async () => {
      const { pathname, searchParams } = new URL(request.url!, 'http://site.test')
      if (pathname === '/login') await session.login(searchParams.get('user')!)
      response.setHeader('Content-Type', 'text/html')
      response.end(`<link rel="icon" href="data:,">Hello ${session.userId}`)
    }),
  )
  const server = createServer(site).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  return {
    sessions,
    store,
    board,
    origin: `http://127.0.0.1:${port}`,
    path: '/admin/sessions/',
    /** So many sessions, which began and were used at times of the last day; as they are kept, without a request for each. */
    async fill(count: number) {
      const now = clock()
      for (let i = 0; i < count; i++) {
        const [key, stored] = sessionNumber(i, now)
        await store.create(key, stored)
      }
    },
    async close() {
      board.close()
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
      await sessions.close()
    },
  }
}

export type Demo = Awaited<ReturnType<typeof startDemo>>

/** Always the same one for a number. */
function sessionNumber(i: number, now: number) {
  const dice = createHash('sha256').update(String(i)).digest()
  const of = (byte: number, range: number) => Math.floor((dice[byte]! / 256) * range)
  const handle = dice.toString('base64url')
  const createdAt = now - of(0, 1_400) * MINUTE - 5 * MINUTE
  const user =
    of(1, 4) === 0 ? undefined : i % 97 < NAMES.length ? NAMES[i % 97] : `user-${1_000 + (i % 70_000)}`
  const data = JSON.stringify({ cart: { tea: of(2, 9), milk: of(3, 4) } })
  const record = {
    ...newRecord(createdAt),
    generation: 1 + of(5, 40),
    ...(user !== undefined && { user, authenticatedAt: createdAt, about: DEVICES[of(4, DEVICES.length)] }),
  }
  const lastSeen = createdAt + Math.floor(((now - createdAt) * dice[6]!) / 256)
  return [
    `id:${handle}`,
    {
      rev: '1.abcdefgh',
      text: formatRecord(record, data),
      ...(user !== undefined && { user: `id:${user}` }),
      lastSeen,
      expires: now + 86_400_000,
    },
  ] as const
}
