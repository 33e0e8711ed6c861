import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { defaultCodec } from '../../src/codec.ts'
import { readCookies } from '../../src/cookie.ts'
import { ProofError, readRefresh, readRegistration } from '../../src/dbsc/proof.ts'
import { createTagger } from '../../src/dbsc/tags.ts'
import { DataError, InvalidRecordError } from '../../src/errors.ts'
import { formatRecord, parseRecord, type SessionRecord } from '../../src/record.ts'
import { recordSeal } from '../../src/seal.ts'
import { csrfSigner } from '../../src/security/csrf-token.ts'
import { isTombstone, type StoredRecord } from '../../src/store.ts'
import {
  decode as decodeFile,
  encode as encodeFile,
  isDamaged,
  type State,
} from '../../src/stores/file/state.ts'
import { copyEntry, recordIn } from '../../src/stores/layered/entry.ts'
import { decodeContent, encodeContent } from '../../src/stores/memcached/value.ts'
import { formatValue, parseIndexed, parseValue } from '../../src/stores/redis/value.ts'
import { tokenSigner } from '../../src/token.ts'
import { REFUSED, type Target } from './fuzz.ts'

/** The corpora were made with these. */
export const SECRETS = ['newest', 'older'].map((text) => createHash('sha256').update(text).digest())
export const NAME = 'id'
export const BOUND = JSON.stringify(['a handle', 'id:ada', null])
export const LOGIN = { handle: 'a handle', userSince: 2 }
export const CONTEXT = ['a handle', 'a binding']
export const DEVICE_KEY = {
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
}

const tokens = tokenSigner(SECRETS, NAME)
const seal = recordSeal(SECRETS, NAME)
const csrf = csrfSigner(SECRETS, NAME)
const tagger = createTagger(SECRETS, NAME, 'challenge')

/** Those errors are refusals, and whatever else is thrown is a crash. */
function refusing<T>(read: () => T, ...refusals: (new (...args: never[]) => Error)[]): T | typeof REFUSED {
  try {
    return read()
  } catch (error) {
    if (refusals.some((refusal) => error instanceof refusal)) return REFUSED
    throw error
  }
}

function same(one: unknown, other: unknown, what: string): void {
  if (!isDeepStrictEqual(one, other)) throw new Error(what)
}

/** JSON has a -0 that is written as 0. */
function sameText<T>(write: (value: T) => string, read: (text: string) => T | undefined, value: T): void {
  const text = write(value)
  same(write(read(text) as T), text, 'what is written again is not the same')
}

const COOKIE = '__Host-id'
const cookiePart = fc.oneof(
  fc.constantFrom(
    COOKIE,
    '=',
    ';',
    '; ',
    ' ',
    '\t',
    '\u00a0',
    ',',
    '"',
    `${COOKIE}=`,
    `x${COOKIE}=`,
    '__host-id=',
    'a=b',
    '\0',
  ),
  fc.string({ maxLength: 4 }),
)
const json = fc.json({ noUnicodeString: false, maxDepth: 4 })

