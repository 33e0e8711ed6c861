import { randomBytes } from 'node:crypto'
import { NEVER, type StoredRecord, type Tombstone } from '../../store.ts'

/*
 * What is kept under a key, readable in redis-cli:
 *
 *   1766509321464 86400000 c.k3JxQ2pa @q8Zr1Lb0.mjhy9qjs user=id:ada sid=op:7 ⏎ text
 *   last seen     lifetime revision   index
 *   destroyed 1766509321464
 *
 * The record expires its lifetime after it was last seen; `never` if it does not. The last three are there only if the record has an
 * owner: a user or an external id (`sid`). Spaces, controls and `%` are percent-encoded in the fields.
 *
 * The index says how the record is indexed: `q8Zr1Lb0 key` is its entry in the sorted sets of its user and external id, and
 * the time (to the base of 36) is the score of that entry, beyond `expires`, so that a touch need not move it each time. Whoever indexes a record
 * draws a new name for the entry, and so can remove its own without ever removing the one that a concurrent writer relies on.
 */

export type Owner = Pick<StoredRecord, 'user' | 'externalId'>

const TOMBSTONE = 'destroyed '
/** How long an entry may outlive its record, at the most. */
const MOST_SLACK_MS = 30 * 86_400_000

export function formatValue(record: StoredRecord, index = ''): string {
  requireWellFormed(record.text, 'text')
  const { rev, text, lastSeen, expires } = record
  const lifetime = expires >= NEVER ? 'never' : expires - lastSeen
  return `${lastSeen} ${lifetime} ${encode(rev)}${index}${formatOwner(record)}\n${text}`
}

/** Nothing if it is no value of ours. */
export function parseValue(value: string): StoredRecord | Tombstone | undefined {
  if (value.startsWith(TOMBSTONE)) return { destroyedUntil: Number(value.slice(TOMBSTONE.length)) }
  const newline = value.indexOf('\n')
  const [seen, lifetime, rev, ...fields] = value.slice(0, Math.max(newline, 0)).split(' ')
  const lastSeen = Number(seen)
  const expires = lifetime === 'never' ? NEVER : lastSeen + Number(lifetime)
  if (rev === undefined || Number.isNaN(expires)) return undefined
  return { rev: decode(rev), text: value.slice(newline + 1), ...parseFields(fields), lastSeen, expires }
}

export function encode(text: string): string {
  // Whatever is not plain: the fields of a value are separated by spaces, and its text by a newline.
  return text.replace(/[^!-$&-~\u0080-\uffff]/g, encodeURIComponent)
}

/** How an owner is written in a value: ` user=id:ada sid=op:7`. Empty if there is none. */
export function formatOwner({ user, externalId }: Owner): string {
  if (user === undefined && externalId === undefined) return ''
  return formatUser(user) + formatExternalId(externalId)
}

export function formatUser(user: string | undefined): string {
  return user === undefined ? '' : ` user=${encode(requireWellFormed(user, 'user'))}`
}

export function formatExternalId(externalId: string | undefined): string {
  return externalId === undefined ? '' : ` sid=${encode(requireWellFormed(externalId, 'external id'))}`
}

/** How a record is to be indexed whose times are these, under a new name. */
export function newIndex({ lastSeen, expires }: Pick<StoredRecord, 'lastSeen' | 'expires'>): string {
  const slack = Math.min(Math.max(expires - lastSeen, 0), MOST_SLACK_MS)
  const score = Math.min(expires + slack, NEVER)
  return ` @${randomBytes(6).toString('base64url')}.${score.toString(36)}`
}

/** The entry that ` @…` names. */
export function entryOf(index: string, key: string): { readonly score: string; readonly entry: string } {
  const [name = '', score = ''] = index.slice(' @'.length).split('.')
  return { score: String(Number.parseInt(score, 36)), entry: `${name} ${key}` }
}

export function keyOfEntry(entry: string): string {
  return entry.slice(entry.indexOf(' ') + 1)
}

/** Takes ` @… user=… sid=…` apart. */
export function parseIndexed(indexed: string): { readonly index: string; readonly owner: Owner } {
  const [index = '', ...fields] = indexed.slice(1).split(' ')
  return { index: ` ${index}`, owner: parseFields(fields) }
}

export function parseFields(fields: readonly string[]): Owner {
  const owner: { user?: string; externalId?: string } = {}
  for (const field of fields) {
    if (field.startsWith('user=')) owner.user = decode(field.slice('user='.length))
    else if (field.startsWith('sid=')) owner.externalId = decode(field.slice('sid='.length))
  }
  return owner
}

function decode(text: string): string {
  return text.includes('%') ? text.replace(/%[0-9A-F]{2}/g, decodeURIComponent) : text
}

/** UTF-8 has no half of a surrogate pair: what came back would not be what was passed. */
function requireWellFormed(text: string, what: string): string {
  if (!text.isWellFormed())
    throw new RangeError(`the ${what} holds half of a surrogate pair, which is not text`)
  return text
}
