import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { collect, graft as graftOwn } from '../src/graft.ts'
import { compileRules, MergeRejectedError, type MergeRules, merge } from '../src/merge.ts'
import { equal } from '../src/value.ts'

type Data = Record<string, unknown>

/** All that the target holds counts as ours. */
function graft(target: object, source: object): void {
  graftOwn(target, source, collect(target))
}

function merged(base: Data, mine: Data, theirs: Data, rules: MergeRules = {}): Data {
  return merge(base, mine, theirs, compileRules(rules)).value
}

function overwritten(base: Data, mine: Data, theirs: Data, rules: MergeRules = {}): readonly string[] {
  return merge(base, mine, theirs, compileRules(rules)).overwritten
}

describe('without rules', () => {
  test('a key that only one side changed takes that side', () => {
    const result = merge(
      { a: 1, b: 1, c: 1, d: 1 },
      { a: 2, b: 1, d: 1 },
      { a: 1, b: 3, c: 1, e: 5 },
      compileRules({}),
    )
    expect(result).toEqual({ value: { a: 2, b: 3, e: 5 }, overwritten: [] })
    expect('c' in result.value).toBe(false)
    expect('d' in result.value).toBe(false)
  })

  test('objects merge recursively, and a missing base counts as empty', () => {
    expect(merged({ o: { a: { x: 1 } } }, { o: { a: { x: 1, y: 2 } } }, { o: { a: { x: 9 } } })).toEqual({
      o: { a: { x: 9, y: 2 } },
    })
    expect(merged({}, { cart: { tea: 1 } }, { cart: { rice: 2 } })).toEqual({ cart: { tea: 1, rice: 2 } })
    expect(merged({}, { m: new Map([['a', 1]]) }, { m: new Map([['b', 2]]) })).toEqual({
      m: new Map(Object.entries({ a: 1, b: 2 })),
    })
    expect(merged({}, { s: new Set([1]) }, { s: new Set([2]) })).toEqual({ s: new Set([1, 2]) })
    expect(merged({}, { l: [1] }, { l: [2] })).toEqual({ l: [2, 1] })
  })

  test('a base of another kind counts as a missing one', () => {
    expect(merged({ cart: null }, { cart: { tea: 1 } }, { cart: { rice: 2 } })).toEqual({
      cart: { tea: 1, rice: 2 },
    })
    expect(merged({ o: [1] }, { o: { 0: 1 } }, { o: { a: 1 } })).toEqual({ o: { 0: 1, a: 1 } })
    expect(merged({ log: 'none' }, { log: ['m'] }, { log: ['t'] })).toEqual({ log: ['t', 'm'] })
  })

  test('where both set the same leaf the later commit wins, and its path is told', () => {
    const result = merge(
      { o: { a: 1, b: 1 } },
      { o: { a: 2, b: 1 } },
      { o: { a: 3, b: 4 } },
      compileRules({}),
    )
    expect(result).toEqual({ value: { o: { a: 2, b: 4 } }, overwritten: ['o.a'] })
  })

  test('both setting the same is no overwriting', () => {
    expect(merge({ a: 1 }, { a: 2 }, { a: 2 }, compileRules({}))).toEqual({
      value: { a: 2 },
      overwritten: [],
    })
    expect(overwritten({}, { d: new Date(5) }, { d: new Date(5) })).toEqual([])
    expect(overwritten({ a: 1 }, {}, {})).toEqual([])
  })

  test('deleting an object deletes what it had, and leaves what the other side added', () => {
    const base = { cart: { tea: 1, rice: 1 } }
    const added = { cart: { tea: 1, rice: 1, milk: 1 } }
    expect(merged(base, {}, added)).toEqual({ cart: { milk: 1 } })
    expect(merged(base, added, {})).toEqual({ cart: { milk: 1 } })
    expect(merged({ m: new Map([[1, 1]]) }, {}, { m: new Map(Object.entries({ a: 2 })) })).toEqual({
      m: new Map([['a', 2]]),
    })
    expect(merged({ s: new Set([1]) }, { s: new Set([1, 2]) }, {})).toEqual({ s: new Set([2]) })
  })

  test('an object that loses everything to a deletion is absent, nested ones too', () => {
    expect(merged({ a: { b: { c: 1 }, d: 1 } }, {}, { a: { b: { c: 1 } } })).toEqual({})
    expect(merged({ a: { b: { c: 1 } } }, { a: {} }, {})).toEqual({})
    expect(merged({ a: { b: {} } }, {}, { a: { b: {}, c: 1 } })).toEqual({ a: { c: 1 } })
  })

  test('an object that both emptied entry by entry stays, empty', () => {
    expect(merged({ a: { x: 1, y: 1 } }, { a: { x: 1 } }, { a: { y: 1 } })).toEqual({ a: {} })
  })

  test('delete against change of a value: the later commit wins, and its path is told', () => {
    const base = { a: 1, o: { x: 1, y: 1 } }
    const deleted = {}
    const changed = { a: 2, o: { x: 2, y: 1 } }
    expect(merge(base, deleted, changed, compileRules({}))).toEqual({ value: {}, overwritten: ['a', 'o.x'] })
    expect(merge(base, changed, deleted, compileRules({}))).toEqual({
      value: { a: 2, o: { x: 2 } },
      overwritten: ['a', 'o.x'],
    })
  })

  test('where one side has an object and the other a leaf, each is one value', () => {
    const base = { a: { x: 1 } }
    expect(merge<Data>(base, { a: 5 }, { a: { x: 1, y: 2 } }, compileRules({}))).toEqual({
      value: { a: 5 },
      overwritten: ['a'],
    })
    expect(merge<Data>(base, { a: { x: 2 } }, { a: null }, compileRules({}))).toEqual({
      value: { a: { x: 2 } },
      overwritten: ['a'],
    })
    expect(merged(base, base, { a: [1] })).toEqual({ a: [1] })
    expect(merge({}, { a: {} }, { a: new Map() }, compileRules({}))).toEqual({
      value: { a: {} },
      overwritten: ['a'],
    })
  })

  test('Maps merge as objects do, their keys as SameValueZero or deeply equal', () => {
    const day = () => new Date(86_400_000)
    const base = {
      m: new Map<unknown, unknown>([
        [1, { n: 1 }],
        ['1', 'text'],
        [day(), { a: 1 }],
        [Number.NaN, 0],
      ]),
    }
    const mine = {
      m: new Map<unknown, unknown>([
        [1, { n: 1, k: 2 }],
        [day(), { a: 2 }],
        [Number.NaN, 0],
      ]),
    }
    const theirs = {
      m: new Map<unknown, unknown>([
        [1, { n: 3 }],
        ['1', 'text'],
        [day(), { a: 1, b: 1 }],
        [Number.NaN, 7],
        [0, 1],
      ]),
    }
    const result = merge(base, mine, theirs, compileRules({}))
    expect(result.value).toEqual({
      m: new Map<unknown, unknown>([
        [1, { n: 3, k: 2 }],
        [day(), { a: 2, b: 1 }],
        [Number.NaN, 7],
        [0, 1],
      ]),
    })
    expect(result.value.m.size).toBe(4)
    expect(
      overwritten({ m: new Map([[1n, 1]]) }, { m: new Map([[1n, 2]]) }, { m: new Map([[1n, 3]]) }),
    ).toEqual(['m.1n'])
  })

  test('Sets merge as members added and removed, members compared deeply', () => {
    const base = { s: new Set<unknown>(['a', 'b', { id: 1 }]) }
    const mine = { s: new Set<unknown>(['b', { id: 1 }, { id: 2 }]) }
    const theirs = { s: new Set<unknown>(['a', 'b', { id: 2 }, 'c']) }
    const { value } = merge(base, mine, theirs, compileRules({}))
    expect(value.s).toEqual(new Set(['b', { id: 2 }, 'c']))
    expect(value.s.size).toBe(3)
  })

  test('members or keys that look the same count as one', () => {
    const twice = { s: new Set([{ id: 1 }, { id: 1 }]) }
    expect(equal(twice, { s: new Set([{ id: 1 }]) })).toBe(true)
    const target = { s: new Set([{ id: 1 }, { id: 1 }, { id: 2 }]) }
    graft(target, { s: new Set([{ id: 2 }]) })
    expect(target.s).toEqual(new Set([{ id: 2 }]))
  })

  test('arrays that both only appended to keep both tails, theirs first, equal items too', () => {
    expect(merge({ l: [0] }, { l: [0, 'm', 'x'] }, { l: [0, 't', 'x'] }, compileRules({}))).toEqual({
      value: { l: [0, 't', 'x', 'm', 'x'] },
      overwritten: [],
    })
    expect(merged({ l: [{ n: 0 }] }, { l: [{ n: 0 }, 1] }, { l: [{ n: 0 }, 1] })).toEqual({
      l: [{ n: 0 }, 1, 1],
    })
  })

  test('a hole in an array is neither nothing nor an item', () => {
    const hole = new Array(1)
    const alone = merge<Data>({ list: [] }, { list: hole }, { list: [], other: 1 }, compileRules({}))
    expect(alone.value).toStrictEqual({ list: hole, other: 1 })
    const theirs = hole.concat('theirs')
    const both = merge<Data>({ list: [] }, { list: ['mine'] }, { list: theirs }, compileRules({}))
    expect(both.value).toStrictEqual({ list: theirs.concat('mine') })
  })

  test('arrays that only one side changed take that side; else the later commit wins', () => {
    expect(merged({ l: [1, 2, 3] }, { l: [1, 2, 3] }, { l: [3] })).toEqual({ l: [3] })
    expect(merged({ l: [1, 2, 3] }, { l: [] }, { l: [1, 2, 3] })).toEqual({ l: [] })
    const changed = merge({ l: [1, 2] }, { l: [2] }, { l: [1, 2, 3] }, compileRules({}))
    expect(changed).toEqual({ value: { l: [2] }, overwritten: ['l'] })
    expect(overwritten({ l: [1, 2] }, { l: [2] }, { l: [2] })).toEqual([])
    expect(merge({ l: [1] }, {}, { l: [1, 2] }, compileRules({}))).toEqual({ value: {}, overwritten: ['l'] })
  })

  test('other values are leaves, told apart exactly', () => {
    expect(
      merged({ b: new Uint8Array([1]) }, { b: new Uint8Array([1]) }, { b: new Uint8Array([2]) }),
    ).toEqual({
      b: new Uint8Array([2]),
    })
    expect(merged({ n: 0 }, { n: 0 }, { n: -0 }).n).toBe(-0)
    expect(equal({ l: [0] }, { l: [-0] })).toBe(false)
    expect(equal({ l: [] }, { l: [-0] })).toBe(false)
    expect(equal({ n: 1 }, { n: '1' })).toBe(false)
    expect(equal({ n: 1 }, { n: 1n })).toBe(false)
    expect(overwritten({ n: 0 }, { n: Number.NaN }, { n: Number.NaN })).toEqual([])
    expect(overwritten({ n: 0 }, { n: 1 }, { n: 1n })).toEqual(['n'])
    expect(merged({ d: new Date(1) }, { d: new Date(1) }, { d: new Date(2) })).toEqual({ d: new Date(2) })
  })

  test('what came of it can be changed as any object', () => {
    const value = merged({ a: 1, b: 1 }, { a: 2, b: 1 }, { a: 1, b: 3 })
    value.a = 4
    delete value.b
    expect(value).toEqual({ a: 4 })
  })

  test('undefined as a value means that the key is absent', () => {
    const value = merged({ a: 1, b: undefined }, { a: undefined, b: undefined }, { a: 1, c: undefined })
    expect(Object.keys(value)).toEqual([])
    expect(equal({ o: { a: undefined } }, { o: {} })).toBe(true)
    expect(merged({}, { o: { a: undefined } }, {})).toStrictEqual({ o: {} })
    const target = { o: { a: undefined, b: 1 } }
    graft(target, { o: { b: 1 } })
    expect(Object.keys(target.o)).toEqual(['b'])
  })
})

