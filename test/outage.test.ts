import { setTimeout as sleep } from 'node:timers/promises'
import {
  createSessions,
  type Session,
  type SessionEvents,
  type SessionOptions,
  type Sessions,
  StoreUnavailableError,
} from 'holdfast'
import { type MemoryStore, memoryStore } from 'holdfast/stores/memory'
import { fakeClock } from 'holdfast/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SECRET } from './helpers/browser.ts'
import { type FaultyStore, faulty } from './helpers/faults.ts'

interface Data {
  visits?: number
  [key: string]: unknown
}

/** What a deadline may be late by: a tick of its timer, and the loop's next turn. */
const LATE = 150

let memory: MemoryStore
let store: FaultyStore
let sessions: Sessions<Data>
let events: [keyof SessionEvents, unknown][]

function start(options: SessionOptions<Data> = {}) {
  memory = memoryStore()
  store = faulty(memory)
  sessions = createSessions<Data>({ secret: SECRET, store, merge: { visits: 'sum' }, ...options })
  events = []
  for (const name of ['outage', 'recovered', 'error'] as const) {
    sessions.on(name, (event) => events.push([name, event]))
  }
}

beforeEach(() => start())
afterEach(() => {
  store.thaw()
  return sessions.close()
})

/** A visitor with a session, and the Cookie header that names it. */
async function visitor(): Promise<string> {
  const session = await sessions.open(undefined)
  session.data.visits = 1
  const { cookie } = await sessions.commit(session)
  return `${cookie!.name}=${cookie!.value}`
}

async function timed<T>(work: Promise<T>): Promise<{ milliseconds: number; error: unknown }> {
  const before = performance.now()
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  return { milliseconds: performance.now() - before, error }
}

const count = async (cookie: string) => (await sessions.open(cookie)).data.visits

describe('a store that fails', () => {
  it('says whether to try again is of use, and only then when', async () => {
    const cookie = await visitor()
    store.error = Object.assign(new Error('wrong password'), { retryable: false })
    const { error } = await timed(sessions.open(cookie))
    expect(error).toMatchObject({ status: 503, retryable: false, headers: {} })
    store.error = new Error('connection refused')
    const { error: passing } = await timed(sessions.open(cookie))
    expect(passing).toMatchObject({ status: 503, retryable: true, headers: { 'Retry-After': '1' } })
  })
})

describe('a store that gives no answer', () => {
  it('costs a load 500 ms, and the error says that nothing was written and to try again', async () => {
    const cookie = await visitor()
    store.freeze()
    const { milliseconds, error } = await timed(sessions.open(cookie))
    expect(milliseconds).toBeGreaterThanOrEqual(500)
    expect(milliseconds).toBeLessThan(500 + LATE)
    expect(error).toBeInstanceOf(StoreUnavailableError)
    expect(error).toMatchObject({ status: 503, maybeApplied: false, retryable: true })
    expect((error as Error).cause).toMatchObject({
      message: 'no answer within 500 ms (deadlines.load)',
    })
  })

  it('costs a write a second, and the error says that it may have been done', async () => {
    const session = await sessions.open(await visitor())
    session.data.visits = 2
    store.freeze()
    const { milliseconds, error } = await timed(sessions.commit(session) as Promise<unknown>)
    expect(milliseconds).toBeGreaterThanOrEqual(1000)
    expect(milliseconds).toBeLessThan(1000 + LATE)
    expect(error).toMatchObject({ status: 503, maybeApplied: true, retryable: true })
  })

  it('has the deadlines of the options', async () => {
    start({ deadlines: { load: 100, write: '0.2s' } })
    const cookie = await visitor()
    const session = await sessions.open(cookie)
    session.data.visits = 2
    store.freeze()
    const [load, write] = await Promise.all([
      timed(sessions.open(cookie)),
      timed(sessions.commit(session) as Promise<unknown>),
    ])
    expect(load.milliseconds).toBeGreaterThanOrEqual(100)
    expect(load.milliseconds).toBeLessThan(100 + LATE)
    expect(write.milliseconds).toBeGreaterThanOrEqual(200)
    expect(write.milliseconds).toBeLessThan(200 + LATE)
  })

  it('is no outage if it was this process that had no time to read the answer', async () => {
    const cookie = await visitor()
    const opening = sessions.open(cookie)
    const end = performance.now() + 800
    while (performance.now() < end);
    expect((await opening).data.visits).toBe(1)
    expect(events).toEqual([])
  })

  it('lets the commits that queue for one session fail together, not one after another', async () => {
    const cookie = await visitor()
    const open = await Promise.all(Array.from({ length: 8 }, () => sessions.open(cookie)))
    for (const session of open) session.data.visits!++
    store.freeze()
    const ends = await Promise.all(open.map((session) => timed(sessions.commit(session) as Promise<unknown>)))
    for (const { milliseconds, error } of ends) {
      expect(error).toBeInstanceOf(StoreUnavailableError)
      expect(milliseconds).toBeLessThan(1000 + LATE)
    }
    expect(ends.map(({ error }) => (error as StoreUnavailableError).maybeApplied)).toEqual([
      true,
      ...Array(7).fill(false),
    ])
  })

  it('for a list, which may take its time, has five seconds, and is no outage', async () => {
    start({ deadlines: { request: 100 } })
    const cookie = await visitor()
    store.freeze('before', ['scan'])
    await expect(sessions.stats()).rejects.toMatchObject({ status: 503, maybeApplied: false })
    expect(await count(cookie)).toBe(1)
    expect(events).toEqual([])
  })

  it('in this process has no deadline, however long another waits for it', async () => {
    const slow = faulty(memoryStore())
    const local = createSessions<Data>({
      secret: SECRET,
      store: Object.assign(slow, { inProcess: true }),
      deadlines: { load: 50 },
    })
    const session = await local.open(undefined)
    session.data.visits = 1
    const { cookie } = await local.commit(session)
    slow.freeze()
    const opening = local.open(`${cookie!.name}=${cookie!.value}`)
    await sleep(300)
    slow.thaw()
    expect((await opening).data.visits).toBe(1)
    await local.close()
  })
})

