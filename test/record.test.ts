import { describe, expect, it } from 'vitest'
import { InvalidRecordError } from '../src/errors.ts'
import { formatRecord, newRecord, parseRecord, type SessionRecord } from '../src/record.ts'

const MADE = 1_800_000_000_000
const visitor = newRecord(MADE)
/** Logged in a minute later, which is the second token. */
const user: SessionRecord = {
  ...visitor,
  authenticatedAt: MADE + 60_000,
  generation: 2,
  rotatedAt: MADE + 60_000,
  confirmedAt: MADE + 60_000,
  retiredBelow: 2,
  retiredAt: MADE + 60_000,
  userSince: 2,
}
const NOBODY = { user: undefined, externalId: undefined } as never

function head(record: SessionRecord): string {
  const text = formatRecord(record, '{"n":1}')
  const [line, ...rest] = text.split('\n')
  expect(rest).toEqual(['{"n":1}'])
  expect(parseRecord(text, NOBODY).record).toEqual(record)
  return line!
}

describe('a record', () => {
  it('comes back as it was, whatever is in it', () => {
    let seed = 1
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647
    const pick = <T>(...list: T[]) => list[Math.floor(random() * list.length)]!
    const text = () =>
      pick('', 'a', '"', '\\', '\n', '\u2028', '\ud800', '☃', '\0', '__proto__', '{"v":2}\n', ' ') +
      pick('', 'x', '"}', '\\"')
    const time = (at: number) => at + pick(0, 1, -5, 1e12, -1e13, 86_400_000, 8.64e15 - at)
    for (let i = 0; i < 20_000; i++) {
      const at = pick(0, 1_800_000_000_000, 1, -1_000)
      const maybe = <T>(value: T) => (random() < 0.5 ? undefined : value)
      const retiredBelow = pick(0, 0, 1, 2 ** 24 - 1)
      const record = {
        ...newRecord(at),
        user: undefined,
        externalId: undefined,
        generation: pick(1, 2, 2 ** 24 - 1),
        rotatedAt: time(at),
        confirmedAt: maybe(time(at)),
        retiredBelow,
        retiredAt: retiredBelow === 0 ? 0 : time(at),
        userSince: pick(0, 1, 77),
        authenticatedAt: maybe(time(at)),
        level: maybe(text()),
        levelUntil: maybe(time(at)),
        stamp: maybe(text()),
        idle: maybe(pick<number | false>(false, 1, 0.5, 1e21)),
        absolute: maybe(pick<number | false>(false, 1, 1e-7)),
        endsAt: maybe(time(at)),
        persistent: maybe(pick(true, false)),
        cookieAt: maybe(time(at)),
        client: maybe(pick<object>({}, { browser: text() }, { browser: text(), network: text() })),
        about: maybe(
          JSON.parse(`{${JSON.stringify(text())}:${JSON.stringify(text())}}`) as Record<string, string>,
        ),
        bound: maybe(text()),
        flashes: Array.from({ length: pick(0, 1, 3) }, () => ({
          id: text(),
          category: text(),
          message: text(),
        })),
      }
      const data = pick('{}', '{"a":"\n"}', '[1,2]', '')
      const back = parseRecord(formatRecord(record, data), {
        user: undefined,
        externalId: undefined,
      } as never)
      expect(back).toEqual({ record, data })
    }
  })

  it('of a visitor has 9 characters before its data, and 14 after a login', () => {
    expect(head(visitor)).toBe('Amywpiww0')
    expect(head(user)).toBe('Amywpiww0L1aao')
  })

  const later = MADE + 61_000
  const ofUsers: [string, Partial<SessionRecord>, string][] = [
    ['a login that was not the first', { userSince: 3, retiredBelow: 3, generation: 3 }, 'S3'],
    ['a retirement other than by the login', { retiredBelow: 3, generation: 3 }, 'B3'],
    ['a login that retired less than itself', { userSince: 3 }, 'S3B2'],
    [
      'a step-up',
      { retiredBelow: 3, generation: 3, retiredAt: later, rotatedAt: later, confirmedAt: later },
      'B3T1b2g',
    ],
    [
      'a rotation that nobody has used',
      { generation: 3, rotatedAt: later, confirmedAt: undefined },
      'G3R1b2gC',
    ],
    [
      'a rotation that was used later',
      { generation: 3, rotatedAt: later, confirmedAt: later + 1000 },
      'G3R1b2gC1bu8',
    ],
    ['an end of its own', { endsAt: MADE + 3_600_000 }, 'E255s0'],
    ['a cookie sent by a clock that is behind', { cookieAt: MADE - 5 }, 'K-5'],
    ['a level', { level: '2fa', levelUntil: MADE + 7 }, ' {"lv":"2fa","lu":7}'],
    ['a level that begins with the session', { levelUntil: MADE }, ' {"lu":0}'],
    ['a stamp', { stamp: 's' }, ' {"st":"s"}'],
    ['timeouts of its own', { idle: false, absolute: 5 }, ' {"idle":false,"abs":5}'],
    ['a cookie that goes with the browser', { persistent: false }, ' {"per":false}'],
    ['a few words about the device', { about: { browser: 'x' } }, ' {"about":{"browser":"x"}}'],
    ['what it is bound to', { bound: 'a device' }, ' {"bd":"a device"}'],
    ['flash messages', { flashes: [{ id: 'i', category: 'c', message: 'm' }] }, ' {"f":[["i","c","m"]]}'],
  ]
  it.each(ofUsers)('of a user with %s has that besides', (_what, change, written) => {
    expect(head({ ...user, ...change })).toBe(`Amywpiww0L1aao${written}`)
  })

  const ofVisitors: [string, Partial<SessionRecord>, string][] = [
    ['a rotation', { generation: 2, rotatedAt: later, confirmedAt: later }, 'G2R1b2g'],
    [
      'a step-up',
      { generation: 2, retiredBelow: 2, retiredAt: later, rotatedAt: later, confirmedAt: undefined },
      'B2T1b2gC',
    ],
    ['a first token that was used later', { confirmedAt: later }, 'C1b2g'],
  ]
  it.each(ofVisitors)('of a visitor with %s has that besides', (_what, change, written) => {
    expect(head({ ...visitor, ...change })).toBe(`Amywpiww0${written}`)
  })

  it('takes its user and external id from beside the text', () => {
    const { record } = parseRecord(formatRecord(user, ''), { user: 'ann', externalId: 'sid' })
    expect(record).toMatchObject({ user: 'ann', externalId: 'sid' })
  })
})

