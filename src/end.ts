import { isOfThisLogin, isRetired, QUIET_TIME } from './admission.ts'
import type { Core } from './core.ts'
import { replaceData, startAnew } from './core.ts'
import { initialData } from './data.ts'
import type { StoreUnavailableError } from './errors.ts'
import type { SessionRecord } from './record.ts'
import { stillUnknown, tooLate, unavailable } from './refusals.ts'
import type { Visit } from './visit.ts'
import { handleOf, isExpired } from './visit.ts'

/** Ends the session that the client's token names, at once, and makes the visit one to no session. */
export async function endSession(visit: Visit, core: Core): Promise<void> {
  if (visit.outage) throw unavailable(visit)
  await endNamed(visit, core).catch((error: Partial<StoreUnavailableError>) => {
    if (visit.mayBeEnded) stillUnknown(error)
    visit.mayBeEnded = error.maybeApplied === true
    throw error
  })
  visit.mayBeEnded = false
  const initial = await initialData(core)
  startAnew(visit, core, initial.text)
  replaceData(visit, core, initial.text)
}

async function endNamed(visit: Visit, core: Core): Promise<void> {
  if (visit.kept !== undefined || visit.standing === 'quiet') {
    await endFound(visit, core)
  } else if (visit.unresolved) {
    await core.vault.destroy(handleOf(visit), core.settings.clock() + QUIET_TIME)
  }
  if (visit.invalid) {
    await core.vault.destroy(visit.invalid, core.settings.clock() + QUIET_TIME)
    visit.invalid = undefined
  }
}

async function endFound(visit: Visit, { settings, vault, events }: Core): Promise<void> {
  const handle = handleOf(visit)
  const now = settings.clock()
  const found = await vault.load(handle, { fresh: true, carried: visit.carried })
  if (found === 'destroyed') {
    // Perhaps by an attempt whose durability nobody confirmed, this client's last one: ask again.
    await vault.destroy(handle, now + QUIET_TIME)
    return
  }
  if (!found || isExpired(visit, found, now, settings.lifetime)) return
  // Not if somebody has logged in since it was opened: that session is not the one which this token names.
  if (!isOwn(visit.generation, found.record)) return
  const isEnded = await vault.destroy(handle, now + QUIET_TIME)
  if (!isEnded && vault.carry && visit.answered) throw tooLate('log out')
  events.emit('logout', { handle, userId: found.record.user })
}

/** Whether the token is the session's, or was until a step-up of the same login. */
function isOwn(generation: number, record: SessionRecord): boolean {
  return !isRetired(generation, record) || isOfThisLogin(generation, record)
}
