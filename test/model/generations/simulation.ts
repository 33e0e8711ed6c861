import type { LifetimePolicy } from '../../../src/lifetime.ts'
import { Random } from '../random.ts'
import { Timeline } from '../timeline.ts'
import type { Token } from '../tokens.ts'
import type { Belief, End, History, JarWrite, Request } from './history.ts'
import type { Deed, Server, ServerMaker } from './server.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** The kind of weather that one run has. */
export interface Scenario {
  readonly steps: number
  readonly policy: LifetimePolicy
  readonly losesAnswers: number
  readonly delaysAnswers: number
  readonly holdsUploads: number
  readonly killsBrowser: number
  readonly fallsBehind: number
  readonly staleFor: number
  readonly latency: number
  readonly skews: readonly number[]
  /** `persistent`: from some moment on, owner and thief both use the session all the time. */
  readonly thief: 'none' | 'casual' | 'persistent'
  readonly otherUsers: number
}

const DESIGNED: LifetimePolicy = {
  idle: 24 * HOUR,
  absolute: 14 * 24 * HOUR,
  anonymous: { idle: 24 * HOUR, absolute: 14 * 24 * HOUR },
  rotateEvery: 15 * MINUTE,
  grace: 5 * MINUTE,
  touchEvery: MINUTE,
  persistent: false,
}
const SHORT: LifetimePolicy = {
  ...DESIGNED,
  idle: 30 * MINUTE,
  absolute: 4 * HOUR,
  anonymous: { idle: 20 * MINUTE, absolute: 2 * HOUR },
}

function scenarioOf(random: Random): Scenario {
  const maybe = (probability: number, value: number) => (random.chance(probability) ? value : 0)
  const thief = random.weighted({ none: 75, casual: 15, persistent: 10 })
  return {
    steps: random.between(5, 25),
    policy: random.chance(0.8) ? DESIGNED : SHORT,
    losesAnswers: random.pick([0, 0, 0.03, 0.15]),
    delaysAnswers: random.pick([0.01, 0.05, 0.2]),
    holdsUploads: random.pick([0, 0.03, 0.1]),
    killsBrowser: maybe(0.1, 0.05),
    fallsBehind: maybe(0.1, 0.05),
    staleFor: maybe(0.1, 3 * SECOND),
    latency: maybe(0.4, 300),
    skews: random.chance(0.6) ? [0] : [0, random.between(-MINUTE, MINUTE)],
    thief,
    otherUsers: maybe(0.2, 0.3),
  }
}

/** Plays one run: the same seed, the same run. */
export async function play(
  seed: number,
  makeServer: ServerMaker,
  settle: () => Promise<void>,
): Promise<{ scenario: Scenario; history: History }> {
  const random = new Random(seed)
  const scenario = scenarioOf(random)
  const timeline = new Timeline(settle)
  const play = new Play(scenario, random, timeline, makeServer)
  await timeline.run(play.run())
  return { scenario, history: play.history }
}

class Play {
  readonly history: History
  readonly #scenario: Scenario
  readonly #random: Random
  readonly #timeline: Timeline
  readonly #server: Server
  readonly #owner: Browser
  readonly #inFlight = new Set<Promise<void>>()
  #turn = 0
  #items = 0
  #isCalm = false
  /** The requests that the server is at work on: reports come from there. */
  #atWork: Request[] = []

