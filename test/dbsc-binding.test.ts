import fc from 'fast-check'
import { InvalidRecordError } from 'holdfast'
import { beforeEach, describe, expect, it } from 'vitest'
import { formatBinding, newBinding, parseBinding, use } from '../src/dbsc/binding.ts'
import { makeChallenge, readChallenge, timeOf, timeText } from '../src/dbsc/challenge.ts'
import { createTagger, type Tagger } from '../src/dbsc/tags.ts'
import { SECRET } from './helpers/browser.ts'

const MINUTE = 60_000
const NOW = 1_800_000_000_000
const key = { x: 'x'.repeat(43), y: 'y'.repeat(43) }

describe('a binding', () => {
  it('has an id of its own, and nothing against it', () => {
    const binding = newBinding(key, NOW)
    expect(binding).toEqual({
      id: expect.stringMatching(/^[A-Za-z0-9_-]{24}$/),
      key,
      boundAt: NOW,
      failures: 0,
      usedUntil: 0,
      used: [],
    })
    expect(newBinding(key, NOW).id).not.toBe(binding.id)
  })

  it('is text in which nothing needs an escape', () => {
    const used = [
      { nonce: 'n1', madeAt: 37 },
      { nonce: 'n2', madeAt: 36 },
    ]
    const binding = { id: 'id', key, boundAt: 10, failures: 2, usedUntil: 35, used }
    const text = formatBinding(binding)
    expect(text).toBe(`id.${key.x}.${key.y}.a.2.z.n1.11.n2.10`)
    expect(JSON.stringify(text)).toBe(`"${text}"`)
    expect(parseBinding(text)).toEqual(binding)
  })

  it.each(['', 'x', 'id.x.y', 'id.x.y.?.0.0', 'id.x.y.1.?.0', 'id.x.y.1.0.?', 'id.x.y.1.0.0.nonce'])(
    'that cannot be read is an error, and no session without a device: %j',
    (text) => {
      expect(() => parseBinding(text)).toThrow(InvalidRecordError)
      expect(() => parseBinding(text)).toThrow(/^what the record says of its device/)
    },
  )
})

describe('using a challenge', () => {
  const made = (nonce: string, madeAt: number) => ({ nonce, madeAt })

  it('forgets the failures before it, and keeps what else there is', () => {
    const binding = { ...newBinding(key, NOW), failures: 2 }
    const challenge = made('n', NOW)
    expect(use(binding, challenge, NOW)).toEqual({ ...binding, failures: 0, used: [challenge] })
  })

  it('works once', () => {
    const binding = use(newBinding(key, NOW), made('n', NOW), NOW)!
    expect(use(binding, made('n', NOW), NOW)).toBeUndefined()
    expect(use(binding, made('m', NOW), NOW)).toBeDefined()
  })

  it('remembers it until it has expired, and its time from then on', () => {
    const [first, second] = [made('first', NOW), made('second', NOW + 5 * MINUTE)]
    const binding = use(newBinding(key, NOW), first, NOW)!
    expect(use(binding, second, NOW + 5 * MINUTE - 1)).toMatchObject({ usedUntil: 0, used: [second, first] })
    const later = use(binding, second, NOW + 5 * MINUTE)!
    expect(later).toMatchObject({ usedUntil: NOW, used: [second] })
    expect(use(later, first, NOW)).toBeUndefined()
    expect(use(later, made('another', NOW), NOW)).toBeUndefined()
    expect(use(later, made('another', NOW + 1), NOW)).toBeDefined()
    expect(use(later, made('third', NOW + 5 * MINUTE), NOW)).toMatchObject({ usedUntil: NOW })
  })

  it('remembers eight, and counts all that are no younger than the ninth as used', () => {
    let binding = newBinding(key, NOW)
    for (let i = 0; i < 8; i++) binding = use(binding, made(`n${i}`, NOW + i), NOW)!
    expect(binding).toMatchObject({ usedUntil: 0 })
    expect(binding.used).toHaveLength(8)
    binding = use(binding, made('n8', NOW + 8), NOW)!
    expect(binding).toMatchObject({ usedUntil: NOW })
    expect(binding.used.map(({ nonce }) => nonce)).toEqual(['n8', 'n7', 'n6', 'n5', 'n4', 'n3', 'n2', 'n1'])
  })

  it('refuses none that is younger than all before it', () => {
    let binding = newBinding(key, NOW)
    for (let i = 0; i < 100; i++) {
      binding = use(binding, made(`n${i}`, NOW + i), NOW + i)!
      expect(binding).toBeDefined()
    }
  })

  it('works once, however many there are and whatever the clocks say', () => {
    const one = fc.record({ madeAt: fc.integer({ min: 0, max: 10 }), skew: fc.integer({ min: -2, max: 2 }) })
    fc.assert(
      fc.property(fc.array(one, { maxLength: 40 }), (list) => {
        let binding = newBinding(key, NOW)
        const challenges = list.map(({ madeAt }, i) => made(`n${i}`, NOW + madeAt * MINUTE))
        const accepted = new Set<string>()
        for (const [i, { skew }] of [...list, ...list, ...list].entries()) {
          const challenge = challenges[i % list.length]!
          const next = use(binding, challenge, challenge.madeAt + skew * MINUTE)
          if (next === undefined) continue
          expect(accepted).not.toContain(challenge.nonce)
          accepted.add(challenge.nonce)
          expect(next.used.length).toBeLessThanOrEqual(8)
          binding = parseBinding(formatBinding(next))
          expect(binding).toEqual(next)
        }
      }),
      { numRuns: 300 },
    )
  })
})

