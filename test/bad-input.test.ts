import type { StoredRecord } from 'holdfast'
import { isTombstone } from 'holdfast'
import { describe, expect, it, vi } from 'vitest'
import { newId, tokenSigner } from '../src/token.ts'
import { browser, manager, SECRET } from './helpers/browser.ts'

const signer = tokenSigner([Buffer.from(SECRET)], 'id')
const open = (header: string) => manager<{ n?: number }>().sessions.open(header)

/** Processor time in milliseconds: the least of some tries, since the machine may be busy with other things. */
async function fastest(work: () => Promise<unknown>): Promise<number> {
  let best = Number.POSITIVE_INFINITY
  for (let n = 0; n < 10; n++) {
    const start = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(start)
    best = Math.min(best, (user + system) / 1_000)
  }
  return best
}

describe('a cookie', () => {
  it('of any length up to 16 KiB is met with an anonymous session, quickly', async () => {
    const { sessions } = manager()
    for (let length = 1; length <= 16_384; length += length < 200 ? 1 : 97) {
      const session = await sessions.open(`__Host-id=${'A'.repeat(length)}`)
      expect([session.isNew, session.presented]).toEqual([true, 'forged'])
    }
    expect(await fastest(() => open(`__Host-id=${'A'.repeat(16_384)}`))).toBeLessThan(5)
  })

  it('of no bytes is none: whoever clears a cookie in a server of its own leaves that', async () => {
    const { sessions } = manager()
    const forged = vi.fn()
    sessions.on('forged', forged)
    for (const header of ['__Host-id=', '__Host-id=; a=b', '__Host-id=;__Host-id=']) {
      expect((await sessions.open(header)).presented).toBe('none')
    }
    expect(forged).not.toHaveBeenCalled()
  })

  it('of wrong bytes is forged', async () => {
    const token = signer.sign({ id: newId(), generation: 1 })
    for (const bytes of [
      '\u0000',
      '\u00ff'.repeat(64),
      '%41'.repeat(21),
      '../'.repeat(21),
      `"${token}"`,
      `${token.slice(0, 63)}\u0100`,
      '𝟘'.repeat(32),
      '__proto__',
    ]) {
      expect((await open(`__Host-id=${bytes}`)).presented).toBe('forged')
    }
  })

  it('is not looked for under nameless pairs, odd white space or quotes', async () => {
    const token = signer.sign({ id: newId(), generation: 1 })
    for (const header of [
      `=__Host-id=${token}`,
      `\u00a0__Host-id=${token}`,
      `x=";__Host-id=${token}"`,
      `__Host-ID=${token}`,
    ]) {
      expect(['none', 'forged']).toContain((await open(header)).presented)
    }
  })

  it('twice with two valid values counts for neither, with an event; twice the same is one', async () => {
    const { sessions } = manager<{ n?: number }>()
    const [first, second] = [browser(sessions), browser(sessions)]
    await first.visit((session) => session.login('ann'))
    await second.visit((session) => session.login('bob'))
    const duplicate = vi.fn()
    sessions.on('duplicate', duplicate)
    expect((await sessions.open(`${first.header}; ${second.header}`)).userId).toBeUndefined()
    expect(duplicate).toHaveBeenCalledOnce()
    expect((await sessions.open(`${first.header}; ${first.header}`)).userId).toBe('ann')
    expect((await sessions.open(`__Host-id=junk; ${first.header}; __Host-id=`)).userId).toBe('ann')
  })

  it('among 10,000 pairs costs less than 5 ms', async () => {
    const many = Array.from({ length: 10_000 }, (_, n) => `c${n}=v`).join('; ')
    const ours = Array.from(
      { length: 10_000 },
      () => `__Host-id=${signer.sign({ id: newId(), generation: 1 })}`,
    ).join('; ')
    expect(await fastest(() => open(many))).toBeLessThan(5)
    expect(await fastest(() => open(ours))).toBeLessThan(5)
    expect((await open(ours)).isNew).toBe(true)
  })
})

describe('a login that finds two sessions', () => {
  it('clears what earlier versions of the site have left', async () => {
    const { sessions } = manager<{ n?: number }>({
      cookie: { formerly: [{ name: 'sid', domain: 'example.org' }] },
    })
    const [first, second] = [browser(sessions), browser(sessions)]
    await first.visit((session) => session.login('ann'))
    await second.visit((session) => session.login('ann'))
    const session = await sessions.open(`${first.header}; ${second.header}`)
    await session.login('ann')
    const { headers } = await sessions.commit(session)
    expect(headers.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value)).toEqual([
      expect.stringMatching(/^__Host-id=[\w-]{64}; Path=\/; HttpOnly; Secure; SameSite=Lax$/),
      'sid=; Path=/; Domain=example.org; Max-Age=0; HttpOnly; Secure; SameSite=Lax',
    ])
  })
})

