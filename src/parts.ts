import type { SessionParts } from './held-session.ts'

const partsByManager = new WeakMap<object, SessionParts>()

export function keepParts(sessions: object, parts: SessionParts): void {
  partsByManager.set(sessions, parts)
}

/** What a manager is made of; nothing if it is none of ours. */
export function partsOf(sessions: object): SessionParts | undefined {
  return partsByManager.get(sessions)
}
