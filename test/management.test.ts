import { createSessions } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { describe, expect, it, vi } from 'vitest'
import { browser, manager, SECRET } from './helpers/browser.ts'

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
    expect(revoked).toHaveBeenCalledTimes(4)
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
