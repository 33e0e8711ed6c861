import { createSessions, OptionsError, type SessionOptions } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { typeOf } from '../src/given.ts'
import { resolveOptions } from '../src/settings.ts'
import { SECRET } from './helpers/browser.ts'

const silent = { warn: vi.fn(), error: vi.fn() }
const resolve = (options: unknown) =>
  resolveOptions({ secret: SECRET, logger: silent, ...(options as object) } as SessionOptions<object>)

describe('options', () => {
  afterEach(() => vi.unstubAllEnvs())

  it('have the defaults that the documentation names', () => {
    const settings = resolve({})
    expect(settings.cookie).toEqual({
      name: '__Host-id',
      attributes: { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' },
      formerly: [],
    })
    expect(settings.lifetime).toEqual({
      idle: 86_400_000,
      absolute: 14 * 86_400_000,
      anonymous: { idle: 86_400_000, absolute: 14 * 86_400_000 },
      rotateEvery: 900_000,
      grace: 300_000,
      touchEvery: 60_000,
      persistent: false,
    })
    expect(settings.maxBytes).toBe(32_768)
    expect(settings.store.name).toBe('memory')
  })

  it('know the presets of NIST SP 800-63B-4', () => {
    expect(resolve({ lifetime: 'aal1' }).lifetime).toMatchObject({ absolute: 30 * 86_400_000, idle: false })
    expect(resolve({ lifetime: 'aal2' }).lifetime).toMatchObject({ absolute: 86_400_000, idle: 3_600_000 })
    expect(resolve({ lifetime: 'aal3' }).lifetime).toMatchObject({ absolute: 43_200_000, idle: 900_000 })
  })

  it('put the prefix before the name of the cookie that its attributes keep', () => {
    const nameOf = (cookie: object) => resolve({ cookie }).cookie.name
    expect(nameOf({ name: 'shop' })).toBe('__Host-shop')
    expect(nameOf({ domain: 'example.org' })).toBe('__Secure-id')
    expect(nameOf({ path: '/app' })).toBe('__Secure-id')
    expect(nameOf({ secure: false })).toBe('id')
    expect(resolve({ name: 'admin' }).cookie.name).toBe('__Host-admin')
    expect(resolve({ cookie: { partitioned: true } }).cookie.attributes).toMatchObject({
      sameSite: 'None',
      partitioned: true,
    })
  })

  const refused: [string, unknown, RegExp][] = [
    ['an unknown option', { stores: 1 }, /^stores: there is no such option/],
    ['an unknown cookie option', { cookie: { maxAge: 1 } }, /^cookie\.maxAge: there is no such option/],
    [
      'an unknown lifetime option',
      { lifetime: { rolling: true } },
      /^lifetime\.rolling: there is no such option/,
    ],
    ['an unknown option, and says which there are', { cookie: { size: 1 } }, /There are: name, \w+, \w+/],
    ['text in place of options', { cookie: 'id' }, /^cookie: takes an object of options, not a string/],
    [
      'a list in place of options',
      { lifetime: { anonymous: ['1h'] } },
      /^lifetime\.anonymous: takes an object of options, not an array/,
    ],
    ['text in place of a boolean', { saveOnError: 'yes' }, /^saveOnError: "yes" must be a boolean/],
    ['a function in place of a boolean', { seal: () => 1 }, /^seal: a function must be a boolean/],
    ['a number in place of a function', { describe: 7 }, /^describe: 7 must be a function/],
    ['an unknown preset', { lifetime: 'aal4' }, /^lifetime: there is no preset "aal4"/],
    ['a short secret', { secret: 'short' }, /^secret: 5 bytes are too few/],
    ['a secret of one letter', { secret: 'a'.repeat(40) }, /^secret: this one can be guessed/],
    [
      'an example of a secret',
      { secret: 'a secret with minimum length of 32 characters' },
      /^secret: this one can be guessed/,
    ],
    ['an old secret that is too short', { secret: [SECRET, 'old'] }, /^secret: 3 bytes/],
    [
      'the same secret twice',
      { secret: [SECRET, Buffer.from(SECRET)] },
      /^secret: number 2 of the list is the same as number 1; leave one of them out/,
    ],
    ['a secret that is no text', { secret: 42 }, /^secret: a number is not a secret/],
    ['a duration that is none', { lifetime: { idle: 'soon' } }, /^lifetime\.idle: "soon" is not a duration/],
    [
      'a duration without a unit',
      { lifetime: { idle: '1800' } },
      /^lifetime\.idle: "1800" is not a duration/,
    ],
    ['a negative duration', { lifetime: { idle: -1 } }, /^lifetime\.idle: -1 is not a duration/],
    ['an idle timeout of nothing', { lifetime: { idle: 0 } }, /^lifetime\.idle: 0 must be more than 0/],
    [
      'idle longer than absolute',
      { lifetime: { idle: '2d', absolute: '1d' } },
      /^lifetime: idle \(2d\) is longer than absolute \(1d\)/,
    ],
    [
      'sameSite none without secure',
      { cookie: { sameSite: 'none', secure: false } },
      /^cookie: sameSite 'none' needs secure/,
    ],
    ['partitioned and lax', { cookie: { partitioned: true, sameSite: 'lax' } }, /^cookie: partitioned/],
    [
      '__Host- with a domain',
      { cookie: { name: '__Host-id', domain: 'example.org' } },
      /^cookie: the name __Host-id needs/,
    ],
    [
      '__Host- without secure',
      { cookie: { name: '__host-id', secure: false } },
      /^cookie: the name __host-id needs/,
    ],
    ['a cookie name with a semicolon', { cookie: { name: 'a;b' } }, /^cookie\.name/],
    ['a path with a semicolon', { cookie: { path: '/;x' } }, /^cookie\.path/],
    ['a domain that is none', { cookie: { domain: 'a;b' } }, /^cookie\.domain/],
    ['an unknown merge rule', { merge: { a: 'plus' } }, /merge: 'plus' for 'a' is no rule/],
    ['what is no store', { store: {} }, /^store: an object is not a store/],
    ['an onInvalid that is none', { onInvalid: 'ignore' }, /^onInvalid: "ignore"/],
    ['a name with a colon', { name: 'a:b' }, /^name: "a:b" must be/],
  ]
  it.each(refused)('refuse %s, by name', (_what, options, message) => {
    expect(() => resolve(options)).toThrow(message)
  })

  it.each([
    [null, 'null'],
    ['secret', 'a string'],
    [[1], 'an array'],
  ])('must be an object, not %j, which is not repeated', (given, told) => {
    expect(() => resolveOptions(given as never)).toThrow(
      new OptionsError(`createSessions: takes an object of options, not ${told}`),
    )
  })

  it('need a secret in production, and make one elsewhere with a warning', () => {
    vi.stubEnv('NODE_ENV', 'production')
    expect(() => createSessions({ logger: silent })).toThrow(OptionsError)
    vi.stubEnv('NODE_ENV', 'development')
    silent.warn.mockClear()
    createSessions({ logger: silent })
    expect(silent.warn).toHaveBeenCalledWith(expect.stringContaining('no secret given'))
  })

  it('refuse two managers of one name on one store, until the first is closed', async () => {
    const store = memoryStore()
    const first = createSessions({ secret: SECRET, store })
    createSessions({ secret: SECRET, store, name: 'admin' })
    expect(() => createSessions({ secret: SECRET, store })).toThrow(
      /^name: there is already a manager called 'id'/,
    )
    await first.close()
    createSessions({ secret: SECRET, store })
  })
})

it('what is given in place of something else is named by its type, and not shown', () => {
  expect([null, undefined, ['a'], { a: 1 }, 'a', 1, () => {}].map(typeOf)).toEqual([
    ...['null', 'undefined', 'an array', 'an object'],
    ...['a string', 'a number', 'a function'],
  ])
})
