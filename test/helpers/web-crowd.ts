import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const ROUTES = {
  read: ['GET', '/me'],
  count: ['POST', '/count'],
  login: ['POST', '/login/'],
  'mounted before': ['GET', '/mounted-before'],
  skipped: ['GET', '/skipped'],
  'no cookie': ['GET', '/without-session'],
} as const

export type Kind = keyof typeof ROUTES

export const WITHOUT_SESSION: readonly Kind[] = ['mounted before', 'skipped', 'no cookie']

/** One request, as its client saw it. Times are of `performance.now()`. */
export interface Seen {
  readonly kind: Kind
  readonly began: number
  readonly ended: number
  readonly status: number
  readonly text: string
  readonly cookie: string | undefined
}

interface Visitor {
  readonly name: string
  readonly cookie: string
  /** Visits whose count was answered with 200. */
  acknowledged: number
  /** Visits that failed and may have been counted. */
  unsure: number
  isLoggedIn: boolean
}

/** Visitors of a counting site, who are logged in, go from page to page, and know what each must say to them. */
export class Crowd {
  readonly seen: Seen[] = []
  /** What no page should have said. */
  readonly wrong: string[] = []
  readonly #url: string
  readonly #agent = new Agent({ keepAlive: true })
  readonly #visitors: Visitor[] = []
  #lag = 0
  #loops: Promise<void>[] = []
  #isOver = false

  constructor(url: string) {
    this.#url = url
  }

  /** So many come, log in, and begin to go from page to page, with 40 ms on each; and every 100 ms there is somebody new. */
  async start(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#logIn()))
    this.#loops = this.#visitors.map((visitor) => this.#wander(visitor))
    this.#loops.push(this.#newcomers(), this.#watchTime())
  }

  /** How many milliseconds too long a second took at worst, counted as deadlines are: in ticks, each of which a busy machine makes late. */
  get lag(): number {
    return this.#lag
  }

  /** Everybody finishes the page that they are at. */
  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#loops)
  }

  /** Everybody looks once more, those too who came in between. Afterwards no connection is left. */
  async leave(): Promise<void> {
    for (const visitor of this.#visitors) {
      const { status } = await this.#read(visitor)
      if (status !== 200) this.wrong.push(`${visitor.name} is answered ${status} in the end`)
    }
    this.#agent.destroy()
  }

  /** The store has lost all sessions: those that there are now are nobody's. */
  forget(): void {
    for (const visitor of this.#visitors) visitor.isLoggedIn = false
  }

  async #logIn(): Promise<void> {
    const name = randomUUID()
    const { status, cookie } = await this.#ask('login', undefined, name)
    if (status === 200 && cookie === undefined) this.wrong.push('a login was answered without a cookie')
    if (cookie === undefined) return
    this.#visitors.push({ name, cookie, acknowledged: 0, unsure: 0, isLoggedIn: true })
  }

  async #watchTime(): Promise<void> {
    const ticks: number[] = []
    while (!this.#isOver) {
      ticks.push(performance.now())
      const second = ticks.slice(-21)
      if (second.length === 21) this.#lag = Math.max(this.#lag, second.at(-1)! - second[0]! - 1_000)
      await sleep(50)
    }
  }

  async #newcomers(): Promise<void> {
    while (!this.#isOver) {
      await this.#logIn()
      await sleep(100)
    }
  }

  async #wander(visitor: Visitor): Promise<void> {
    await sleep(Math.random() * 120)
    for (let turn = 0; !this.#isOver; turn++) {
      await this.#read(visitor)
      await sleep(40)
      await this.#count(visitor)
      await sleep(40)
      const kind = WITHOUT_SESSION[turn % WITHOUT_SESSION.length]!
      await this.#ask(kind, kind === 'no cookie' ? undefined : visitor.cookie)
      await sleep(40)
    }
  }

  async #read(visitor: Visitor): Promise<Seen> {
    const seen = await this.#ask('read', visitor.cookie)
    if (seen.status !== 200) return seen
    const [user, count] = seen.text.split(' ')
    const { name, acknowledged, unsure, isLoggedIn } = visitor
    const isRight = isLoggedIn
      ? user === name && Number(count) >= acknowledged && Number(count) <= acknowledged + unsure
      : user === 'nobody' && Number(count) === 0
    if (!isRight) {
      this.wrong.push(`${name} with ${acknowledged} visits, perhaps ${unsure} more, was shown ${seen.text}`)
    }
    return seen
  }

  async #count(visitor: Visitor): Promise<void> {
    const { status, text } = await this.#ask('count', visitor.cookie)
    if (status === 200) visitor.acknowledged++
    else if (JSON.parse(text).maybeApplied) visitor.unsure++
    const { name, acknowledged, unsure, isLoggedIn } = visitor
    if (status !== 200 || !isLoggedIn) return
    if (Number(text) >= acknowledged && Number(text) <= acknowledged + unsure) return
    this.wrong.push(`${name} with ${acknowledged} visits, perhaps ${unsure} more, was counted as ${text}`)
  }

  async #ask(kind: Kind, cookie: string | undefined, more = ''): Promise<Seen> {
    const [method, path] = ROUTES[kind]
    const began = performance.now()
    const headers = cookie === undefined ? {} : { cookie }
    const seen = await new Promise<Seen>((resolve, reject) => {
      request(this.#url + path + more, { method, headers, agent: this.#agent }, (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk) => (text += chunk))
        response.on('end', () => {
          const cookie = response.headers['set-cookie']?.[0]?.split(';', 1)[0]
          resolve({ kind, began, ended: performance.now(), status: response.statusCode!, text, cookie })
        })
      })
        .on('error', reject)
        .end()
    })
    this.seen.push(seen)
    return seen
  }
}