describe('rules', () => {
  test("'sum' counts both changes, also where both sides hold the same value", () => {
    expect(merge({ n: 5 }, { n: 6 }, { n: 6 }, compileRules({ n: 'sum' }))).toEqual({
      value: { n: 7 },
      overwritten: [],
    })
    expect(merged({}, { n: 1 }, { n: 1 }, { n: 'sum' })).toEqual({ n: 2 })
    expect(merged({ n: 5n }, { n: 4n }, { n: 7n }, { n: 'sum' })).toEqual({ n: 6n })
    expect(merged({ n: null }, { n: 1 }, { n: 2 }, { n: 'sum' })).toEqual({ n: 3 })
    expect(merged({ n: 'none' }, { n: 1 }, { n: 2 }, { n: 'sum' })).toEqual({ n: 3 })
  })

  test("'sum' takes what only one side changed as it is", () => {
    expect(merged({ n: 0.3 }, { n: 0.3 }, { n: 0.1 }, { n: 'sum' })).toEqual({ n: 0.1 })
    expect(merged({ n: Infinity }, { n: 3 }, { n: Infinity }, { n: 'sum' })).toEqual({ n: 3 })
  })

  test("'sum' counts a deleted one as 0: gone if left alone or deleted by both, else what was added stays", () => {
    expect(merged({ n: 5 }, {}, { n: 5 }, { n: 'sum' })).toEqual({})
    expect(merged({ n: 5 }, {}, {}, { n: 'sum' })).toEqual({})
    expect(merged({ n: 5 }, {}, { n: 7 }, { n: 'sum' })).toEqual({ n: 2 })
    expect(merged({ n: 5n }, { n: 7n }, {}, { n: 'sum' })).toEqual({ n: 2n })
    expect(merged({ n: 5n }, {}, { n: 7n }, { n: 'sum' })).toEqual({ n: 2n })
    expect(merged({ cart: { tea: 5, rice: 1 } }, {}, { cart: { tea: 7, rice: 1 } }, { cart: 'sum' })).toEqual(
      {
        cart: { tea: 2 },
      },
    )
  })

  test("'sum' leaves what is no number to the general rule", () => {
    const rules: MergeRules = { '*': 'sum' }
    expect(merge({ a: 1 }, { a: 'm' }, { a: 3 }, compileRules(rules))).toEqual({
      value: { a: 'm' },
      overwritten: ['a'],
    })
    expect(overwritten({ a: 1 }, { a: 2 }, { a: 2n }, rules)).toEqual(['a'])
    expect(overwritten({ a: 1 }, { a: 2n }, { a: 2 }, rules)).toEqual(['a'])
    expect(merged({ a: 1 }, { a: null }, { a: 3 }, rules)).toEqual({ a: null })
    expect(merged({ l: [1] }, { l: [1, 2] }, { l: [1, 3] }, rules)).toEqual({ l: [1, 3, 2] })
    expect(merged({}, { s: new Set([1, 2]) }, { s: new Set([1]) }, rules)).toEqual({ s: new Set([1, 2]) })
  })

  test('a rule holds for the values below its path, in objects and in Maps', () => {
    const map = (tea: number) => ({ cart: new Map([['tea', tea]]), other: tea })
    expect(
      merged(
        { cart: { a: { b: 1 } } },
        { cart: { a: { b: 2 } } },
        { cart: { a: { b: 2 } } },
        { cart: 'sum' },
      ),
    ).toEqual({ cart: { a: { b: 3 } } })
    expect(merged(map(1), map(2), map(2), { 'cart.tea': 'sum' })).toEqual({ ...map(3), other: 2 })
  })

  test("the most specific path wins, and '*' covers what no other rule covers", () => {
    const at = (n: number) => ({ cart: { tea: n, rice: n, box: { n } }, top: n, own: { n } })
    const rules: MergeRules = { cart: 'sum', 'cart.rice': 'max', '*': 'atomic', 'own.n': 'sum' }
    const result = merge(at(1), at(2), { ...at(3), top: 3, extra: 1 } as Data, compileRules(rules))
    expect(result.value).toEqual({
      cart: { tea: 4, rice: 3, box: { n: 4 } },
      top: 2,
      own: { n: 4 },
      extra: 1,
    })
    expect(result.overwritten).toEqual(['top'])
    expect(merged(at(1), at(2), at(2), { '*': 'sum' })).toEqual(at(3))
  })

  test("'union' is theirs, without what mine removed, then what mine added, each value once", () => {
    const base = { l: ['a', 'b', 'c', { id: 1 }] }
    const mine = { l: ['m', 'b', 'c', { id: 1 }, 'x', 'm'] }
    const theirs = { l: ['t', { id: 1 }, 'c', 'a', 'x', 't'] }
    expect(merge<Data>(base, mine, theirs, compileRules({ l: 'union' }))).toEqual({
      value: { l: ['t', { id: 1 }, 'c', 'x', 'm'] },
      overwritten: [],
    })
    expect(merged({}, { l: ['user'] }, { l: ['user'] }, { l: 'union' })).toEqual({ l: ['user'] })
    expect(merged({ l: [1] }, {}, { l: [1, 2] }, { l: 'union' })).toEqual({ l: [2] })
    expect(merged({ l: [1] }, { l: [1, 2] }, {}, { l: 'union' })).toEqual({ l: [2] })
  })

  test("'union' merges Sets by member, and leaves what is no list to the general rule", () => {
    expect(merged({ s: new Set([1]) }, { s: new Set([2]) }, { s: new Set([1, 3]) }, { s: 'union' })).toEqual({
      s: new Set([2, 3]),
    })
    expect(overwritten({ s: 'a' }, { s: 'b' }, { s: ['c'] }, { s: 'union' })).toEqual(['s'])
  })

  test("'max' is the larger of two numbers, bigints, Dates or strings", () => {
    const max = (mine: unknown, theirs: unknown) =>
      merged({ v: 0.5 }, { v: mine }, { v: theirs }, { v: 'max' }).v
    expect([max(1, 2), max(2, 1)]).toEqual([2, 2])
    expect([max(1n, 2n), max(2n, 1n)]).toEqual([2n, 2n])
    expect([max('a', 'b'), max('b', 'a')]).toEqual(['b', 'b'])
    expect([max(new Date(1), new Date(2)), max(new Date(2), new Date(1))]).toEqual([new Date(2), new Date(2)])
    expect([max(undefined, 2), max(2, undefined)]).toEqual([2, 2])
    expect([max(Number.NaN, 2), max(2, Number.NaN)]).toEqual([2, 2])
  })

  test("'max' leaves what has no common order to the general rule", () => {
    for (const [mine, theirs] of [
      [1, '2'],
      [1, 2n],
      [1, new Date(2)],
      [true, false],
      [undefined, { a: 1 }],
    ]) {
      const result = merge<Data>({ v: 0.5 }, { v: mine }, { v: theirs }, compileRules({ v: 'max' }))
      expect(result.value.v).toEqual(mine)
      expect(result.overwritten).toEqual(['v'])
    }
    expect(merged({ v: 0.5 }, {}, {}, { v: 'max' })).toEqual({})
  })

  test("'atomic' is never mixed: both changed it, so the later commit wins", () => {
    const rules = compileRules({ o: 'atomic', l: 'atomic' })
    const base = { o: { a: 1, b: 1 }, l: [1] }
    const mine = { o: { a: 2, b: 1 }, l: [1, 2] }
    const theirs = { o: { a: 1, b: 2 }, l: [1, 3] }
    expect(merge(base, mine, theirs, rules)).toEqual({ value: mine, overwritten: ['o', 'l'] })
    expect(merge(base, mine, base, rules)).toEqual({ value: mine, overwritten: [] })
    expect(merge(base, base, theirs, rules)).toEqual({ value: theirs, overwritten: [] })
    expect(merge(base, mine, mine, rules)).toEqual({ value: mine, overwritten: [] })
    expect(merge<Data>(base, {}, theirs, rules)).toEqual({ value: {}, overwritten: ['o', 'l'] })
  })

  test("'reject' refuses that both changed the value, be it to the same, and names the path", () => {
    const rules = compileRules({ 'order.coupon': 'reject' })
    const at = (coupon: unknown) => ({ order: { coupon } })
    const attempt = (mine: unknown, theirs: unknown) => () =>
      merge(at({ code: 1 }), at(mine), at(theirs), rules)
    for (const [mine, theirs] of [
      [{ code: 2 }, { code: 1, used: true }],
      [2, 2],
      [undefined, undefined],
    ]) {
      expect(attempt(mine, theirs)).toThrow(MergeRejectedError)
      expect(attempt(mine, theirs)).toThrow(
        expect.objectContaining({
          name: 'MergeRejectedError',
          path: 'order.coupon',
          message: expect.stringMatching(/^'order\.coupon' was changed by another request meanwhile/),
        }),
      )
    }
    expect(attempt({ code: 2 }, { code: 1 })().value).toEqual(at({ code: 2 }))
    expect(attempt({ code: 1 }, undefined)().value).toEqual({ order: {} })
  })

  test('a function decides what both changed, and only that', () => {
    const rule = vi.fn((base: unknown, mine: unknown, theirs: unknown) => [base, mine, theirs])
    const rules = compileRules({ 'o.v': rule })
    const at = (v: unknown) => ({ o: { v } })
    expect(merge(at(1), at(1), at(2), rules).value).toEqual(at(2))
    expect(merge(at(1), at(2), at(1), rules).value).toEqual(at(2))
    expect(rule).not.toHaveBeenCalled()
    expect(merge(at(1), at(2), at(2), rules)).toEqual({ value: at([1, 2, 2]), overwritten: [] })
    expect(merge(at(undefined), at({ a: 1 }), at({ b: 1 }), rules).value).toEqual(
      at([undefined, { a: 1 }, { b: 1 }]),
    )
    expect(merge(at(1), at(undefined), at(2), compileRules({ 'o.v': () => undefined })).value).toEqual({
      o: {},
    })
  })

  test('a function cannot spoil what it was given', () => {
    const spoil = (...sides: unknown[]) => {
      for (const side of sides) (side as number[]).push(0)
      return 'spoilt'
    }
    const [base, mine, theirs] = [{ l: [1] }, { l: [2] }, { l: [3] }]
    expect(merged(base, mine, theirs, { l: spoil })).toEqual({ l: 'spoilt' })
    expect([base, mine, theirs]).toEqual([{ l: [1] }, { l: [2] }, { l: [3] }])
  })

  test("'*' with a rule for whole values takes each top-level key as one, and goes around deeper rules", () => {
    const at = (a: number, b: number) => ({ free: { a, b }, cart: { tea: a, rice: { a, b } } })
    const result = merge(at(1, 1), at(2, 1), at(2, 3), compileRules({ '*': 'atomic', 'cart.tea': 'sum' }))
    expect(result).toEqual({
      value: { free: { a: 2, b: 1 }, cart: { tea: 3, rice: { a: 2, b: 1 } } },
      overwritten: ['free', 'cart.rice'],
    })
    const whole = compileRules({ '*': () => 'decided', 'cart.tea': 'sum' })
    expect(merge<Data>({ cart: 1 }, { cart: 2 }, { cart: 3 }, whole).value).toEqual({ cart: 'decided' })
  })

  test('a key that has a dot in it is no path', () => {
    const at = (n: number) => ({ 'a.b': n, a: { b: n } })
    expect(merged(at(1), at(2), at(2), { 'a.b': 'sum' })).toEqual({ 'a.b': 2, a: { b: 3 } })
  })

  test('unknown rules, malformed and contradictory paths are refused by name', () => {
    expect(() => compileRules({ visits: 'summ' as 'sum' })).toThrow(
      "merge: 'summ' for 'visits' is no rule: use sum, union, max, atomic, reject or a function",
    )
    expect(() => compileRules({ visits: undefined as unknown as 'sum' })).toThrow(/'undefined' for 'visits'/)
    expect(() => compileRules({ visits: 'toString' as 'sum' })).toThrow(/'toString' for 'visits'/)
    for (const path of ['', '.', '.a', 'a.', 'a..b', '*.a', 'a.*']) {
      expect(() => compileRules({ [path]: 'sum' })).toThrow(`'${path}' is no path`)
    }
    for (const rule of ['atomic', 'reject', () => 1] as const) {
      expect(() => compileRules({ cart: rule, 'cart.tea': 'sum' })).toThrow(/'cart.tea' is inside 'cart'/)
      expect(() => compileRules({ 'cart.a.tea': 'sum', cart: rule })).toThrow(/'cart.a.tea' is inside 'cart'/)
    }
    expect(() => compileRules({ cart: 'atomic', cartoon: 'sum', '*': 'reject' })).not.toThrow()
    expect(() => compileRules({ cart: 'sum', 'cart.tea': 'atomic' })).not.toThrow()
  })
})

