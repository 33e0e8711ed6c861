import type { Channel, TracingChannel } from 'node:diagnostics_channel'
import { tracingChannel } from 'node:diagnostics_channel'
import { begin } from './breaker.ts'
import type { SessionIndex, Store } from './store.ts'

/*
 * What a manager tells on `node:diagnostics_channel`, for tracing and metrics. No message holds a token or a value of `data`; sessions are named by
 * their handles. While nobody listens each operation costs the question whether somebody does, and no object. See docs/metrics.md.
 */

/** On the tracing channel `holdfast:store`: one operation on the store, from being asked for to its answer, its deadline or a refusal to ask. */
export interface StoreMessage {
  readonly sessions: string
  /** The store's name: `redis`, … */
  readonly store: string
  /** The method of `Store`. Those that list or end all sessions of a user or external id are `listAll` and `destroyAll`. */
  readonly operation: string
  /** Of the session that it concerns, if it is one. */
  readonly handle?: string | undefined
  /** When it was asked for, by `performance.now()`. */
  readonly began: number
  /** What it failed with. */
  readonly error?: unknown
}

/** On the tracing channel `holdfast:open`: the cookie of a request is read and its session loaded. */
export interface OpenMessage {
  readonly sessions: string
  /** Method and path. Absent where no request was given. */
  readonly route?: string | undefined
  /** Known at the end, unless it failed. */
  readonly outcome?: Outcome | undefined
  readonly error?: unknown
}

/**
 * `none`: no cookie. `live`: the cookie's session. `ended`: there is none any more. `quiet`: ended or replaced a moment ago. `forged`, `duplicate`:
 * the cookies counted for nothing. `invalid`: its record cannot be used. `refused`: an extension, such as `holdfast/dbsc`, keeps it from this request.
 * `outage`: the store did not answer, and the request goes on without it. `lazy`: not loaded yet; once it is, that is told by another message.
 */
export type Outcome =
  | ('none' | 'live' | 'ended' | 'quiet' | 'forged' | 'duplicate')
  | ('invalid' | 'refused' | 'outage' | 'lazy')

/** On the tracing channel `holdfast:commit`: what a request changed is written. Nothing is told of a request that changed nothing. */
export interface CommitMessage {
  readonly sessions: string
  /** Known once there is one. */
  readonly handle?: string | undefined
  readonly kind: 'create' | 'update'
  /** How many times it was sent to the store. 0: others had already written the same. */
  readonly attempts: number
  /** How many of these found that another request had been first. */
  readonly conflicts: number
  /** Of the data as it was last sent, encoded. */
  readonly bytes?: number | undefined
  readonly error?: unknown
}

/** A message while it is being filled. */
export type Written<Message> = { -readonly [Key in keyof Message]: Message[Key] }
type Tracing = TracingChannel<unknown, object>
/** Of every tracing channel. */
interface Ending {
  error?: unknown
}

export const openTracing: Tracing = tracingChannel('holdfast:open')
export const commitTracing: Tracing = tracingChannel('holdfast:commit')
const storeTracing: Tracing = tracingChannel('holdfast:store')

/** A method in workerd, a property elsewhere. */
export function isHeard(one: Channel): boolean {
  const has = one.hasSubscribers as boolean | (() => boolean)
  return typeof has === 'function' ? has.call(one) : has
}

/** Deno has no `hasSubscribers` of all five. */
export function isTraced({ start, end, asyncStart, asyncEnd, error }: Tracing): boolean {
  return isHeard(start) || isHeard(asyncEnd) || isHeard(error) || isHeard(end) || isHeard(asyncStart)
}

/**
 * What `tracePromise` does, without the result in the message, which is the session; and what is thrown at once has an end as well.
 * `conclude` completes the message before its end is told: with the result, or with nothing if it failed.
 */
export function trace<T>(
  tracing: Tracing,
  message: Ending,
  work: () => Promise<T>,
  conclude?: (result?: T) => void,
): Promise<T> {
  const { start } = tracing
  if (isHeard(start)) return start.runStores(message, run<T>, undefined, tracing, message, work, conclude)
  return run(tracing, message, work, conclude)
}

function run<T>(
  tracing: Tracing,
  message: Ending,
  work: () => Promise<T>,
  conclude: ((result?: T) => void) | undefined,
): Promise<T> {
  const done = begin(work).then(
    (result) => {
      conclude?.(result)
      tellEnd(tracing, message)
      return result
    },
    (thrown) => {
      message.error = thrown
      tracing.error.publish(message)
      conclude?.()
      tellEnd(tracing, message)
      throw thrown
    },
  )
  tracing.end.publish(message)
  return done
}

function tellEnd({ asyncStart, asyncEnd }: Tracing, message: Ending): void {
  asyncStart.publish(message)
  asyncEnd.publish(message)
}

type Operation = (a: unknown, b: unknown, c: unknown, d: unknown) => Promise<unknown>

/** The store as it is, whose operations are told to whoever listens. */
export function traceStore(store: Store, sessions: string): Store {
  const { name } = store
  const start = sessions.length + 1
  /** Looks the method up at each call: an application, or a test, may put another in its place. */
  function traced<On extends object, Method extends string & keyof On>(
    on: On,
    method: Method,
    operation: string = method,
    isOfOne = true,
  ): On[Method] {
    const operations = on as Record<Method, Operation>
    // Four parameters in place of a rest: that would be an array for each call.
    const call: Operation = (a, b, c, d) => {
      if (!isTraced(storeTracing)) return operations[method](a, b, c, d)
      const handle = isOfOne ? String(a).slice(start) : undefined
      const began = performance.now()
      const message: Written<StoreMessage> = {
        sessions,
        store: name,
        operation,
        handle,
        began,
        error: undefined,
      }
      return trace(storeTracing, message, () => operations[method](a, b, c, d))
    }
    return call as On[Method]
  }
  const index = (of: SessionIndex): SessionIndex => ({
    list: traced(of, 'list', 'listAll', false),
    destroy: traced(of, 'destroy', 'destroyAll', false),
  })
  return {
    name,
    compareAndSet: store.compareAndSet,
    load: traced(store, 'load'),
    create: traced(store, 'create'),
    update: traced(store, 'update'),
    touch: traced(store, 'touch'),
    destroy: traced(store, 'destroy'),
    ...(store.users && { users: index(store.users) }),
    ...(store.externalIds && { externalIds: index(store.externalIds) }),
    ...(store.scan && { scan: traced(store, 'scan', 'scan', false) }),
    ...(store.sweep && { sweep: traced(store, 'sweep', 'sweep', false) }),
    ...(store.carry && { carry: traced(store, 'carry') }),
  }
}
