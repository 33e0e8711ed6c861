import type { StoredRecord, Tombstone } from '../../store.ts'

export type Content = StoredRecord | Tombstone

/** A line of JSON with all but the text, then the text: readable with `get`, and the text stays as it is. */
export function encodeContent(content: Content): string {
  if ('destroyedUntil' in content) return `${JSON.stringify({ destroyedUntil: content.destroyedUntil })}\n`
  const { rev, lastSeen, expires, user, externalId, text } = content
  return `${JSON.stringify({ rev, lastSeen, expires, user, externalId })}\n${text}`
}

/** Undefined if the value was not written by this store. */
export function decodeContent(value: Buffer): Content | undefined {
  const end = value.indexOf('\n')
  const header = parse(value.toString('utf8', 0, Math.max(end, 0)))
  const { rev, lastSeen, expires, user, externalId, destroyedUntil } = header ?? {}
  if (isTime(destroyedUntil)) return { destroyedUntil }
  if (typeof rev !== 'string' || !isTime(lastSeen) || !isTime(expires)) return undefined
  return {
    rev,
    text: value.toString('utf8', end + 1),
    ...(typeof user === 'string' && { user }),
    ...(typeof externalId === 'string' && { externalId }),
    lastSeen,
    expires,
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** JSON has numbers beyond all limits. */
function isTime(value: unknown): value is number {
  return Number.isFinite(value)
}
