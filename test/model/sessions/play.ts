import type { Answer, LifetimePolicy, Session, Sessions, Store } from 'holdfast'
import { createSessions, HoldfastError, StoreUnavailableError } from 'holdfast'
import { Random } from '../random.ts'
import { Timeline } from '../timeline.ts'
import { readToken } from '../tokens.ts'
import { inVirtualTime } from '../virtual-time.ts'
import type { Administration, Failure, History, Request, View } from './history.ts'
import type { AdminStep, Deed, Program, RequestStep, Step, Way } from './program.ts'
import { BROWSERS, mayWrite, PROCESSES } from './program.ts'
import type { ModelStore } from './stores.ts'
import { Climate, Life } from './troubled-store.ts'

interface Data {
  keys?: Record<string, 1>
  list?: string[]
  count?: number
  last?: string
}

/** Each program has users of its own, since stores outlive it. */
let plays = 0

const SECRET = 'q5vXx0Tn2yq8W1ZbJ4uR7sKd3fHgLmPc'
const MINUTE = 60_000
const HOUR = 60 * MINUTE

const DESIGNED: LifetimePolicy = {
  idle: 24 * HOUR,
  absolute: 14 * 24 * HOUR,
  anonymous: { idle: 24 * HOUR, absolute: 14 * 24 * HOUR },
  rotateEvery: 15 * MINUTE,
  grace: 5 * MINUTE,
  touchEvery: MINUTE,
  persistent: false,
}
const POLICIES: Record<Program['policy'], LifetimePolicy> = {
  designed: DESIGNED,
  short: {
    ...DESIGNED,
    idle: 30 * MINUTE,
    absolute: 4 * HOUR,
    anonymous: { idle: 20 * MINUTE, absolute: 2 * HOUR },
  },
}

export interface Played {
  readonly history: History
  /** What was asked of sessions, and what of the store. */
  readonly deeds: number
  readonly operations: number
}

/** Runs a program on a store: the same program, the same run. Needs `installVirtualTime`. */
export async function play(program: Program, store: ModelStore): Promise<Played> {
  const game = new Game(program, store)
  return game.run()
}

interface Process {
  readonly life: Life
  readonly store: Store
  readonly sessions: Sessions<Data>
}

const VIEW: Deed = { kind: 'view' }
const WRITE: Deed = { kind: 'write', commits: 0, fails: false }
const LOGIN: Deed = { kind: 'login', asOther: false, revokesOthers: false }
const LIMIT = 2

class Game {
  readonly #program: Program
  readonly #store: ModelStore
  readonly #history: History
  readonly #climate: Climate
  readonly #timeline: Timeline
  readonly #processes: Process[]
  readonly #jars: (string | undefined)[] = Array(BROWSERS).fill(undefined)
  readonly #inFlight = new Set<Promise<void>>()
  readonly #users: readonly (readonly [usual: string, other: string])[]

  constructor(program: Program, store: ModelStore) {
    this.#program = program
    this.#store = store
    const created = new Map<string, number>()
    this.#timeline = new Timeline(() => this.#climate.traffic.settle())
    this.#climate = new Climate(this.#timeline, (key) => {
      if (key.startsWith('_apart:')) return // no session: by this a migrating store tells its two stores from one
      const session = key.slice(key.lastIndexOf(':') + 1)
      if (!created.has(session)) created.set(session, this.#timeline.now)
    })
    this.#history = {
      policy: POLICIES[program.policy],
      limit:
        program.limit === 'none' || !store.traits.lists
          ? undefined
          : { limit: LIMIT, onLimit: program.limit },
      requests: [],
      administration: [],
      weather: [{ at: this.#timeline.now, weather: 'calm' }],
      kills: [],
      forgotten: [],
      created,
      reused: [],
      errors: [],
      calmAt: Number.POSITIVE_INFINITY,
    }
    const [ann, bob, cid] = ['ann', 'bob', 'cid'].map((name) => `${name}-${plays}`) as [
      string,
      string,
      string,
    ]
    plays++
    // Ann has two browsers, and all three where two are the limit.
    this.#users = [[ann, bob], [ann, cid], this.#history.limit ? [ann, bob] : [bob, ann]]
    this.#processes = Array.from({ length: PROCESSES }, (_, number) => this.#start(number, true))
  }

