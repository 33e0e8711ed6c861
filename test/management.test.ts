import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createSessions, type SessionOptions, type Sessions, type Store } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { sqliteStore } from 'holdfast/stores/sql'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { browser, manager, SECRET } from './helpers/browser.ts'
import { counting } from './helpers/counting-store.ts'

interface Data {
  n?: number
}

async function withDevices(count = 3) {
  const made = manager<Data>({
    describe: (request) => ({ browser: request.header('user-agent') ?? 'none' }),
  })
  const jars: ReturnType<typeof browser<Data>>[] = []
  for (let n = 0; n < count; n++) {
    const jar = browser(made.sessions)
    made.clock.now += 1_000
    await jar.visit(async (session) => {
      session.data.n = n
      await session.login('ann', { externalId: `sid-${n}` })
    })
    jars.push(jar)
  }
  return { ...made, jars, who: () => Promise.all(jars.map((jar) => jar.visit((session) => session.userId))) }
}

describe('the sessions of a user', () => {
  it('ends everybody with revokeAll, also those whose records cannot be read now', async () => {
    const store = memoryStore()
    const sealedBy = (secret: string) => manager({ store: counting(store), seal: true, secret })
    const before = sealedBy('an older secret, Zt6WmK1oCb9NxPy4EjSv8RgU')
    const leaked = browser(before.sessions)
    await leaked.visit((session) => session.login('ann'))
    const after = sealedBy('a newer secret, fB8sYq2Lw7RkXc5TnVz9JpGm4')
    await browser(after.sessions).visit((session) => session.login('bob'))
    const invalid: unknown[] = []
    after.sessions.on('invalid', (event) => invalid.push(event))
    expect(await after.sessions.revokeAll()).toBe(2)
    expect(invalid).toHaveLength(1)
    expect(await leaked.visit(({ userId }) => userId)).toBeUndefined()
  })

  it('are listed with what a page of devices needs, the last used first', async () => {
    const { sessions, jars, clock } = await withDevices()
    const list = await sessions.list('ann')
    expect(list).toHaveLength(3)
    expect(list[0]).toEqual({
      handle: await jars[2]!.visit((session) => session.handle),
      userId: 'ann',
      createdAt: new Date(clock.now),
      lastSeenAt: new Date(clock.now),
      expiresAt: new Date(clock.now + 86_400_000),
      authenticatedAt: new Date(clock.now),
      level: undefined,
      generation: 2,
      persistent: false,
      about: { browser: 'none' },
      bytes: '{"n":2}'.length,
    })
    expect(await sessions.list('bob')).toEqual([])
  })

  it('end one by one, but for one, by what another system calls them, or all', async () => {
    const { sessions, jars, who } = await withDevices(5)
    const revoked = vi.fn()
    sessions.on('revoked', revoked)
    const handle = await jars[0]!.visit((session) => session.handle)
    expect(await sessions.revoke({ handle })).toBe(1)
    expect(await sessions.revoke({ handle })).toBe(0)
    expect(await who()).toEqual([undefined, 'ann', 'ann', 'ann', 'ann'])
    expect(await sessions.revoke({ externalId: 'sid-1' })).toBe(1)
    expect(await jars[2]!.visit((session) => sessions.revokeOthers(session))).toBe(2)
    expect(await who()).toEqual([undefined, undefined, 'ann', undefined, undefined])
    expect(await sessions.revoke({ userId: 'ann' })).toBe(1)
    expect(await who()).toEqual(Array(5).fill(undefined))
    expect(revoked.mock.calls).toEqual([
      [{ count: 1, handle }],
      [{ count: 1 }],
      [{ count: 2, userId: 'ann' }],
      [{ count: 1, userId: 'ann' }],
    ])
  })

  it('end but for the one that a login in the same request begins, awaited or not, with a token that a step-up has retired too', async () => {
    const { sessions, who } = await withDevices(3)
    const fresh = browser(sessions)
    await fresh.visit((session) => {
      void session.login('ann')
      return sessions.revokeOthers(session)
    })
    expect(await who()).toEqual([undefined, undefined, undefined])
    expect(await sessions.list('ann')).toHaveLength(1)
    const other = browser(sessions)
    await other.visit((session) => void (session.data.n = 1))
    const before = browser(sessions, other.cookie)
    await other.visit((session) => session.login('ann'))
    await other.visit((session) => session.elevate('2fa'))
    await before.visit(async (session) => {
      await session.login('ann')
      expect(await sessions.revokeOthers(session)).toBe(2)
    })
    expect(await before.visit(({ userId }) => userId)).toBe('ann')
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('end by age, and altogether', async () => {
    const { sessions, clock, who } = await withDevices(3)
    expect(await sessions.revoke({ olderThan: new Date(clock.now - 1_500) })).toBe(1)
    clock.now += 60_000
    expect(await sessions.revoke({ olderThan: '2m' })).toBe(0)
    expect(await sessions.revokeAll()).toBe(2)
    expect(await who()).toEqual(Array(3).fill(undefined))
  })

  it('that are revoked are not written by a request in flight', async () => {
    const { sessions, jars } = await withDevices(1)
    const slow = await sessions.open(jars[0]!.header)
    slow.data.n = 9
    await sessions.revoke({ userId: 'ann' })
    await expect(slow.commit()).rejects.toThrow(/ended/)
    await expect(slow.reload()).rejects.toThrow(/ended/)
  })

  it('cannot be revoked by a bare string or an empty one', async () => {
    const { sessions } = await withDevices(1)
    // @ts-expect-error: which of the names would it be?
    await expect(sessions.revoke('ann')).rejects.toThrow(TypeError)
    await expect(sessions.revoke({ userId: '' })).rejects.toThrow(/userId must be text/)
    await expect(sessions.revoke({ handle: undefined as unknown as string })).rejects.toThrow(
      /handle must be text/,
    )
    expect(await sessions.list('ann')).toHaveLength(1)
  })
})

describe('a session found by its handle', () => {
  it('can be read and changed without being used, and gets no token', async () => {
    const { sessions, jars, clock } = await withDevices(1)
    const handle = await jars[0]!.visit((session) => session.handle)
    const lastSeen = clock.now
    clock.now += 10_000
    const session = (await sessions.find(handle))!
    session.data.n = 42
    session.flash('info', 'Your order is on its way')
    await session.commit()
    await expect(session.login('eve')).rejects.toThrow(/headers have left/)
    await expect(session.rotate()).rejects.toThrow(/headers have left/)
    expect((await sessions.list('ann'))[0]!.lastSeenAt).toEqual(new Date(lastSeen))
    expect(await jars[0]!.visit((own) => [own.data.n, own.takeFlashes().length])).toEqual([42, 1])
    expect(await sessions.find('unknown')).toBeUndefined()
  })
})

describe('all sessions', () => {
  it('come page by page, and are counted', async () => {
    const { sessions } = await withDevices(5)
    await browser(sessions).visit((session) => void (session.data.n = 1))
    const handles = new Set<string>()
    let cursor: string | undefined
    do {
      const page = await sessions.all(cursor === undefined ? { limit: 2 } : { cursor, limit: 2 })
      for (const { handle } of page.sessions) handles.add(handle)
      cursor = page.cursor
    } while (cursor !== undefined)
    expect(handles.size).toBe(6)
    expect(await sessions.stats()).toEqual({ sessions: 6, loggedIn: 5, bytes: 6 * '{"n":0}'.length })
  })
})

describe('two managers on one store', () => {
  it('never see each other’s sessions, users or tokens', async () => {
    const store = memoryStore()
    const shop = createSessions<Data>({ secret: SECRET, store })
    const admin = createSessions<Data>({ secret: SECRET, store, name: 'admin' })
    const [customer, boss] = [browser(shop), browser(admin, undefined, '__Host-admin')]
    await customer.visit((session) => session.login('ann'))
    await customer.visit((session) => session.login('admin:ann'))
    await boss.visit((session) => session.login('ann'))
    expect(await admin.list('ann')).toHaveLength(1)
    expect(await shop.list('ann')).toHaveLength(0)
    expect(await shop.revoke({ userId: 'ann' })).toBe(0)
    expect((await shop.all()).sessions).toHaveLength(1)
    expect(await browser(admin, customer.cookie, '__Host-admin').visit((session) => session.presented)).toBe(
      'forged',
    )
    expect(await shop.revokeAll()).toBe(1)
    expect(await boss.visit((session) => session.userId)).toBe('ann')
  })
})

describe('sweeping', () => {
  const open: Sessions<Data>[] = []
  afterEach(async () => {
    vi.restoreAllMocks()
    for (const sessions of open.splice(0)) await sessions.close()
  })

  /** A manager on a store whose batches the test makes up. */
  function sweeping(batch: () => Promise<number>, options: SessionOptions<Data> = {}) {
    const sweep = vi.fn<NonNullable<Store['sweep']>>(batch)
    const store: Store = Object.assign(memoryStore(), { sweep })
    const sessions = createSessions<Data>({ secret: SECRET, sweepEvery: false, ...options, store })
    open.push(sessions)
    return { sessions, sweep }
  }

  it('goes in small batches until one is not full', async () => {
    const batches = [200, 200, 7]
    const { sessions, sweep } = sweeping(async () => batches.shift()!)
    expect(await sessions.sweep()).toBe(407)
    expect(sweep.mock.calls.map(([, limit]) => limit)).toEqual([200, 200, 200])
  })

  it('rests after a batch for as long as the batch took', async () => {
    const times: number[] = []
    const { sessions } = sweeping(async () => {
      times.push(performance.now())
      await sleep(60)
      times.push(performance.now())
      return times.length < 6 ? 200 : 0
    })
    await sessions.sweep()
    expect(times).toHaveLength(6)
    expect(times[2]! - times[1]!).toBeGreaterThan(50)
    expect(times[4]! - times[3]!).toBeGreaterThan(50)
  })

  it('holds up no request, also where a batch never waits for anything', async () => {
    const store = sqliteStore(':memory:')
    for (let i = 0; i < 5000; i++) {
      await store.create(`id:${i}`, { rev: '1', text: 'x'.repeat(435), lastSeen: 1, expires: 1 })
    }
    const { sessions } = manager<Data>({ store })
    open.push(sessions)
    const jar = browser(sessions)
    let isOver = false
    const waits: number[] = []
    const swept = sessions.sweep().finally(() => (isOver = true))
    while (!isOver) {
      const start = performance.now()
      await sleep(1)
      await jar.visit((session) => void (session.data.n = waits.length))
      waits.push(performance.now() - start)
    }
    expect(await swept).toBe(5000)
    expect(waits.length).toBeGreaterThan(25)
    expect(waits.sort((a, b) => a - b)[Math.floor(waits.length * 0.95)]).toBeLessThan(50)
  })

  it('by itself never overtakes itself', async () => {
    let [running, most] = [0, 0]
    const { sweep } = sweeping(
      async () => {
        most = Math.max(most, ++running)
        await sleep(30)
        running--
        return 0
      },
      { sweepEvery: 2 },
    )
    await vi.waitFor(() => expect(sweep.mock.calls.length).toBeGreaterThan(3))
    expect(most).toBe(1)
  })

  it('ends with close() after the batch under way, however much is left, and does not begin again', async () => {
    let ended = 0
    const batch = async () => {
      await sleep(200)
      return ++ended && 200
    }
    const { sessions, sweep } = sweeping(batch, { sweepEvery: 1 })
    const byHand = sessions.sweep()
    await vi.waitFor(() => expect(ended).toBe(2), { interval: 5 })
    const start = performance.now()
    await sessions.close()
    expect(performance.now() - start).toBeLessThan(100)
    expect(await byHand).toBe(200)
    sweep.mockClear()
    await sleep(250)
    expect(sweep).not.toHaveBeenCalled()
  })

  it('that fails is an event, tells what it had removed, and is tried again', async () => {
    const batches = [async () => 200, async () => Promise.reject(new Error('disk full')), async () => 3]
    const { sessions, sweep } = sweeping(() => (batches.shift() ?? (async () => 0))(), { sweepEvery: 5 })
    const [failed, swept] = [vi.fn(), vi.fn()]
    sessions.on('error', failed)
    sessions.on('swept', swept)
    await vi.waitFor(() => expect(sweep.mock.calls.length).toBeGreaterThan(4))
    const error = expect.objectContaining({ status: 503, cause: new Error('disk full') })
    expect(failed).toHaveBeenCalledExactlyOnceWith({ operation: 'sweep', error })
    expect(swept.mock.calls).toEqual([[{ count: 200 }], [{ count: 3 }]])
  })

  it('by hand that fails is the caller’s error', async () => {
    const { sessions } = sweeping(() => Promise.reject(new Error('disk full')))
    await expect(sessions.sweep()).rejects.toMatchObject({ status: 503, cause: new Error('disk full') })
  })

  /** How long each manager waits before its first sweep. */
  function firstWaits(count: number, options: SessionOptions<Data>): number[] {
    const timers = vi.spyOn(globalThis, 'setTimeout')
    for (let i = 0; i < count; i++) sweeping(async () => 0, options)
    return timers.mock.calls.map(([, wait]) => wait!)
  }

  it('comes every ten minutes by default, and on no two instances at once', () => {
    const waits = firstWaits(50, { sweepEvery: undefined }).sort((a, b) => a - b)
    expect(waits).toHaveLength(50)
    expect(new Set(waits.map(Math.round)).size).toBeGreaterThan(45)
    expect(waits[0]).toBeGreaterThanOrEqual(5 * 60_000)
    expect(waits[0]).toBeLessThan(8 * 60_000)
    expect(waits.at(-1)).toBeGreaterThan(12 * 60_000)
    expect(waits.at(-1)).toBeLessThanOrEqual(15 * 60_000)
  })

  it('does not come at all with `false`, nor on a store that expires by itself', async () => {
    expect(firstWaits(1, { sweepEvery: false })).toEqual([])
    const store: Store = Object.assign(memoryStore(), { sweep: undefined })
    const timers = vi.spyOn(globalThis, 'setTimeout')
    const sessions = createSessions<Data>({ secret: SECRET, store })
    open.push(sessions)
    expect(timers).not.toHaveBeenCalled()
    expect(await sessions.sweep()).toBe(0)
  })

  it('does not come at once where it is asked for more rarely than a timer can wait', () => {
    for (const wait of firstWaits(20, { sweepEvery: '60d' })) {
      expect(wait).toBeGreaterThan(20 * 86_400_000)
      expect(wait).toBeLessThan(2 ** 31)
    }
  })

  const run = (script: string) => {
    const preamble = `
      import { createSessions } from '${new URL('../src/index.ts', import.meta.url)}'
      import { memoryStore } from '${new URL('../src/stores/memory.ts', import.meta.url)}'
      let batches = 0
      const store = Object.assign(memoryStore(), { sweep: async () => ++batches < most ? 200 : 0 })
      const sessions = createSessions({ secret: '${SECRET}', store, sweepEvery })`
    const flags = [
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      `${script.trim()}\n${preamble}\nawait go()`,
    ]
    return promisify(execFile)(process.execPath, flags, { timeout: 20_000 })
  }

  it.each([
    ['before its time has come', "[0, '10m']", 0],
    ['amid a sweep', '[Infinity, 1]', 2],
  ])('by itself keeps no process alive %s', async (_when, settings, batches) => {
    const { stdout } = await run(`
      const [most, sweepEvery] = ${settings}
      const go = () => new Promise((resolve) => setTimeout(resolve, 200))
      process.on('exit', () => console.log(Math.min(batches, 2)))`)
    expect(stdout).toBe(`${batches}\n`)
  })

  it('by hand keeps the process alive until it is done', async () => {
    const { stdout } = await run(`
      const [most, sweepEvery] = [4, false]
      const go = async () => console.log(await sessions.sweep())`)
    expect(stdout).toBe('600\n')
  })
})
