import { createHmac, hkdfSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { keyOf, MAX_GENERATION, newId, tokenSigner } from '../src/token.ts'

const secret = (letter: string) => Buffer.alloc(32, letter)
const signer = tokenSigner([secret('a')], 'id')

describe('a token', () => {
  it('gives back the id and generation that were signed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_GENERATION }), (generation) => {
        const id = newId()
        const text = signer.sign({ id, generation })
        const wanted = { id, key: keyOf(id), generation, stale: false }
        expect(signer.verify(text)).toEqual(wanted)
        expect(signer.verify(text), 'once more, from memory').toEqual(wanted)
      }),
    )
  })

  it('is the same each time, so that a lost answer can be given again', () => {
    const token = { id: newId(), generation: 7 }
    expect(signer.sign(token)).toBe(signer.sign(token))
  })

  it('is refused with any one character changed', () => {
    const text = signer.sign({ id: newId(), generation: 3 })
    expect(signer.verify(text)).toBeDefined()
    for (let at = 0; at < text.length; at++) {
      // The last has the byte of the right one, if it is cut to a byte.
      const sameByte = String.fromCharCode(text.charCodeAt(at) + 0x100)
      for (const other of ['A', 'B', '-', '=', '\u00e9', '%', sameByte]) {
        if (text[at] === other) continue
        expect(signer.verify(text.slice(0, at) + other + text.slice(at + 1))).toBeUndefined()
      }
    }
  })

  it('is verified whether it came a moment ago or thousands of others since', () => {
    const tokens = Array.from({ length: 5_000 }, (_, i) => ({ id: newId(), generation: i + 1 }))
    for (let round = 0; round < 2; round++) {
      for (const token of tokens) expect(signer.verify(signer.sign(token))).toMatchObject(token)
    }
  })

  it('is remembered with some thousands of the others, and forgotten after more', () => {
    const remembering = tokenSigner([secret('a')], 'id')
    const text = remembering.sign({ id: newId(), generation: 1 })
    const seeOthers = (count: number) => {
      for (let n = 0; n < count; n++) remembering.verify(remembering.sign({ id: newId(), generation: 1 }))
    }
    const first = remembering.verify(text)
    for (let n = 0; n < 5_000; n++) remembering.verify(text.slice(0, 54) + String(n).padStart(10, 'x')) // forged
    expect(remembering.verify(text)).toBe(first)
    seeOthers(2_047)
    expect(remembering.verify(text)).toBe(first)
    seeOthers(2_048)
    expect(remembering.verify(text)).toBe(first)
    seeOthers(2 * 2_048)
    expect(remembering.verify(text)).not.toBe(first)
    expect(remembering.verify(text)).toEqual(first)
  })

  it('that was signed by an earlier build is verified by this one', () => {
    const text = 'AS7xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEsl6fDvkObVgrIv-TtCnOhrs8y'
    expect(signer.verify(text)).toMatchObject({ id: 'A'.repeat(32), generation: 300 })
    expect(signer.sign({ id: 'A'.repeat(32), generation: 300 })).toBe(text)
  })

  it('has no room for more than 16777215 rotations', () => {
    const id = newId()
    expect(() => signer.sign({ id, generation: 2 ** 24 })).toThrow(
      /^generation 16777216: a session has at most 16777215/,
    )
    expect(signer.verify(signer.sign({ id, generation: 2 ** 24 - 1 }))).toMatchObject({ id })
  })

  it('has one spelling only', () => {
    const text = signer.sign({ id: newId(), generation: 3 })
    for (const other of [
      `${text}=`,
      ` ${text}`,
      text.replace(/-/g, '+'),
      text.slice(0, -1),
      text + text,
      '',
    ]) {
      if (other !== text) expect(signer.verify(other)).toBeUndefined()
    }
  })

  it('of one secret or manager never verifies with another', () => {
    const text = signer.sign({ id: newId(), generation: 1 })
    expect(tokenSigner([secret('b')], 'id').verify(text)).toBeUndefined()
    expect(tokenSigner([secret('a')], 'admin').verify(text)).toBeUndefined()
  })

  it('is signed by the newest secret, verified by all, and by a removed one no more', () => {
    const id = newId()
    const old = signer.sign({ id, generation: 1 })
    const both = tokenSigner([secret('b'), secret('a')], 'id')
    expect(both.verify(old)).toMatchObject({ id, generation: 1, stale: true })
    const renewed = both.sign({ id, generation: 1 })
    expect(tokenSigner([secret('b')], 'id').verify(renewed)).toMatchObject({
      ...{ id, generation: 1, stale: false },
    })
    expect(tokenSigner([secret('b')], 'id').verify(old)).toBeUndefined()
  })

  it('is refused as a list of secrets that holds one twice', () => {
    expect(() => tokenSigner([secret('a'), secret('a')], 'id')).toThrow(/^secret: two of the secrets/)
  })

  it('is 64 characters of base64url, whatever is in it', () => {
    for (let n = 0; n < 100; n++) {
      expect(signer.sign({ id: newId(), generation: n })).toMatch(/^[A-Za-z0-9_-]{64}$/)
    }
  })
})

describe('an id', () => {
  it('never repeats, and each of its bits is set as often as not', () => {
    const ids = Array.from({ length: 2_000 }, newId)
    expect(new Set(ids).size).toBe(2_000)
    const bytes = ids.map((id) => Buffer.from(id, 'base64url'))
    expect(bytes.every(({ length }) => length === 24)).toBe(true)
    for (let bit = 0; bit < 192; bit++) {
      const ones = bytes.filter((id) => (id[bit >> 3]! >> (bit & 7)) & 1).length
      expect(Math.abs(ones - 1_000)).toBeLessThan(5 * Math.sqrt(500)) // five sigma
    }
  })

  it('cannot be found from its key', () => {
    const id = newId()
    expect(keyOf(id)).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(keyOf(id)).not.toContain(id.slice(0, 8))
  })
})

it('the tag is HMAC-SHA256 under a key derived with HKDF', () => {
  const key = hkdfSync('sha256', secret('a'), '', 'holdfast/1/id/token', 32)
  for (let generation = 0; generation < 50; generation++) {
    const text = signer.sign({ id: newId(), generation })
    const tag = createHmac('sha256', Buffer.from(key)).update(text.slice(0, 40)).digest().subarray(0, 18)
    expect(text.slice(40)).toBe(tag.toString('base64url'))
  }
})
