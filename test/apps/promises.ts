import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { App } from '../helpers/app.ts'
import { type Client, client, type Reply } from '../helpers/client.ts'

/** How an application does what the tests of all applications need. */
export interface Acts {
  signIn(tab: Client, name: string): Promise<Reply>
  signOut(tab: Client): Promise<Reply>
  /** Adds one to `visits`, with a pause between reading and writing. */
  count(tab: Client): Promise<Reply>
  put(tab: Client, item: string): Promise<Reply>
  rotate(tab: Client): Promise<Reply>
  /** Changes the cart, 600 ms after it has begun. */
  slow(tab: Client): Promise<Reply>
  /** Changes nothing. */
  look(tab: Client): Promise<State>
}

export interface State {
  readonly userId?: string | undefined
  readonly handle: string
  readonly data: { readonly visits?: number; readonly cart?: readonly string[] }
}

/** What is promised of every application, tried on one that is running. */
export function itKeepsItsPromises(app: () => App, acts: Acts): void {
  async function signedIn(name: string): Promise<Client> {
    const tab = client(app().url)
    expect((await acts.signIn(tab, name)).status).toBeLessThan(400)
    return tab
  }

  describe('as every application', () => {
    it('keeps nothing for a visitor who only looks', async () => {
      const visitor = client(app().url)
      expect([(await acts.look(visitor)).userId, visitor.setCookies]).toEqual([undefined, []])
    })

    it('gives a new token at a login, keeps the data, and the token before it is dead', async () => {
      const tab = client(app().url)
      await acts.put(tab, 'tea')
      const before = tab.copy()
      await acts.signIn(tab, 'ann')
      expect(tab.cookie).not.toBe(before.cookie)
      expect(await acts.look(tab)).toMatchObject({ userId: 'ann', data: { cart: ['tea'] } })
      expect((await acts.look(before)).userId).toBeUndefined()
    })

    it('loses nothing of two tabs at work at once', async () => {
      const first = await signedIn('ann')
      const second = first.copy()
      const before = (await acts.look(first)).data.visits ?? 0
      const replies = await Promise.all(
        Array.from({ length: 20 }, (_, i) => [acts.count(first), acts.put(second, `item ${i}`)]).flat(),
      )
      expect(replies.filter(({ status }) => status >= 400)).toEqual([])
      const { visits, cart } = (await acts.look(first)).data
      expect([visits! - before, new Set(cart).size]).toEqual([20, 20])
    })

    it('rotates the token and logs neither tab out', async () => {
      const first = await signedIn('ann')
      const second = first.copy()
      const { handle } = await acts.look(first)
      await acts.rotate(first)
      expect(first.cookie).not.toBe(second.cookie)
      for (const tab of [second, first, second, first]) {
        expect(await acts.look(tab)).toMatchObject({ userId: 'ann', handle })
      }
    })

    it('makes a logout final, also for a request that is under way', async () => {
      const tab = await signedIn('ann')
      const old = tab.copy()
      const underWay = acts.slow(old)
      await sleep(100)
      await acts.signOut(tab)
      expect((await underWay).status).toBe(409)
      for (const one of [tab, old]) expect((await acts.look(one)).userId).toBeUndefined()
    })

    it('answers when the changes are saved, and not before', async () => {
      const tab = await signedIn('ann')
      const unlock = app().lock()
      let isLocked = true
      const reply = acts.put(tab, 'tea').then((answer) => ({ answer, isLocked }))
      await sleep(400)
      isLocked = false
      unlock()
      const { answer, isLocked: wasLocked } = await reply
      expect([answer.status < 400, wasLocked]).toEqual([true, false])
    })

    it('answers with an error when they cannot be saved, and leaves the cookie alone', async () => {
      const tab = await signedIn('ann')
      const { cookie } = tab
      const unlock = app().lock()
      try {
        expect((await acts.put(tab, 'tea')).status).toBe(503)
      } finally {
        unlock()
      }
      expect(tab.cookie).toBe(cookie)
      expect(await acts.look(tab)).toMatchObject({ userId: 'ann' })
    })

    it('knows its users after a restart, and not those who have signed out', async () => {
      const [tab, other] = [await signedIn('ann'), await signedIn('bob')]
      await acts.put(tab, 'tea')
      await acts.signOut(other)
      await app().restart()
      expect(await acts.look(tab)).toMatchObject({ userId: 'ann', data: { cart: ['tea'] } })
      expect((await acts.look(other)).userId).toBeUndefined()
    })
  })
}
