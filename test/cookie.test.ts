import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readCookies, setCookie } from '../src/cookie.ts'

const read = (header: string, limit = 8) => readCookies(header, '__Host-id', limit)

describe('the Cookie header', () => {
  it('gives the value of the cookie that has exactly our name', () => {
    expect(read('a=1; __Host-id=abc; b=2')).toEqual(['abc'])
    expect(read('__Host-id=abc')).toEqual(['abc'])
    expect(read('\t__Host-id=abc \t;a')).toEqual(['abc'])
    expect(read('__Host-idx=1; x__Host-id=2; __host-id=3; a=__Host-id=4; __Host-id')).toEqual([])
  })

  it('gives all of them, in order', () => {
    expect(read('__Host-id=a; x=1; __Host-id=b;__Host-id=')).toEqual(['a', 'b', ''])
  })

  it('gives no more than were asked for', () => {
    expect(read('__Host-id=a; __Host-id=b; __Host-id=c', 2)).toEqual(['a', 'b'])
    expect(read('__Host-id=a', 0)).toEqual([])
  })

  it('is not fooled by nameless cookies, odd white space and what looks like another pair', () => {
    for (const header of [
      '=__Host-id=x',
      '\u00a0__Host-id=x',
      '\u2028__Host-id=x',
      '"__Host-id=x"',
      '$Version=1, __Host-id=x',
      'a b __Host-id=x',
      '\v__Host-id=x',
      '__Host%2Did=x',
    ]) {
      expect(read(header)).toEqual([])
    }
  })

  it('agrees with a parser that splits at each semicolon', () => {
    const piece = fc.constantFrom('__Host-id', '=', ';', ' ', '\t', 'a', '\u00a0', ',', '"', '__Host-id=v')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const header = pieces.join('')
        const expected = header
          .split(';')
          .map((pair) => pair.replace(/^[ \t]+|[ \t]+$/g, ''))
          .filter((pair) => pair.startsWith('__Host-id='))
          .map((pair) => pair.slice('__Host-id='.length))
        expect(read(header, 1_000)).toEqual(expected)
      }),
      { numRuns: 2_000 },
    )
  })

  it('is read in linear time, however many pairs and blanks it has', () => {
    const headers: ((n: number) => string)[] = [
      (n) => '__Host-id=x; '.repeat(n),
      (n) => `${' '.repeat(10 * n)}__Host-id=x`,
      (n) => '__Host-id= '.repeat(n),
      (n) => 'a=b; '.repeat(3 * n),
    ]
    const timeOf = (header: string) => {
      const times = Array.from({ length: 5 }, () => {
        const start = performance.now()
        read(header)
        return performance.now() - start
      })
      return Math.min(...times)
    }
    for (const header of headers) {
      // Ten times as long: a hundred times the time, if it were quadratic, and then seconds. The 20 ms are a busy machine's.
      expect(timeOf(header(20_000))).toBeLessThan(30 * timeOf(header(2_000)) + 20)
    }
  })
})

describe('Set-Cookie', () => {
  it('writes each attribute that is set', () => {
    const attributes = {
      path: '/a',
      domain: 'example.org',
      maxAge: 60,
      secure: true,
      httpOnly: true,
      sameSite: 'None',
      partitioned: true,
    } as const
    expect(setCookie({ name: 'n', value: 'v', attributes })).toBe(
      'n=v; Path=/a; Domain=example.org; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned',
    )
  })

  it('writes no other', () => {
    const attributes = { path: '/', secure: false, httpOnly: true, sameSite: 'Lax' } as const
    expect(setCookie({ name: 'n', value: 'v', attributes })).toBe('n=v; Path=/; HttpOnly; SameSite=Lax')
  })
})
