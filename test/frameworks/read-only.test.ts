import { inspect } from 'node:util'
import { ReadOnlySessionError, type Session } from 'holdfast'
import { type NextHeaders, nextSessions } from 'holdfast/next'
import { expect, it } from 'vitest'
import { readOnly } from '../../src/frameworks/read-only.ts'
import { manager } from '../helpers/browser.ts'

const refusal = (what: string) => new ReadOnlySessionError(what)

async function view(data: object) {
  const { sessions } = manager<Record<string, unknown>>()
  const session = await sessions.open(undefined)
  session.data = data as Record<string, unknown>
  return { session, seen: readOnly(session, refusal) }
}

it('shows data as it is, of every kind that a session keeps', async () => {
  const shared = { a: [1, { b: null }] }
  const data = {
    shared,
    again: shared,
    map: new Map([['k', { n: 1n }]]),
    set: new Set([1]),
    date: new Date(5),
    bytes: Uint8Array.of(1, 2),
  }
  const { seen } = await view(data)
  expect(seen.data).toEqual(data)
  expect(seen.data.again).toBe(seen.data.shared)
  expect(JSON.stringify(seen.data.shared)).toBe('{"a":[1,{"b":null}]}')
  expect(Array.isArray((seen.data.shared as typeof shared).a)).toBe(true)
  expect(seen.data).toBe(seen.data)
})

it('shows data that refers to itself', async () => {
  const data: Record<string, unknown> = { n: 1 }
  data.self = data
  const { seen } = await view(data)
  expect(seen.data.self).toBe(seen.data)
})

it('is not written through by what it is logged as, nor by the bytes of a Buffer', async () => {
  const { session, seen } = await view({ list: [1], bytes: Buffer.of(1, 2) })
  const logged = (seen as unknown as { toJSON(): { data: { list: number[] } } }).toJSON()
  expect(JSON.parse(JSON.stringify(seen))).toMatchObject({ handle: session.handle, data: { list: [1] } })
  expect(() => logged.data.list.push(2)).toThrow(ReadOnlySessionError)
  ;(seen.data.bytes as Buffer)[0] = 9
  expect(session.data).toEqual({ list: [1], bytes: Buffer.of(1, 2) })
})

it('refuses every change, names what was tried, and leaves the session as it was', async () => {
  const { session, seen } = await view({
    list: [{ n: 1 }],
    map: new Map([['k', { n: 1 }]]),
    set: new Set<unknown>([1, { n: 1 }]),
    date: new Date(5),
  })
  const data = seen.data as unknown as {
    list: { n: number }[]
    map: Map<string, { n: number }>
    set: Set<number | { n: number }>
    date: Date
    other?: number
  }
  const attempts: Record<string, () => unknown> = {
    'session.data.other': () => (data.other = 1),
    'session.data.list.1': () => data.list.push({ n: 2 }),
    'session.data.list.0.n': () => (data.list[0]!.n = 2),
    'session.data.list': () => delete (data as { list?: unknown }).list,
    'session.data.map.set()': () => data.map.set('l', { n: 2 }),
    'session.data.map.get(…).n': () => (data.map.get('k')!.n = 2),
    'session.data.map.delete()': () => data.map.delete('k'),
    'session.data.map.clear()': () => data.map.clear(),
    'session.data.set.add()': () => data.set.add(2),
    'session.data.set.delete()': () => data.set.delete(1),
    'session.data.set.clear()': () => data.set.clear(),
    'session.data.set.….n': () => (([...data.set][1] as { n: number }).n = 2),
    'session.data.date.setTime()': () => data.date.setTime(9),
    'session.logout()': () => (seen as unknown as Session).logout(),
    'session.userId': () => Object.assign(seen, { userId: 'eve' }),
    'session.extra': () => Object.defineProperty(seen, 'extra', { value: 1 }),
  }
  for (const [what, attempt] of Object.entries(attempts)) {
    expect(attempt, what).toThrow(expect.objectContaining({ message: what, code: 'HOLDFAST_READ_ONLY' }))
  }
  expect(session.data).toEqual({
    list: [{ n: 1 }],
    map: new Map([['k', { n: 1 }]]),
    set: new Set([1, { n: 1 }]),
    date: new Date(5),
  })
})

it('copies bytes, and leaves alone what a codec of the application makes', async () => {
  class Money {
    cents = 5
  }
  const bare = Object.assign(Object.create(null), { n: 1 })
  const { session, seen } = await view({ bytes: Uint8Array.of(1), price: new Money(), bare })
  const data = seen.data as { bytes: Uint8Array; price: Money; bare: { n: number } }
  data.bytes[0] = 9
  expect(session.data.bytes).toEqual(Uint8Array.of(1))
  expect(data.price).toBe(session.data.price)
  expect(() => (data.bare.n = 2)).toThrow('session.data.bare.n')
})

it('is printed as the session is', async () => {
  const { session, seen } = await view({ n: 1 })
  expect(inspect(seen)).toBe(inspect(session))
  expect(JSON.stringify(seen)).toBe(JSON.stringify(session))
})

it('refuses every method but those that only look', async () => {
  const { session, seen } = await view({})
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(session)).filter((name) => {
    const { value } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(session), name)!
    return typeof value === 'function' && name !== 'constructor'
  })
  const refused = methods.filter((name) => {
    try {
      void (seen as unknown as Record<string, () => unknown>)[name]!()
      return false
    } catch (error) {
      return error instanceof ReadOnlySessionError
    }
  })
  expect(methods.filter((name) => !refused.includes(name)).sort()).toEqual([
    'csrfToken',
    'peekFlashes',
    'requireLevel',
    'requireRecentLogin',
    'toJSON',
    'verifyCsrfToken',
  ])
  expect([seen.handle, seen.userId, seen.peekFlashes()]).toEqual([session.handle, undefined, []])
})

it('is made of sessions, cookies and headers, and says what is missing', () => {
  const { sessions } = manager()
  const given = (next: object) => () => nextSessions(sessions, next as NextHeaders)
  expect(given({})).toThrow('takes { cookies, headers }, both imported from next/headers')
  expect(given({ cookies: 'c', headers: async () => new Headers() })).toThrow(
    'cookies: "c" must be a function',
  )
  expect(given({ cookie: 1 })).toThrow('nextSessions: cookie: there is no such option')
  expect(() => nextSessions({} as never, {} as never)).toThrow('nextSessions: sessions must be what')
})

it('tells an error boundary the code of the error', () => {
  expect(refusal('x').digest).toBe('HOLDFAST_READ_ONLY')
})
