import { describe, expect, it } from 'vitest'
import {
  copyOf,
  endedCopyOf,
  isCopy,
  isEndedCopy,
  isSeal,
  originalOf,
  sealOf,
} from '../src/stores/migrating/stages.ts'

const plain = { rev: '1.a', text: 'line\nline', lastSeen: 5, expires: 5_000 }
const owned = { ...plain, user: 'ann', externalId: 'sid' }

describe('a copy', () => {
  it.each([{}, { user: 'ann' }, { externalId: 'sid' }, { user: '', externalId: '' }])(
    'becomes the session again with the owner %j, exactly',
    (owner) => {
      const record = { ...plain, ...owner }
      expect(originalOf(copyOf(record))).toStrictEqual(record)
    },
  )

  it('has the times of the session, and no owner that would be listed', () => {
    expect(copyOf(owned)).toStrictEqual({
      rev: expect.stringMatching(/^moving:[\w-]{20}$/),
      text: expect.stringContaining('\nline\nline'),
      lastSeen: 5,
      expires: 5_000,
    })
  })

  it('that has ended has nothing left but its times', () => {
    expect(endedCopyOf(owned)).toStrictEqual({
      rev: expect.stringMatching(/^ended:[\w-]{20}$/),
      text: '',
      lastSeen: 5,
      expires: 5_000,
    })
  })
})

it('a seal has the owner, by which the session is still found, and no text', () => {
  expect(sealOf(owned)).toStrictEqual({ ...owned, rev: expect.stringMatching(/^moved:[\w-]{20}$/), text: '' })
})

it('no two revisions are the same', () => {
  expect(copyOf(plain).rev).not.toBe(copyOf(plain).rev)
})

it('each stage is told from the others, from a session, a tombstone and nothing', () => {
  const found = [copyOf(plain), sealOf(plain), endedCopyOf(plain), plain, { destroyedUntil: 5 }, undefined]
  const which = (is: (each: (typeof found)[number]) => boolean) => found.map(is).indexOf(true)
  expect([isCopy, isSeal, isEndedCopy].map(which)).toEqual([0, 1, 2])
  for (const is of [isCopy, isSeal, isEndedCopy]) expect(found.filter((each) => is(each))).toHaveLength(1)
})
