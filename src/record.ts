import { InvalidRecordError } from './errors.ts'
import type { StoredRecord } from './store.ts'

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
  readonly flashes: readonly Flash[]
  /** The three revisions before the stored one: they decide a write whose answer was lost. */
  readonly revs: readonly string[]
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
    revs: [],
  }
}

/**
 * The text of a record: one line of JSON about the session, then its data as the codec wrote it. Times are milliseconds after
 * `at`, and what has its usual value is left out, which keeps the line near 30 bytes for a visitor and 110 for a user.
 */
interface Head {
  v: 1
  at: number
  g?: number
  r?: number
  /** Confirmed: absent at once (as after a login), null not yet. */
  c?: number | null
  b?: number
  t?: number
  s?: number
  l?: number
  lv?: string
  lu?: number
  st?: string
  idle?: number | false
  abs?: number | false
  end?: number
  per?: boolean
  ck?: number
  about?: Record<string, string>
  f?: [id: string, category: string, message: string][]
  p?: string
}

/** Written piece by piece, which takes a third of the time of making an object for JSON.stringify. */
export function formatRecord(record: SessionRecord, data: string): string {
  const at = record.createdAt
  let head = `{"v":1,"at":${at}`
  const add = (name: keyof Head, value: number | boolean | null) => (head += `,"${name}":${value}`)
  const addText = (name: keyof Head, value: unknown) => (head += `,"${name}":${JSON.stringify(value)}`)
  if (record.generation !== 1) add('g', record.generation)
  if (record.rotatedAt !== at) add('r', record.rotatedAt - at)
  if (record.confirmedAt !== record.rotatedAt)
    add('c', record.confirmedAt === undefined ? null : record.confirmedAt - at)
  if (record.retiredBelow !== 0) {
    add('b', record.retiredBelow)
    add('t', record.retiredAt - at)
  }
  if (record.userSince !== 0) add('s', record.userSince)
  if (record.authenticatedAt !== undefined) add('l', record.authenticatedAt - at)
  if (record.level !== undefined) addText('lv', record.level)
  if (record.levelUntil !== undefined) add('lu', record.levelUntil - at)
  if (record.stamp !== undefined) addText('st', record.stamp)
  if (record.idle !== undefined) add('idle', record.idle)
  if (record.absolute !== undefined) add('abs', record.absolute)
  if (record.endsAt !== undefined) add('end', record.endsAt - at)
  if (record.persistent !== undefined) add('per', record.persistent)
  if (record.cookieAt !== undefined) add('ck', record.cookieAt - at)
  if (record.about !== undefined) addText('about', record.about)
  if (record.flashes.length > 0)
    addText(
      'f',
      record.flashes.map((flash) => [flash.id, flash.category, flash.message]),
    )
  if (record.revs.length > 0) addText('p', record.revs.join(' '))
  return `${head}}\n${data}`
}

/** @throws InvalidRecordError when the text is truncated, of an unknown version or not ours at all */
export function parseRecord(
  text: string,
  stored: Pick<StoredRecord, 'user' | 'externalId'>,
): { record: SessionRecord; data: string } {
  const end = text.indexOf('\n')
  if (end === -1)
    throw new InvalidRecordError(
      'the record has no data line: it is truncated or was not written by Holdfast',
    )
  const head = parseHead(text.slice(0, end))
  const { at } = head
  const rotatedAt = at + (head.r ?? 0)
  const record: SessionRecord = {
    createdAt: at,
    user: stored.user,
    externalId: stored.externalId,
    generation: head.g ?? 1,
    rotatedAt,
    confirmedAt: head.c === undefined ? rotatedAt : head.c === null ? undefined : at + head.c,
    retiredBelow: head.b ?? 0,
    retiredAt: head.t === undefined ? 0 : at + head.t,
    userSince: head.s ?? 0,
    authenticatedAt: after(at, head.l),
    level: head.lv,
    levelUntil: after(at, head.lu),
    stamp: head.st,
    idle: head.idle,
    absolute: head.abs,
    endsAt: after(at, head.end),
    persistent: head.per,
    cookieAt: after(at, head.ck),
    about: head.about,
    flashes: head.f === undefined ? [] : head.f.map(([id, category, message]) => ({ id, category, message })),
    revs: head.p === undefined ? [] : head.p.split(' '),
  }
  return { record, data: text.slice(end + 1) }
}

function parseHead(line: string): Head {
  let head: Partial<Head> | null
  try {
    head = JSON.parse(line)
  } catch (cause) {
    throw new InvalidRecordError('the first line of the record is not JSON', { cause })
  }
  if (head?.v !== 1 || typeof head.at !== 'number') {
    throw new InvalidRecordError(`the record is of version ${String(head?.v)}; this Holdfast reads version 1`)
  }
  return head as Head
}

function after(at: number, offset: number | undefined): number | undefined {
  return offset === undefined ? undefined : at + offset
}
