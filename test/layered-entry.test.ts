import { describe, expect, it } from 'vitest'
import {
  ageOf,
  copyEntry,
  isLease,
  isNoEntry,
  lease,
  noEntry,
  recordIn,
} from '../src/stores/layered/entry.ts'

const NOW = 1_800_000_000_000
const FOR = 60_000
const plain = { rev: '1.a', text: 'line\nline', lastSeen: NOW - 5, expires: NOW + 5_000_000 }

describe('a copy', () => {
  it.each([{}, { user: 'ann' }, { externalId: 'sid' }, { user: '', externalId: '' }])(
    'gives back the record with the owner %j, exactly',
    (owner) => {
      const record = { ...plain, ...owner }
      expect(recordIn(copyEntry(record, NOW, FOR))).toStrictEqual(record)
    },
  )

  it('has the revision of the record, times of its own, and no owner that the cache would index', () => {
    expect(copyEntry({ ...plain, user: 'ann', externalId: 'sid' }, NOW, FOR)).toStrictEqual({
      rev: '1.a',
      text: expect.stringContaining('\nline\nline'),
      lastSeen: NOW,
      expires: NOW + FOR,
    })
  })

  it('of a record without text is no lease', () => {
    const entry = copyEntry({ ...plain, text: '' }, 0, FOR)
    expect([isLease(entry), isNoEntry(entry)]).toEqual([false, false])
  })
})

describe('what a cache has spoilt', () => {
  it.each([
    '',
    'null',
    '5',
    '[]',
    '[1]',
    '["a",2,null,null]',
    '[1,"b",null,null]',
    '[1e400,2,null,null]',
    '[1,1e400,null,null]',
    '[1,2,5,null]',
    '[1,2,null,{}]',
  ])('is no copy: %j', (header) => {
    expect(() => recordIn({ ...plain, text: `${header}\nline` })).toThrow()
  })

  it('is told from what another program has written there', () => {
    expect(() => recordIn({ ...plain, text: '["a",2,null,null]\nline' })).toThrow(
      'an entry of the cache does not begin as one that was written there',
    )
  })
})

describe('a lease', () => {
  it('has no text, and a revision that no other has', () => {
    const made = lease(NOW, FOR)
    expect(made).toStrictEqual({
      rev: expect.stringMatching(/^lease\.[\w-]{20}$/),
      text: '',
      lastSeen: NOW,
      expires: NOW + FOR,
    })
    expect(lease(NOW, FOR).rev).not.toBe(made.rev)
    expect([isLease(made), isNoEntry(made)]).toEqual([true, false])
  })

  it('that ended long ago is no entry, and stays as long as another', () => {
    const none = noEntry(NOW, FOR)
    expect(none).toMatchObject({ lastSeen: 0, expires: NOW + FOR })
    expect([isLease(none), isNoEntry(none)]).toEqual([true, true])
  })
})

it('the age of an entry is its distance, also from a clock that runs ahead', () => {
  const entry = lease(NOW, FOR)
  expect([ageOf(entry, NOW + 3), ageOf(entry, NOW - 3)]).toEqual([3, 3])
})
