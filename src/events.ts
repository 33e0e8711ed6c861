import { channel } from 'node:diagnostics_channel'
import { isHeard } from './channels.ts'
import { typeOf } from './given.ts'
import type { Logger } from './options.ts'

/** What happens to sessions, for logs, metrics and alarms. A session is named by its handle; no event holds a token. */
export interface SessionEvents {
  created: { handle: string; userId?: string | undefined }
  login: { handle: string; userId: string }
  logout: { handle: string; userId?: string | undefined }
  rotated: { handle: string }
  /**
   * Sessions were ended from outside: `revoke`, `revokeOthers`, `revokeAll`. Only those of `handle` or `userId`, if they are there;
   * whether a session is one of them, its `reload()` tells. `reason: 'limit'`: a login of the same user was one more than `maxSessionsPerUser`.
   */
  revoked: {
    count: number
    handle?: string | undefined
    userId?: string | undefined
    reason?: 'limit' | undefined
  }
  /** A login failed since the user has as many sessions as `maxSessionsPerUser` allows. */
  refused: { userId: string; limit: number; route?: string | undefined }
  expired: { handle: string }
  /** A token that rotation had replaced was used again: two parties hold this login. The session has been ended, unless `onReuse` says otherwise. */
  reuse: { handle: string; userId?: string | undefined; route?: string | undefined }
  /**
   * With `watchClient`: a logged-in session is used by another browser or system, or from another network, than when it was last looked at. That is no
   * proof of theft. Once a change, or a few times when requests are parallel.
   */
  clientChanged: {
    handle: string
    userId: string
    changed: readonly ('browser' | 'network')[]
    route?: string | undefined
  }
  /** A cookie of our name that we never signed, or with a secret that has been removed. */
  forged: { route?: string | undefined }
  /** Two different valid session cookies in one request, so that neither counts. */
  duplicate: { route?: string | undefined }
  /** `holdfast/dbsc`: the session belongs to one device from now on. */
  bound: { handle: string; userId?: string | undefined }
  /**
   * `holdfast/dbsc`: a bound session was to be used without the bound cookie, or with one that has expired, and was not to be had.
   * `skipped`: why the browser says that it could not refresh it; anybody may say so.
   */
  unproven: {
    handle: string
    userId?: string | undefined
    route?: string | undefined
    skipped?: 'unreachable' | 'server_error' | 'quota_exceeded' | undefined
  }
  /** `holdfast/dbsc`: what came as the proof of a device was none. `reason`: which check it failed. */
  refusedProof: {
    handle?: string | undefined
    userId?: string | undefined
    route?: string | undefined
    reason: string
  }
  /** The stored record cannot be read, or does not fit the schema. */
  invalid: { handle: string; error: Error }
  /** Two requests set the same thing; the later commit replaced what the earlier had written under these paths of `data`. */
  overwritten: { handle: string; paths: readonly string[]; route?: string | undefined }
  /** Something changed after the headers had left, and nobody called `commit()`: it is not saved. */
  uncommitted: { handle: string; route?: string | undefined }
  swept: { count: number }
  /** The store answers nobody any more: until it does, requests that need it fail at once. `error` is that of the first to wait in vain. */
  outage: { store: string; error: Error }
  /** The store answers again. */
  recovered: { store: string; milliseconds: number }
  /** What could not be thrown to the application: background writes, sweeping, what a store reports of itself (a cache that is down). */
  error: { operation: string; error: unknown }
}

/** On the channel `holdfast:event`: each event that `sessions.on` could hear, listened to or not. */
export interface EventMessage<Name extends keyof SessionEvents = keyof SessionEvents> {
  /** The manager's name. */
  readonly sessions: string
  readonly name: Name
  readonly event: SessionEvents[Name]
}

export const eventChannel = channel('holdfast:event')

/** What `sessions.on` calls at each event of a name. */
export type Listener<Name extends keyof SessionEvents> = (event: SessionEvents[Name]) => void

export interface Events {
  /** Calls `listener` at each event of that name; the result takes it off again. What a listener throws is logged. */
  on<Name extends keyof SessionEvents>(name: Name, listener: Listener<Name>): () => void
  emit<Name extends keyof SessionEvents>(name: Name, event: SessionEvents[Name]): void
}

export const EVENT_NAMES: readonly (keyof SessionEvents)[] = [
  'created',
  'login',
  'logout',
  'rotated',
  'revoked',
  'refused',
  'expired',
  'reuse',
  'clientChanged',
  'forged',
  'duplicate',
  'bound',
  'unproven',
  'refusedProof',
  'invalid',
  'overwritten',
  'uncommitted',
  'swept',
  'outage',
  'recovered',
  'error',
]

export function createEvents(logger: Logger, sessions: string): Events {
  const listeners = new Map<keyof SessionEvents, Set<Listener<never>>>()
  let hasWarned = false

  /** What somebody should know of, even if the application listens to nothing. */
  function logUnheard(name: keyof SessionEvents, event: SessionEvents[keyof SessionEvents]): void {
    if (name === 'error') {
      const { operation, error } = event as SessionEvents['error']
      logger.error(`holdfast: ${operation} failed in the background`, error)
    } else if (name === 'outage') {
      const { store, error } = event as SessionEvents['outage']
      logger.error(
        `holdfast: the ${store} store does not answer: ${error.message}. Requests that need it fail until it does.`,
      )
    } else if (name === 'recovered') {
      const { store, milliseconds } = event as SessionEvents['recovered']
      logger.warn(`holdfast: the ${store} store answers again, after ${(milliseconds / 1000).toFixed(1)} s`)
    } else if (name === 'uncommitted' && !hasWarned) {
      hasWarned = true // it is a mistake of the application, made at each request to that route
      const { handle, route } = event as SessionEvents['uncommitted']
      logger.warn(
        `holdfast: ${route ?? 'a request'} changed session ${handle} after its answer had left, and that is not saved. ` +
          "Change it before you answer, or call `await session.commit()` afterwards. Said once; the event 'uncommitted' tells of each.",
      )
    }
  }

  return {
    on(name, listener) {
      if (!EVENT_NAMES.includes(name))
        throw new TypeError(`there is no event '${name}'. There are: ${EVENT_NAMES.join(', ')}`)
      if (typeof listener !== 'function')
        throw new TypeError(`on: the listener of '${name}' must be a function, not ${typeOf(listener)}`)
      const set = listeners.get(name) ?? new Set()
      listeners.set(name, set.add(listener as Listener<never>))
      return () => void set.delete(listener as Listener<never>)
    },
    emit(name, event) {
      if (isHeard(eventChannel)) eventChannel.publish({ sessions, name, event } satisfies EventMessage)
      const set = listeners.get(name)
      if (!set?.size) {
        logUnheard(name, event)
        return
      }
      for (const listener of set) {
        try {
          ;(listener as Listener<typeof name>)(event)
        } catch (error) {
          logger.error(`holdfast: a listener of '${name}' threw`, error)
        }
      }
    },
  }
}