describe('a store that answers each write just in time', () => {
  it('keeps nobody in the queue for one session longer than a request may take', async () => {
    const slow = memoryStore()
    const { update } = slow
    slow.update = async (...args) => {
      await sleep(150)
      return update.apply(slow, args)
    }
    start({ store: faulty(slow), deadlines: { write: 300, request: 500 } })
    const cookie = await visitor()
    const open = await Promise.all(Array.from({ length: 12 }, () => sessions.open(cookie)))
    const ends = await Promise.all(
      open.map((session, at) => {
        session.data[`of ${at}`] = true
        return timed(sessions.commit(session) as Promise<unknown>)
      }),
    )
    for (const { milliseconds } of ends) expect(milliseconds).toBeLessThan(500 + 150 + LATE)
    const refused = ends.map(({ error }) => error).filter((error) => error !== undefined)
    for (const error of refused) {
      expect(error).toMatchObject({ status: 503, maybeApplied: false, retryable: true })
    }
    // Whoever gave up wrote nothing, and held nobody up.
    await sleep(200)
    const { data } = await sessions.open(cookie)
    expect(Object.keys(data)).toHaveLength(1 + 12 - refused.length)
    expect(refused.length).toBeGreaterThan(5)
  })
})

describe('during an outage', () => {
  async function outage(): Promise<string> {
    const cookie = await visitor()
    store.freeze()
    await timed(sessions.open(cookie))
    return cookie
  }

  it('requests fail at once, and one at a time finds out whether it is over', async () => {
    const cookie = await outage()
    const before = store.asked
    const slow: number[] = []
    const end = performance.now() + 1500
    let requests = 0
    const pending: Promise<void>[] = []
    while (performance.now() < end) {
      requests++
      pending.push(
        timed(sessions.open(cookie)).then(({ milliseconds, error }) => {
          expect(error).toBeInstanceOf(StoreUnavailableError)
          if (milliseconds > 50) slow.push(milliseconds)
        }),
      )
      await sleep(5)
    }
    await Promise.all(pending)
    expect(requests).toBeGreaterThan(100)
    expect(store.asked - before).toBe(slow.length)
    expect(slow.length).toBeGreaterThanOrEqual(2)
    expect(slow.length).toBeLessThanOrEqual(4)
    for (const milliseconds of slow) expect(milliseconds).toBeLessThan(500 + LATE)
  })

  it('a write that was not tried says so', async () => {
    const session = await sessions.open(await visitor())
    session.data.visits = 2
    await outage()
    const { error } = await timed(sessions.commit(session) as Promise<unknown>)
    expect(error).toMatchObject({ maybeApplied: false, retryable: true })
    expect((error as Error).cause).toMatchObject({
      message: expect.stringMatching(/^not asked: the memory store answers nobody/),
    })
  })

  it('requests without a cookie, or with a forged one, go on', async () => {
    await outage()
    expect((await sessions.open(undefined)).isNew).toBe(true)
    expect((await sessions.open('__Host-id=forged')).presented).toBe('forged')
  })

  it('an answer that comes late ends it, and says how long it took', async () => {
    const cookie = await outage()
    expect(events).toEqual([['outage', { store: 'memory', error: expect.any(Error) }]])
    store.thaw()
    await sleep(1)
    expect(await count(cookie)).toBe(1)
    expect(events).toHaveLength(2)
    expect(events[1]).toEqual(['recovered', { store: 'memory', milliseconds: expect.any(Number) }])
  })

  it('an error is no sign that it is over', async () => {
    const cookie = await outage()
    store.thaw() // which answers what was asked before
    await sleep(1)
    store.freeze()
    await timed(sessions.open(cookie))
    const isOver = () => events.filter(([name]) => name === 'recovered').length === 2
    store.error = new Error('connection refused')
    for (let i = 0; i < 20; i++) {
      await timed(sessions.open(cookie))
      await sleep(25)
    }
    expect(isOver()).toBe(false)
    store.error = undefined
    store.thaw()
    await sleep(1)
    expect(isOver()).toBe(true)
  })

  it('ends within a fraction of a second of the return of the store', async () => {
    const cookie = await outage()
    await sleep(1000)
    store.thaw()
    const back = performance.now()
    while ((await timed(sessions.open(cookie))).error) await sleep(5)
    expect(performance.now() - back).toBeLessThan(500)
    expect(await count(cookie)).toBe(1)
  })

  it('is not followed by a stampede: what has waited comes a few at a time, then more', async () => {
    const cookie = await outage()
    await sleep(300) // the next one may ask
    const opening = sessions.open(cookie)
    store.thaw()
    await opening
    store.most = 0
    store.freeze()
    const crowd = Array.from({ length: 200 }, () => sessions.open(cookie))
    await sleep(5)
    expect(store.underWay).toBeLessThanOrEqual(8)
    store.thaw()
    const all = await Promise.all(crowd)
    expect(all.map(({ data }) => data.visits)).toEqual(Array(200).fill(1))
    expect(store.most).toBeLessThan(200)
  })

  it('quick errors alone never begin one', async () => {
    const cookie = await visitor()
    store.error = new Error('connection refused')
    for (let i = 0; i < 50; i++) await timed(sessions.open(cookie))
    expect(store.asked).toBe(51)
    store.error = undefined
    expect(await count(cookie)).toBe(1)
    expect(events).toEqual([])
  })
})

