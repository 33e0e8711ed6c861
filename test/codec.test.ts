import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkSize, defaultCodec as codec } from '../src/codec.ts'
import { DataError } from '../src/errors.ts'

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
  class Listener {
    on = () => 1
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
    ['a promise', { later: Promise.resolve() }, 'data.later is a promise that nobody has awaited'],
    [
      'a __proto__ key',
      { a: JSON.parse('{"__proto__":{"admin":1}}') },
      'data.a["__proto__"] is a key that would replace a prototype',
    ],
    [
      'an undefined one too',
      { a: { ['__proto__']: undefined, at: new Date(0) } },
      'data.a["__proto__"] is a key that would replace a prototype',
    ],
    ['an invalid date', { when: new Date(Number.NaN) }, 'data.when is an invalid Date'],
    ['a value under a symbol', { a: { [Symbol('s')]: 1 } }, 'data.a[Symbol(s)] is a value under a symbol'],
    ['a function in a map', { m: new Map([['k', () => 1]]) }, 'data.m.get(k) is a function'],
    ['a function as a key of a map', { m: new Map([[() => 1, 1]]) }, 'data.m.keys() is a function'],
    ['what is bad after what is good', { a: [new Date(0), {}, [1n], () => 1] }, 'data.a[3] is a function'],
    [
      'what is bad after what is empty or good',
      { a: [null, new Uint8Array(1), new Map(), new Set(), new Map([[1, 1]]), new Set([1]), () => 1] },
      'data.a[6] is a function',
    ],
    ['an instance, whatever it holds', { a: new Listener() }, 'data.a is an instance of Listener'],
    [
      'an instance of what has no constructor',
      { a: Object.create(Object.create(Object.create(null))) },
      'data.a is an instance of a class',
    ],
    ['an instance of a nameless class', { a: new (class {})() }, 'data.a is an instance of a class'],
    ['an instance with a bad part', { a: new Cart(), b: () => 1 }, 'data.a is an instance of Cart'],
    [
      'bytes under a symbol',
      { [Symbol('s')]: new Uint8Array(1) },
      'data[Symbol(s)] is a value under a symbol',
    ],
    ['a key with $ and digits', { $a_1: { '1a': () => 1 } }, 'data.$a_1["1a"] is a function'],
    ['an instance in a set', { s: new Set([new Cart()]) }, 'data.s.values() is an instance of Cart'],
    ['a key that is no name', { 'my key': { 'x-y': () => 1 } }, 'data["my key"]["x-y"] is a function'],
  ]
  it.each(refused)('refuses %s and names its path', (_what, value, message) => {
    expect(() => codec.encode(value as object)).toThrow(message)
  })

  it('refuses what is nested deeper than 100 levels', () => {
    expect(() => codec.encode({ deep })).toThrow(/nested deeper than 100 levels/)
    const wrappers = [
      (inner: unknown) => [inner],
      (n: unknown) => ({ n }),
      (n: unknown) => new Map([['n', n]]),
    ]
    for (const wrap of wrappers) {
      const nested = (levels: number) => {
        let value: unknown = wrap(1)
        for (let n = 1; n < levels; n++) value = wrap(value)
        return { value }
      }
      expect(codec.decode(codec.encode(nested(100)))).toEqual(nested(100))
      expect(() => codec.encode(nested(101))).toThrow(/^data\.value.* is nested deeper than 100 levels/)
    }
    expect(() => codec.encode({ deep })).toThrow(`data.deep${'[0]'.repeat(100)} is nested deeper`)
  })

  it('may be held in two places', () => {
    const shared = { a: 1 }
    expect(codec.encode({ one: shared, other: [shared] })).toBe('{"one":{"a":1},"other":[{"a":1}]}')
    const rich = { one: shared, other: [shared], at: new Date(0) }
    expect(codec.decode(codec.encode(rich))).toEqual(rich)
    expect(() => codec.encode({ ...rich, bad: () => 1 })).toThrow('data.bad is a function')
  })

  it('may be an object without a prototype, or of another realm', () => {
    const bare = Object.assign(Object.create(null), { a: 1 })
    const foreign = runInNewContext('({ list: [1], object: { a: 1 } })') as object
    expect(codec.encode({ bare, foreign })).toBe('{"bare":{"a":1},"foreign":{"list":[1],"object":{"a":1}}}')
  })

  it('may have undefined and holes in its lists, Maps and Sets', () => {
    const holes = [1, undefined, 2]
    const odd = { holes, map: new Map([[undefined, undefined]]), set: new Set([undefined]) }
    expect(codec.decode(codec.encode(odd))).toEqual(odd)
  })

  it('may have a thousand holes in a list, and is refused at once with more', () => {
    const withHoles = (count: number) => {
      const list: unknown[] = []
      list[count] = 'last'
      return { seats: { taken: list } }
    }
    expect(codec.decode(codec.encode(withHoles(1_000)))).toEqual(withHoles(1_000))
    const refusal = (places: number) =>
      `data.seats.taken is a list of ${places} places with more than 1000 holes`
    expect(() => codec.encode(withHoles(1_001))).toThrow(refusal(1_002))
    const began = performance.now()
    expect(() => codec.encode(withHoles(4_000_000_000))).toThrow(refusal(4_000_000_001))
    expect(performance.now() - began).toBeLessThan(500) // to go through it takes minutes
    const long = { seats: Array.from({ length: 5_000 }, (_, i) => i) }
    expect(codec.decode(codec.encode(long))).toEqual(long)
  })

  it('that is stored but no object is refused', () => {
    for (const text of ['["text"]', '[null]', '[7]', '-1']) {
      expect(() => codec.decode(text)).toThrow(DataError)
      expect(() => codec.decode(text)).toThrow('the stored data is not a plain object')
    }
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

  it('is measured in bytes, to the last one', () => {
    const fits = { text: 'x'.repeat(88) } // 99 bytes
    const text = codec.encode(fits)
    checkSize(text, fits, 99)
    expect(() => checkSize(text, fits, 98)).toThrow(/^data takes 99 bytes, over the limit of 98/)
    const umlauts = { text: 'ü'.repeat(44) }
    checkSize(codec.encode(umlauts), umlauts, 99)
    expect(() => checkSize(codec.encode(umlauts), umlauts, 98)).toThrow(/^data takes 99 bytes/)
    const wide = { text: '€'.repeat(40) } // 51 characters, 131 bytes
    expect(() => checkSize(codec.encode(wide), wide, 130)).toThrow(/^data takes 131 bytes/)
  })

  it('over the limit names what takes most of it, be it a Map, a Set or a bigint', () => {
    const long = 'x'.repeat(50)
    const blamed = (data: object) => {
      try {
        checkSize(codec.encode(data), data, 10)
      } catch (error) {
        return /data\.(\w*) alone takes about (\d+)\. Keep large things elsewhere/
          .exec((error as Error).message)
          ?.slice(1)
      }
    }
    expect(blamed({ a: 'xxx', m: new Map([[long, 1]]), z: 'xx' })).toEqual(['m', '58'])
    expect(blamed({ a: 'xxx', s: new Set([long]), z: 'xx' })).toEqual(['s', '54'])
    expect(blamed({ a: 'xxx', n: 10n ** 50n, z: 'xx' })).toEqual(['n', '53'])
    expect(blamed({ a: undefined, text: long })).toEqual(['text', '52'])
  })
})
