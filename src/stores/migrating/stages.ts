import { randomBytes } from 'node:crypto'
import type { StoredRecord, Tombstone } from '../../store.ts'

/**
 * What a session is between the two stores, told by its revision. A copy, in `to`, counts for nothing until its session is sealed in `from`.
 * A seal, in `from`, has only the user and the external id left. An ended copy, in `to`, waits for its tombstone.
 */
const COPY = 'moving:'
const SEAL = 'moved:'
const ENDED = 'ended:'

type Found = StoredRecord | Tombstone | undefined

/** Without user and external id: nothing that ends all sessions of a user must take a copy for one. They are in the text. */
export function copyOf({ rev, text, user, externalId, lastSeen, expires }: StoredRecord): StoredRecord {
  const header = JSON.stringify([rev, user, externalId])
  return { rev: revision(COPY), text: `${header}\n${text}`, lastSeen, expires }
}

export function originalOf({ text, lastSeen, expires }: StoredRecord): StoredRecord {
  const end = text.indexOf('\n')
  const header = JSON.parse(text.slice(0, end)) as [string, string | null, string | null]
  const [rev, user, externalId] = header
  return {
    rev,
    text: text.slice(end + 1),
    ...(user !== null && { user }),
    ...(externalId !== null && { externalId }),
    lastSeen,
    expires,
  }
}

/** With user and external id: until the copy has become the session, the session is found by them here. */
export function sealOf(record: StoredRecord): StoredRecord {
  return { ...record, rev: revision(SEAL), text: '' }
}

export function endedCopyOf({ lastSeen, expires }: StoredRecord): StoredRecord {
  return { rev: revision(ENDED), text: '', lastSeen, expires }
}

export function isCopy(found: Found): found is StoredRecord {
  return isStage(found, COPY)
}

export function isSeal(found: Found): found is StoredRecord {
  return isStage(found, SEAL)
}

export function isEndedCopy(found: Found): found is StoredRecord {
  return isStage(found, ENDED)
}

function isStage(found: Found, stage: string): boolean {
  return found !== undefined && 'rev' in found && found.rev.startsWith(stage)
}

function revision(stage: string): string {
  return stage + randomBytes(15).toString('base64url')
}