  async run(): Promise<Played> {
    try {
      await this.#timeline.run(this.#runAll())
    } finally {
      await this.#timeline.runOut()
      await this.#store.tidy()
    }
    const { requests, administration } = this.#history
    return {
      history: this.#history,
      deeds: requests.length + administration.length,
      operations: this.#climate.operations,
    }
  }

  async #runAll(): Promise<void> {
    for (const step of this.#program.steps) {
      this.#begin(step)
      await this.#timeline.wait(step.pause)
    }
    this.#change('calm')
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight)
    // What is still on its way to a store arrives, and no token has its quiet time any more.
    await this.#timeline.wait(6 * MINUTE)
    this.#history.calmAt = this.#timeline.now
    await this.#administer({ kind: 'list', browser: 0, process: 0, dice: 1 })
    for (let browser = 0; browser < BROWSERS; browser++) {
      for (const deed of [VIEW, WRITE, WRITE, VIEW, LOGIN, WRITE, VIEW]) {
        await this.#serve(this.#prepare(browser, deed), this.#jars[browser], browser % PROCESSES, CALM_WAY, 1)
      }
      // By now all that was acknowledged has been counted.
      await this.#administer({ kind: 'list', browser, process: browser % PROCESSES, dice: 1 })
    }
  }

  #begin(step: Step): void {
    switch (step.kind) {
      case 'request':
        this.#send(step)
        break
      case 'weather':
        this.#change(step.weather)
        break
      case 'kill':
        this.#run(this.#kill(step.process, step.downFor))
        break
      case 'sweep':
        this.#run(this.#sweep(step.process, step.dice))
        break
      case 'rush':
        this.#run(this.#rush(step))
        break
      default:
        this.#run(this.#administer(step))
    }
  }

  #run(task: Promise<void>): void {
    const done = task.finally(() => this.#inFlight.delete(done))
    this.#inFlight.add(done)
    this.#timeline.start(done)
  }

  #change(weather: Climate['weather']): void {
    this.#history.weather.push({ at: this.#timeline.now, weather })
    this.#climate.change(weather)
  }

  #start(number: number, isFirst: boolean): Process {
    const life = new Life()
    const store = this.#store.open(number, isFirst, (leaf, part) => this.#climate.disturb(life, leaf, part))
    const { idle, absolute, anonymous, rotateEvery, grace, touchEvery, persistent } = this.#history.policy
    const sessions = createSessions<Data>({
      secret: SECRET,
      store,
      clock: () => this.#timeline.now,
      sweepEvery: false,
      logger: SILENT,
      merge: { count: 'sum' },
      lifetime: { idle, absolute, anonymous, rotateEvery, grace, touchEvery, persistent },
      ...(this.#history.limit && { maxSessionsPerUser: this.#history.limit }),
    })
    sessions.on('reuse', ({ handle }) => this.#history.reused.push(handle))
    sessions.on('error', ({ error }) => {
      if (!life.isOver) this.#history.errors.push({ at: this.#timeline.now, error })
    })
    return { life, store, sessions }
  }

  async #kill(number: number, downFor: number): Promise<void> {
    const { life } = this.#processes[number]!
    if (life.isOver) return
    life.end()
    this.#history.kills.push(this.#timeline.now)
    await this.#timeline.wait(downFor)
    this.#processes[number] = this.#start(number, false)
  }

  /** What is done in a process ends with it. */
  #inProcess(number: number, dice: number, work: (process: Process) => Promise<void>): Promise<void> {
    const process = this.#processes[number]!
    if (process.life.isOver) return Promise.resolve()
    const here = { timeline: this.#timeline, random: new Random(dice) }
    return Promise.race([process.life.over, inVirtualTime(here, () => work(process))])
  }

  async #rush({ process, clicks, dice }: Step & { kind: 'rush' }): Promise<void> {
    await this.#administer({ kind: 'revokeUser', browser: 0, process, dice })
    this.#jars.fill(undefined)
    this.#history.forgotten.push(this.#timeline.now)
    for (const [deed, times] of [
      [WRITE, 1],
      [LOGIN, clicks],
    ] as const) {
      const sent = this.#jars.flatMap((jar, browser) =>
        Array.from({ length: times }, (_, click) =>
          this.#serve(
            this.#prepare(browser, deed),
            jar,
            (browser + click) % PROCESSES,
            CALM_WAY,
            dice + 3 * click + browser,
          ),
        ),
      )
      await Promise.all(sent)
    }
  }

  #sweep(number: number, dice: number): Promise<void> {
    return this.#inProcess(number, dice, async ({ sessions, store }) => {
      try {
        await sessions.sweep()
        if ('drain' in store) await (store.drain as (options: object) => Promise<unknown>)({ batch: 3 })
      } catch {} // it fails with the store, and is done again by whoever comes next
    })
  }

  async #administer({ kind, browser, process: number, dice }: Omit<AdminStep, 'pause'>): Promise<void> {
    const jar = this.#jars[browser]
    const admin: Administration = {
      kind,
      session: jar === undefined ? undefined : readToken(jar).session,
      user: this.#users[browser]![0],
      begunAt: this.#timeline.now,
      doneAt: Number.POSITIVE_INFINITY,
      overAt: Number.POSITIVE_INFINITY,
      failure: undefined,
      listed: [],
    }
    const { store } = this.#processes[number]!
    if (kind === 'revoke' && admin.session === undefined) return
    if (kind !== 'revoke' && !store.users) return
    if (kind === 'list' && !this.#store.traits.compares) return
    this.#history.administration.push(admin)
    await this.#inProcess(number, dice, async ({ sessions }) => {
      try {
        if (kind === 'revoke') await sessions.revoke({ handle: admin.session! })
        else if (kind === 'revokeUser') await sessions.revoke({ userId: admin.user })
        else admin.listed = (await sessions.list(admin.user)).map(({ handle }) => handle)
        admin.doneAt = this.#timeline.now
      } catch (error) {
        admin.failure = failureOf(error)
      }
    })
    admin.overAt = this.#timeline.now
  }

  #send({ browser, process, deed, way, dice }: RequestStep): void {
    const request = this.#prepare(browser, deed)
    this.#run(this.#serve(request, this.#jars[browser], process, way, dice))
  }

  #prepare(browser: number, deed: Deed): Request {
    const never = Number.POSITIVE_INFINITY
    const jar = this.#jars[browser]
    const number = this.#history.requests.length + 1
    const request: Request = {
      number,
      browser,
      deed,
      item: `i${number}`,
      user: this.#users[browser]![deed.kind === 'login' && deed.asOther ? 1 : 0],
      revokesOthers: false,
      token: jar === undefined ? undefined : readToken(jar),
      sentAt: this.#timeline.now,
      headersAt: never,
      openedAt: never,
      actedAt: never,
      answeredAt: never,
      overAt: never,
      view: undefined,
      handles: [],
      saved: undefined,
      doneAt: never,
      failures: [],
      status: undefined,
      given: undefined,
      arrivedAt: never,
    }
    this.#history.requests.push(request)
    return request
  }

  async #serve(
    request: Request,
    cookie: string | undefined,
    process: number,
    way: Way,
    dice: number,
  ): Promise<void> {
    await this.#timeline.wait(way.up)
    request.headersAt = this.#timeline.now
    const canRevokeByUser = this.#processes[process]!.store.users !== undefined
    const handling = new Handling(request, this.#timeline, way, canRevokeByUser)
    await this.#inProcess(process, dice, ({ sessions }) => handling.run(sessions, cookie))
    handling.over()
    if (request.status === undefined || way.isLost) return
    await this.#timeline.wait(way.down)
    request.arrivedAt = this.#timeline.now
    if (handling.cookie !== undefined) this.#jars[request.browser] = handling.cookie || undefined
  }
}

