/**
 * The races of sessions on every store that compares, between four managers, with random delays around each operation of the store and in real
 * time: ten runs of each, or as many as HOLDFAST_RACES says (`npm run test:soak`: 200).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions, SessionEndedError, type Sessions } from 'holdfast'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { browser, SECRET } from './helpers/browser.ts'
import { delayed } from './helpers/delays.ts'
import { type ModelStore, modelStores } from './model/sessions/stores.ts'

interface Data {
  visits?: number
  items?: string[]
  [key: string]: unknown
}

const RUNS = Number(process.env.HOLDFAST_RACES ?? 10)
/** Runs at once. */
const TOGETHER = 10
const DELAY_MS = 3
const MINUTE = 60_000
const TIMEOUT = MINUTE + RUNS * 6_000

const comparing = Object.keys(modelStores).filter((name) => name !== 'cookie')

describe.each(comparing)(`${RUNS} of ${RUNS} runs on %s`, (name) => {
  let store: ModelStore
  /** Where a session begins: in a migration, before it moves. */
  let first: Sessions<Data>
  let managers: Sessions<Data>[]
  let ahead = 0

  beforeAll(async () => {
    store = await modelStores[name]!()
    const start = (process: number, isFirst: boolean) =>
      createSessions<Data>({
        secret: SECRET,
        store: store.open(process, isFirst, (leaf) => delayed(leaf, DELAY_MS), 10_000),
        merge: { visits: 'sum' },
        clock: () => Date.now() + ahead,
        sweepEvery: false,
        deadlines: { load: '20s', write: '20s', request: '60s' },
      })
    first = start(0, true)
    managers = [0, 1, 2].map((process) => start(process, false))
  }, MINUTE)
  afterAll(async () => {
    await Promise.all([first, ...managers].map((manager) => manager.close()))
    await store.close()
  })

  const anyManager = () => managers[Math.floor(Math.random() * managers.length)]!
  const parallel = <T>(count: number, work: (i: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, i) => work(i)))

  async function inEachRun(run: (number: number) => Promise<void>): Promise<void> {
    for (let done = 0; done < RUNS; done += TOGETHER) {
      await parallel(Math.min(TOGETHER, RUNS - done), (i) => run(done + i))
    }
  }

  it('200 of 200 changes in parallel requests are kept', { timeout: TIMEOUT }, async () => {
    await inEachRun(async () => {
      const jar = browser(first)
      await jar.visit((session) => void (session.data.visits = 0))
      await parallel(200, (i) =>
        browser(managers[i % 3]!, jar.cookie).visit(async (session) => {
          const visits = session.data.visits!
          await sleep(Math.random() * DELAY_MS)
          session.data.visits = visits + 1
          session.data.items ??= []
          session.data.items.push(`i${i}`)
          session.data[`k${i}`] = i
        }),
      )
      const { visits, items, ...keys } = await browser(anyManager(), jar.cookie).visit(({ data }) => data)
      expect([visits, new Set(items).size, items!.length, Object.keys(keys).length]).toEqual(
        Array(4).fill(200),
      )
    })
  })

  it('20 of 20 sessions stay dead, whatever was on its way at their logout', {
    timeout: TIMEOUT,
  }, async () => {
    await inEachRun(async () => {
      const outcomes = await parallel(20, async () => {
        const jar = browser(first)
        await jar.visit((session) => session.login('ann'))
        const { header } = jar
        const slow = await parallel(3, () => anyManager().open(header))
        const logout = browser(anyManager(), jar.cookie).visit((session) => session.logout())
        slow[0]!.data.visits = 1
        const writes = slow.map((session, i) => Promise.resolve(i < 2 ? session.commit() : session.reload()))
        const ends = await Promise.allSettled([...writes, logout])
        const refused = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []))
        for (const error of refused) expect(error).toBeInstanceOf(SessionEndedError)
        slow[0]!.data.visits = 2
        await expect(slow[0]!.commit()).rejects.toThrow(SessionEndedError)
        return (await anyManager().open(header)).presented
      })
      expect(outcomes).toEqual(Array(20).fill('ended'))
    })
  })

  it('a login that is clicked twice makes one session, whichever answer comes last', {
    timeout: TIMEOUT,
  }, async () => {
    await inEachRun(async (number) => {
      const visitor = browser(first)
      await visitor.visit((session) => void (session.data.visits = 1))
      const clicks = await parallel(2, async (i) => {
        await sleep(Math.random() * 4 * DELAY_MS)
        const jar = browser(managers[i]!, visitor.cookie)
        await jar.visit(async (session) => {
          await session.login(`user-${number}`)
          session.data[`click${i}`] = true
        })
        return jar
      })
      const found = await Promise.all(
        clicks.map((jar) =>
          browser(anyManager(), jar.cookie).visit(({ handle, userId, data }) => [handle, userId, data]),
        ),
      )
      const data = { visits: 1, click0: true, click1: true }
      expect(found).toEqual(Array(2).fill([expect.any(String), `user-${number}`, data]))
      expect(found[0]![0]).toBe(found[1]![0])
    })
  })

  it('a rotation amid parallel requests logs nobody out, and sends one token', {
    timeout: TIMEOUT,
  }, async () => {
    const jars = await parallel(RUNS, async (number) => {
      const jar = browser(first)
      await jar.visit((session) => session.login(`rotated-${number}`))
      return jar
    })
    ahead += 16 * MINUTE // longer than `rotateEvery`
    await inEachRun(async (number) => {
      const { cookie } = jars[number]!
      const tabs = await parallel(10, async (i) => {
        const tab = browser(anyManager(), cookie)
        await sleep(Math.random() * 3 * DELAY_MS)
        await tab.visit((session) => void (session.data[`k${i}`] = 1))
        return tab
      })
      expect(tabs.flatMap(({ setCookies }) => setCookies)).toHaveLength(1)
      for (const tab of tabs) {
        const [user, keys] = await browser(anyManager(), tab.cookie).visit(({ userId, data }) => [
          userId,
          Object.keys(data).length,
        ])
        expect([user, keys]).toEqual([`rotated-${number}`, 10])
      }
    })
  })

  it('who was answered finds what was written, in whichever process', { timeout: TIMEOUT }, async () => {
    await inEachRun(async () => {
      const jar = browser(first)
      await jar.visit((session) => void (session.data.visits = 0))
      for (let n = 1; n <= 10; n++) {
        await browser(anyManager(), jar.cookie).visit((session) => void (session.data.visits = n))
        expect(await browser(anyManager(), jar.cookie).visit(({ data }) => data.visits)).toBe(n)
      }
    })
  })
})
