import type { Session, Sessions, Store, StoredRecord } from 'holdfast'
import { createSessions, HoldfastError, isTombstone } from 'holdfast'
import { readToken, type Token } from '../tokens.ts'
import type { Traffic } from '../traffic.ts'
import { inVirtualTime, type Surroundings } from '../virtual-time.ts'
import type { Answer, Circumstances, Deed, Opened, Server } from './server.ts'

interface Data {
  items?: Record<string, 1>
}

const SECRET = 'q5vXx0Tn2yq8W1ZbJ4uR7sKd3fHgLmPc'
const COOKIE = '__Host-id'

/**
 * The real code: one manager an instance, all on one store, whose clocks may differ and whose store may take its time. Needs
 * `installVirtualTime`, and a timeline that settles when `traffic` does.
 */
export class RealServer implements Server {
  readonly #world: Circumstances
  readonly #store: TroubledStore
  readonly #here: Surroundings
  readonly #instances: readonly Sessions<Data>[]
  /** What went wrong in the background. */
  #failure: { error: unknown } | undefined

  constructor(world: Circumstances, store: Store, traffic: Traffic) {
    this.#world = world
    const { clock, wait, random } = world
    const timeline = {
      get now() {
        return clock()
      },
      wait,
    }
    this.#here = { timeline, random }
    this.#store = new TroubledStore(world, store, traffic)
    this.#instances = world.skews.map((skew) => this.#instance(skew))
  }