const SILENT = { warn() {}, error() {} }
const CALM_WAY: Way = { up: 5, handler: 5, down: 5, isLost: false }

/** One request in one process. */
class Handling {
  /** Of the answer; empty if it is to be forgotten. */
  cookie: string | undefined
  readonly #request: Request
  readonly #timeline: Timeline
  readonly #way: Way
  readonly #canRevokeByUser: boolean
  #session: Session<Data> | undefined
  #isOver = false

  constructor(request: Request, timeline: Timeline, way: Way, canRevokeByUser: boolean) {
    this.#canRevokeByUser = canRevokeByUser
    this.#request = request
    this.#timeline = timeline
    this.#way = way
  }

  async run(sessions: Sessions<Data>, cookie: string | undefined): Promise<void> {
    const request = this.#request
    let session: Session<Data>
    try {
      session = await sessions.open(cookie === undefined ? undefined : `__Host-id=${cookie}`)
    } catch (error) {
      this.#answered(this.#failed(error))
      return
    }
    if (this.#isOver) return
    this.#session = session
    request.openedAt = this.#timeline.now
    request.view = viewOf(session)
    await this.#timeline.wait(this.#way.handler)
    if (this.#isOver) return
    request.actedAt = this.#timeline.now
    try {
      await this.#act(sessions, session)
    } catch (error) {
      return this.#answer(sessions, session, { status: this.#failed(error), discard: true })
    }
    const fails = request.deed.kind === 'write' && request.deed.fails
    return this.#answer(sessions, session, { status: fails ? 500 : 200 })
  }

  /** The process was killed, or has nothing more to do. */
  over(): void {
    if (this.#session) this.#request.handles.push(this.#session.handle)
    this.#request.overAt = this.#timeline.now
    this.#isOver = true
  }

  async #act(sessions: Sessions<Data>, session: Session<Data>): Promise<void> {
    const { deed, item, user } = this.#request
    switch (deed.kind) {
      case 'view':
        return
      case 'write':
        add(session.data, item)
        if (deed.commits > 0) await this.#persist(session, deed.commits, () => session.commit())
        return
      case 'update':
        return this.#persist(session, deed.tries, () =>
          session.update((data) => {
            if (!data.keys?.[item]) add(data, item)
          }),
        )
      case 'flash':
        return session.flash('info', item)
      case 'takeFlashes':
        session.takeFlashes()
        return
      case 'login':
        this.#request.revokesOthers = deed.revokesOthers && this.#canRevokeByUser
        await session.login(user, { revokeOthers: this.#request.revokesOthers })
        return add(session.data, item)
      case 'elevate':
        return session.elevate('high')
      case 'rotate':
        await session.rotate()
        return
      case 'logout':
        await session.logout()
        return this.#done()
      case 'revokeOthers':
        if (!this.#canRevokeByUser) return
        await sessions.revokeOthers(session)
        return this.#done()
    }
  }

  async #persist(session: Session<Data>, tries: number, save: () => Promise<void>): Promise<void> {
    for (let left = tries; ; left--) {
      try {
        await save()
        return this.#saved(session)
      } catch (error) {
        if (!(error instanceof StoreUnavailableError) || left <= 1) throw error
        this.#failed(error)
        // Until a breaker lets somebody try again.
        await this.#timeline.wait(300)
      }
    }
  }

  /** As the adapters do it: what was thrown is the response, and nothing of what the handler left behind is saved. */
  async #answer(
    sessions: Sessions<Data>,
    session: Session<Data>,
    handled: { status: number; discard?: true },
  ): Promise<void> {
    let { status } = handled
    let answer: Answer
    try {
      answer = await sessions.commit(session, handled)
      if (status === 200) {
        if (mayWrite(this.#request.deed)) this.#saved(session)
        if (this.#request.deed.kind === 'takeFlashes') this.#done()
      }
    } catch (error) {
      status = this.#failed(error)
      answer = await sessions.commit(session, { discard: true })
    }
    this.#answered(status, answer.cookie?.value)
  }

  #answered(status: number, cookie?: string): void {
    if (this.#isOver) return
    const request = this.#request
    request.status = status
    request.answeredAt = this.#timeline.now
    this.cookie = cookie
    if (cookie !== undefined) request.given = cookie === '' ? 'clear' : readToken(cookie)
  }

  #saved(session: Session<Data>): void {
    if (this.#isOver) return
    this.#request.saved ??= { at: this.#timeline.now, session: session.handle }
  }

  #done(): void {
    if (!this.#isOver) this.#request.doneAt = this.#timeline.now
  }

  #failed(error: unknown): number {
    const failure = failureOf(error)
    if (this.#isOver) return failure.status
    this.#request.failures.push(failure)
    if (this.#session) this.#request.handles.push(this.#session.handle)
    return failure.status
  }
}

function viewOf(session: Session<Data>): View {
  const { isNew, handle, userId, data } = session
  return {
    session: isNew ? undefined : handle,
    user: userId,
    keys: Object.keys(data.keys ?? {}),
    list: [...(data.list ?? [])],
    count: data.count ?? 0,
    last: data.last,
    flashes: session.peekFlashes().map(({ message }) => message),
  }
}

function add(data: Data, item: string): void {
  data.keys ??= {}
  data.keys[item] = 1
  data.list ??= []
  data.list.push(item)
  data.count = (data.count ?? 0) + 1
  data.last = item
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof HoldfastError)) throw error
  const maybeApplied = error instanceof StoreUnavailableError && error.maybeApplied
  return { name: error.name, status: error.status, maybeApplied, error }
}
