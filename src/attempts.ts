import { isRetired } from './admission.ts'
import type { Core } from './core.ts'
import { owes } from './login-rules.ts'
import { isJoin, makesToken } from './operations.ts'
import { notTold, stillUnknown } from './refusals.ts'
import { countOf, follows, isBeyondMemory } from './revision.ts'
import type { Kept } from './vault.ts'
import type { Attempt, Visit } from './visit.ts'
import { adopt, discard, handleOf } from './visit.ts'

/** The attempt has been done and `kept` is what came of it: the base from now on. What was done since it was sent is still to be written. */
export function settle(visit: Visit, attempt: Attempt, kept: Kept, { settings }: Core): void {
  attempt.done?.()
  visit.operations = visit.operations.filter((operation) => !attempt.operations.includes(operation))
  visit.lost = [] // none of them can be done any more: each compares with what this one has replaced
  visit.base = attempt.sent
  adopt(visit, kept, settings.clock(), settings.lifetime)
}

/** Finds out what became of an attempt that got no answer: its revision tells. @throws StoreUnavailableError, also if it cannot tell */
export async function resolve(visit: Visit, core: Core): Promise<void> {
  const attempt = visit.unresolved!
  const found = await core.vault
    .load(handleOf(visit), { fresh: true, carried: visit.carried })
    .catch(stillUnknown)
  visit.unresolved = undefined
  visit.lost = [...visit.lost, attempt]
  if (found !== undefined && found !== 'destroyed') settleLost(visit, found, core)
}

/**
 * What this visit had given up, and `found` shows to have been done all the same: not to be done again.
 * @throws StoreUnavailableError where others have written so often since that nobody can tell; what was pending has been taken back then
 */
export function settleLost(visit: Visit, found: Kept, core: Core): void {
  if (visit.lost.length === 0) return
  const landed = visit.lost.find(({ rev }) => follows(found.rev, rev))
  if (!landed) {
    giveUpLost(visit, found, core)
    return
  }
  const { rev, record, operations } = landed
  const before = visit.standing === 'live' ? visit.kept!.record.generation : 0
  // A login or step-up of others has followed: its user, its level and its token are none of this request's, which has what it wrote.
  const isOver = isRetired(record.generation, found.record)
  if (isOver) visit.resend = false
  settle(visit, landed, isOver ? { ...found, rev, record } : { ...found, rev }, core)
  if (visit.standing === 'new' || (operations.some(makesToken) && record.generation > before)) {
    visit.standing = 'live'
    visit.generation = record.generation
  } else if (!operations.some(isJoin)) {
    return
  }
  if (isOver) return
  if (owes(landed, core.settings)) visit.unconcluded = landed
  else visit.cookie = 'send'
}

/** Keeps those that may still be done: each compares with what it was made from, and does nothing once that has been replaced. */
function giveUpLost(visit: Visit, found: Kept, { settings: { clock, codec, lifetime } }: Core): void {
  const isUntold = visit.lost.some(({ rev }) => isBeyondMemory(found.rev, rev))
  visit.lost = visit.lost.filter(({ rev }) => countOf(rev) > countOf(found.rev))
  if (!isUntold) return
  discard(visit, codec, clock(), lifetime)
  throw notTold(visit)
}
