import { isRetired } from './admission.ts'
import { resolve, settleLost } from './attempts.ts'
import type { Core } from './core.ts'
import { readData } from './data.ts'
import { ConflictError } from './errors.ts'
import { checkData } from './limits.ts'
import { MergeRejectedError, merge } from './merge.ts'
import { ended, unavailable } from './refusals.ts'
import type { Kept } from './vault.ts'
import type { Visit } from './visit.ts'
import { adopt, handleOf, isExpired, loginOf, putData } from './visit.ts'

/** Takes over what others committed, and keeps what this visit has changed. @throws SessionEndedError, ConflictError */
export async function reload(visit: Visit, core: Core): Promise<void> {
  if (visit.outage) throw unavailable(visit)
  if (visit.unresolved) await resolve(visit, core)
  if (visit.standing !== 'live') return
  const current = await loadLatest(visit, core)
  if (current !== 'gone') settleLost(visit, current, core)
  if (current === 'gone' || isRetired(visit.generation, current.record)) throw ended(visit)
  if (current.rev !== visit.kept!.rev) await rebase(visit, current, core)
}

/** What the store holds now; `gone` also when it has expired. */
export async function loadLatest(visit: Visit, { settings, vault }: Core): Promise<Kept | 'gone'> {
  const now = settings.clock()
  const found = await vault.load(handleOf(visit), { fresh: true, carried: visit.carried })
  if (found === undefined || found === 'destroyed') return 'gone'
  return isExpired(visit, found, now, settings.lifetime) ? 'gone' : found
}

/** Makes `current` the base: what others committed goes into the data, and what this visit changed stays. @throws ConflictError */
export async function rebase(visit: Visit, current: Kept, core: Core): Promise<void> {
  const theirs = await readData(current, core)
  const login = loginOf(visit)
  const isAnotherUsers =
    login !== undefined && current.record.user !== undefined && current.record.user !== login.user
  const isOthersData = theirs.text !== visit.base // not if a message was left or a token confirmed
  try {
    if (isOthersData && !isAnotherUsers) await mergeData(visit, theirs.data, core)
  } catch (cause) {
    if (cause instanceof MergeRejectedError) {
      throw new ConflictError(`session ${handleOf(visit)}: another request changed ${cause.path} as well`, {
        cause,
      })
    }
    throw new ConflictError(
      `session ${handleOf(visit)}: what two requests made of it together cannot be kept`,
      { cause },
    )
  }
  visit.touched = true
  visit.base = theirs.text
  adopt(visit, current, core.settings.clock(), core.settings.lifetime)
}

async function mergeData(visit: Visit, theirs: object, { settings }: Core): Promise<void> {
  const { codec, mergeRules } = settings
  const mergeNow = () => merge(codec.decode(visit.base), visit.data, theirs, mergeRules)
  const candidate = mergeNow().value
  await checkData(codec.encode(candidate), candidate, settings)
  const merged = mergeNow() // again: the handler may have gone on during the check
  putData(visit, merged.value)
  if (merged.overwritten.length > 0)
    visit.overwritten = new Set([...(visit.overwritten ?? []), ...merged.overwritten])
}
