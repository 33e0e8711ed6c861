import type { HeaderChange } from './answer.ts'
import type { HoldfastError } from './errors.ts'
import type { SessionParts } from './held-session.ts'
import type { SessionRecord } from './record.ts'
import type { Visit } from './visit.ts'

/** What an entry point beside the core has a say in: docs/decisions/023-device-binding.md. What it keeps of a session is `record.bound`. */
export interface Extension {
  /**
   * Why this request may not have the session that its token names. Nothing but a login or a logout gets through then. Asked also of a token that
   * has been replaced, before its reuse ends the session.
   * @throws InvalidRecordError for a record that it cannot read, with which `onInvalid` deals
   */
  refuse(visit: Visit, record: SessionRecord): HoldfastError | undefined
  /** What an answer that sets or clears the session's cookie must carry besides. */
  headers(visit: Visit): readonly HeaderChange[]
}

/** Where a view of a session keeps the session itself, so that the view will do for it: docs/decisions/031-passport.md. */
export const behind = Symbol('holdfast: the session itself')

const partsByManager = new WeakMap<object, SessionParts>()

export function keepParts(sessions: object, parts: SessionParts): void {
  partsByManager.set(sessions, parts)
}

/** What a manager is made of; nothing if it is none of ours. */
export function partsOf(sessions: object): SessionParts | undefined {
  return partsByManager.get(sessions)
}