  constructor(scenario: Scenario, random: Random, timeline: Timeline, makeServer: ServerMaker) {
    this.#scenario = scenario
    this.#random = random
    this.#timeline = timeline
    this.#owner = new Browser(timeline)
    const { policy, staleFor, latency, skews } = scenario
    const ends: History['ends'] = new Map()
    this.history = {
      policy,
      lag: 2 * latency,
      slack: Math.max(...skews) - Math.min(...skews) + 4 * latency,
      staleFor,
      requests: [],
      jar: this.#owner.writes,
      ends,
      losses: [],
      theft: undefined,
      calmAt: Number.POSITIVE_INFINITY,
      stuck: undefined,
    }
    const ended = (session: string, why: End['why']) => {
      const by = this.#atWork.find(({ token, deed, openedAt }) => {
        const isActing = openedAt < Number.POSITIVE_INFINITY
        return token?.session === session && (why === 'logout' ? isActing && deed.kind === why : !isActing)
      })!
      if (!ends.has(session)) ends.set(session, { at: timeline.now, why, by })
    }
    this.#server = makeServer({
      clock: () => timeline.now,
      skews,
      policy,
      random,
      staleFor,
      latency,
      wait: (milliseconds) => timeline.wait(milliseconds),
      ended,
    })
  }

  async run(): Promise<void> {
    const { thief, steps } = this.#scenario
    if (thief === 'persistent') await this.#siege()
    else await this.#live(steps, thief === 'casual' ? this.#random.between(1, steps) : undefined)
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight)
    await this.#recover()
  }

  /** One person does this and that, in many tabs at once and without always waiting for answers. */
  async #live(steps: number, theftAt?: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      this.#doSomething()
      if (step === theftAt) this.#steal(() => this.#pause(), this.#random.between(3, 15))
      await this.#timeline.wait(this.#pause())
    }
  }

  /** Owner and thief go on using the session, each at least once in 50 seconds, for longer than any theft may last. */
  async #siege(): Promise<void> {
    const often = () => this.#random.between(SECOND, 50 * SECOND)
    await this.#live(this.#random.between(1, 5))
    this.#send({ kind: 'login', user: 'ann', item: this.#newItem() })
    await this.#timeline.wait(10 * SECOND)
    this.#steal(often, 70)
    for (let i = 0; i < 60; i++) {
      if (this.#random.chance(0.6)) this.#burst(['view', 'write'])
      else if (this.#random.chance(0.03)) this.#doSomething()
      else this.#send({ kind: 'view' })
      await this.#timeline.wait(often())
    }
  }

  #steal(pause: () => number, times: number): void {
    const { jar } = this.#owner
    if (jar === undefined) return
    this.history.theft = { at: this.#timeline.now, token: this.#server.read(jar) }
    this.#run(this.#thieve(new Browser(this.#timeline, jar), pause, times))
  }

  async #thieve(browser: Browser, pause: () => number, times: number): Promise<void> {
    for (let i = 0; i < times && !this.#isCalm; i++) {
      await this.#timeline.wait(pause())
      if (this.#random.chance(0.7)) this.#send({ kind: 'view' }, 'thief', browser)
      else this.#send({ kind: 'write', item: this.#newItem() }, 'thief', browser)
    }
  }

  #doSomething(): void {
    const random = this.#random
    const { belief } = this.#owner
    const { killsBrowser, fallsBehind, otherUsers } = this.#scenario
    if (random.chance(killsBrowser)) this.#owner.kill(random.between(0, 30 * SECOND))
    if (random.chance(fallsBehind)) this.#run(this.#fallBehind())
    const user = random.chance(otherUsers) ? random.pick(['ann', 'bob']) : 'ann'
    const login = (): Deed => ({ kind: 'login', user, item: this.#newItem() })
    const deed = random.weighted({
      burst: 30,
      view: 10,
      write: 15,
      update: 5,
      rotate: 8,
      login: belief ? 3 : 20,
      doubleLogin: belief ? 2 : 10,
      elevate: belief ? 5 : 0,
      logout: belief ? 6 : 1,
      logoutAndIn: belief ? 4 : 0,
    })
    switch (deed) {
      case 'burst':
        this.#burst(['view', 'view', 'view', 'write', 'write', 'rotate', 'update'])
        return
      case 'doubleLogin':
        for (let i = random.between(2, 3); i > 0; i--) this.#sendAfter(random.between(0, 700), login())
        return
      case 'logoutAndIn':
        this.#send({ kind: 'logout' })
        this.#sendAfter(this.#pause() / 4, login())
        return
      case 'login':
        this.#send(login())
        return
      case 'write':
        this.#send({ kind: 'write', item: this.#newItem(), fails: random.chance(0.05) })
        return
      case 'update':
        this.#send({ kind: 'update', item: this.#newItem() })
        return
      default:
        this.#send({ kind: deed })
    }
  }

  #burst(kinds: readonly ('view' | 'write' | 'update' | 'rotate')[]): void {
    for (let i = this.#random.between(2, 10); i > 0; i--) {
      const kind = this.#random.pick(kinds)
      this.#sendAfter(
        this.#random.between(0, 30),
        kind === 'write' || kind === 'update' ? { kind, item: this.#newItem() } : { kind },
      )
    }
  }

  async #fallBehind(): Promise<void> {
    const { jar } = this.#owner
    if (jar === undefined) return
    const { session } = this.#server.read(jar)
    const left = await this.#server.fallBehind(session)
    if (left) this.history.losses.push({ at: this.#timeline.now, session, left })
  }

  /** The storm is over. Whatever has happened: pages load, things are saved and a login works, at the latest after the quiet time. */
  async #recover(): Promise<void> {
    const { ends, slack } = this.history
    const calmAt = this.#timeline.now
    this.history.calmAt = calmAt
    this.#isCalm = true
    const ask = async (deed: Deed) => {
      const request = this.#prepare(deed, 'owner', this.#owner)
      await this.#serve(request, this.#owner.jar, this.#owner)
      return request
    }
    const write = async () => (await ask({ kind: 'write', item: this.#newItem() })).answer!.status
    await ask({ kind: 'view' })
    if (this.#random.chance(0.7)) {
      for (let quietTimes = 0; (await write()) !== 200; quietTimes++) {
        // Whose old token sounds the alarm when one quiet time is over has another before him.
        const isAlarmed = [...ends.values()].some(({ why, at }) => why === 'reuse' && at >= calmAt)
        if (quietTimes > (isAlarmed ? 1 : 0)) {
          this.history.stuck = 'nothing is saved, although the quiet time is over'
          break
        }
        await this.#timeline.wait(6 * MINUTE + slack)
        await ask({ kind: 'view' })
      }
    }
    const items = [this.#newItem(), this.#newItem()] as const
    const login = await ask({ kind: 'login', user: 'ann', item: items[0] })
    if (login.answer!.status !== 200) this.history.stuck = 'a login failed in calm weather'
    const saved = await ask({ kind: 'write', item: items[1] })
    if (saved.answer!.status !== 200) this.history.stuck = 'nothing is saved after a login'
    await this.#timeline.wait(this.history.staleFor)
    const { view } = await ask({ kind: 'view' })
    if (view?.user !== 'ann' || !items.every((item) => view.items.includes(item))) {
      this.history.stuck = 'what was saved after a login is not there'
    }
  }

  #pause(): number {
    const random = this.#random
    switch (random.weighted({ moment: 35, seconds: 30, minutes: 18, quarter: 14, hours: 3 })) {
      case 'moment':
        return random.between(20, 2 * SECOND)
      case 'seconds':
        return random.between(2 * SECOND, 30 * SECOND)
      case 'minutes':
        return random.between(30 * SECOND, 4 * MINUTE)
      case 'quarter':
        return random.between(4 * MINUTE, 20 * MINUTE)
      case 'hours':
        return random.between(HOUR, 30 * HOUR)
    }
  }

  #newItem(): string {
    return `i${++this.#items}`
  }

  #run(task: Promise<void>): void {
    const done = task.finally(() => this.#inFlight.delete(done))
    this.#inFlight.add(done)
    this.#timeline.start(done)
  }

  #sendAfter(milliseconds: number, deed: Deed): void {
    this.#run(this.#timeline.wait(milliseconds).then(() => this.#send(deed)))
  }

  #send(deed: Deed, from: 'owner' | 'thief' = 'owner', browser = this.#owner): void {
    this.#run(this.#serve(this.#prepare(deed, from, browser), browser.jar, browser))
  }

  #prepare(deed: Deed, from: 'owner' | 'thief', browser: Browser): Request {
    const request: Request = {
      number: this.history.requests.length + 1,
      from,
      deed,
      token: browser.jar === undefined ? undefined : this.#server.read(browser.jar),
      sentAt: this.#timeline.now,
      belief: browser.belief,
      headersAt: Number.POSITIVE_INFINITY,
      openedAt: Number.POSITIVE_INFINITY,
      view: undefined,
      actedAt: Number.POSITIVE_INFINITY,
      answeredAt: Number.POSITIVE_INFINITY,
      turn: Number.POSITIVE_INFINITY,
      answer: undefined,
      given: undefined,
      fate: 'under way',
      arrivedAt: Number.POSITIVE_INFINITY,
    }
    this.history.requests.push(request)
    browser.sent(request)
    return request
  }

  async #serve(request: Request, cookie: string | undefined, browser: Browser): Promise<void> {
    const timeline = this.#timeline
    const life = browser.life
    const way = this.#isCalm ? { up: 20, handler: 5, pause: 5, down: 20, isLost: false } : this.#way()
    await timeline.wait(way.up)
    request.headersAt = timeline.now
    this.#atWork.push(request)
    const opened = await this.#server.open(cookie, this.#random.between(0, this.#scenario.skews.length - 1))
    request.openedAt = timeline.now
    request.view = opened.view
    await timeline.wait(way.handler)
    request.actedAt = timeline.now
    await opened.act(request.deed)
    await timeline.wait(way.pause)
    request.answer = await opened.answer()
    request.answeredAt = timeline.now
    request.turn = ++this.#turn
    this.#atWork = this.#atWork.filter((other) => other !== request)
    const { cookie: given } = request.answer
    if (given !== undefined && given !== 'clear') request.given = this.#server.read(given)
    if (way.isLost) {
      request.fate = 'lost'
      return
    }
    await timeline.wait(way.down)
    if (browser.life !== life) {
      request.fate = 'browser killed'
      return
    }
    request.fate = 'arrived'
    request.arrivedAt = timeline.now
    browser.receive(request)
  }

  #way() {
    const random = this.#random
    const { losesAnswers, delaysAnswers, holdsUploads } = this.#scenario
    const way = {
      up: random.between(5, 200),
      handler: random.between(1, 100),
      pause: random.between(0, 50),
      down: random.between(5, 200),
      isLost: random.chance(losesAnswers),
    }
    if (random.chance(delaysAnswers)) way.down = random.between(200, random.pick([5, 20, 90]) * SECOND)
    if (random.chance(0.03)) way.up = random.between(200, 10 * SECOND)
    if (random.chance(0.03)) way.handler = random.between(SECOND, 10 * SECOND)
    if (random.chance(holdsUploads)) {
      const upload = random.between(MINUTE, 200 * SECOND)
      if (random.chance(0.5)) way.up = upload
      else way.handler = random.chance(0.9) ? upload : 5 * upload
    }
    return way
  }
}