describe('a write whose answer was lost', () => {
  const late = { deadlines: { load: 50, write: 50 } }

  it('and was done is not done again', async () => {
    start(late)
    const cookie = await visitor()
    const session = await sessions.open(cookie)
    session.data.visits = 2
    store.freeze('after')
    await expect(sessions.commit(session)).rejects.toMatchObject({ maybeApplied: true })
    store.thaw()
    await sleep(1)
    await session.commit()
    expect(await count(cookie)).toBe(2)
  })

  it('and is done only after that was looked at, is not done again', async () => {
    start(late)
    const cookie = await visitor()
    const session = await sessions.open(cookie)
    session.data.visits = 2
    store.freeze('before', ['update'])
    await expect(sessions.commit(session)).rejects.toMatchObject({ maybeApplied: true })
    await sleep(300) // until the store is asked again
    const again = session.commit()
    while (store.underWay < 2) await sleep(1)
    store.thaw() // the lost one first
    await again
    expect(await count(cookie)).toBe(2)
  })

  for (const [how, again] of [
    ['commit', (session: Session<Data>) => session.commit()],
    ['update', (session: Session<Data>) => session.update((data) => void (data.updated = true))],
  ] as const) {
    it(`and is found by another request, whose turn came first, is not done again by ${how}`, async () => {
      start({ deadlines: { load: 50, write: 200 } })
      const { cookie, session, theirs } = await lostBesideAnother()
      const mine = again(session)
      await sleep(20) // until it waits for its turn
      store.thaw() // the lost one first, then theirs
      await Promise.all([theirs, mine])
      expect(await count(cookie)).toBe(2)
    })
  }

  it('and is done only after a commit that was not tried either, is not counted twice by a reload', async () => {
    start({ deadlines: { load: 50, write: 100 } })
    const { cookie, session, theirs } = await lostBesideAnother()
    await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true })
    await expect(theirs).rejects.toMatchObject({ maybeApplied: true })
    store.thaw()
    await sleep(300)
    await session.reload()
    expect(session.data.visits).toBe(2)
    await session.commit()
    expect(await count(cookie)).toBe(2)
  })

  /** A write that nobody answers, and behind it, on its way too, one of another request. */
  async function lostBesideAnother() {
    const cookie = await visitor()
    const [session, other] = [await sessions.open(cookie), await sessions.open(cookie)]
    session.data.visits = 2
    other.data.other = true
    store.freeze('before', ['update'])
    await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true })
    await sleep(300)
    await sessions.open(cookie) // ends the outage
    const theirs = other.commit()
    while (store.underWay < 2) await sleep(1)
    return { cookie, session, theirs }
  }

  it('may still be there when the next attempt could not even look', async () => {
    start(late)
    const cookie = await visitor()
    const session = await sessions.open(cookie)
    session.data.visits = 2
    store.freeze('after')
    await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true })
    await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true })
    await expect(sessions.commit(session)).rejects.toMatchObject({ maybeApplied: true })
    store.thaw()
    await sleep(300)
    expect(await count(cookie)).toBe(2)
  })

  it('and that others have covered up since is an error, and never done twice', async () => {
    for (const others of [3, 4]) {
      start(late)
      const cookie = await visitor()
      const session = await sessions.open(cookie)
      session.data.visits = 2
      store.freeze('after', ['update'])
      await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true })
      store.thaw()
      await sleep(300)
      for (let at = 0; at < others; at++) {
        const other = await sessions.open(cookie)
        other.data.visits!++
        await other.commit()
      }
      const again = session.commit()
      if (others === 3) await again
      else await expect(again).rejects.toMatchObject({ maybeApplied: true, retryable: false })
      await session.reload()
      session.data.more = true
      await session.commit()
      expect((await sessions.open(cookie)).data).toEqual({ visits: 2 + others, more: true })
    }
  })

  it('and can no longer be done is forgotten, however much others write later', async () => {
    start(late)
    const cookie = await visitor()
    const session = await sessions.open(cookie)
    session.data.visits = 2
    store.freeze('before', ['update'])
    await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true })
    await sleep(300)
    const elsewhere = createSessions<Data>({ secret: SECRET, store: memory, merge: { visits: 'sum' } })
    const write = async () => {
      const other = await elsewhere.open(cookie)
      other.data.visits!++
      await other.commit()
    }
    await write()
    store.thaw() // too late
    await session.commit()
    for (let at = 0; at < 5; at++) await write()
    session.data.visits!++
    await session.commit()
    expect(await count(cookie)).toBe(1 + 1 + 1 + 5 + 1)
    await elsewhere.close()
  })

  it('and was a logout, may have been done, however the next attempt at it fails', async () => {
    start(late)
    const cookie = await visitor()
    const session = await sessions.open(cookie)
    store.freeze('after', ['destroy'])
    await expect(session.logout()).rejects.toMatchObject({ maybeApplied: true })
    store.freeze('before')
    await expect(session.logout()).rejects.toMatchObject({ maybeApplied: true })
    store.thaw()
    await expect.poll(() => session.logout().catch(() => 'not yet')).toBeUndefined()
    await session.login('ada')
    await session.commit()
    store.freeze('before')
    await expect(session.logout()).rejects.toMatchObject({ maybeApplied: false })
  })

  it('and was an update, is the base of what comes after it, beside what others wrote', async () => {
    start(late)
    const cookie = await visitor()
    const append = (item: string) => (data: Data) =>
      void (data.list = [...((data.list as string[]) ?? []), item])
    const session = await sessions.open(cookie)
    store.freeze('after', ['update'])
    await expect(session.update(append('lost'))).rejects.toMatchObject({ maybeApplied: true })
    store.thaw()
    await sleep(1)
    const other = await sessions.open(cookie)
    await other.update(append('of another'))
    await session.update(append('next'))
    expect(session.data.list).toEqual(['lost', 'of another', 'next'])
    expect((await sessions.open(cookie)).data.list).toEqual(['lost', 'of another', 'next'])
  })

  it('and was done before somebody logged in, gets nothing of that login: neither its token nor its user', async () => {
    let now = 1_800_000_000_000
    start({ ...late, clock: () => now })
    const cookie = await visitor()
    const rotating = await sessions.open(cookie)
    await rotating.rotate()
    await sessions.commit(rotating) // an answer that never arrives, so that the next one is to give the token again
    now += 5 * 60_000
    const writing = await sessions.open(cookie)
    const login = await sessions.open(cookie)
    writing.data.visits = 2
    store.freeze('after', ['update'])
    await expect(writing.commit()).rejects.toMatchObject({ maybeApplied: true })
    store.thaw()
    await sleep(1)
    await login.login('ann')
    expect(await sessions.commit(login)).toHaveProperty('cookie')
    await writing.commit()
    expect(writing.userId).toBeUndefined()
    expect(await sessions.commit(writing)).not.toHaveProperty('cookie')
    expect((await sessions.list('ann'))[0]).toMatchObject({ userId: 'ann' })
  })

  it('and created the session is found, not made twice', async () => {
    start(late)
    const session = await sessions.open(undefined)
    session.data.visits = 1
    store.freeze('after')
    await expect(sessions.commit(session)).rejects.toMatchObject({ maybeApplied: true })
    store.thaw()
    await sleep(1)
    const { cookie } = await sessions.commit(session)
    expect(await count(`${cookie!.name}=${cookie!.value}`)).toBe(1)
    expect((await sessions.stats()).sessions).toBe(1)
  })
})