describe('a record', () => {
  async function withText(change: (text: string) => string, onInvalid?: 'error') {
    const made = manager<{ n?: number }>(onInvalid ? { onInvalid } : {})
    const jar = browser(made.sessions)
    await jar.visit((session) => session.login('ann'))
    const [[key, record]] = (await made.store.scan!(undefined, 1)).items as [[string, StoredRecord]]
    await made.store.update(key, { ...record, rev: '9.x', text: change(record.text) }, record.rev)
    const invalid = vi.fn()
    made.sessions.on('invalid', invalid)
    return { ...made, jar, key, invalid }
  }
  const broken: [string, (text: string) => string][] = [
    ['truncated in its head', (text) => text.slice(0, 10)],
    ['truncated in its data', (text) => text.slice(0, -1)],
    ['empty', () => ''],
    ['of an unknown version', (text) => text.replace(/^A/, 'B')],
    ['not JSON', () => 'O:8:"stdClass":0:{}\nx'],
    ['a JSON value of another kind', () => 'null\nnull'],
    ['with data of another kind', (text) => text.replace(/\n.*/s, '\n42')],
    ['with a __proto__ key', (text) => text.replace(/\n.*/s, '\n{"__proto__":{"admin":true}}')],
    ['with a rich form that devalue refuses', (text) => text.replace(/\n.*/s, '\n[["Evil",1],2]')],
    ['without a number where a time should be', (text) => text.replace(/L\w+/, 'L!')],
  ]

  it.each(broken)(
    '%s gives an anonymous session and an event, and stays where it is',
    async (_what, change) => {
      const { sessions, store, jar, key, invalid } = await withText(change)
      expect(await jar.visit((session) => [session.userId, session.presented, session.data])).toEqual([
        undefined,
        'ended',
        {},
      ])
      expect(invalid).toHaveBeenCalledOnce()
      expect(jar.setCookies).toHaveLength(1)
      const found = await store.load(key)
      expect(found && !isTombstone(found) && found.rev).toBe('9.x')
      expect(await sessions.list('ann')).toBeInstanceOf(Array)
      expect(await sessions.find(key.slice('id:'.length))).toBeUndefined()
      expect(({} as { admin?: boolean }).admin).toBeUndefined()
    },
  )

  it.each(broken)('%s is a clear error with onInvalid: error', async (_what, change) => {
    const { jar } = await withText(change, 'error')
    await expect(jar.visit(() => undefined)).rejects.toThrow(/record|data/)
  })

  it('of 1 MB is refused without being read', async () => {
    const { sessions, jar, invalid } = await withText((text) =>
      text.replace(/\n.*/s, `\n{"a":"${'x'.repeat(1_000_000)}"}`),
    )
    expect(await fastest(() => sessions.open(jar.header))).toBeLessThan(5)
    expect((await sessions.open(jar.header)).presented).toBe('ended')
    expect(String(invalid.mock.lastCall?.[0].error)).toMatch(
      /1000008 characters, far over the limit of 32768/,
    )
  })

  it('nested without end is a clear error', async () => {
    const { jar } = await withText((text) =>
      text.replace(/\n.*/s, `\n{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`),
    )
    await expect(jar.visit((session) => session.data)).rejects.toThrow(/nested deeper than 100 levels/)
  })
})

describe('data that cannot be stored', () => {
  it('is an error that names the path, and nothing is half-written', async () => {
    const { sessions } = manager<Record<string, unknown>>()
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.good = 1))
    await expect(
      jar.visit((session) => {
        session.data.better = 2
        session.data.user = { save: () => 1 }
      }),
    ).rejects.toThrow('data.user.save is a function')
    await expect(jar.visit((session) => void (session.data.big = 'x'.repeat(40_000)))).rejects.toThrow(
      /over the limit of 32768/,
    )
    expect(await jar.visit((session) => session.data)).toEqual({ good: 1 })
  })

  it('makes update() fail and leaves the data as it was', async () => {
    const { sessions } = manager<Record<string, unknown>>()
    const jar = browser(sessions)
    await jar.visit(async (session) => {
      session.data.pending = 1
      const failed = session.update((data) => {
        data.self = data
      })
      await expect(failed).rejects.toThrow(/a cycle/)
      const tooBig = session.update((data) => {
        data.big = 'x'.repeat(40_000)
      })
      await expect(tooBig).rejects.toThrow(/over the limit/)
      expect(session.data).toEqual({ pending: 1 })
    })
    expect(await jar.visit((session) => session.data)).toEqual({ pending: 1 })
  })

  it('a promise is no result of a change', async () => {
    const { sessions } = manager<{ n?: number }>()
    const jar = browser(sessions)
    const change = (async () => 1) as unknown as () => number
    await expect(jar.visit((session) => session.update(change))).rejects.toThrow(/must be synchronous/)
  })

  it.each(['', 'a\u0000b', '\ud800', 'x'.repeat(256), 42, null, undefined, {}])(
    'a user id of %j is refused',
    async (userId) => {
      const { sessions } = manager()
      await expect(browser(sessions).visit((session) => session.login(userId as string))).rejects.toThrow(
        /^login: userId must be text/,
      )
    },
  )
})