describe('keys that mean something to JavaScript', () => {
  const parse = (text: string): Data => JSON.parse(text)

  test('__proto__ stays a key and never sets a prototype', () => {
    const [base, mine, theirs] = [
      {},
      parse('{"a":{"__proto__":{"x":1}}}'),
      parse('{"a":{"__proto__":{"y":1}}}'),
    ]
    const value = merged(base, mine, theirs)
    const target: Data = { a: {} }
    graft(target, value)
    for (const result of [value, target]) {
      expect(Object.getPrototypeOf(result.a)).toBe(Object.prototype)
      expect((result.a as Data).x).toBeUndefined()
      expect(JSON.stringify(result)).toBe('{"a":{"__proto__":{"x":1,"y":1}}}')
    }
    expect(({} as Data).x).toBeUndefined()
    const rules = compileRules(parse('{"__proto__":"sum","a.__proto__":"sum"}') as MergeRules)
    expect(merge(base, mine, theirs, rules).value).toEqual(value)
    expect(({} as Data).rule).toBeUndefined()
  })

  test('constructor, toString and the like are ordinary keys', () => {
    const at = (n?: number) => ({ constructor: n, toString: n, hasOwnProperty: n }) as unknown as Data
    expect(merge(at(), at(1), at(2), compileRules({}))).toEqual({
      value: at(1),
      overwritten: ['constructor', 'toString', 'hasOwnProperty'],
    })
    expect(merged(at(1), at(2), at(2), { constructor: 'sum' } as unknown as MergeRules)).toEqual({
      ...at(2),
      constructor: 3,
    })
    const target = at(1)
    graft(target, {})
    expect(Object.keys(target)).toEqual([])
  })

  test('an object without a prototype stays without one', () => {
    const bare = (entries: Data) => Object.assign(Object.create(null), entries)
    const value = merged({}, { o: bare({ a: 1 }) }, { o: bare({ b: 1 }) })
    expect(Object.getPrototypeOf(value.o)).toBe(null)
    expect({ ...(value.o as Data) }).toEqual({ a: 1, b: 1 })
  })
})