describe('a write that a driver sends again, since the connection broke before its answer', () => {
  let memory: MemoryStore

  /** As ioredis does. `between` happens after it was done, and before it comes again. */
  function startRepeating(between = async () => {}) {
    memory = memoryStore()
    const { update } = memory
    let isRepeated = false
    memory.update = async (...args) => {
      const result = await update.apply(memory, args)
      if (isRepeated) return result
      isRepeated = true
      await between()
      return update.apply(memory, args)
    }
    start({ store: memory })
  }

  it('is done once, whether data was changed or update() was called', async () => {
    for (const change of [
      async (session: Session<Data>) => void session.data.visits!++,
      async (session: Session<Data>) => void (await session.update((data) => void data.visits!++)),
    ]) {
      startRepeating()
      const cookie = await visitor()
      const session = await sessions.open(cookie)
      await change(session)
      await sessions.commit(session)
      expect([session.data.visits, await count(cookie)]).toEqual([2, 2])
    }
  })

  it('begins one session, not two', async () => {
    const memory = memoryStore()
    const { create } = memory
    memory.create = async (...args) => {
      await create.apply(memory, args)
      return create.apply(memory, args)
    }
    start({ store: memory })
    const session = await sessions.open(undefined)
    session.data.visits = 1
    await session.login('ann')
    const { cookie } = await sessions.commit(session)
    expect(await count(`${cookie!.name}=${cookie!.value}`)).toBe(1)
    expect(await sessions.list('ann')).toHaveLength(1)
  })

  it('says maybeApplied where nobody could look what came of it, and is done once after all', async () => {
    startRepeating(async () => {
      const { load } = memory
      memory.load = async () => {
        memory.load = load
        throw new Error('connection refused')
      }
    })
    const cookie = await visitor()
    const session = await sessions.open(cookie)
    session.data.visits!++
    await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true })
    await session.commit()
    expect([session.data.visits, await count(cookie)]).toEqual([2, 2])
  })

  it('is done once, and what others made of it meanwhile stays', async () => {
    startRepeating(async () => {
      const elsewhere = createSessions<Data>({ secret: SECRET, store: faulty(memory) })
      const other = await elsewhere.open(cookie)
      other.data.visits! += 10
      await elsewhere.commit(other)
      await elsewhere.close()
    })
    const cookie = await visitor()
    const session = await sessions.open(cookie)
    session.data.visits!++
    await sessions.commit(session)
    expect(await count(cookie)).toBe(12)
    session.data.visits!++
    await session.commit()
    expect(await count(cookie)).toBe(13)
  })
})

