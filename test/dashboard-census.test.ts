import { describe, expect, it, vi } from 'vitest'
import type { Core } from '../src/core.ts'
import { createCensus } from '../src/dashboard/census.ts'
import { newRecord } from '../src/record.ts'
import type { KeptPage } from '../src/vault.ts'

const NOW = 1_800_000_000_000
const LIFETIME = { idle: false, absolute: false, anonymous: { idle: false, absolute: 1_000 } }

/** The sessions of these users, a thousand a page; `undefined` is a visitor. */
function censusOf(users: readonly (string | undefined)[], unreadable: readonly string[] = []) {
  const clock = { now: NOW }
  const scan = vi.fn(async (cursor: string | undefined): Promise<KeptPage> => {
    const from = Number(cursor ?? 0)
    const items = users.slice(from, from + 1_000).map((user, i) => ({
      handle: `h${from + i}`,
      kept: {
        rev: 'r',
        data: '{"é":1}',
        lastSeen: NOW,
        record: {
          ...newRecord(NOW),
          ...(user !== undefined && { user, authenticatedAt: NOW, about: { on: user.slice(0, 1) } }),
        },
      },
    }))
    const isLast = from + 1_000 >= users.length
    return { items, unreadable: isLast ? unreadable : [], ...(!isLast && { cursor: String(from + 1_000) }) }
  })
  const core = {
    settings: { clock: () => clock.now, lifetime: LIFETIME },
    vault: { scan },
    work: { run: <T>(work: () => Promise<T>) => work() },
  } as unknown as Core
  const counted = vi.fn()
  const census = createCensus(core, counted)
  return {
    census,
    clock,
    scan,
    counted,
    async count() {
      census.begin()
      await vi.waitFor(() => expect(census.progress).toBeUndefined(), { timeout: 20_000, interval: 5 })
      return census.latest!
    },
  }
}

describe('the count of sessions', () => {
  it('is of all that are live, by user and device, the most first', async () => {
    const users = ['ann', 'bob', 'ann', undefined, 'cyd', 'ann', 'bob']
    const { count, counted } = censusOf(users, ['broken'])
    const found = await count()
    expect(found).toMatchObject({ sessions: 7, loggedIn: 6, unreadable: 1, bytes: 7 * 8, isPart: false })
    expect(found.users).toEqual([
      { name: 'ann', sessions: 3 },
      { name: 'bob', sessions: 2 },
      { name: 'cyd', sessions: 1 },
    ])
    expect(found.devices[0]).toEqual({ name: 'a', sessions: 3 })
    expect(counted).toHaveBeenCalledExactlyOnceWith(found)
  })

  it('leaves out what has expired', async () => {
    const { count, clock } = censusOf(['ann', undefined])
    clock.now += 2_000
    expect(await count()).toMatchObject({ sessions: 1, loggedIn: 1 })
  })

  it('tells how far it is, and is not begun twice', async () => {
    const { census, count, scan } = censusOf(Array(3_500).fill('ann'))
    census.begin()
    // Waiting for longer than a turn would miss it where the machine is fast.
    while (census.progress!.sessions === 0) await new Promise(setImmediate)
    expect(census.latest).toBeUndefined()
    expect((await count()).sessions).toBe(3_500)
    expect(scan).toHaveBeenCalledTimes(4)
  })

  it('is good for half a minute, and for ten where each unreadable record is an event', async () => {
    for (const [unreadable, goodFor] of [
      [[], 30_000],
      [['broken'], 600_000],
    ] as const) {
      const { count, clock, scan } = censusOf(['ann'], unreadable)
      await count()
      clock.now += goodFor - 1
      await count()
      expect(scan).toHaveBeenCalledTimes(1)
      clock.now += 1
      await count()
      expect(scan).toHaveBeenCalledTimes(2)
    }
  })

  it('finds the users with the most among more than it can remember', async () => {
    const many = Array.from({ length: 130_000 }, (_, i) => (i % 1_000 < 10 ? `often-${i % 10}` : `user-${i}`))
    const { count } = censusOf(many)
    const { users, sessions } = await count()
    expect(sessions).toBe(130_000)
    expect(users).toHaveLength(10)
    expect(users.map(({ name }) => name).sort()).toEqual(Array.from({ length: 10 }, (_, i) => `often-${i}`))
    expect(users.every(({ sessions }) => sessions === 130)).toBe(true)
  }, 30_000)

  it('takes no longer for a new name where it remembers as many as it can, each seen twice', async () => {
    const twice = Array.from({ length: 200_000 }, (_, i) => `user-${i % 100_000}`)
    const others = Array.from({ length: 6_000 }, (_, i) => `other-${i}`)
    const timed = async (users: readonly string[]) => {
      const began = performance.now()
      expect((await censusOf(users).count()).sessions).toBe(users.length)
      return performance.now() - began
    }
    const without = await timed(twice)
    // Going through all of them for each of the others would take ten times as long.
    expect(await timed([...twice, ...others])).toBeLessThan(3 * without)
  }, 60_000)

  it('ends where it is when it is stopped, and is not begun again', async () => {
    const { census, count, clock, scan, counted } = censusOf(Array(3_500).fill('ann'))
    census.begin()
    while (census.progress!.sessions === 0) await new Promise(setImmediate)
    const pages = scan.mock.calls.length
    census.stop()
    expect(await count()).toBeUndefined()
    clock.now += 3_600_000
    census.begin()
    expect([census.progress, census.latest]).toEqual([undefined, undefined])
    expect(counted).not.toHaveBeenCalled()
    expect(scan).toHaveBeenCalledTimes(pages)
    expect(pages).toBeLessThan(4)
  })

  it('that fails says why, keeps the one before, and is tried again', async () => {
    const { census, count, clock, scan } = censusOf(['ann'])
    await count()
    clock.now += 60_000
    const error = new Error('away')
    scan.mockRejectedValueOnce(error)
    expect(await count()).toMatchObject({ sessions: 1 })
    expect(census.problem).toBe(error)
    clock.now += 60_000
    await count()
    expect(census.problem).toBeUndefined()
  })
})
