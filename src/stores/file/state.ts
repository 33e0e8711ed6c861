import type { StoredRecord } from '../../store.ts'

/** What one file says about a session. `id` names this very state, and no other state of any session ever. */
export type State = LiveState | EndedState

export interface LiveState {
  readonly id: string
  readonly key: string
  readonly record: StoredRecord
}

export interface EndedState {
  readonly id: string
  readonly destroyedUntil: number
}

/** A file that a disk, an editor or a backup has spoilt. It can only be replaced, by the end of its session. */
export interface Damage {
  readonly id: typeof DAMAGED
  /** What is wrong with the file, to follow its name. */
  readonly damage: string
}

export const DAMAGED = 'damaged'

/** Says which file is spoilt, and what to do. */
export class DamagedFileError extends Error {
  override readonly name = 'DamagedFileError'
  readonly path: string

  constructor(path: string, { damage }: Damage) {
    super(`the file ${damage}; restore it from a backup, or delete it, which logs its visitor out`)
    this.path = path
  }
}

const FORMAT = 1
const NEWLINE = 0x0a

export function isLive(found: State | Damage | undefined): found is LiveState {
  return found !== undefined && 'record' in found
}

export function isEnded(found: State | Damage | undefined): found is EndedState {
  return found !== undefined && 'destroyedUntil' in found
}

export function isDamaged(found: State | Damage | undefined): found is Damage {
  return found?.id === DAMAGED
}

/** From then on the file may be removed. */
export function endOf(state: State): number {
  return isLive(state) ? state.record.expires : state.destroyedUntil
}

/** One line of JSON, then the text as it is, so that both can be read with `head` and `tail`. */
export function encode(state: State): Buffer {
  if (isEnded(state)) return Buffer.from(`${JSON.stringify({ format: FORMAT, ...state, bytes: 0 })}\n`)
  const { text, ...fields } = state.record
  const { id, key } = state
  const header = { format: FORMAT, id, key, ...fields, bytes: Buffer.byteLength(text) }
  return Buffer.from(`${JSON.stringify(header)}\n${text}`)
}

export function decode(content: Buffer): State | Damage {
  if (content.length === 0) return damaged('is empty')
  const line = content.indexOf(NEWLINE)
  const header = line === -1 ? undefined : parseObject(content.toString('utf8', 0, line))
  if (header === undefined) return damaged('does not begin with a line of JSON')
  if (header.format !== FORMAT) return damaged(`has the format ${header.format}, not ${FORMAT}`)

  const body = content.subarray(line + 1)
  const { id, key, rev, user, externalId, lastSeen, expires, destroyedUntil, bytes } = header
  if (bytes !== body.length) return damaged(`holds ${body.length} bytes of text, not ${bytes}`)
  if (isText(id) && isNumber(destroyedUntil)) return { id, destroyedUntil }
  if (!isText(id) || !isText(key) || !isText(rev) || !isNumber(lastSeen) || !isNumber(expires)) {
    return damaged('lacks a field in its first line')
  }
  const carried = { ...(isText(user) && { user }), ...(isText(externalId) && { externalId }) }
  return { id, key, record: { rev, text: body.toString('utf8'), ...carried, lastSeen, expires } }
}

function damaged(damage: string): Damage {
  return { id: DAMAGED, damage }
}

function parseObject(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

/** JSON has numbers beyond all limits. */
function isNumber(value: unknown): value is number {
  return Number.isFinite(value)
}