describe("with onStoreFailure: 'anonymous'", () => {
  it('a request goes on with an empty session that refuses every change and sets no cookie', async () => {
    start({ onStoreFailure: 'anonymous' })
    const cookie = await visitor()
    store.error = new Error('connection refused')
    const open = () => sessions.open(cookie)

    const reader = await open()
    expect(reader.data).toEqual({})
    expect([reader.isUnavailable, reader.userId]).toEqual([true, undefined])
    const answer = await sessions.commit(reader)
    expect(answer).toEqual({ headers: [['Vary', 'Cookie', 'append']] })

    const refusal = {
      status: 503,
      message: 'the session could not be loaded, so this request cannot change it',
    }
    const writer = await open()
    writer.data.visits = 1
    await expect(sessions.commit(writer)).rejects.toMatchObject(refusal)
    await expect((await open()).login('ann')).rejects.toMatchObject(refusal)
    await expect((await open()).logout()).rejects.toMatchObject(refusal)
    await expect((await open()).update((data) => void (data.visits = 1))).rejects.toMatchObject(refusal)
    await expect((await open()).reload()).rejects.toMatchObject(refusal)
    await expect(sessions.revokeOthers(await open())).rejects.toMatchObject(refusal)
    const flashing = await open()
    expect(() => flashing.flash('info', 'hello')).toThrow(refusal.message)

    store.error = undefined
    const after = await open()
    expect([after.isUnavailable, after.data]).toEqual([false, { visits: 1 }])
  })

  it('a change after which the application answers 500 by itself is not kept for later', async () => {
    start({ onStoreFailure: 'anonymous' })
    const cookie = await visitor()
    store.error = new Error('connection refused')
    const session = await sessions.open(cookie)
    session.data.visits = 100
    expect((await sessions.commit(session, { status: 500 })).cookie).toBeUndefined()
    store.error = undefined
    expect(await count(cookie)).toBe(1)
  })

  it('a function chooses by the request', async () => {
    start({
      onStoreFailure: (request) => (request.header('accept') === 'text/html' ? 'anonymous' : 'error'),
    })
    const cookie = await visitor()
    store.error = new Error('connection refused')
    const request = (accept: string) => new Request('http://localhost/', { headers: { accept, cookie } })
    expect((await sessions.open(request('text/html'))).isUnavailable).toBe(true)
    await expect(sessions.open(request('application/json'))).rejects.toMatchObject({ status: 503 })
  })

  it('what is not an answer to that question is refused by name', async () => {
    expect(() => createSessions({ secret: SECRET, onStoreFailure: 'ignore' as 'error' })).toThrow(
      /onStoreFailure: "ignore" must be 'error', 'anonymous' or a function/,
    )
    start({ onStoreFailure: () => 'maybe' as 'error' })
    const cookie = await visitor()
    store.error = new Error('connection refused')
    await expect(sessions.open(cookie)).rejects.toThrow(/onStoreFailure: "maybe" must be/)
  })
})