export const targets: Record<string, Target> = {
  cookie: {
    read(header) {
      const values = readCookies(header, COOKIE, 8)
      return values.length === 0 ? REFUSED : values
    },
    // As anybody would write it who has time.
    check(values, header) {
      const pairs = header.split(';').map((pair) => pair.replace(/^[ \t]+|[ \t]+$/g, ''))
      const own = pairs.filter((pair) => pair.startsWith(`${COOKIE}=`))
      const expected = own.map((pair) => pair.slice(COOKIE.length + 1).replace(/^[ \t]+$/, ''))
      same(values, expected.slice(0, 8), 'it is not what splitting at the semicolons gives')
    },
    grammar: fc.array(cookiePart, { maxLength: 24 }).map((parts) => parts.join('')),
  },
  token: { read: (text) => tokens.verify(text) ?? REFUSED },
  'csrf-token': { read: (text) => csrf.verify(text, LOGIN) || REFUSED },
  'challenge-and-bound-cookie': { read: (text) => tagger.verify(text, CONTEXT) ?? REFUSED },
  seal: { read: (text) => refusing(() => seal.open(text, BOUND), InvalidRecordError) },
  codec: {
    // A codec may throw what it likes: the core makes one error of it. But nothing may come of it that cannot be a session's data.
    read: (text) => refusing(() => defaultCodec.decode(text), Error),
    check(data) {
      const text = refusing(() => defaultCodec.encode(data as object), DataError)
      // JSON may be nested deeper than what is written.
      if (text === REFUSED) return
      same(defaultCodec.encode(defaultCodec.decode(text)), text, 'what is encoded again is not the same')
      if (Object.getPrototypeOf(data) !== Object.prototype && Object.getPrototypeOf(data) !== null)
        throw new Error('it is no plain object')
      if (Object.keys(Object.prototype).length > 0) throw new Error('all objects have got another property')
    },
    grammar: json,
  },
  record: {
    read: (text) => refusing(() => parseRecord(text, { user: 'ada' }), InvalidRecordError),
    check(result) {
      const { record, data } = result as { record: SessionRecord; data: string }
      same(
        parseRecord(formatRecord(record, data), { user: 'ada' }),
        result,
        'what is written again is not the same',
      )
      const times = [
        record.createdAt,
        record.rotatedAt,
        record.confirmedAt,
        record.authenticatedAt,
        record.endsAt,
      ]
      for (const time of times) if (time !== undefined) new Date(time).toISOString()
      for (const { category, message } of record.flashes)
        same(typeof category + typeof message, 'stringstring', 'a flash message')
    },
    grammar: fc
      .tuple(fc.stringMatching(/^A[0-9a-z]{1,12}([A-Z]-?[0-9a-z]{0,12}){0,6}$/), fc.option(json))
      .map(([head, rest]) => `${head}${rest === null ? '' : ` ${rest}`}\n{}`),
  },
  'redis-value': {
    // The server's answer is read as UTF-8, which has no half of a surrogate pair.
    read: (text) => parseValue(text.toWellFormed()) ?? REFUSED,
    check(result, text) {
      const value = result as NonNullable<ReturnType<typeof parseValue>>
      if (isTombstone(value)) return checkTime(value.destroyedUntil)
      checkRecord(value)
      const { name } = parseIndexed(/^\S+ \S+ \S+ ([^\n]*)/.exec(text)?.[1] ?? '')
      same(parseValue(formatValue(value, name)), value, 'what is written again is not the same')
    },
  },
  'memcached-value': {
    read: (text) => decodeContent(Buffer.from(text)) ?? REFUSED,
    check(result) {
      const content = result as NonNullable<ReturnType<typeof decodeContent>>
      if (isTombstone(content)) return checkTime(content.destroyedUntil)
      checkRecord(content)
      same(
        decodeContent(Buffer.from(encodeContent(content))),
        content,
        'what is written again is not the same',
      )
    },
    grammar: json.map((header) => `${header}\n{}`),
  },
  file: {
    read(text) {
      const state = decodeFile(Buffer.from(text))
      return isDamaged(state) ? REFUSED : state
    },
    check(result) {
      const state = result as State
      if ('record' in state) checkRecord(state.record)
      else checkTime(state.destroyedUntil)
      sameText(
        (each: State) => encodeFile(each).toString(),
        (text) => decodeFile(Buffer.from(text)) as State,
        state,
      )
    },
    grammar: json.map((header) => `${header}\n`),
  },
  'layered-entry': {
    // What a cache has spoilt is an event, and the database is asked.
    read: (text) => refusing(() => recordIn({ rev: '1abcd', text, lastSeen: 1, expires: 2 }), Error),
    check(result) {
      const record = result as StoredRecord
      checkRecord(record)
      sameText(
        (each: StoredRecord) => copyEntry(each, 1, 1).text,
        (text) => recordIn({ ...record, text }),
        record,
      )
    },
    grammar: json.map((header) => `${header}\n{}`),
  },
  'refresh-proof': { read: (header) => refusing(() => readRefresh(header, DEVICE_KEY), ProofError) },
  'registration-proof': { read: (header) => refusing(() => readRegistration(header), ProofError) },
}

function checkRecord({ rev, text, user, externalId, lastSeen, expires }: StoredRecord): void {
  for (const each of [rev, text]) same(typeof each, 'string', 'a text of the record is none')
  for (const each of [user ?? '', externalId ?? '']) same(typeof each, 'string', 'the owner is no text')
  for (const each of [lastSeen, expires]) checkTime(each)
}

function checkTime(time: unknown): void {
  if (typeof time !== 'number' || !Number.isFinite(time)) throw new Error(`${time} is no time`)
}
