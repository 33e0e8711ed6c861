import { admit } from '../admission.ts'
import type { HeaderChange } from '../cookie.ts'
import type { Extension } from '../core.ts'
import { AuthenticationRequiredError } from '../errors.ts'
import type { SessionEvents } from '../events.ts'
import type { SessionRecord } from '../record.ts'
import { routeOf, viewOf } from '../request.ts'
import type { Settings } from '../settings.ts'
import type { Visit } from '../visit.ts'
import { handleOf } from '../visit.ts'
import { CHALLENGE_LIFE, makeChallenge } from './challenge.ts'
import type { EndpointParts } from './endpoints.ts'
import { bindingOf, registrationContext } from './endpoints.ts'

/** What is asked of every request of a bound session, and what the answer to a login offers. */
export interface Enforcement extends Extension {
  /** Whether the request may have the session: it is not bound, or only just, or the bound cookie came along. */
  isProven(visit: Visit, record: SessionRecord): boolean
}

/** The browser may have sent other requests before it saw the answer that bound the session. */
const SETTLING = 10_000

export function createEnforcement({ core, settings, cookies, registerTag }: EndpointParts): Enforcement {
  const { clock } = core.settings

  function isProven(visit: Visit, record: SessionRecord): boolean {
    const binding = bindingOf(record)
    const now = clock()
    return binding === undefined || now < binding.boundAt + SETTLING || cookies.isIn(visit, binding, now)
  }

  /**
   * The answer to a login, also to one that was clicked twice, or to a step-up soon after: whoever asked has just shown who they are. Nobody else,
   * or a thief would bind a session that its own browser could not.
   */
  function isJustLoggedIn({ record, cookie, brought }: Visit): boolean {
    const { authenticatedAt, generation, retiredBelow, bound } = record
    if (cookie !== 'send' || authenticatedAt === undefined || bound !== undefined) return false
    const isByThisRequest = generation === retiredBelow && generation > brought
    return isByThisRequest && clock() < authenticatedAt + CHALLENGE_LIFE
  }

  function offer(visit: Visit): HeaderChange {
    const challenge = makeChallenge(registerTag, registrationContext(visit), clock())
    const value = `(ES256);path="${settings.registerPath}";challenge="${challenge}"`
    return ['Secure-Session-Registration', value, 'append']
  }

  return {
    isProven,
    refuse(visit, record) {
      if (isProven(visit, record)) return undefined
      const handle = handleOf(visit)
      const route = routeOf(visit.source)
      core.events.emit('unproven', { handle, userId: record.user, route, skipped: skippedIn(visit) })
      return new AuthenticationRequiredError(
        `session ${handle} is bound to a device, and this request came without a valid ${settings.cookie.name} cookie`,
      )
    },
    headers(visit) {
      if (visit.cookie === 'clear') return [['Set-Cookie', cookies.clear(), 'append']]
      return isJustLoggedIn(visit) ? [offer(visit)] : []
    },
  }
}

/**
 * What the endpoints ask of a token: they are there for whoever has no bound cookie, but of a token that rotation has replaced its device has
 * the successor. Whoever else brings it gets nothing, and ends nothing.
 */
export function createDoorkeeper({ clock, lifetime }: Settings): Extension {
  return {
    refuse(visit, record) {
      const isReplaced = admit(visit.generation, record, clock(), lifetime.grace).as === 'reuse'
      if (!isReplaced || record.bound === undefined) return undefined
      return new AuthenticationRequiredError(
        `session ${handleOf(visit)} is bound to a device, which has a newer token`,
      )
    },
    headers: () => [],
  }
}

type Skipped = SessionEvents['unproven']['skipped']
const SKIPPED: readonly Skipped[] = ['unreachable', 'server_error', 'quota_exceeded']

function skippedIn({ source }: Visit): Skipped {
  const [token] = (viewOf(source).header('secure-session-skipped') ?? '').split(';')
  return SKIPPED.find((known) => known === token?.trim())
}
