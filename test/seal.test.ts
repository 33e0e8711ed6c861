import type { StoredRecord } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { describe, expect, it } from 'vitest'
import { recordSeal } from '../src/seal.ts'
import { browser, manager, SECRET } from './helpers/browser.ts'

const [first, second] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]

describe('a sealed text', () => {
  const seal = recordSeal([first], 'id')

  it('opens again, for what it was bound to', () => {
    const sealed = seal.seal('text, ü and 𝟘', 'ann')
    expect(sealed).not.toContain('text')
    expect(seal.open(sealed, 'ann')).toBe('text, ü and 𝟘')
    expect(() => seal.open(sealed, 'bob')).toThrow(/changed, or belongs to another session/)
  })

  it('may be empty', () => {
    expect(seal.open(seal.seal('', 'ann'), 'ann')).toBe('')
  })

  it('of an earlier build is opened by this one', () => {
    const sealed = 's1.6UeJ.vTd0gsCbpW0LHEhAR01WKun1mwt1n8V51-0v2bPCMQmEWRo3'
    expect(seal.open(sealed, 'ann')).toBe('text, ü')
  })

  it('is never the same twice', () => {
    expect(new Set(Array.from({ length: 1_000 }, () => seal.seal('x', 'ann'))).size).toBe(1_000)
  })

  it('with any character changed, cut or of no form is refused', () => {
    const sealed = seal.seal('text', 'ann')
    for (let at = 0; at < sealed.length - 1; at++) {
      const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1)
      expect(() => seal.open(changed, 'ann')).toThrow()
    }
    for (const other of ['', 's1', 's1.x', sealed.replace('s1', 's2'), '{"v":1}\n{}'])
      expect(() => seal.open(other, 'ann')).toThrow(/not sealed with any of the secrets/)
    const key = sealed.slice(0, 's1.xxxx.'.length)
    for (const other of [key, key.slice(0, -1), sealed.slice(0, key.length + 37)])
      expect(() => seal.open(other, 'ann')).toThrow(/the sealed record is truncated/)
    for (const other of [
      `${sealed}.`,
      `${sealed}.more`,
      `${sealed}=`,
      `${sealed}\n`,
      sealed.replace(/(?=.$)/, ' '),
    ])
      expect(() => seal.open(other, 'ann')).toThrow(/not spelled as it was written/)
    expect(() => seal.open(sealed.slice(0, key.length + 40), 'ann')).toThrow(
      expect.objectContaining({
        message: 'the sealed record was changed, or belongs to another session',
        cause: expect.any(Error),
      }),
    )
  })

  it('under two secrets that could not be told apart is refused', () => {
    expect(() => recordSeal([first, first], 'id')).toThrow(/two of the secrets have the same key id/)
  })

  it('is sealed by the newest secret and opened by all', () => {
    const old = seal.seal('old', 'ann')
    const both = recordSeal([second, first], 'id')
    expect(both.open(old, 'ann')).toBe('old')
    expect(recordSeal([second], 'id').open(both.seal('new', 'ann'), 'ann')).toBe('new')
    expect(() => recordSeal([second], 'id').open(old, 'ann')).toThrow(/not sealed with any/)
    expect(() => recordSeal([first], 'admin').open(old, 'ann')).toThrow()
  })
})

describe('sealed sessions', () => {
  it('show nothing in the store, and cannot be exchanged there', async () => {
    const store = memoryStore()
    const { sessions } = manager<{ n?: string }>({ seal: true, store, secret: SECRET })
    const [ann, eve] = [browser(sessions), browser(sessions)]
    for (const [jar, user] of [
      [ann, 'ann'],
      [eve, 'eve'],
    ] as const) {
      await jar.visit(async (session) => {
        session.data.n = `of ${user}`
        await session.login(user)
      })
    }
    const { items } = await store.scan(undefined, 9)
    expect(JSON.stringify(items)).not.toContain('of ann')
    const [[annKey, annRecord], [, eveRecord]] = items as [[string, StoredRecord], [string, StoredRecord]]
    await store.update(annKey, { ...eveRecord, rev: 'swapped' }, annRecord.rev)
    const jar = annRecord.user === 'id:ann' ? ann : eve
    expect(await jar.visit((session) => [session.userId, session.data])).toEqual([undefined, {}])
  })
})
