import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HeaderChange } from '../answer.ts'
import {
  AuthenticationRequiredError,
  ConflictError,
  OptionsError,
  SessionEndedError,
  StoreUnavailableError,
} from '../errors.ts'
import type { SessionEvents } from '../events.ts'
import type { Extension } from '../extension.ts'
import { partsOf } from '../extension.ts'
import { loadedVisitOf } from '../held-session.ts'
import { createOpener } from '../open.ts'
import { routeOf, viewOf } from '../request.ts'
import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import type { Visit } from '../visit.ts'
import { handleOf } from '../visit.ts'
import * as answers from './answers.ts'
import { createBoundCookies } from './bound-cookie.ts'
import { CHALLENGE_LIFE, makeChallenge } from './challenge.ts'
import { bindingOf, createEndpoints, registrationContext } from './endpoints.ts'
import { createNodeHandler } from './node.ts'
import type { DeviceBindingOptions } from './settings.ts'
import { resolveBinding } from './settings.ts'
import { createTagger } from './tags.ts'

export type { DeviceBindingOptions } from './settings.ts'

/** What `deviceBinding` makes: the two endpoints that browsers ask by themselves. Mount it before the sessions, and before any guard of yours. */
export interface DeviceBinding {
  /**
   * The answer, if the request is for one of the endpoints, and nothing otherwise. It needs no body. It never fails: what goes wrong is an
   * answer of 5xx, after which browsers try again later, and an `error` event.
   */
  handle(request: Request | IncomingMessage): Promise<Response | undefined>
  /** The same for Express, connect and `node:http`: answers, or calls `next`. */
  node(request: IncomingMessage, response: ServerResponse, next: () => void): void
  /** Whether the session is bound, so that a copy of its cookies is worth nothing in ten minutes. @throws NotLoadedError */
  isBound(session: Session<never> | Session<object>): boolean
}

/**
 * Binds sessions to the device that they began on, by Device Bound Session Credentials. Experimental: browsers and their protocol still
 * change, and so may this entry point in any version.
 *
 * Browsers that can do it (Chromium) make a key after each login, which never leaves the device, and prove every some minutes that they
 * have it. From then on the session is not to be had without the bound cookie that such a proof gives: a request without it is nobody's,
 * `data` is empty, changes throw `AuthenticationRequiredError` (401), and only `login` and `logout` get through. Other browsers go on as before.
 *
 * @throws OptionsError for options that are wrong, and for sessions that cannot be bound: those in cookies, those of stores that do not
 * compare and set, and those whose cookie is not `secure`, is `partitioned` or has a `domain`
 * @example
 * ```ts
 * import express from 'express'
 * import { createSessions } from 'holdfast'
 * import { deviceBinding } from 'holdfast/dbsc'
 * import { expressSessions } from 'holdfast/express'
 *
 * const sessions = createSessions()
 * const binding = deviceBinding(sessions)
 *
 * const app = express()
 * app.use(binding.node)
 * app.use(expressSessions(sessions))
 * ```
 */
export function deviceBinding<Data extends object>(
  sessions: Sessions<Data>,
  options: DeviceBindingOptions = {},
): DeviceBinding {
  const parts = partsOf(sessions)
  if (parts === undefined)
    throw new OptionsError(
      'deviceBinding: sessions must be what createSessions() of this copy of Holdfast made',
    )
  const { core, committer } = parts
  const { events } = core
  const { clock, secrets, name, store } = core.settings
  if (core.extension) throw new OptionsError(`deviceBinding: the sessions of '${name}' have one already`)
  if (core.vault.carry || !store.compareAndSet) {
    throw new OptionsError(
      `deviceBinding: the ${store.name} store cannot see to it that a challenge is used once; it needs one that compares and sets`,
    )
  }
  const settings = resolveBinding(options, core.settings)
  const registerTag = createTagger(secrets, name, 'dbsc register')
  const refreshTag = createTagger(secrets, name, 'dbsc refresh')
  const cookies = createBoundCookies(settings, createTagger(secrets, name, 'dbsc cookie'))
  const opener = createOpener({ ...core, extension: undefined })
  const endpoints = createEndpoints({ core, opener, committer, settings, cookies, registerTag, refreshTag })

  const extension: Extension = {
    refuse(visit, record) {
      const binding = bindingOf(record)
      const now = clock()
      if (binding === undefined || now < binding.boundAt + SETTLING || cookies.isIn(visit, binding, now))
        return undefined
      const handle = handleOf(visit)
      const route = routeOf(visit.source)
      events.emit('unproven', { handle, userId: record.user, route, skipped: skippedIn(visit) })
      return new AuthenticationRequiredError(
        `session ${handle} is bound to a device, and this request came without a valid ${settings.cookie.name} cookie`,
      )
    },
    headers(visit) {
      if (visit.cookie === 'clear') return [['Set-Cookie', cookies.clear(), 'append']]
      return isJustLoggedIn(visit) ? [offer(visit)] : []
    },
  }

  /** The answer to a login, also to one that was clicked twice: its token is the first of this user, and it has not been bound yet. */
  function isJustLoggedIn({ record, cookie }: Visit): boolean {
    const { authenticatedAt, generation, userSince, bound } = record
    if (cookie !== 'send' || authenticatedAt === undefined || bound !== undefined) return false
    return generation === userSince && clock() < authenticatedAt + CHALLENGE_LIFE
  }

  function offer(visit: Visit): HeaderChange {
    const challenge = makeChallenge(registerTag, registrationContext(visit), clock())
    const value = `(ES256);path="${settings.registerPath}";challenge="${challenge}"`
    return ['Secure-Session-Registration', value, 'append']
  }

  const byPath = new Map([
    [settings.registerPath, endpoints.register],
    [settings.refreshPath, endpoints.refresh],
  ])

  async function handle(request: Request | IncomingMessage): Promise<Response | undefined> {
    const [method, path] = (routeOf(request) ?? '').split(' ')
    const endpoint = byPath.get(path!)
    if (endpoint === undefined) return undefined
    if (method !== 'POST') return answers.onlyPost()
    try {
      return await core.work.run(() => endpoint(request))
    } catch (error) {
      // Ended or given a new token while this was under way: the next try will tell.
      if (
        error instanceof StoreUnavailableError ||
        error instanceof ConflictError ||
        error instanceof SessionEndedError
      )
        return answers.tryLater()
      events.emit('error', { operation: `answering ${path}`, error })
      return answers.failed()
    }
  }

  core.extension = extension
  return {
    handle,
    node: createNodeHandler(handle),
    isBound: (session) => loadedVisitOf(session).record.bound !== undefined,
  }
}

/** The browser may have sent other requests before it saw the answer that bound the session. */
const SETTLING = 10_000

type Skipped = SessionEvents['unproven']['skipped']
const SKIPPED: readonly Skipped[] = ['unreachable', 'server_error', 'quota_exceeded']

function skippedIn({ source }: Visit): Skipped {
  const [token] = (viewOf(source).header('secure-session-skipped') ?? '').split(';')
  return SKIPPED.find((known) => known === token?.trim())
}
