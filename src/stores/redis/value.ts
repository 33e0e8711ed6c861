import { randomBytes } from 'node:crypto'
import { NEVER, type StoredRecord, type Tombstone } from '../../store.ts'

/*
 * What is kept under a key, readable in redis-cli:
 *
 *   mjhy9qjs 1d 2kJxQ7m_a k3@id:ada #op:7 ⏎ text
 *   destroyed 1766509321464
 *
 * Last seen (to the base of 36), lifetime, revision; and if the record has an owner, how it is indexed, and the user after `@`, the external
 * id after `#`. The record expires its lifetime after it was last seen; `never` if it does not. Spaces, controls, `%` and `~` are
 * percent-encoded in the fields. A UUID that ends a user or external id is `~` and its 16 bytes in base64url.
 *
 * `k3` and the key are its entry in the sorted sets of its user and external id. Whoever indexes a record draws a name for the
 * entry that no other entry of the key has, and so can remove its own without ever removing the one that a concurrent writer relies on.
 *
 * All this is so short because a size of memory that the server hands out ends at 512 bytes, and the next is 640.
 */

export type Owner = Pick<StoredRecord, 'user' | 'externalId'>

const TOMBSTONE = 'destroyed '
const UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 }
const UNIT_NAMES = ['d', 'h', 'm', 's'] as const
/** Seconds. How long an entry may outlive its record, at the most: 24.3 days. */
const MOST_SLACK = 2 ** 21
/** Characters of base64url. */
const NAME_LENGTH = 2

export function formatValue(record: StoredRecord, name = ''): string {
  requireWellFormed(record.text, 'text')
  const { rev, text, lastSeen, expires } = record
  const lifetime = expires >= NEVER ? 'never' : formatLifetime(expires - lastSeen)
  const owner = formatOwner(record)
  return `${lastSeen.toString(36)} ${lifetime} ${encodePercent(rev)}${owner && ` ${name}${owner}`}\n${text}`
}

const HEAD =
  /^([0-9a-z]{1,11}) (never|-?[0-9]{1,16}[dhms]?) ([^ ]+)(?: ([^@# ]*(?:@[^ ]*(?: #[^ ]*)?|#[^ ]*)))?$/
/** As `encodePercent` writes. */
const ENCODED = /^(?:[^%]|%[0-7][0-9A-F])*$/

/** Nothing if it is no value of ours. */
export function parseValue(value: string): StoredRecord | Tombstone | undefined {
  if (value.startsWith(TOMBSTONE)) {
    const until = value.slice(TOMBSTONE.length)
    return /^-?\d{1,16}$/.test(until) ? { destroyedUntil: Number(until) } : undefined
  }
  const newline = value.indexOf('\n')
  const head = value.slice(0, Math.max(newline, 0))
  const parts = HEAD.exec(head)
  if (parts === null || (head.includes('%') && !ENCODED.test(head))) return undefined
  const [, seen, lifetime, rev, indexed] = parts as unknown as [string, string, string, string, string?]
  const lastSeen = Number.parseInt(seen, 36)
  const expires = lifetime === 'never' ? NEVER : lastSeen + parseLifetime(lifetime)
  if (lastSeen > NEVER || Math.abs(expires) > NEVER) return undefined
  const owner = indexed === undefined ? {} : parseIndexed(indexed).owner
  return { rev: decodePercent(rev), text: value.slice(newline + 1), ...owner, lastSeen, expires }
}

/** In the largest unit that leaves no fraction: `1d`, `90m`, `1234`. */
function formatLifetime(milliseconds: number): string {
  for (const unit of UNIT_NAMES) {
    if (milliseconds % UNITS[unit] === 0) return milliseconds / UNITS[unit] + unit
  }
  return String(milliseconds)
}

function parseLifetime(text: string): number {
  return Number.parseInt(text, 10) * (UNITS[text.slice(-1) as keyof typeof UNITS] ?? 1)
}

// ---- owners ----

/** How an owner is written in a value: `@id:ada #op:7`. Empty if there is none. */
export function formatOwner({ user, externalId }: Owner): string {
  if (user === undefined) return externalId === undefined ? '' : formatExternalId(externalId)
  return externalId === undefined ? formatUser(user) : `${formatUser(user)} ${formatExternalId(externalId)}`
}

export function formatUser(user: string): string {
  return `@${encode(requireWellFormed(user, 'user'))}`
}

export function formatExternalId(externalId: string): string {
  return `#${encode(requireWellFormed(externalId, 'external id'))}`
}

/** Takes `k3@id:ada #op:7` apart. */
export function parseIndexed(indexed: string): { readonly name: string; readonly owner: Owner } {
  const owner: { user?: string; externalId?: string } = {}
  const start = indexed.search(/[@#]/)
  if (start === -1) return { name: '', owner }
  for (const field of indexed.slice(start).split(' ')) {
    owner[field.startsWith('@') ? 'user' : 'externalId'] = decode(field.slice(1))
  }
  return { name: indexed.slice(0, start), owner }
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

function encode(text: string): string {
  const at = text.search(UUID)
  if (at === -1) return encodePercent(text)
  const bytes = Buffer.from(text.slice(at).replaceAll('-', ''), 'hex')
  return `${encodePercent(text.slice(0, at))}~${bytes.toString('base64url')}`
}

function decode(text: string): string {
  const at = text.search(/~[\w-]{22}$/)
  if (at === -1) return decodePercent(text)
  const hex = Buffer.from(text.slice(at + 1), 'base64url').toString('hex')
  return decodePercent(text.slice(0, at)) + hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

/** Whatever is not plain: the fields of a value are separated by spaces, and its text by a newline. */
export function encodePercent(text: string): string {
  return text.replace(/[^!-$&-}\u0080-\uffff]/g, (character) =>
    character === '~' ? '%7E' : encodeURIComponent(character),
  )
}

function decodePercent(text: string): string {
  return text.includes('%') ? text.replace(/%[0-9A-F]{2}/g, decodeURIComponent) : text
}

/** UTF-8 has no half of a surrogate pair: what came back would not be what was passed. */
function requireWellFormed(text: string, what: string): string {
  if (!text.isWellFormed())
    throw new RangeError(`the ${what} holds half of a surrogate pair, which is not text`)
  return text
}

// ---- entries of an index ----

export function newEntry(key: string): { readonly name: string; readonly entry: string } {
  const name = randomBytes(2).toString('base64url').slice(0, NAME_LENGTH)
  return { name, entry: entryOf(name, key) }
}

export function entryOf(name: string, key: string): string {
  return name + key
}

export function keyOfEntry(entry: string): string {
  return entry.slice(NAME_LENGTH)
}

/**
 * Until when an entry holds, in seconds: its score. It is beyond `expires`, on a grid as wide as the record lives (to a power of two, so that
 * the lines of a wide grid are those of a finer one as well). So it follows from the record, and a touch seldom moves it. scripts.ts has
 * the same sum.
 */
export function reachOf({ lastSeen, expires }: Pick<StoredRecord, 'lastSeen' | 'expires'>): number {
  if (expires >= NEVER) return NEVER
  const lifetime = Math.min(Math.max((expires - lastSeen) / 1000, 1), MOST_SLACK)
  const step = 2 ** (31 - Math.clz32(lifetime))
  return (Math.floor(expires / 1000 / step) + 1) * step
}
