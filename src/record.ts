import { InvalidRecordError } from './errors.ts'
import { NEVER, type StoredRecord } from './store.ts'
import { MAX_GENERATION } from './token.ts'

/**
 * What the core knows about a session beside its data: the part of a stored record that operations change. Times are
 * milliseconds since 1970. A plain value: an operation makes a new one.
 */
export interface SessionRecord {
  readonly createdAt: number
  readonly user?: string
  readonly externalId?: string

  readonly generation: number
  /** When the current generation began. */
  readonly rotatedAt: number
  /** When a request first used the current generation. Absent: not yet, so its answer may have been lost. */
  readonly confirmedAt?: number
  /** Generations below are dead, since `retiredAt`. */
  readonly retiredBelow: number
  readonly retiredAt: number
  /** The generation at which the present user logged in. */
  readonly userSince: number

  readonly authenticatedAt?: number
  readonly level?: string
  readonly levelUntil?: number
  readonly stamp?: string

  /** What `setLifetime` asked for, in place of the policy. */
  readonly idle?: number | false
  readonly absolute?: number | false
  readonly endsAt?: number
  readonly persistent?: boolean
  /** When a persistent cookie was last sent. */
  readonly cookieAt?: number

  readonly about?: Readonly<Record<string, string>>
  /** Of the client that logged in, with `watchClient`. */
  readonly client?: ClientWords
  /** What an extension keeps of this login, as text that only it reads: for `holdfast/dbsc`, the key of the device. */
  readonly bound?: string
  readonly flashes: readonly Flash[]
}

/**
 * What of a client a session remembers from its login on, to tell when it is used by a very different one: two words of 48 bits, under a key that
 * the store does not have, each user's for themselves. They are kept in the session's record and nowhere else.
 */
export interface ClientWords {
  readonly browser?: string
  readonly network?: string
}

export interface Flash {
  readonly id: string
  readonly category: string
  readonly message: string
}

export function newRecord(now: number): SessionRecord {
  return {
    createdAt: now,
    generation: 1,
    rotatedAt: now,
    confirmedAt: now,
    retiredBelow: 0,
    retiredAt: 0,
    userSince: 0,
    flashes: [],
  }
}

/*
 * The text of a record: one line about the session, then its data as the codec wrote it.
 *
 *   Amjhy9qjs                               made, and nothing since
 *   Amjhy9qjsL1aao                          logged in a minute later
 *   Amjhy9qjsL1aaoG3Rilpc {"st":"…"}        with a stamp, and rotated
 *
 * A capital names a field, and its number follows, to the base of 36. `A` is when the session was made, and this form of the line, so that
 * another form begins with another letter. The other times are milliseconds after that one. What is no whole number is JSON after a space. What
 * follows from the fields before it is left out: the line has 9 characters for a visitor, and 14 after a login.
 */

/** What is JSON. */
interface Rest {
  lv?: string
  /** After the session was made: a time to live may be any number. */
  lu?: number
  st?: string
  idle?: number | false
  abs?: number | false
  per?: boolean
  about?: Record<string, string>
  cl?: ClientWords
  bd?: string
  f?: [id: string, category: string, message: string][]
}

/** Of most sessions, a user's first login is into what an anonymous visit began. */
const USUAL_LOGIN = 2

export function formatRecord(record: SessionRecord, data: string): string {
  const {
    createdAt: at,
    authenticatedAt,
    userSince,
    retiredBelow,
    retiredAt,
    rotatedAt,
    confirmedAt,
  } = record
  let head = `A${at.toString(36)}`
  const add = (tag: string, value: number) => (head += tag + value.toString(36))
  if (authenticatedAt !== undefined) add('L', authenticatedAt - at)
  if (userSince !== usualUserSince(authenticatedAt)) add('S', userSince)
  if (retiredBelow !== userSince) add('B', retiredBelow)
  if (retiredBelow !== 0 && retiredAt !== (authenticatedAt ?? at)) add('T', retiredAt - at)
  if (record.generation !== (retiredBelow || 1)) add('G', record.generation)
  if (rotatedAt !== (retiredAt || at)) add('R', rotatedAt - at)
  if (confirmedAt === undefined) head += 'C'
  else if (confirmedAt !== rotatedAt) add('C', confirmedAt - at)
  if (record.endsAt !== undefined) add('E', record.endsAt - at)
  if (record.cookieAt !== undefined) add('K', record.cookieAt - at)
  return `${head}${formatRest(record)}\n${data}`
}

/** Written piece by piece, which takes a third of the time of making an object for JSON.stringify. */
function formatRest(record: SessionRecord): string {
  const { createdAt, level, levelUntil, stamp, idle, absolute, persistent, about, client, bound, flashes } =
    record
  let rest = ''
  const add = (name: keyof Rest, value: unknown) => (rest += `,"${name}":${JSON.stringify(value)}`)
  if (level !== undefined) add('lv', level)
  if (levelUntil !== undefined) add('lu', levelUntil - createdAt)
  if (stamp !== undefined) add('st', stamp)
  if (idle !== undefined) add('idle', idle)
  if (absolute !== undefined) add('abs', absolute)
  if (persistent !== undefined) add('per', persistent)
  if (about !== undefined) add('about', about)
  if (client !== undefined) add('cl', client)
  if (bound !== undefined) add('bd', bound)
  if (flashes.length > 0) {
    const listed = flashes.map((flash) => [flash.id, flash.category, flash.message])
    add('f', listed)
  }
  return rest && ` {${rest.slice(1)}}`
}