describe('a store that reads and cannot write', () => {
  /** A login whose token is to be rotated. */
  async function login() {
    const clock = fakeClock()
    const full = memoryStore()
    const { update } = full
    start({ store: full, clock })
    const session = await sessions.open(undefined)
    await session.login('ann')
    const { cookie } = await sessions.commit(session)
    clock.advance('20m')
    full.update = () => Promise.reject(new Error('OOM command not allowed'))
    return { cookie: `${cookie!.name}=${cookie!.value}`, recover: () => (full.update = update) }
  }

  it('serves whoever only looks, also when their token is to be rotated, which waits until it can write', async () => {
    const { cookie, recover } = await login()
    for (let looks = 1; looks <= 2; looks++) {
      const session = await sessions.open(cookie)
      expect(session.userId).toBe('ann')
      expect(await sessions.commit(session)).toEqual({ headers: [['Vary', 'Cookie', 'append']] })
      expect(events).toHaveLength(looks)
    }
    expect(events[0]).toMatchObject([
      'error',
      { operation: 'rotate', error: expect.any(StoreUnavailableError) },
    ])
    recover()
    const rotated = await sessions.commit(await sessions.open(cookie))
    expect(rotated.cookie?.value).toMatch(/./)
    expect(rotated.cookie?.value).not.toBe(cookie.split('=')[1])
  })

  it('refuses whoever changes something, whether or not a rotation is due', async () => {
    const { cookie } = await login()
    for (const change of [
      (session: Session<Data>) => (session.data.visits = 1),
      (session: Session<Data>) => session.flash('info', 'saved'),
      (session: Session<Data>) => session.rotate(),
    ]) {
      const session = await sessions.open(cookie)
      await expect(async () => {
        await change(session)
        await sessions.commit(session)
      }).rejects.toThrow(StoreUnavailableError)
      expect((await sessions.commit(session, { discard: true })).cookie).toBeUndefined()
    }
  })
})

describe('after close()', () => {
  it('no timer remains, whatever was under way', async () => {
    start({ deadlines: { load: 100, write: 100 } })
    const cookie = await visitor()
    store.freeze()
    const opening = timed(sessions.open(cookie))
    await sessions.close()
    await opening
    await sleep(100)
    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout')).toEqual([])
  })
})