// Three versions at once: most places unchanged or changed by one side, so that every case is common.
type Three = [base: unknown, mine: unknown, theirs: unknown]

const keys = fc.constantFrom('a', 'b', 'c', 'constructor', '__proto__', '1')
const leaf = fc.oneof(
  fc.integer({ min: 0, max: 3 }),
  fc.constantFrom<unknown>(-0, Number.NaN, Infinity, 'a', '1', '', true, null, 1n, 2n),
  fc.constantFrom(0, 1).map((time) => new Date(time)),
  fc.constantFrom(0, 1).map((byte) => new Uint8Array([byte])),
)
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.dictionary(keys, tie('tree'), { maxKeys: 3 }),
    fc.array(tie('tree'), { maxLength: 3 }),
    fc
      .uniqueArray(fc.tuple(fc.oneof(keys, leaf, tie('tree')), tie('tree')), {
        maxLength: 3,
        selector: ([key]) => key,
        comparator: equal,
      })
      .map((entries) => new Map(entries)),
    fc.uniqueArray(tie('tree'), { maxLength: 3, comparator: equal }).map((members) => new Set(members)),
  ),
}))
const patterns = fc.constantFrom<(x: unknown, y: unknown, z: unknown) => Three>(
  (x) => [x, x, x],
  (x, y) => [x, y, x],
  (x, y) => [x, x, y],
  (x, y) => [x, y, y],
  (x, y, z) => [x, y, z],
)
const fromPattern = fc
  .tuple(
    patterns,
    fc.option(tree, { nil: undefined }),
    fc.option(tree, { nil: undefined }),
    fc.option(tree, { nil: undefined }),
  )
  .map(([pattern, x, y, z]): Three => pattern(x, y, z))