  #instance(skew: number): Sessions<Data> {
    const { clock, policy, ended } = this.#world
    const { idle, absolute, anonymous, rotateEvery, grace, touchEvery, persistent } = policy
    const sessions = createSessions<Data>({
      secret: SECRET,
      store: this.#store.view(),
      clock: () => clock() + skew,
      sweepEvery: false,
      lifetime: { idle, absolute, anonymous, rotateEvery, grace, touchEvery, persistent },
    })
    sessions.on('logout', ({ handle }) => ended(handle, 'logout'))
    sessions.on('reuse', ({ handle }) => ended(handle, 'reuse'))
    sessions.on('expired', ({ handle }) => ended(handle, 'expired'))
    sessions.on('error', ({ error }) => (this.#failure ??= { error }))
    return sessions
  }

  read(cookie: string): Token {
    return readToken(cookie)
  }

  async fallBehind(session: string): Promise<readonly string[] | undefined> {
    const left = await this.#store.fallBehind(session)
    if (!left) return undefined
    const data = JSON.parse(left.text.slice(left.text.indexOf('\n') + 1)) as Data
    return Object.keys(data.items ?? {})
  }

  async open(cookie: string | undefined, instance: number): Promise<Opened> {
    if (this.#failure) throw this.#failure.error
    const sessions = this.#instances[instance]!
    const session = await inVirtualTime(this.#here, () =>
      sessions.open(cookie === undefined ? undefined : `${COOKIE}=${cookie}`),
    )
    const { isNew, handle, userId, data } = session
    let failure = 0
    return {
      view: {
        session: isNew ? undefined : handle,
        user: userId,
        items: Object.keys(data.items ?? {}),
      },
      act: async (deed) => {
        try {
          if (deed.kind === 'write' && deed.fails) failure = 500
          await inVirtualTime(this.#here, () => carryOut(session, deed))
        } catch (error) {
          failure = statusOf(error)
        }
      },
      answer: () => inVirtualTime(this.#here, () => answer(sessions, session, failure)),
    }
  }
}

async function carryOut(session: Session<Data>, deed: Deed): Promise<void> {
  switch (deed.kind) {
    case 'view':
      return
    case 'write':
      return add(session.data, deed.item)
    case 'update':
      return session.update((data) => add(data, deed.item))
    case 'login':
      await session.login(deed.user)
      return add(session.data, deed.item)
    case 'elevate':
      return session.elevate('high')
    case 'rotate':
      await session.rotate()
      return
    case 'logout':
      return session.logout()
  }
}

function add(data: Data, item: string): void {
  data.items ??= {}
  data.items[item] = 1
}

/** As the adapters do it: what was thrown is the response, and nothing of what the handler left behind is saved. */
async function answer(sessions: Sessions<Data>, session: Session<Data>, failure: number): Promise<Answer> {
  let status = failure || 200
  let response: Awaited<ReturnType<typeof sessions.commit>>
  try {
    response = await sessions.commit(session, { status, discard: failure !== 0 })
  } catch (error) {
    status = statusOf(error)
    response = await sessions.commit(session, { discard: true })
  }
  const { cookie } = response
  return {
    status,
    cookie: cookie && (cookie.attributes.maxAge === 0 ? 'clear' : cookie.value),
    session: session.isNew ? undefined : session.handle,
  }
}

function statusOf(error: unknown): number {
  if (error instanceof HoldfastError) return error.status
  throw error
}

/** A store that takes its time, serves copies that are not quite up to date, and forgets its last commits. */
class TroubledStore {
  readonly #world: Circumstances
  readonly #inner: Store
  readonly #traffic: Traffic
  readonly #past = new Map<string, { at: number; record: StoredRecord | undefined }[]>()

  constructor(world: Circumstances, inner: Store, traffic: Traffic) {
    this.#world = world
    this.#inner = inner
    this.#traffic = traffic
  }

  fallBehind(session: string): Promise<StoredRecord | undefined> {
    return this.#traffic.run(async () => {
      const key = [...this.#past.keys()].find((one) => one.endsWith(session)) ?? ''
      const past = this.#past.get(key)
      const current = await this.#inner.load(key)
      if (!past || !current || isTombstone(current)) return undefined
      const left = past.filter(({ record }) => record!.rev !== current.rev)
      const { record } = left.at(-1) ?? {}
      if (!record) return undefined
      this.#past.set(key, left)
      await this.#inner.update(key, record, current.rev)
      return record
    })
  }

  /** As one instance sees it. */
  view(): Store {
    const inner = this.#inner
    const remember = (key: string, record?: StoredRecord) => {
      const past = this.#past.get(key) ?? []
      past.push({ at: this.#world.clock(), record })
      this.#past.set(key, past)
    }
    return {
      name: inner.name,
      compareAndSet: true,
      // What is slow here is not late: deadlines are another model's.
      inProcess: true,
      load: (key, { fresh } = {}) =>
        this.#slowly(async () => (fresh ? undefined : this.#stale(key)) ?? (await inner.load(key))),
      create: (key, record) =>
        this.#slowly(async () => {
          const isCreated = await inner.create(key, record)
          if (isCreated) remember(key, record)
          return isCreated
        }),
      update: (key, record, expectedRev) =>
        this.#slowly(async () => {
          const result = await inner.update(key, record, expectedRev)
          if (result === 'ok') remember(key, record)
          return result
        }),
      touch: (key, lastSeen, expires) =>
        this.#slowly(async () => {
          const isThere = await inner.touch(key, lastSeen, expires)
          const touched = await inner.load(key)
          if (isThere && touched && !isTombstone(touched)) remember(key, touched)
          return isThere
        }),
      destroy: (key, until) =>
        this.#slowly(async () => {
          const wasThere = await inner.destroy(key, until)
          if (wasThere) remember(key)
          return wasThere
        }),
    }
  }

  #stale(key: string): StoredRecord | undefined {
    const { staleFor, random, clock } = this.#world
    if (staleFor === 0 || !random.chance(0.3)) return undefined
    const then = clock() - random.between(0, staleFor)
    const past = this.#past.get(key)
    return (past?.findLast(({ at }) => at <= then) ?? past?.[0])?.record
  }

  async #slowly<T>(work: () => Promise<T>): Promise<T> {
    const { latency, random, wait } = this.#world
    if (latency > 0) await wait(random.between(0, latency))
    const result = await this.#traffic.run(work)
    if (latency > 0) await wait(random.between(0, latency))
    return result
  }
}