const OLDER = Buffer.from(SECRET)
const NEWER = Buffer.from('mZ6sT1kQ9vB4xYc7LhWd2RfGp8NjUe3A')

describe('a tag', () => {
  let tagger: Tagger
  let text: string
  beforeEach(() => {
    tagger = createTagger([OLDER], 'id', 'purpose')
    text = tagger.sign('body', ['a', 'b'])
  })

  it('gives back the body, in the context for which it was made', () => {
    expect(text).toMatch(/^[A-Za-z0-9_-]{32}$/)
    expect(tagger.verify(text, ['a', 'b'])).toBe('body')
    for (const context of [['a'], ['a', 'c'], ['b', 'a'], ['ab'], [], ['a', 'b', '']])
      expect(tagger.verify(text, context)).toBeUndefined()
  })

  it('is of one purpose, one manager and one secret', () => {
    for (const other of [
      createTagger([OLDER], 'id', 'another'),
      createTagger([OLDER], 'admin', 'purpose'),
      createTagger([NEWER], 'id', 'purpose'),
    ])
      expect(other.verify(text, ['a', 'b'])).toBeUndefined()
  })

  it('is made by the newest secret, and counts by every one of the list', () => {
    const both = createTagger([NEWER, OLDER], 'id', 'purpose')
    expect(both.verify(text, ['a', 'b'])).toBe('body')
    const newer = both.sign('body', ['a', 'b'])
    expect(newer.slice(0, 4)).not.toBe(text.slice(0, 4))
    expect(tagger.verify(newer, ['a', 'b'])).toBeUndefined()
    expect(createTagger([NEWER], 'id', 'purpose').verify(newer, ['a', 'b'])).toBe('body')
  })

  it('is worth nothing with any character changed, taken away or added', () => {
    for (let i = 0; i < text.length; i++) {
      const other = text[i] === 'A' ? 'B' : 'A'
      // The same byte, if a character is cut to one.
      const alias = String.fromCharCode(text.charCodeAt(i) + 256)
      for (const put of [other, alias, '', `${other}${text[i]}`, '=', '\u00e9', '\u{1f600}'])
        expect(tagger.verify(text.slice(0, i) + put + text.slice(i + 1), ['a', 'b'])).toBeUndefined()
    }
    for (const nothing of ['', text.slice(0, 28), `${text.slice(0, 4)}${'A'.repeat(125)}`])
      expect(tagger.verify(nothing, ['a', 'b'])).toBeUndefined()
    expect(tagger.verify(tagger.sign('', ['a']), ['a'])).toBeUndefined()
    expect(tagger.verify(tagger.sign('A'.repeat(100), []), [])).toBe('A'.repeat(100))
    expect(tagger.verify(tagger.sign('A'.repeat(101), []), [])).toBeUndefined()
  })
})

describe('a challenge', () => {
  let tagger: Tagger
  beforeEach(() => {
    tagger = createTagger([OLDER], 'id', 'purpose')
  })
  const read = (text: string, now: number) => readChallenge(tagger, text, ['a'], now)

  it('is new each time, and holds 144 random bits and its time', () => {
    const [one, two] = [makeChallenge(tagger, ['a'], NOW), makeChallenge(tagger, ['a'], NOW)]
    expect(one).toMatch(/^[A-Za-z0-9_-]{60}$/)
    expect(read(one, NOW)).toEqual({ nonce: one.slice(4, 28), madeAt: NOW, isLive: true })
    expect(read(two, NOW)!.nonce).not.toBe(read(one, NOW)!.nonce)
    expect(readChallenge(tagger, one, ['b'], NOW)).toBeUndefined()
  })

  it('can be answered for five minutes, and by a clock that is a minute behind', () => {
    const text = makeChallenge(tagger, ['a'], NOW)
    expect(read(text, NOW + 5 * MINUTE - 1)).toMatchObject({ isLive: true })
    expect(read(text, NOW + 5 * MINUTE)).toMatchObject({ isLive: false })
    expect(read(text, NOW - MINUTE)).toMatchObject({ isLive: true })
    expect(read(text, NOW - MINUTE - 1)).toMatchObject({ isLive: false })
  })

  it('has its time in eight characters', () => {
    for (const time of [0, 1, NOW, 2 ** 48 - 1]) {
      expect(timeText(time)).toMatch(/^[A-Za-z0-9_-]{8}$/)
      expect(timeOf(timeText(time))).toBe(time)
    }
  })
})
