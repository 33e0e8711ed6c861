import { describe, expect, it } from 'vitest'
import type { LifetimePolicy } from '../src/lifetime.ts'
import {
  apply,
  applyAll,
  concernsTokenOnly,
  isActive,
  isJoin,
  makesToken,
  type Operation,
  shutsOut,
} from '../src/operations.ts'
import type { SessionRecord } from '../src/record.ts'

const NOW = 1_800_000_000_000
const HOUR = 3_600_000
const policy: LifetimePolicy = {
  idle: HOUR,
  absolute: 24 * HOUR,
  anonymous: { idle: HOUR, absolute: 24 * HOUR },
  rotateEvery: 900_000,
  grace: 300_000,
  touchEvery: 60_000,
  persistent: false,
}

/** Ann’s, with something in each field. */
const full: SessionRecord = {
  createdAt: NOW - 5 * HOUR,
  user: 'ann',
  externalId: 'sid-1',
  generation: 7,
  rotatedAt: NOW - 2 * HOUR,
  confirmedAt: NOW - HOUR,
  retiredBelow: 5,
  retiredAt: NOW - 3 * HOUR,
  userSince: 5,
  authenticatedAt: NOW - 3 * HOUR,
  level: '2fa',
  levelUntil: NOW + HOUR,
  stamp: 'old stamp',
  idle: HOUR,
  absolute: 30 * HOUR,
  endsAt: NOW + 9 * HOUR,
  persistent: true,
  cookieAt: NOW - HOUR,
  about: { browser: 'Firefox' },
  bound: 'a device',
  flashes: [
    { id: 'f1', category: 'info', message: 'one' },
    { id: 'f2', category: 'info', message: 'two' },
  ],
}
const done = (operation: Operation, record = full, held = record.generation) =>
  apply(record, operation, { held, now: NOW, policy })

describe('a login', () => {
  const retired = {
    generation: 8,
    rotatedAt: NOW,
    confirmedAt: NOW,
    retiredBelow: 8,
    retiredAt: NOW,
    userSince: 8,
    authenticatedAt: NOW,
  }

  it('gives a new token, retires all older ones, and keeps what else the session has', () => {
    expect(done({ kind: 'login', user: 'ann', stamp: 'new stamp' })).toEqual({
      ...full,
      ...retired,
      bound: undefined,
      stamp: 'new stamp',
      externalId: undefined,
      level: undefined,
      levelUntil: undefined,
    })
  })

  it('takes what it says about the user, and nothing that the login before it said', () => {
    const facts = { user: 'ann', externalId: 'sid-2', level: 'mfa', about: { browser: 'Safari' } }
    expect(done({ kind: 'login', ...facts })).toMatchObject({
      ...facts,
      stamp: undefined,
      levelUntil: undefined,
    })
  })

  it('is no field of the record', () => {
    expect(done({ kind: 'login', user: 'ann' })).not.toHaveProperty('kind')
  })

  it('into a visitor’s session keeps it', () => {
    const visitor = { ...full, user: undefined, authenticatedAt: undefined, userSince: 0 }
    expect(done({ kind: 'login', user: 'ann' }, visitor)).toMatchObject({
      ...retired,
      createdAt: full.createdAt,
      flashes: full.flashes,
    })
  })

  it('of another user leaves no trace of the one before', () => {
    expect(done({ kind: 'login', user: 'bob' })).toEqual({
      ...retired,
      createdAt: NOW,
      user: 'bob',
      flashes: [],
    })
  })
})

describe('a step-up', () => {
  it('gives a new token that counts as unused, retires all older ones, and keeps the login', () => {
    expect(done({ kind: 'elevate', level: 'mfa', until: NOW + 5 })).toEqual({
      ...full,
      level: 'mfa',
      levelUntil: NOW + 5,
      generation: 8,
      rotatedAt: NOW,
      confirmedAt: undefined,
      retiredBelow: 8,
      retiredAt: NOW,
    })
  })

  it('without an end has none, whatever the one before had', () => {
    expect(done({ kind: 'elevate', level: 'mfa' }).levelUntil).toBeUndefined()
  })
})

describe('a rotation', () => {
  it('gives a new token that counts as unused, and retires none', () => {
    expect(done({ kind: 'rotate' })).toEqual({
      ...full,
      generation: 8,
      rotatedAt: NOW,
      confirmedAt: undefined,
    })
  })

  it('that another request has done is done', () => {
    expect(done({ kind: 'rotate' }, full, 6)).toBe(full)
  })
})

describe('flash messages', () => {
  it('are added after those that are there', () => {
    const flash = { id: 'f3', category: 'info', message: 'three' }
    expect(done({ kind: 'flash', flash })).toEqual({ ...full, flashes: [...full.flashes, flash] })
  })

  it('are taken by their ids, and those that others added stay', () => {
    expect(done({ kind: 'take', ids: ['f1', 'f0'] })).toEqual({ ...full, flashes: [full.flashes[1]] })
  })

  it('that are gone are no change', () => {
    expect(done({ kind: 'take', ids: ['f0'] })).toBe(full)
  })
})

