import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkSize, defaultCodec as codec } from '../src/codec.ts'

const storable = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.bigInt(),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array(),
    fc.array(tie('value')),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
    ),
    fc.array(fc.tuple(fc.string(), tie('value'))).map((entries) => new Map(entries)),
    fc.array(fc.oneof(fc.string(), fc.integer())).map((members) => new Set(members)),
  ),
})).value

const data = fc.dictionary(
  fc.string().filter((key) => key !== '__proto__'),
  storable,
)

describe('data', () => {
  it('comes back as it was: dates, maps, sets, bigints, bytes and odd numbers too', () => {
    fc.assert(
      fc.property(data, (original) => {
        expect(codec.decode(codec.encode(original))).toEqual({ ...original })
      }),
      { numRuns: 1_000 },
    )
  })

  it('is plain JSON where that loses nothing', () => {
    expect(codec.encode({ a: [1, 'x', null], b: { c: true } })).toBe('{"a":[1,"x",null],"b":{"c":true}}')
  })

  it('encodes to the same text when nothing has changed', () => {
    fc.assert(
      fc.property(data, (original) => {
        const text = codec.encode(original)
        expect(codec.encode(codec.decode(text))).toBe(text)
      }),
      { numRuns: 500 },
    )
  })

  it('takes an undefined property for none', () => {
    expect(codec.decode(codec.encode({ a: 1, b: undefined }))).toEqual({ a: 1 })
    expect(codec.decode(codec.encode({ a: new Date(0), b: undefined }))).toEqual({
      a: new Date(0),
      b: undefined,
    })
  })

  it('keeps the bytes of a Buffer and nothing around them', () => {
    const text = codec.encode({ bytes: Buffer.from('only this') })
    expect(text.length).toBeLessThan(100)
    expect(codec.decode(text)).toEqual({ bytes: new Uint8Array(Buffer.from('only this')) })
  })

  class Cart {
    items = 1
  }
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  let deep: unknown = 1
  for (let n = 0; n < 200; n++) deep = [deep]
  const refused: [string, unknown, string][] = [
    ['a function', { user: { save() {} } }, 'data.user.save is a function'],
    ['a symbol', { list: [1, Symbol('s')] }, 'data.list[1] is a symbol'],
    ['a cycle', { a: cycle }, 'data.a.self is a reference to an object around it (a cycle)'],
    ['a class instance', { cart: new Cart() }, 'data.cart is an instance of Cart'],
    ['an error', { error: new Error('x') }, 'data.error is an instance of Error'],
    ['a regular expression', { pattern: /x/ }, 'data.pattern is an instance of RegExp'],
    ['a promise', { later: Promise.resolve() }, 'data.later is an instance of Promise'],
    [
      'a __proto__ key',
      { a: JSON.parse('{"__proto__":{"admin":1}}') },
      'data.a["__proto__"] is a key that would replace a prototype',
    ],
    ['an invalid date', { when: new Date(Number.NaN) }, 'data.when is an invalid Date'],
    ['a value under a symbol', { a: { [Symbol('s')]: 1 } }, 'data.a[Symbol(s)] is a value under a symbol'],
    ['a function in a map', { m: new Map([['k', () => 1]]) }, 'data.m.get(k) is a function'],
    ['an instance in a set', { s: new Set([new Cart()]) }, 'data.s.values() is an instance of Cart'],
    ['a key that is no name', { 'my key': { 'x-y': () => 1 } }, 'data["my key"]["x-y"] is a function'],
  ]
  it.each(refused)('refuses %s and names its path', (_what, value, message) => {
    expect(() => codec.encode(value as object)).toThrow(message)
  })

  it('refuses what is nested deeper than 100 levels', () => {
    expect(() => codec.encode({ deep })).toThrow(/nested deeper than 100 levels/)
  })

  it('refuses a stored __proto__ key, however it is spelled', () => {
    for (const text of [
      '{"a":{"__proto__":{"admin":1}}}',
      '{"\\u005f\\u005fproto__":1}',
      '{"\\u005F_proto\\u005f_":1}',
      '{"__\\u0070roto__":1}',
    ]) {
      expect(() => codec.decode(text)).toThrow(/would replace a prototype/)
    }
    expect(codec.decode('{"text":"__proto__"}')).toEqual({ text: '__proto__' })
    expect(({} as { admin?: number }).admin).toBeUndefined()
  })

  it('over the limit is refused, with the size and what takes most of it', () => {
    const big = { small: 1, list: 'ü'.repeat(1_000) }
    expect(() => checkSize(codec.encode(big), big, 1_000)).toThrow(
      /^data takes 20\d\d bytes, over the limit of 1000 \(maxBytes\); data\.list alone/,
    )
    checkSize(codec.encode(big), big, 3_000)
  })
})
