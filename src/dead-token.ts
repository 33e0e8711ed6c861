import { isRetiredByLogin, mayJoin } from './admission.ts'
import type { Core } from './core.ts'
import { startAnew } from './core.ts'
import { initialData } from './data.ts'
import type { Operation } from './operations.ts'
import { rebase } from './rebase.ts'
import { ended, tooLate } from './refusals.ts'
import type { Kept } from './vault.ts'
import type { Visit } from './visit.ts'
import { handleOf, loginOf } from './visit.ts'

/*
 * A login with a token that is dead: clicked twice, or repeated since the answer was lost. It goes on in the session that the same
 * login has just made of it, or in a new one. Nobody else may go on with a dead token.
 */

/** The token has died under the visit, of which `current` is left. @throws SessionEndedError unless somebody logs in */
export async function goOnAfterDeath(visit: Visit, current: Kept | 'gone', core: Core): Promise<void> {
  if (current !== 'gone' && joins(visit, current, core)) return join(visit, current, core)
  return startWithLogin(visit, core)
}

/** Whether a quiet visit's login belongs to the session that its token was retired by. */
export function joinsSuccessor(visit: Visit, core: Core): boolean {
  return visit.standing === 'quiet' && visit.kept !== undefined && joins(visit, visit.kept, core)
}

/** The session that this visit goes on with. None yet, where its login is to begin one beside that of the token. */
export function ownHandle(visit: Visit, core: Core): string | undefined {
  return visit.standing === 'quiet' && !joinsSuccessor(visit, core) ? undefined : handleOf(visit)
}

/** Makes the visit one to a new session, which its login begins. @throws SessionEndedError without a login */
export async function startWithLogin(visit: Visit, core: Core): Promise<void> {
  if (!loginOf(visit)) throw ended(visit)
  startAnew(visit, core, (await initialData(core)).text, visit.operations)
}

function joins(visit: Visit, { record }: Kept, { settings: { clock } }: Core): boolean {
  const login = loginOf(visit)
  return login !== undefined && mayJoin(visit.generation, record, login.user, clock())
}

async function join(visit: Visit, current: Kept, core: Core): Promise<void> {
  if (visit.answered) throw tooLate('log in')
  const before = visit.kept?.record.user
  // What an earlier user left was never the base of what this one did.
  if (before !== undefined && before !== current.record.user) visit.base = (await initialData(core)).text
  const { record } = current
  const login = loginOf(visit)
  const isSameLogin =
    isRetiredByLogin(record) && record.stamp === login?.stamp && record.level === login?.level
  visit.operations = visit.operations.flatMap((operation): Operation[] => {
    // The first use of the old token is none of the one that it is given now.
    if (operation.kind === 'confirm') return []
    return [
      operation.kind === 'login' && isSameLogin
        ? { kind: 'join', revokeOthers: operation.revokeOthers }
        : operation,
    ]
  })
  visit.generation = record.generation
  visit.standing = 'live'
  await rebase(visit, current, core)
}