function unzip(entries: [unknown, Three][], make: (entries: [unknown, unknown][]) => unknown): Three {
  const side = (n: 0 | 1 | 2) =>
    make(
      entries
        .map(([key, three]): [unknown, unknown] => [key, three[n]])
        .filter(([, value]) => value !== undefined),
    )
  return [side(0), side(1), side(2)]
}
const toObject = (entries: [unknown, unknown][]) => Object.fromEntries(entries as [string, unknown][])
const { three } = fc.letrec<{ three: Three }>((tie) => ({
  three: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fromPattern,
    fc.dictionary(keys, tie('three'), { maxKeys: 4 }).map((o) => unzip(Object.entries(o), toObject)),
    fc
      .uniqueArray(fc.tuple(leaf, tie('three')), {
        maxLength: 3,
        selector: ([key]) => key,
        comparator: equal,
      })
      .map((entries) => unzip(entries, (side) => new Map(side))),
    fc
      .tuple(
        fc.array(tree, { maxLength: 2 }),
        fc.array(tree, { maxLength: 2 }),
        fc.array(tree, { maxLength: 2 }),
      )
      .map(([b, m, t]): Three => [b, [...b, ...m], [...b, ...t]]),
  ),
}))
/** Three versions of session data that share no object. */
const versions = fc
  .dictionary(keys, three, { maxKeys: 4 })
  .map((o) => unzip(Object.entries(o), toObject).map((side) => structuredClone(side)) as [Data, Data, Data])

