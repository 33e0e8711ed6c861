import { setTimeout as sleep } from 'node:timers/promises'
import { type Sessions, StoreUnavailableError } from 'holdfast'

export interface CrowdData {
  visits?: number[]
}

/** What was acknowledged and is not so. */
export interface Losses {
  readonly visits: number
  readonly logins: number
  /** Sessions that are back although their logout was acknowledged. */
  readonly logouts: number
  /** How many of each were acknowledged. */
  readonly of: { readonly visits: number; readonly logins: number; readonly logouts: number }
  /** Answers that said that the store was unavailable. */
  readonly refused: number
  /** Logouts that were refused with `maybeApplied`, and those of them that were not done after all. */
  readonly unsureLogouts: number
  readonly undone: number
}

/**
 * People who use a site while its store comes and goes, and who remember what they were told. Regulars stay logged in, each in a session of their
 * own, in which they count visits. Guests come, log in, and half of them leave again, each time in a new session. Whatever fails must be a 503.
 */
export class Crowd {
  readonly #sessions: Sessions<CrowdData>
  readonly #regulars: Regular[] = []
  readonly #entered = new Map<string, string>()
  readonly #left: string[] = []
  readonly #unsure: string[] = []
  #refused = 0
  #guests = 0
  #isOver = false
  #loops: Promise<void>[] = []

  constructor(sessions: Sessions<CrowdData>) {
    this.#sessions = sessions
  }

  async start({ regulars = 12, guests = 6 } = {}): Promise<void> {
    for (let i = 0; i < regulars; i++) {
      const regular: Regular = { name: `regular ${i}`, cookie: '', next: 0, told: [], servedAt: 0 }
      const session = await this.#sessions.open(undefined)
      await session.login(regular.name)
      regular.cookie = await this.#answer(session, '')
      this.#regulars.push(regular)
    }
    this.#loops = [
      ...this.#regulars.map((regular) => this.#loop(() => this.#visit(regular))),
      ...Array.from({ length: guests }, () => this.#loop(() => this.#comeAndGo())),
    ]
  }

  /** The public names of the regulars' sessions, and what they are called. */
  async regulars(): Promise<{ handle: string; name: string }[]> {
    return Promise.all(
      this.#regulars.map(async ({ cookie, name }) => ({
        handle: (await this.#sessions.open(cookie)).handle,
        name,
      })),
    )
  }

  /** Resolves when each of the regulars has been served since then; how many milliseconds that took. @throws after 20 s */
  async servedSince(then: number): Promise<number> {
    for (;;) {
      const last = Math.min(...this.#regulars.map(({ servedAt }) => servedAt))
      if (last >= then) return performance.now() - then
      if (performance.now() > then + 20_000) throw new Error('somebody was not served for 20 s')
      await Promise.race([sleep(5), ...this.#loops])
    }
  }

  /** Everybody goes home, after the answer that they wait for. @throws what was no 503 */
  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#loops)
  }

  /** Compares what everybody was told with what is so now. @throws if a regular was logged out, or counted twice */
  async losses(): Promise<Losses> {
    const lost = { visits: 0, logins: 0, logouts: 0, undone: 0 }
    for (const { name, cookie, ...regular } of this.#regulars) {
      const told = [...regular.told]
      const session = await this.#sessions.open(cookie)
      if (session.userId !== name) throw new Error(`${name} has been logged out`)
      const { visits = [] } = session.data
      const counted = new Set(visits)
      if (counted.size !== visits.length) throw new Error(`${name}: a visit was counted twice`)
      lost.visits += told.filter((visit) => !counted.has(visit)).length
      const listed = (await this.#sessions.list(name)).map(({ handle }) => handle)
      if (listed.join() !== session.handle) throw new Error(`${name}: the list of devices is ${listed}`)
    }
    for (const [cookie, user] of this.#entered) {
      // Who has left meanwhile has not been lost.
      if ((await this.#userOf(cookie)) !== user && this.#entered.has(cookie)) lost.logins++
    }
    for (const cookie of this.#left) if ((await this.#userOf(cookie)) !== undefined) lost.logouts++
    for (const cookie of this.#unsure) if ((await this.#userOf(cookie)) !== undefined) lost.undone++
    return {
      ...lost,
      of: {
        visits: this.#regulars.reduce((sum, { told }) => sum + told.length, 0),
        logins: this.#entered.size,
        logouts: this.#left.length,
      },
      refused: this.#refused,
      unsureLogouts: this.#unsure.length,
    }
  }

  async #loop(act: () => Promise<void>): Promise<void> {
    while (!this.#isOver) {
      await act()
      await sleep(2)
    }
  }

  async #visit(regular: Regular): Promise<void> {
    const visit = regular.next++
    await this.#allowing503(async () => {
      const session = await this.#sessions.open(regular.cookie)
      if (session.userId !== regular.name) throw new Error(`${regular.name} has been logged out`)
      session.data.visits ??= []
      session.data.visits.push(visit)
      regular.cookie = await this.#answer(session, regular.cookie)
      regular.told.push(visit)
      regular.servedAt = performance.now()
    })
  }

  async #comeAndGo(): Promise<void> {
    const guest = this.#guests++
    const name = `guest ${guest}`
    await this.#allowing503(async () => {
      const visitor = await this.#sessions.open(undefined)
      visitor.data.visits = [guest]
      const before = await this.#answer(visitor, '')
      const arriving = await this.#sessions.open(before)
      if (arriving.isNew) return // the failover has lost the session without a user, as it may
      await arriving.login(name)
      const cookie = await this.#answer(arriving, before)
      this.#entered.set(cookie, name)
      if (guest % 2 === 0) return
      const leaving = await this.#sessions.open(cookie)
      // It is a failover's to lose the login, and the count that comes later will find it lost.
      if (leaving.userId !== name) return
      this.#entered.delete(cookie)
      try {
        await leaving.logout()
      } catch (error) {
        if ((error as StoreUnavailableError).maybeApplied) this.#unsure.push(cookie)
        else this.#entered.set(cookie, name)
        throw error
      }
      this.#left.push(cookie)
    })
  }

  /** @returns the cookie that the browser has then */
  async #answer(session: Parameters<Sessions<CrowdData>['commit']>[0], before: string): Promise<string> {
    const { cookie } = await this.#sessions.commit(session)
    return cookie ? `${cookie.name}=${cookie.value}` : before
  }

  async #userOf(cookie: string): Promise<string | undefined> {
    return (await this.#sessions.open(cookie)).userId
  }

  async #allowing503(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error
      this.#refused++
      await sleep(20)
    }
  }
}

interface Regular {
  readonly name: string
  cookie: string
  /** The number of the next visit. */
  next: number
  /** The visits that were acknowledged. */
  readonly told: number[]
  servedAt: number
}
