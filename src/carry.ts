import { QUIET_TIME } from './admission.ts'
import { CARRIES, LARGEST_COOKIE, setCookie } from './cookie.ts'
import type { Core } from './core.ts'
import { DataError } from './errors.ts'
import { cookieMaxAge } from './lifetime.ts'
import { tooLate } from './refusals.ts'
import { keyOf, TOKEN_LENGTH } from './token.ts'
import type { Carried, Kept } from './vault.ts'
import type { Visit } from './visit.ts'
import { handleOf } from './visit.ts'

/** What a commit does besides where sessions travel with their clients: see docs/decisions/014-sessions-in-cookies.md. */
export interface Carrier {
  /** What the client's cookie is to carry. @throws HeadersSentError when it is too late for that, DataError when it is too much */
  carry(visit: Visit, kept: Kept, expires: number, id: string): Promise<Carried>
  /** It is committed: the answer takes it along, under the id that it was sealed for. */
  takeAlong(visit: Visit, carried: Carried, id: string): Promise<void>
}

export function createCarrier({ settings, vault }: Core): Carrier {
  const { clock, lifetime } = settings

  async function carry(visit: Visit, kept: Kept, expires: number, id: string): Promise<Carried> {
    if (visit.answered) throw tooLate('save')
    const before = id === visit.id ? visit.carried : undefined
    const carried = await vault.carry!(keyOf(id), kept, expires, before)
    const { name, attributes } = settings.cookie
    const value = `${'-'.repeat(TOKEN_LENGTH)}${CARRIES}${carried.text}`
    const maxAge = cookieMaxAge(kept.record, clock(), lifetime)
    const bytes = setCookie({
      name,
      value,
      attributes: maxAge === undefined ? attributes : { ...attributes, maxAge },
    }).length
    if (bytes <= LARGEST_COOKIE) return carried
    throw new DataError(
      `the cookie would take ${bytes} bytes, over the ${LARGEST_COOKIE} that browsers keep: ` +
        'keep less in the session, or keep sessions on the server',
    )
  }

  async function takeAlong(visit: Visit, carried: Carried, id: string): Promise<void> {
    const before = visit.id === id || visit.kept?.record.user === undefined ? undefined : handleOf(visit)
    // First, as it may fail: then this visit is what it was, and its answer gives no cookie.
    if (before !== undefined) await vault.destroy(before, clock() + QUIET_TIME)
    visit.id = id
    visit.handle = keyOf(id)
    visit.carried = carried
    visit.cookie = 'send'
  }

  return { carry, takeAlong }
}