const rulesFor = fc.dictionary(
  fc.constantFrom('a', 'b', 'b.a', 'c.b', 'c.b.a', '*'),
  fc.constantFrom('sum', 'union', 'max'),
) as fc.Arbitrary<MergeRules>
const allRules = fc.oneof(
  rulesFor,
  fc.constantFrom<MergeRules>(
    { '*': 'atomic' },
    { '*': 'atomic', 'a.b': 'sum' },
    { '*': (_b, m, t) => [m, t] },
  ),
)

function objectsIn(value: unknown, found = new Set<object>()): Set<object> {
  if (typeof value !== 'object' || value === null) return found
  found.add(value)
  const parts =
    value instanceof Map ? [...value].flat() : value instanceof Set ? [...value] : Object.values(value)
  for (const part of parts) objectsIn(part, found)
  return found
}

function deepFreeze(value: unknown): void {
  for (const object of objectsIn(value)) if (!ArrayBuffer.isView(object)) Object.freeze(object)
}

function leavesIn(value: unknown): unknown[] {
  if (value instanceof Map) return [...value].flat().flatMap(leavesIn)
  if (value instanceof Set || Array.isArray(value)) return [...value].flatMap(leavesIn)
  if (typeof value !== 'object' || value === null || value instanceof Date || ArrayBuffer.isView(value))
    return [value]
  return Object.values(value).flatMap(leavesIn)
}

const isPlain = (value: unknown): value is Data => Object.prototype.toString.call(value) === '[object Object]'
const own = (object: Data, key: string) => (Object.hasOwn(object, key) ? object[key] : undefined)

describe('for any data', () => {
  const check = <T>(property: fc.IProperty<T>) => fc.assert(property, { numRuns: 500 })

  test('what only one side changed is that side, whatever the rules', () => {
    check(
      fc.property(versions, allRules, ([base, other], rules) => {
        const compiled = compileRules(rules)
        const forth = merge(base, base, other, compiled)
        const back = merge(base, other, base, compiled)
        expect(equal(forth.value, other)).toBe(true)
        expect(equal(back.value, other)).toBe(true)
        expect([forth.overwritten, back.overwritten]).toEqual([[], []])
      }),
    )
  })

  test('no argument is changed, and the result shares nothing with mine', () => {
    check(
      fc.property(versions, allRules, (sides, rules) => {
        const before = structuredClone(sides)
        deepFreeze(sides)
        const [base, mine, theirs] = sides
        const { value } = merge(base, mine, theirs, compileRules(rules))
        expect(sides).toEqual(before)
        const live = objectsIn(mine)
        expect([...objectsIn(value)].filter((object) => live.has(object))).toEqual([])
      }),
    )
  })

  test('without rules nothing is invented: every leaf comes from mine or theirs', () => {
    check(
      fc.property(versions, ([base, mine, theirs]) => {
        const known = [...leavesIn(mine), ...leavesIn(theirs)]
        for (const found of leavesIn(merged(base, mine, theirs))) {
          expect(known.some((one) => equal(one, found))).toBe(true)
        }
      }),
    )
  })

  test('nothing deleted by one side and left alone by the other is there, and nothing added by one side is lost', () => {
    const verify = (base: Data, mine: Data, theirs: Data, value: Data) => {
      for (const key of new Set([base, mine, theirs].flatMap(Object.keys))) {
        const [b, m, t, v] = [own(base, key), own(mine, key), own(theirs, key), own(value, key)]
        if (equal(t, b)) expect(equal(v, m)).toBe(true)
        else if (equal(m, b)) expect(equal(v, t)).toBe(true)
        else if (isPlain(m) && isPlain(t)) verify(isPlain(b) ? b : {}, m, t, v as Data)
      }
    }
    check(
      fc.property(versions, rulesFor, ([base, mine, theirs], rules) =>
        verify(base, mine, theirs, merged(base, mine, theirs, rules)),
      ),
    )
  })

  test('the result is what a merge of every single path gives', () => {
    const paths = ['a', 'b.a', 'b.b', 'c.a.a', 'c.a.b', 'c.b'] as const
    type Flat = { [path in (typeof paths)[number]]?: number | undefined }
    const grow = (flat: Flat): Data => {
      const root: Data = {}
      for (const path of paths) {
        if (flat[path] === undefined) continue
        const names = path.split('.')
        let at = root
        for (const name of names.slice(0, -1)) {
          at[name] ??= {}
          at = at[name] as Data
        }
        at[names.at(-1)!] = flat[path]
      }
      return root
    }
    const fell = (tree: Data, prefix = ''): [string, unknown][] =>
      Object.entries(tree)
        .flatMap(([key, value]) =>
          isPlain(value)
            ? fell(value, `${prefix}${key}.`)
            : [[`${prefix}${key}`, value] as [string, unknown]],
        )
        .sort()
    const value = fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined })
    const flat = fc.record(Object.fromEntries(paths.map((path) => [path, value]))) as fc.Arbitrary<Flat>
    check(
      fc.property(flat, flat, flat, (base, mine, theirs) => {
        const expected: Flat = {}
        const replaced: string[] = []
        for (const path of paths) {
          const [b, m, t] = [base[path], mine[path], theirs[path]]
          expected[path] = m === b ? t : m
          if (m !== b && t !== b && m !== t) replaced.push(path)
        }
        const result = merge(grow(base), grow(mine), grow(theirs), compileRules({}))
        expect(fell(result.value)).toEqual(
          Object.entries(expected)
            .filter(([, leaf]) => leaf !== undefined)
            .sort(),
        )
        expect([...result.overwritten].sort()).toEqual(replaced)
      }),
    )
  })

  test('where no side can win, the order of the commits does not matter', () => {
    const numbers = fc.dictionary(keys, fc.integer({ min: -9, max: 9 }))
    const bothWays = (
      sides: [Data, Data, Data],
      rules: MergeRules,
      view = (value: Data): unknown => value,
    ) => {
      const [base, mine, theirs] = sides
      const [forth, back] = [
        merge(base, mine, theirs, compileRules(rules)),
        merge(base, theirs, mine, compileRules(rules)),
      ]
      expect(equal(view(forth.value), view(back.value))).toBe(true)
      expect([forth.overwritten, back.overwritten]).toEqual([[], []])
    }
    const nested = (arbitrary: fc.Arbitrary<unknown>) =>
      fc.tuple(...[0, 1, 2].map(() => fc.record({ v: arbitrary }, { requiredKeys: [] }))) as fc.Arbitrary<
        [Data, Data, Data]
      >
    const items = fc.array(tree, { maxLength: 4 })
    check(fc.property(nested(numbers), (sides) => bothWays(sides, { '*': 'sum' })))
    check(fc.property(nested(numbers), (sides) => bothWays(sides, { v: 'max' })))
    check(fc.property(nested(items.map((list) => new Set(list))), (sides) => bothWays(sides, {})))
    check(
      fc.property(nested(items), (sides) =>
        bothWays(sides, { v: 'union' }, ({ v }) => new Set(v as unknown[] | undefined)),
      ),
    )
    const disjoint = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.tuple(tree, fc.boolean()))
    check(
      fc.property(fc.dictionary(keys, tree), disjoint, fc.boolean(), (base, added, inMap) => {
        const part = (isMine: boolean) =>
          Object.entries(added).flatMap(([key, [value, mine]]) =>
            mine === isMine ? [[`new ${key}`, value] as const] : [],
          )
        const wrap = (entries: (readonly [string, unknown])[]) => ({
          v: inMap ? new Map(entries) : Object.fromEntries(entries),
        })
        const start = Object.entries(base)
        bothWays([wrap(start), wrap([...start, ...part(true)]), wrap([...start, ...part(false)])], {})
        const all = merged(wrap(start), wrap([...start, ...part(true)]), wrap([...start, ...part(false)]))
        expect(equal(all, wrap([...start, ...part(true), ...part(false)]))).toBe(true)
      }),
    )
  })

  test('requests that loaded any earlier commit count all they counted, and lose nothing they appended', () => {
    const request = fc.record({
      loaded: fc.nat(),
      by: fc.integer({ min: -3, max: 9 }),
      items: fc.array(fc.nat(1)),
    })
    check(
      fc.property(fc.array(request, { maxLength: 20 }), (requests) => {
        const rules = compileRules({ visits: 'sum' })
        const commits: { visits?: number; log?: unknown[] }[] = [{}]
        const appended: unknown[] = []
        for (const [id, { loaded, by, items }] of requests.entries()) {
          const base = commits[loaded % commits.length]!
          const mine = structuredClone(base)
          const tail = items.map((item) => ({ id, item }))
          mine.visits = (mine.visits ?? 0) + by
          mine.log = [...(mine.log ?? []), ...tail]
          appended.push(...tail)
          const result = merge(base, mine, commits.at(-1)!, rules)
          expect(result.overwritten).toEqual([])
          commits.push(result.value)
        }
        const total = requests.reduce((sum, { by }) => sum + by, 0)
        expect(commits.at(-1)!.visits ?? 0).toBe(total)
        expect(commits.at(-1)!.log ?? []).toEqual(appended)
      }),
    )
  })

  test('equal agrees with the test library, but for the order of keys and members', () => {
    check(
      fc.property(versions, ([base, mine, theirs]) => {
        expect(equal(base, structuredClone(base))).toBe(true)
        for (const [a, b] of [
          [base, mine],
          [mine, theirs],
        ] as const) {
          if (equal(a, b)) expect(a).toEqual(b)
          else expect(a).not.toEqual(b)
        }
      }),
    )
  })
})

