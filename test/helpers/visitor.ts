import { expect } from 'vitest'
import { client } from './client.ts'

/** One person with a browser, who knows what the site must know of them. */
export class Visitor {
  readonly #name: string
  readonly #anyUrl: () => string
  #cookie: string | undefined
  #visits = 0
  #isLoggedIn = false
  /** Cookies of sessions that have been ended. */
  readonly dead: string[] = []
  requests = 0

  /** @param anyUrl gives the address of one of the site's processes */
  constructor(name: string, anyUrl: () => string) {
    this.#name = name
    this.#anyUrl = anyUrl
  }

  async act(): Promise<void> {
    const dice = Math.random()
    if (dice < 0.05) await this.#login()
    else if (dice < 0.1) await this.logout()
    else if (dice < 0.4) await this.#write()
    else await this.check()
  }

  async #login(): Promise<void> {
    await this.#ask(`/login?user=${this.#name}`)
    this.#isLoggedIn = true
  }

  async logout(): Promise<void> {
    const cookie = this.#cookie
    await this.#ask('/leave')
    if (cookie !== undefined && this.#cookie === undefined) this.dead.push(cookie)
    this.#visits = 0
    this.#isLoggedIn = false
    this.#cookie = undefined
  }

  /** The first alone, since it may start the session; then three at once, by three processes. */
  async #write(): Promise<void> {
    await this.#ask('/update')
    await Promise.all([1, 2, 3].map(() => this.#ask('/update')))
    this.#visits += 4
  }

  async check(): Promise<void> {
    const { visits = 0 } = JSON.parse(await this.#ask('/data'))
    expect(visits, `visits of ${this.#name}`).toBe(this.#visits)
    expect(await this.#ask('/me')).toBe(this.#isLoggedIn ? this.#name : 'nobody')
  }

  /** To one of the processes, with this browser's cookie. */
  async #ask(path: string): Promise<string> {
    const there = client(this.#anyUrl(), this.#cookie)
    const { status, text } = await there.get(path)
    expect([path, status, text.slice(0, 200)]).toEqual([path, 200, expect.anything()])
    // An answer without a cookie says nothing about the one that the browser has.
    if (there.setCookies.length > 0) this.#cookie = there.cookie
    this.requests++
    return text
  }
}
