/** Two nodes on one store, the clock of one of them a minute ahead of the other's. Which of the two is right makes no difference. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSessions, SessionEndedError, type Sessions, type Store } from 'holdfast'
import { fileStore } from 'holdfast/stores/file'
import { redisStore } from 'holdfast/stores/redis'
import { sqliteStore } from 'holdfast/stores/sql'
import { type FakeClock, fakeClock } from 'holdfast/testing'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { browser, SECRET } from './helpers/browser.ts'
import { Random } from './model/random.ts'
import { startRedis } from './servers/redis.ts'

interface Data {
  items?: Record<string, 1>
}

const MINUTE = 60_000
const redis = await startRedis()
const folder = await mkdtemp(join(tmpdir(), 'holdfast-skew-'))
afterAll(async () => {
  await redis.stop()
  await rm(folder, { recursive: true, force: true })
})
const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** Each call opens the store of that name once more, as another node does. */
const stores: Record<string, (name: string) => Store> = {
  file: (name) => fileStore(join(folder, name)),
  sqlite: (name) => sqliteStore(join(folder, `${name}.db`)),
  redis: (name) => redisStore(`redis://127.0.0.1:${redis.port}`, { prefix: name }),
}

type Node = 'slow' | 'fast'
const NODES: readonly Node[] = ['slow', 'fast']

interface Site extends Readonly<Record<Node, Sessions<Data>>> {
  /** The slow node's. */
  readonly clock: FakeClock
  /** What no node should have to say. */
  readonly alarms: string[]
}

let sites = 0

/** `slow` is right, or a minute behind, as far as the server's own clock goes. */
function site(open: (name: string) => Store, isSlowRight: boolean, lifetime = {}): Site {
  const clock = fakeClock(Date.now() - (isSlowRight ? 0 : MINUTE))
  const alarms: string[] = []
  const name = `site-${++sites}`
  const node = (skew: number) => {
    const sessions = createSessions<Data>({
      ...{ secret: SECRET, store: open(name), sweepEvery: false, lifetime },
      clock: () => clock() + skew,
    })
    for (const event of ['reuse', 'expired', 'invalid', 'error'] as const) {
      sessions.on(event, (told) => alarms.push(`${event} ${JSON.stringify(told)}`))
    }
    closing.push(() => sessions.close())
    return sessions
  }
  return { slow: node(0), fast: node(MINUTE), clock, alarms }
}

const cases = Object.keys(stores).flatMap((store) =>
  [true, false].map((isSlowRight) => [store, isSlowRight ? 'ahead' : 'behind', isSlowRight] as const),
)

