import type { IncomingMessage, ServerResponse } from 'node:http'
import { ConflictError, OptionsError, SessionEndedError, StoreUnavailableError } from '../errors.ts'
import { createNodeHandler } from '../frameworks/send-response.ts'
import { loadedVisitOf } from '../held-session.ts'
import { createOpener } from '../open.ts'
import { partsOf } from '../parts.ts'
import { routeOf } from '../request.ts'
import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import * as answers from './answers.ts'
import { createBoundCookies } from './bound-cookie.ts'
import type { EndpointParts } from './endpoints.ts'
import { createEndpoints } from './endpoints.ts'
import { createDoorkeeper, createEnforcement } from './enforcement.ts'
import { answerLink } from './links.ts'
import type { DeviceBindingOptions } from './settings.ts'
import { resolveBinding } from './settings.ts'
import { createTagger } from './tags.ts'

export type { DeviceBindingOptions } from './settings.ts'

/** What `deviceBinding` makes: what browsers ask for by themselves. Mount it before the sessions, and before any guard of yours. */
export interface DeviceBinding {
  /**
   * The answer to a request for one of the two endpoints, and to a link on another site that needs a refresh first; nothing for all others.
   * It needs no body, and it never fails: what goes wrong is an answer of 5xx, after which browsers try again later, and an `error` event.
   */
  handle(request: Request | IncomingMessage): Promise<Response | undefined>
  /** The same for Express, connect and `node:http`: answers, or calls `next`. */
  node(request: IncomingMessage, response: ServerResponse, next: () => void): void
  /** Whether the session is bound, so that a copy of its cookies is worth nothing in ten minutes. @throws NotLoadedError */
  isBound(session: Session<object>): boolean
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
  const { secrets, name, store } = core.settings
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
  const opener = createOpener({ ...core, extension: createDoorkeeper(core.settings) })
  const inside: EndpointParts = { core, opener, committer, settings, cookies, registerTag, refreshTag }
  const endpoints = createEndpoints(inside)
  const enforcement = createEnforcement(inside)

  const byPath = new Map([
    [settings.registerPath, endpoints.register],
    [settings.refreshPath, endpoints.refresh],
  ])

  async function handle(request: Request | IncomingMessage): Promise<Response | undefined> {
    const [method, path] = (routeOf(request) ?? '').split(' ')
    const endpoint = byPath.get(path!)
    if (endpoint === undefined) return answerLink(request, inside, enforcement)
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

  core.extension = enforcement
  return {
    handle,
    node: createNodeHandler(handle),
    isBound: (session) => loadedVisitOf(session).record.bound !== undefined,
  }
}