describe('what is no record of ours', () => {
  const parsing = (text: string) => () => parseRecord(text, {})

  it('is refused if it was cut', () => {
    expect(parsing('Amywpiww0')).toThrow(InvalidRecordError)
    expect(parsing('Amywpiww0')).toThrow(/no data line: it is truncated/)
  })

  it.each([
    'Bmywpiww0',
    ' Amywpiww0',
    '',
    'A',
    'A-',
    'AL1aao',
    'Amywpiww0 ',
    'Amywpiww0 x',
    'Amywpiww0 {} ',
    'Amywpiww0L1aao{}',
    'Amywpiww0l1aaoé',
    '{"v":1}',
  ])('is refused with the first line %j', (line) => {
    expect(parsing(`${line}\n{}`)).toThrow(InvalidRecordError)
    expect(parsing(`${line}\n{}`)).toThrow(/^the first line of the record is not as this version/)
  })

  it('has generations up to the last that a token can have, and times as far as a Date goes', () => {
    const furthest = 8_640_000_000_000_000
    const all = (fields: Partial<SessionRecord>) =>
      parseRecord(formatRecord({ ...user, ...fields }, ''), NOBODY).record
    const generations = { generation: 2 ** 24 - 1, retiredBelow: 2 ** 24 - 1, userSince: 2 ** 24 - 1 }
    expect(all(generations)).toMatchObject(generations)
    for (const time of [furthest, -furthest]) {
      const times = { rotatedAt: time, confirmedAt: time, retiredAt: time, endsAt: time, cookieAt: time }
      expect(all(times)).toMatchObject(times)
    }
    for (const name of ['generation', 'retiredBelow', 'userSince'] as const)
      for (const value of [-1, 2 ** 24])
        expect(() => all({ [name]: value }), name).toThrow(/that no session has$/)
    expect(() => all({ generation: 0 })).toThrow(/a time or a generation that no session has$/)
    for (const name of [
      'rotatedAt',
      'confirmedAt',
      'retiredAt',
      'authenticatedAt',
      'endsAt',
      'cookieAt',
    ] as const)
      for (const value of [furthest + 2, -furthest - 2])
        expect(() => all({ [name]: value }), `${name} ${value}`).toThrow(InvalidRecordError)
    expect(() => parseRecord('A2dw3cgn5j9n\n', NOBODY)).toThrow(/that no session has$/)
  })

  it.each([
    ...[
      '{"lv":5}',
      '{"st":{}}',
      '{"bd":[]}',
      '{"lu":"9"}',
      '{"lu":null}',
      '{"idle":"x"}',
      '{"idle":true}',
      '{"abs":null}',
      '{"per":1}',
    ],
    ...[
      '{"about":1}',
      '{"about":null}',
      '{"about":["x"]}',
      '{"about":{"a":1}}',
      '{"cl":"x"}',
      '{"cl":{"browser":5}}',
    ],
    ...[
      '{"f":1}',
      '{"f":{"length":0}}',
      '{"f":[null]}',
      '{"f":["abc"]}',
      '{"f":[["a","b"]]}',
      '{"f":[["a","b",3]]}',
    ],
  ])('is refused if its fields have other types: %s', (rest) => {
    const name = Object.keys(JSON.parse(rest))[0]
    const message = `${name} in the first line of the record is not as Holdfast writes it`
    expect(() => parseRecord(`Amywpiww0 ${rest}\n{}`, NOBODY)).toThrow(message)
  })

  it('is refused if the line ends with what is not JSON, without a word of it', () => {
    const refused = parsing('Amywpiww0 {"st":}\n{}')
    expect(refused).toThrow(InvalidRecordError)
    expect(refused).toThrow(/^what the first line of the record ends with is not JSON$/)
    expect(refused).toThrow(expect.not.objectContaining({ cause: expect.anything() }))
  })
})