describe.each(cases)('on %s, one node a minute %s', (store, _, isSlowRight) => {
  const start = (lifetime = {}) => site(stores[store]!, isSlowRight, lifetime)

  it('three days of use on either node, with lost answers and parallel tabs: nobody is logged out, nothing is lost', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32)
    const random = new Random(seed)
    const { clock, alarms, ...nodes } = start()
    let cookie: string | undefined
    const request = async (act: Parameters<ReturnType<typeof browser<Data>>['visit']>[0]) => {
      const jar = browser(nodes[random.pick(NODES)], cookie)
      await jar.visit(act)
      return jar
    }
    cookie = (await request((session) => session.login('ada'))).cookie
    const items: number[] = []
    for (let turn = 0; turn < 400; turn++) {
      clock.advance(random.chance(0.3) ? random.between(0, 6_000) : random.between(0, 20 * MINUTE))
      const tabs = Array.from({ length: random.between(1, 3) }, (_, tab) => turn * 10 + tab)
      const jars = await Promise.all(
        tabs.map((item) =>
          request((session) => {
            expect(session.userId, `seed ${seed}, turn ${turn}`).toBe('ada')
            session.data.items ??= {}
            session.data.items[item] = 1
          }),
        ),
      )
      items.push(...tabs)
      // The answers arrive in any order, and some not at all.
      for (const jar of jars.sort(() => random.next() - 0.5)) {
        if (jar.setCookies.length > 0 && random.chance(0.8)) cookie = jar.cookie
      }
      if (turn % 20 === 0) for (const node of NODES) await nodes[node].sweep()
    }
    await request(({ data }) => expect(Object.keys(data.items!).map(Number), `seed ${seed}`).toEqual(items))
    expect(alarms, `seed ${seed}`).toEqual([])
    expect(await nodes.fast.list('ada')).toHaveLength(1)
  })

  it.each([['slow', 'fast'] as const, ['fast', 'slow'] as const])(
    'a login on the %s node retires the old token on the %s one at once, and in silence for at least four minutes',
    async (here, there) => {
      const { clock, alarms, ...nodes } = start()
      const jar = browser(nodes[here])
      await jar.visit((session) => void (session.data.items = {}))
      const anonymous = jar.cookie
      await jar.visit((session) => session.login('ada'))
      const loggedIn = jar.cookie
      await jar.visit((session) => session.elevate('2fa', { ttl: '5m' }))
      for (let minute = 0; minute < 4; minute++) {
        for (const node of NODES) {
          for (const cookie of [anonymous, loggedIn]) {
            const tab = browser(nodes[node], cookie)
            expect(await tab.visit(({ userId }) => userId)).toBeUndefined()
            await expect(change(tab)).rejects.toThrow(SessionEndedError)
            expect(tab.setCookies).toEqual([])
          }
          const same = browser(nodes[node], jar.cookie)
          expect(await same.visit(({ userId, level }) => [userId, level])).toEqual(['ada', '2fa'])
        }
        clock.advance('59s')
      }
      await browser(nodes[there], jar.cookie).visit((session) => session.requireRecentLogin('5m'))
      expect(alarms).toEqual([])
    },
  )

  it.each([['slow', 'fast'] as const, ['fast', 'slow'] as const])(
    'a rotation on the %s node leaves the old token good on the %s one for at least four minutes, and a thief is found after six',
    async (here, there) => {
      const { clock, alarms, ...nodes } = start()
      const jar = browser(nodes[here])
      await jar.visit((session) => session.login('ada'))
      const old = jar.cookie
      clock.advance('17m')
      await jar.visit(({ userId }) => userId)
      expect(jar.cookie).not.toBe(old)
      await change(browser(nodes[there], jar.cookie)) // which confirms that the new token has arrived
      clock.advance('3m')
      clock.advance('59s')
      for (const node of NODES) {
        const tab = browser(nodes[node], old)
        expect(await tab.visit(({ userId }) => userId)).toBe('ada')
        expect(tab.setCookies).toEqual([])
      }
      expect(alarms).toEqual([])
      clock.advance('2m')
      clock.advance('2s')
      expect(await browser(nodes[there], old).visit(({ userId }) => userId)).toBeUndefined()
      expect(alarms).toEqual([expect.stringMatching(/^reuse/)])
    },
  )

  it('a sweep on the fast node removes nothing that the slow one holds for live, or for just ended', async () => {
    const { clock, alarms, slow, fast } = start({ idle: '10m', absolute: '30m' })
    const [idle, ended, busy] = [browser(slow), browser(slow), browser(slow)]
    for (const jar of [idle, ended, busy]) await jar.visit((session) => session.login('ada'))
    await ended.visit((session) => session.logout())
    const dead = /=([^;]+)/.exec(ended.setCookies[0]!)![1]
    clock.advance(5 * MINUTE - 1)
    await fast.sweep()
    await expect(change(browser(slow, dead))).rejects.toThrow(SessionEndedError)
    await change(busy)
    clock.advance(5 * MINUTE)
    await fast.sweep()
    expect(await idle.visit(({ userId }) => userId)).toBe('ada')
    // To the last moment of the absolute timeout.
    for (let minutes = 10; minutes < 30; minutes += 5) {
      await change(browser(fast, busy.cookie))
      await change(busy)
      clock.advance(5 * MINUTE - 1)
      await fast.sweep()
    }
    expect(await busy.visit(({ userId }) => userId)).toBe('ada')
    expect(alarms).toEqual([])
  })
})

function change(jar: ReturnType<typeof browser<Data>>): Promise<void> {
  return jar.visit((session) => void (session.data.items = { [Math.random()]: 1 }))
}
