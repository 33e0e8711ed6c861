import { isRetired } from './admission.ts'
import type { Core } from './core.ts'
import { owes } from './login-rules.ts'
import { makesToken } from './operations.ts'
import { follows } from './revision.ts'
import type { Kept } from './vault.ts'
import type { Attempt, Visit } from './visit.ts'
import { adopt, handleOf } from './visit.ts'

/** The attempt has been done and `kept` is what came of it: the base from now on. What was done since it was sent is still to be written. */
export function settle(visit: Visit, attempt: Attempt, kept: Kept, { settings }: Core): void {
  attempt.done?.()
  visit.operations = visit.operations.filter((operation) => !attempt.operations.includes(operation))
  visit.base = attempt.sent
  adopt(visit, kept, settings.clock(), settings.lifetime)
}

/** Finds out what became of an attempt that got no answer: its revision tells. */
export async function resolve(visit: Visit, core: Core): Promise<void> {
  const attempt = visit.unresolved!
  const found = await core.vault.load(handleOf(visit), { fresh: true, carried: visit.carried })
  visit.unresolved = undefined
  visit.lost = [...visit.lost, attempt]
  if (found !== undefined && found !== 'destroyed') settleLost(visit, found, core)
}

/** What this visit had given up, and `found` shows to have been done all the same: not to be done again. */
export function settleLost(visit: Visit, found: Kept, core: Core): void {
  const landed = visit.lost.find(({ rev }) => follows(found.rev, rev))
  if (!landed) return
  visit.lost = []
  const { rev, record, operations } = landed
  const before = visit.standing === 'live' ? visit.kept!.record.generation : 0
  // A login or step-up of others has followed: its user, its level and its token are none of this request's, which has what it wrote.
  const isOver = isRetired(record.generation, found.record)
  if (isOver) visit.resend = false
  settle(visit, landed, isOver ? { ...found, rev, record } : { ...found, rev }, core)
  if (visit.standing === 'new' || (operations.some(makesToken) && record.generation > before)) {
    visit.standing = 'live'
    visit.generation = record.generation
    if (isOver) return
    if (owes(landed, core.settings)) visit.unconcluded = landed
    else visit.cookie = 'send'
  }
}
