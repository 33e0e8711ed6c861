import { describe, expect, it } from 'vitest'
import type { HeaderChange } from '../../src/cookie.ts'
import { appended, applyHeaders, strengthened } from '../../src/frameworks/headers.ts'

describe('the headers of a response', () => {
  const answerWith = (given: Record<string, string>, ...changes: HeaderChange[]) => {
    const headers = new Headers(given)
    applyHeaders(
      {
        get: (name) => headers.get(name) ?? undefined,
        set: (name, value) => headers.set(name, value),
        append: (name, value) => headers.append(name, value),
      },
      changes,
    )
    return headers
  }

  it('get our cookie beside those of the application', () => {
    const headers = answerWith({ 'Set-Cookie': 'theme=dark' }, ['Set-Cookie', 'id=1', 'append'])
    expect(headers.getSetCookie()).toEqual(['theme=dark', 'id=1'])
  })

  it('get a member more where a list is appended to', () => {
    expect(answerWith({ Vary: 'Origin' }, ['Vary', 'Cookie', 'append']).get('Vary')).toBe('Origin, Cookie')
    expect(answerWith({}, ['Vary', 'Cookie', 'append']).get('Vary')).toBe('Cookie')
  })

  it('are set in place of what says less', () => {
    const changes: HeaderChange = ['Cache-Control', 'no-store', 'set']
    expect(answerWith({}, changes).get('Cache-Control')).toBe('no-store')
    expect(answerWith({ 'Cache-Control': 'max-age=60' }, changes).get('Cache-Control')).toBe('no-store')
    expect(answerWith({ 'Cache-Control': 'private, no-store' }, changes).get('Cache-Control')).toBe(
      'private, no-store',
    )
  })
})

describe('a member appended to a list', () => {
  it('is the list if there is none', () => {
    expect(appended(undefined, 'Cookie')).toBe('Cookie')
    expect(appended('', 'Cookie')).toBe('Cookie')
  })

  it('comes last', () => {
    expect(appended('Origin, Accept', 'Cookie')).toBe('Origin, Accept, Cookie')
  })

  it('is not repeated, whatever its case and the blanks around it', () => {
    for (const list of ['Cookie', 'cookie', 'Origin ,COOKIE , Accept'])
      expect(appended(list, 'Cookie')).toBe(list)
    expect(appended('X-Cookie, Cookie2', 'Cookie')).toBe('X-Cookie, Cookie2, Cookie')
  })

  it('is in * already', () => {
    expect(appended('*', 'Cookie')).toBe('*')
    expect(appended('Origin, *', 'Cookie')).toBe('Origin, *')
  })
})

it('a value stays if it says ours in any case, and more', () => {
  expect(strengthened('No-Store, private', 'no-store')).toBe('No-Store, private')
  expect(strengthened('no-store', 'No-Store')).toBe('no-store')
  expect(strengthened('private', 'no-store')).toBe('no-store')
  expect(strengthened('max-age=60, x-no-store', 'no-store')).toBe('no-store')
  expect(strengthened(undefined, 'no-store')).toBe('no-store')
})