/** A cookie jar that all tabs share, and what the person before it knows. */
class Browser {
  jar: string | undefined
  belief: Belief | undefined
  /** Grows when the browser is killed: answers to an earlier life come to nobody. */
  life = 0
  readonly writes: JarWrite[] = []
  readonly #timeline: Timeline
  readonly #past: { at: number; jar: string | undefined; token: Token | undefined }[] = []
  #lastLogout = 0

  constructor(timeline: Timeline, jar?: string) {
    this.#timeline = timeline
    this.jar = jar
  }

  sent(request: Request): void {
    if (request.deed.kind !== 'logout') return
    this.belief = undefined
    this.#lastLogout = request.number
  }

  receive(request: Request): void {
    const { answer, deed, given } = request
    if (answer!.cookie !== undefined) {
      this.#write(answer!.cookie === 'clear' ? undefined : answer!.cookie, given, request)
    }
    const isLogin = deed.kind === 'login' && answer!.status === 200 && request.number > this.#lastLogout
    if (isLogin && (!this.belief || this.belief.by.number < request.number)) {
      this.belief = { user: deed.user, by: request }
    }
  }

  /** The last `unsaved` milliseconds were not yet on disk. */
  kill(unsaved: number): void {
    this.life++
    const saved = this.#past.findLast(({ at }) => at <= this.#timeline.now - unsaved)
    this.#write(saved?.jar, saved?.token, 'kill')
  }

  #write(jar: string | undefined, token: Token | undefined, by: Request | 'kill'): void {
    this.jar = jar
    this.writes.push({ at: this.#timeline.now, token, by })
    this.#past.push({ at: this.#timeline.now, jar, token })
  }
}