describe('graft', () => {
  test('what others have deleted from a list is gone, and leaves the hole that they left', () => {
    const target = { seats: ['a', 'b', 'c'] }
    const { seats } = target
    const wanted = new Array<string>(1).concat('b', 'c')
    graft(target, { seats: wanted })
    expect(target.seats).toBe(seats)
    expect(seats).toStrictEqual(wanted)
  })

  test('objects, arrays, Maps and Sets that still are of the same kind keep their identity', () => {
    const target = { o: { in: { a: 1 } }, l: [{ a: 1 }], m: new Map([['k', { a: 1 }]]), s: new Set([1]) }
    const { o, l, m, s } = target
    const [inner, item, held] = [o.in, l[0], m.get('k')]
    graft(target, {
      o: { in: { a: 2 } },
      l: [{ a: 2 }, { a: 3 }],
      m: new Map([['k', { a: 2 }]]),
      s: new Set([2]),
    })
    expect(target).toEqual({
      o: { in: { a: 2 } },
      l: [{ a: 2 }, { a: 3 }],
      m: new Map([['k', { a: 2 }]]),
      s: new Set([2]),
    })
    expect([target.o, target.l, target.m, target.s].map((part, n) => part === [o, l, m, s][n])).not.toContain(
      false,
    )
    expect([o.in === inner, l[0] === item, m.get('k') === held]).toEqual([true, true, true])
  })

  test('what changed its kind is replaced', () => {
    const target: Data = { a: {}, b: [], c: new Map(), d: new Date(1), e: 1, f: new Set() }
    const source = { a: [1], b: { x: 1 }, c: new Set([1]), d: new Date(2), e: { y: 1 }, f: null, g: 1 }
    graft(target, source)
    expect(target).toEqual(source)
  })

  test('an item of a list keeps its identity where others put theirs before it or removed others', () => {
    const [a, b] = [{ id: 'a' }, { id: 'b' }]
    const target = { log: [a, b] }
    graft(target, { log: [{ id: 'theirs' }, { id: 'a' }, { id: 'b' }] })
    expect(target.log).toEqual([{ id: 'theirs' }, { id: 'a' }, { id: 'b' }])
    expect([target.log[1] === a, target.log[2] === b]).toEqual([true, true])
    graft(target, { log: [{ id: 'b' }] })
    expect(target.log).toEqual([{ id: 'b' }])
    expect(target.log[0]).toBe(b)
    graft(target, { log: [] })
    graft(target, { log: [{ id: 'new' }] })
    expect([a, b]).toEqual([{ id: 'a' }, { id: 'b' }])
  })

  test('an item that was removed does not become another one', () => {
    const [a, b] = [{ id: 'a' }, { id: 'b' }]
    const target = { log: [a, b] }
    graft(target, { log: [{ id: 'b', n: 1 }] })
    expect([target.log, a, b]).toEqual([[{ id: 'b', n: 1 }], { id: 'a' }, { id: 'b' }])
  })

  test('an item that took the place of a removed one keeps its identity, whatever came after it', () => {
    const [a, b] = [{ id: 'a' }, { id: 'b' }]
    const target = { log: [a, b] }
    graft(target, { log: [{ id: 'b' }, { id: 'c' }] })
    expect([target.log, a]).toEqual([[{ id: 'b' }, { id: 'c' }], { id: 'a' }])
    expect(target.log[0]).toBe(b)
  })

  test('what came from others is ours from then on, and keeps its identity', () => {
    const target: Data = {}
    const own = collect(target)
    graftOwn(target, { cart: { tea: 1 } }, own)
    const { cart } = target
    graftOwn(target, { cart: { tea: 2 } }, own)
    expect(target.cart).toBe(cart)
    expect(cart).toEqual({ tea: 2 })
  })

  test('what is held in many places is looked at once', () => {
    let data: object = {}
    for (let n = 0; n < 60; n++) data = { a: data, b: data }
    expect(collect(data).size).toBe(61)
  })

  test('of two items that look the same the unchanged one stays where it is', () => {
    const [a, b] = [{ n: 1 }, { n: 1 }] as { n: number }[]
    const target = { l: [a, b] }
    graft(target, { l: [{ n: 2 }, { n: 1 }] })
    expect(target.l).toEqual([{ n: 2 }, { n: 1 }])
    expect([target.l[0] === a, target.l[1] === b]).toEqual([true, true])
  })

  test('of two items that look the same the first one stays where one of them was removed', () => {
    const [a, b] = [{ n: 1 }, { n: 1 }]
    const target = { l: [a, b] }
    graft(target, { l: [{ n: 1 }] })
    expect(target.l[0]).toBe(a)
  })

  test('what the handler has taken out of a Set, or from among the keys of a Map, keeps its identity', () => {
    const [member, key] = [{ n: 1 }, { n: 1 }]
    const target: Data = { s: new Set([member]), m: new Map([[key, 1]]) }
    const own = collect(target)
    Object.assign(target, { s: new Set(), m: new Map(), member, key })
    graftOwn(target, { s: new Set(), m: new Map(), member: { n: 2 }, key: { n: 2 } }, own)
    expect(target).toEqual({ s: new Set(), m: new Map(), member: { n: 2 }, key: { n: 2 } })
    expect([target.member === member, target.key === key]).toEqual([true, true])
  })

  test('one object in two places that are to differ stays in one of them', () => {
    const shared = { n: 1 }
    const target: Data = { a: shared, b: shared, s: new Set([shared]), c: { deep: [shared] } }
    graft(target, { a: { n: 1 }, b: { n: 2 }, s: new Set([{ n: 3 }]), c: { deep: [{ n: 4 }] } })
    expect(target).toEqual({ a: { n: 1 }, b: { n: 2 }, s: new Set([{ n: 3 }]), c: { deep: [{ n: 4 }] } })
    expect(target.a).toBe(shared)

    const member = { n: 1 }
    const kept: Data = { s: new Set([member]), current: member }
    graft(kept, { s: new Set([{ n: 1 }]), current: { n: 2 } })
    expect(kept).toEqual({ s: new Set([{ n: 1 }]), current: { n: 2 } })
  })

  test('a frozen object is replaced, and left alone where nothing changed', () => {
    const [same, other] = [Object.freeze({ a: 1 }), Object.freeze({ a: 1 })]
    const target: Data = { same, other }
    graft(target, { same: { a: 1 }, other: { a: 2 } })
    expect(target).toEqual({ same: { a: 1 }, other: { a: 2 } })
    expect(target.same).toBe(same)
    expect(other).toEqual({ a: 1 })
  })

  test('a loop over a Map goes on undisturbed', () => {
    const target = { m: new Map(Object.entries({ a: 1, b: 2, c: 3 })) }
    const seen: string[] = []
    for (const [key] of target.m) {
      seen.push(key)
      if (key === 'a') graft(target, { m: new Map(Object.entries({ a: 9, c: 3, d: 4 })) })
    }
    expect(seen).toEqual(['a', 'c', 'd'])
  })

  test('any data becomes equal to any other, shares nothing with it, and keeps the order of a merge', () => {
    fc.assert(
      fc.property(versions, ([base, mine, theirs]) => {
        const source = structuredClone(theirs)
        const target = structuredClone(base)
        graft(target, source)
        expect(equal(target, source)).toBe(true)
        expect(source).toEqual(theirs)
        const live = objectsIn(target)
        expect([...objectsIn(source)].filter((object) => live.has(object))).toEqual([])

        const held = new Map(Object.entries(mine))
        const value = merged(base, mine, theirs)
        graft(mine, value)
        expect(equal(mine, value)).toBe(true)
        for (const [key, part] of Object.entries(mine)) {
          const before = held.get(key)
          if (isPlain(part) && isPlain(before)) expect(part).toBe(before)
          if (part instanceof Map && before instanceof Map) expect(part).toBe(before)
          if (part instanceof Set && before instanceof Set) expect(part).toBe(before)
          if (Array.isArray(part) && Array.isArray(before)) expect(part).toBe(before)
        }
        expect(Object.keys(mine)).toEqual(Object.keys(value))
      }),
      { numRuns: 800 },
    )
  })
})
