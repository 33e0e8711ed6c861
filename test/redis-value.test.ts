import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NEVER, type StoredRecord } from '../src/store.ts'
import {
  encodePercent,
  entryOf,
  formatExternalId,
  formatOwner,
  formatUser,
  formatValue,
  keyOfEntry,
  newEntry,
  parseIndexed,
  parseValue,
  reachOf,
} from '../src/stores/redis/value.ts'

const SEEN = 1_766_509_321_464
const HOUR = 3_600_000
const UUID = '00112233-4455-6677-8899-aabbccddeeff'
const SHORT = '~ABEiM0RVZneImaq7zN3u_w'

function record(change: Partial<StoredRecord> = {}): StoredRecord {
  return { rev: '2kJxQ', text: 'text', lastSeen: SEEN, expires: SEEN + 24 * HOUR, ...change }
}

describe('the value of a record', () => {
  it('is a line about it, and its text', () => {
    expect(formatValue(record())).toBe('mjiu1fy0 1d 2kJxQ\ntext')
    expect(formatValue(record({ user: 'id:ada', externalId: 'op:7' }), 'k3')).toBe(
      'mjiu1fy0 1d 2kJxQ k3@id:ada #op:7\ntext',
    )
    expect(formatValue(record({ externalId: 'op:7' }), 'k3')).toBe('mjiu1fy0 1d 2kJxQ k3#op:7\ntext')
  })

  it.each([
    [48 * HOUR, '2d'],
    [25 * HOUR, '25h'],
    [90 * 60_000, '90m'],
    [61_000, '61s'],
    [1_234, '1234'],
    [-1, '-1'],
    [-HOUR, '-1h'],
    [0, '0d'],
  ])('that lives %i ms has that in the largest unit that leaves no fraction', (lifetime, text) => {
    const value = formatValue(record({ expires: SEEN + lifetime }))
    expect(value.split(' ')[1]).toBe(text)
    expect(parseValue(value)).toMatchObject({ lastSeen: SEEN, expires: SEEN + lifetime })
  })

  it('that never expires says so', () => {
    for (const expires of [NEVER, NEVER + 1, Number.POSITIVE_INFINITY]) {
      const value = formatValue(record({ expires }))
      expect(value).toMatch(/^mjiu1fy0 never 2kJxQ\n/)
      expect(parseValue(value)).toMatchObject({ expires: NEVER })
    }
  })

  it('comes back as it was, whatever is in it', () => {
    const text = fc.string({ unit: 'binary', maxLength: 30 })
    const id = fc.option(
      fc.oneof(
        text,
        fc.tuple(text, fc.uuid()).map((parts) => parts.join('')),
        fc.uuid().map((uuid) => `${uuid}x`),
      ),
      { nil: undefined },
    )
    const fields = { rev: fc.string({ unit: 'binary', minLength: 1 }), text, user: id, externalId: id }
    fc.assert(
      fc.property(
        fc.record(fields),
        fc.nat(),
        fc.nat(),
        ({ user, externalId, ...rest }, lastSeen, lifetime) => {
          const owner = {
            ...(user !== undefined && { user }),
            ...(externalId !== undefined && { externalId }),
          }
          const made = { ...rest, ...owner, lastSeen, expires: lastSeen + lifetime }
          expect(parseValue(formatValue(made, 'NN'))).toStrictEqual(made)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('comes back also where JavaScript takes a character of its owner for the end of a line', () => {
    const made = record({ user: 'a\u2028b', externalId: '\u2029' })
    expect(parseValue(formatValue(made))).toEqual(made)
  })

  it('is refused rather than altered if it is no text', () => {
    const half = '\ud800'
    expect(() => formatValue(record({ text: half }))).toThrow(/^the text holds half of a surrogate pair/)
    expect(() => formatValue(record({ user: half }))).toThrow(/^the user holds half of a surrogate pair/)
    expect(() => formatValue(record({ externalId: half }))).toThrow(/^the external id holds half of/)
  })
})

describe('a value', () => {
  it('of a destroyed session says until when', () => {
    expect(parseValue('destroyed 4000000000000')).toEqual({ destroyedUntil: 4_000_000_000_000 })
  })

  it.each([
    '',
    'mjiu1fy0 1d 2kJxQ',
    '\nmjiu1fy0 1d 2kJxQ\n',
    'something\nelse',
    'x mjiu1fy0 1d 2kJxQ\ntext',
    'mjiu1fy0 1w 2kJxQ\ntext',
    'mjiu1fy0 d 2kJxQ\ntext',
    'mjiu1fy0 1d2 2kJxQ\ntext',
    'mjiu1fy0 nevermore 2kJxQ\ntext',
    'MJ 1d 2kJxQ\ntext',
    'mjiu1fy0 1d \ntext',
    'mjiu1fy0 1d 2kJxQ owner\ntext',
    'mjiu1fy0 1d 2kJxQ k3@a#\nb',
  ])('%j is looked at as a whole', (value) => {
    // The last is ours: an id may hold # and @.
    if (value.includes('@')) expect(parseValue(value)).toMatchObject({ user: 'a#', text: 'b' })
    else expect(parseValue(value)).toBeUndefined()
  })
})

describe('an owner', () => {
  it('is written as its user, its external id, or both', () => {
    expect(formatOwner({})).toBe('')
    expect(formatOwner({ user: 'a b' })).toBe('@a%20b')
    expect(formatOwner({ externalId: 'a@b' })).toBe('#a@b')
    expect(formatOwner({ user: '', externalId: '' })).toBe('@ #')
  })

  it('is read again, with the name of its entry before it', () => {
    expect(parseIndexed('k3@id:ada #op:7')).toEqual({
      name: 'k3',
      owner: { user: 'id:ada', externalId: 'op:7' },
    })
    expect(parseIndexed('#op@7')).toEqual({ name: '', owner: { externalId: 'op@7' } })
    expect(parseIndexed('@a#b')).toEqual({ name: '', owner: { user: 'a#b' } })
    expect(parseIndexed('')).toEqual({ name: '', owner: {} })
  })

  it('that ends with a UUID is that much shorter', () => {
    expect(formatUser(`id:${UUID}`)).toBe(`@id:${SHORT}`)
    expect(formatExternalId(UUID)).toBe(`#${SHORT}`)
    expect(parseIndexed(`@ä${SHORT}`).owner).toEqual({ user: `ä${UUID}` })
    expect(parseIndexed(`@%20${SHORT}`).owner).toEqual({ user: ` ${UUID}` })
  })

  it.each([`${UUID}x`, UUID.toUpperCase(), UUID.slice(1), UUID.replace('-', ''), UUID.replace('f', 'g')])(
    '%s is not taken for one that ends with a UUID',
    (user) => {
      expect(formatUser(user)).toBe(`@${user}`)
    },
  )
})

it('only what would be taken for something else is percent-encoded', () => {
  expect(encodePercent('\0 !~%}\u007f\u0080ä𝟘\n')).toBe('%00%20!%7E%25}%7F\u0080ä𝟘%0A')
})

describe('an entry', () => {
  it('is two characters of its own, and the key', () => {
    expect(entryOf('k3', 'id:abc')).toBe('k3id:abc')
    expect(keyOfEntry('k3id:abc')).toBe('id:abc')
    const made = Array.from({ length: 2_000 }, () => newEntry('id:abc'))
    for (const { name, entry } of made) {
      expect(name).toMatch(/^[\w-]{2}$/)
      expect(entry).toBe(`${name}id:abc`)
    }
    // Of 4096 names some 1580 are expected.
    expect(new Set(made.map(({ name }) => name)).size).toBeGreaterThan(1_400)
  })
})

describe('the reach of an entry', () => {
  const at = (lifetime: number, expires = 1_000_000_000) =>
    reachOf({ lastSeen: (expires - lifetime) * 1000, expires: expires * 1000 })

  it('is beyond its record, on a grid as wide as the record lives', () => {
    expect(at(3600, 1_000_000_000)).toBe(Math.ceil(1_000_000_001 / 2048) * 2048)
    expect(at(2048, 2048)).toBe(4096)
    expect(at(2047, 2047)).toBe(2048)
    expect(at(1, 77)).toBe(78)
    expect(reachOf({ lastSeen: 76_000, expires: 77_999 })).toBe(78)
  })

  it('is at least a second and at most 24 days beyond', () => {
    expect(at(0, 77)).toBe(78)
    expect(at(-50, 77)).toBe(78)
    const step = 2 ** 21
    expect(at(10 ** 8)).toBe((Math.floor(1_000_000_000 / step) + 1) * step)
  })

  it('of a record that never expires has no end', () => {
    expect(reachOf({ lastSeen: 1, expires: NEVER })).toBe(NEVER)
    expect(reachOf({ lastSeen: 1, expires: Number.POSITIVE_INFINITY })).toBe(NEVER)
  })
})