/** Each number has one spelling. */
const HEAD = /^A(0|-?[1-9a-z][0-9a-z]*)((?:[A-Z](?:0|-?[1-9a-z][0-9a-z]*)?)*)(?: (\{.*\}))?$/s
const FIELD = /([A-Z])([^A-Z]*)/g

/** @throws InvalidRecordError when the text is truncated, of another version or not ours at all */
export function parseRecord(
  text: string,
  stored: Pick<StoredRecord, 'user' | 'externalId'>,
): { record: SessionRecord; data: string } {
  const end = text.indexOf('\n')
  if (end === -1)
    throw new InvalidRecordError(
      'the record has no data line: it is truncated or was not written by Holdfast',
    )
  const head = HEAD.exec(text.slice(0, end))
  if (head === null) {
    throw new InvalidRecordError('the first line of the record is not as this version of Holdfast writes it')
  }
  const at = Number.parseInt(head[1]!, 36)
  const fields = head[2] === '' ? NO_FIELDS : parseFields(head[2]!)
  const rest = head[3] === undefined ? NO_REST : parseRest(head[3])
  const time = (tag: string) => {
    const offset = fields[tag]
    return offset === undefined ? undefined : at + offset
  }
  const authenticatedAt = time('L')
  const userSince = fields.S ?? usualUserSince(authenticatedAt)
  const retiredBelow = fields.B ?? userSince
  const retiredAt = retiredBelow === 0 ? 0 : (time('T') ?? authenticatedAt ?? at)
  const rotatedAt = time('R') ?? (retiredAt || at)
  const record: SessionRecord = {
    createdAt: at,
    user: stored.user,
    externalId: stored.externalId,
    generation: fields.G ?? (retiredBelow || 1),
    rotatedAt,
    confirmedAt: 'C' in fields ? time('C') : rotatedAt,
    retiredBelow,
    retiredAt,
    userSince,
    authenticatedAt,
    level: rest.lv,
    levelUntil: rest.lu === undefined ? undefined : at + rest.lu,
    stamp: rest.st,
    idle: rest.idle,
    absolute: rest.abs,
    endsAt: time('E'),
    persistent: rest.per,
    cookieAt: time('K'),
    about: rest.about,
    client: rest.cl,
    bound: rest.bd,
    flashes: rest.f === undefined ? [] : rest.f.map(([id, category, message]) => ({ id, category, message })),
  }
  if (!isPossible(record)) {
    throw new InvalidRecordError(
      'the first line of the record has a time or a generation that no session has',
    )
  }
  return { record, data: text.slice(end + 1) }
}

function isPossible(record: SessionRecord): boolean {
  const { generation, retiredBelow, userSince } = record
  return (
    generation >= 1 &&
    isGeneration(generation) &&
    isGeneration(retiredBelow) &&
    isGeneration(userSince) &&
    isTime(record.createdAt) &&
    isTime(record.rotatedAt) &&
    isTime(record.retiredAt) &&
    isTime(record.confirmedAt) &&
    isTime(record.authenticatedAt) &&
    isTime(record.endsAt) &&
    isTime(record.cookieAt)
  )
}

function isGeneration(generation: number): boolean {
  return generation >= 0 && generation <= MAX_GENERATION
}

/** As a Date can be. */
function isTime(time = 0): boolean {
  return Math.abs(time) <= NEVER
}

type Fields = Readonly<Record<string, number | undefined>>

const NO_FIELDS: Fields = {}
const NO_REST: Rest = {}

/** Without a number a field is there and has no value. */
function parseFields(text: string): Fields {
  const fields: Record<string, number | undefined> = {}
  for (const [, tag, value] of text.matchAll(FIELD)) {
    fields[tag!] = value === '' ? undefined : Number.parseInt(value!, 36)
  }
  return fields
}

function parseRest(json: string): Rest {
  let rest: Record<string, unknown>
  try {
    rest = JSON.parse(json)
  } catch {
    // The message of JSON.parse quotes what it read.
    throw new InvalidRecordError('what the first line of the record ends with is not JSON')
  }
  for (const name of REST_NAMES) {
    if (rest[name] === undefined || IS_REST[name](rest[name])) continue
    throw new InvalidRecordError(`${name} in the first line of the record is not as Holdfast writes it`)
  }
  return rest
}

const isText = (value: unknown) => typeof value === 'string'
const isLimit = (value: unknown) => value === false || Number.isFinite(value)
const isListOfTexts = (value: unknown) => Array.isArray(value) && value.every(isText)
const isObjectOfTexts = (value: unknown) =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(isText)

const IS_REST: Readonly<Record<keyof Rest, (value: unknown) => boolean>> = {
  lv: isText,
  lu: Number.isFinite,
  st: isText,
  idle: isLimit,
  abs: isLimit,
  per: (value) => typeof value === 'boolean',
  about: isObjectOfTexts,
  cl: isObjectOfTexts,
  bd: isText,
  f: (value) => Array.isArray(value) && value.every((flash) => isListOfTexts(flash) && flash.length === 3),
}
const REST_NAMES = Object.keys(IS_REST) as (keyof Rest)[]

function usualUserSince(authenticatedAt: number | undefined): number {
  return authenticatedAt === undefined ? 0 : USUAL_LOGIN
}
