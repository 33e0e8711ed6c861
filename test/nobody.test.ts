import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import type { SessionEvents, StoredRecord } from 'holdfast'
import { describe, expect, it } from 'vitest'
import { newId, tokenSigner } from '../src/token.ts'
import { browser, manager, SECRET } from './helpers/browser.ts'

/** A memory store that counts what is asked of it. */
function counted() {
  const made = manager<{ n?: number }>()
  const calls: string[] = []
  for (const name of ['load', 'create', 'update', 'touch', 'destroy'] as const) {
    const original = made.store[name].bind(made.store) as (...args: never[]) => unknown
    Object.assign(made.store, {
      [name]: (...args: never[]) => {
        calls.push(name)
        return original(...args)
      },
    })
  }
  return { ...made, calls }
}

describe('nothing is created for nobody', () => {
  it('10,000 requests without a cookie and 10,000 with forged ones leave the store empty, set no cookie and read nothing', async () => {
    const { sessions, store, calls } = counted()
    const stranger = tokenSigner([randomBytes(32)], 'id')
    for (let n = 0; n < 10_000; n++) {
      const forged =
        n % 2 === 0 ? stranger.sign({ id: newId(), generation: n }) : randomBytes(48).toString('base64url')
      for (const jar of [browser(sessions), browser(sessions, forged)]) {
        await jar.visit((session) => [session.data, session.userId, session.takeFlashes()])
        expect(jar.setCookies).toEqual([])
      }
    }
    expect(calls).toEqual([])
    expect((await store.scan!(undefined, 10)).items).toEqual([])
  })

  it('a cookie of ours whose session is gone costs a read and no write, and is left alone', async () => {
    const { sessions, calls } = counted()
    const signer = tokenSigner([Buffer.from(SECRET)], 'id')
    const jar = browser(sessions, signer.sign({ id: newId(), generation: 1 }))
    expect(await jar.visit((session) => session.presented)).toBe('ended')
    expect(jar.setCookies).toEqual([])
    expect(calls).toEqual(['load'])
  })

  it('schema defaults, a lifetime, and a logout of nobody are no data', async () => {
    const { sessions, calls } = counted()
    const jar = browser(sessions)
    await jar.visit(async (session) => {
      session.setLifetime({ persistent: true })
      await session.logout()
      await session.rotate()
    })
    expect(jar.setCookies).toEqual([])
    expect(calls).toEqual([])
  })

  it('data that is put in and taken out again before the response is none', async () => {
    const { sessions, calls } = counted()
    await browser(sessions).visit((session) => {
      session.data.n = 1
      delete session.data.n
    })
    expect(calls).toEqual([])
  })

  it('a session stays, even emptied', async () => {
    const { sessions } = counted()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.n = 1))
    await jar.visit((session) => void delete session.data.n)
    expect(await jar.visit((session) => [session.isNew, session.data])).toEqual([false, {}])
  })
})

describe('the store is not a key ring', () => {
  it('no text in it works as a cookie', async () => {
    const { sessions, store } = manager<{ n?: number }>()
    const jar = browser(sessions)
    await jar.visit((session) => session.login('ann', { stamp: 'hash', externalId: 'sid' }))
    const [[key, record]] = (await store.scan!(undefined, 10)).items as [[string, StoredRecord]]
    const texts = [key, key.slice(3), record.rev, record.text, ...record.text.split(/[^\w-]+/), record.user!]
    const handle = (await sessions.list('ann'))[0]!.handle
    for (const text of [...texts, handle, handle.padEnd(64, 'A')]) {
      expect(await browser(sessions, text).visit((session) => session.userId)).toBeUndefined()
    }
  })

  it('no token is printed by a session, an error or an event', async () => {
    const { sessions } = manager<{ n?: number }>()
    const seen: unknown[] = []
    const names: (keyof SessionEvents)[] = [
      'created',
      'login',
      'logout',
      'rotated',
      'reuse',
      'forged',
      'duplicate',
      'expired',
      'overwritten',
      'uncommitted',
      'revoked',
      'invalid',
      'error',
      'swept',
    ]
    for (const name of names) sessions.on(name, (event) => seen.push(event))
    const jar = browser(sessions)
    const tokens = new Set<string>()
    for (let n = 0; n < 3; n++) {
      await jar.visit(async (session) => {
        if (n === 0) await session.login('ann')
        await session.rotate()
        session.data.n = n
        seen.push(session, JSON.parse(JSON.stringify(session)), { inner: [session] })
        seen.push(await sessions.open(`${jar.header}; ${jar.header}x`))
      })
      tokens.add(jar.cookie!)
    }
    const slow = await sessions.open(jar.header)
    slow.data.n = 9
    await jar.visit((session) => session.logout())
    seen.push(await slow.commit().catch((error) => error))
    const printed = seen.map((one) => inspect(one, { depth: 20, showHidden: true, getters: true })).join('\n')
    for (const token of tokens) {
      expect(printed).not.toContain(token)
      expect(printed).not.toContain(token.slice(4, 36)) // its id
    }
    expect(printed).toContain('Session {')
  })
})