it('a lifetime replaces what it names, and no more', () => {
  expect(done({ kind: 'lifetime', idle: false, persistent: false })).toEqual({
    ...full,
    idle: false,
    persistent: false,
  })
})

it('a cookie that is sent again was sent now', () => {
  expect(done({ kind: 'renewCookie' })).toEqual({ ...full, cookieAt: NOW })
})

describe('the first use of a token', () => {
  const unused = { ...full, confirmedAt: undefined }

  it('is noted', () => {
    expect(done({ kind: 'confirm' }, unused)).toEqual({ ...full, confirmedAt: NOW })
  })

  it('is noted once, and only of the current token', () => {
    expect(done({ kind: 'confirm' })).toBe(full)
    expect(done({ kind: 'confirm' }, unused, 6)).toBe(unused)
  })
})

describe('a login that joins', () => {
  it('makes the token count as given twice: used after it was made', () => {
    expect(done({ kind: 'join' })).toEqual({ ...full, confirmedAt: NOW })
    const made = { ...full, rotatedAt: NOW, confirmedAt: NOW }
    expect(done({ kind: 'join' }, made)).toEqual({ ...made, confirmedAt: NOW + 1 })
  })

  it('changes nothing while nobody has used the token', () => {
    const unused = { ...full, confirmedAt: undefined }
    expect(done({ kind: 'join' }, unused)).toBe(unused)
  })
})

describe('a store that fell behind a token', () => {
  it('is brought to its generation, which is in use', () => {
    expect(done({ kind: 'advance', generation: 9 })).toEqual({
      ...full,
      generation: 9,
      rotatedAt: NOW,
      confirmedAt: NOW,
    })
  })

  it('is left alone where another request did so', () => {
    expect(done({ kind: 'advance', generation: 7 })).toBe(full)
    expect(done({ kind: 'advance', generation: 6 })).toBe(full)
  })
})

describe('what a session is bound to', () => {
  it('is changed as an extension says, who sees the record as it is then', () => {
    const change = ({ bound, generation }: SessionRecord) => `${bound} at ${generation}`
    expect(done({ kind: 'bind', change })).toEqual({ ...full, bound: 'a device at 7' })
    expect(done({ kind: 'bind', change: ({ bound }) => bound })).toBe(full)
  })

  it('stays at a step-up and a rotation, and ends with the login that it belongs to', () => {
    expect(done({ kind: 'elevate', level: 'mfa' }).bound).toBe('a device')
    expect(done({ kind: 'rotate' }).bound).toBe('a device')
    expect(done({ kind: 'login', user: 'ann' }).bound).toBeUndefined()
    expect(done({ kind: 'login', user: 'bob' }).bound).toBeUndefined()
  })
})

const all: Operation[] = [
  { kind: 'login', user: 'ann' },
  { kind: 'elevate', level: 'mfa' },
  { kind: 'rotate' },
  { kind: 'lifetime' },
  { kind: 'flash', flash: { id: '', category: '', message: '' } },
  { kind: 'take', ids: [] },
  { kind: 'bind', change: () => undefined },
  { kind: 'renewCookie' },
  { kind: 'confirm' },
  { kind: 'client', user: 'ann', client: {} },
  { kind: 'join' },
  { kind: 'advance', generation: 1 },
]
const kindsThat = (hold: (operation: Operation) => boolean) => all.filter(hold).map(({ kind }) => kind)

it('noting a use, or what the store lost, waits for another write', () => {
  expect(kindsThat((operation) => !isActive(operation))).toEqual(['confirm', 'client', 'advance'])
})

it('only a second click joins', () => {
  expect(kindsThat(isJoin)).toEqual(['join'])
})

it('a request that is refused for an old token loses nothing but matters of the token', () => {
  expect(kindsThat(concernsTokenOnly)).toEqual(['rotate', 'renewCookie', 'confirm', 'client', 'advance'])
})

it('the client gets a new token by a rotation, a login and a step-up', () => {
  expect(kindsThat(makesToken)).toEqual(['login', 'elevate', 'rotate'])
})

it('a machine that is lost must not let in again whom a login, a step-up or a device has shut out', () => {
  expect(kindsThat(shutsOut)).toEqual(['login', 'elevate', 'bind', 'join'])
})

describe('several operations', () => {
  const at = { held: 7, now: NOW, policy }

  it('are done in their order, each on what the one before it has made', () => {
    const [shorter, longer] = [
      { kind: 'lifetime', idle: 1 },
      { kind: 'lifetime', idle: 2 },
    ] as const
    expect(applyAll(full, [shorter, longer], at).idle).toBe(2)
    expect(applyAll(full, [longer, shorter, { kind: 'rotate' }], at)).toMatchObject({
      idle: 1,
      generation: 8,
    })
  })

  it('that change nothing leave the same record', () => {
    expect(applyAll(full, [], at)).toBe(full)
    expect(applyAll(full, [{ kind: 'take', ids: [] }, { kind: 'confirm' }], at)).toBe(full)
  })
})
