import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import type { CommitMessage, StoreMessage } from '../channels.ts'
import type { Core } from '../core.ts'
import { StoreUnavailableError } from '../errors.ts'
import type { EventMessage, SessionEvents } from '../events.ts'
import type { Counted, Curves } from './series.ts'
import { createSeries } from './series.ts'

/** Something that whoever is on call should see. */
export interface Notice {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly name: keyof SessionEvents
  readonly handle?: string
  readonly userId?: string
  /** In words, as far as the name does not say it. */
  readonly text?: string
}

/** What has happened in this process, to the sessions of one manager, since it began to look. */
export interface Watch {
  readonly since: number
  /** Of an hour, in steps of ten seconds, or of a day, in steps of five minutes. */
  curves(range: Range): Curves
  /** The newest first. */
  readonly notices: readonly Notice[]
  /** When the store ceased to answer, if it does not. */
  readonly outageSince: number | undefined
  counted(sessions: number): void
  stop(): void
}

export type Range = 'hour' | 'day'

const SECOND = 1000
const NOTICES = 50
/** Of each kind for which nobody needs a session: what one visitor does a hundred times must not push out all else. */
const ANYBODYS_NOTICES = 10
const LONGEST_TEXT = 300
/** Those that one request waits for. What goes through many records at once takes as long as there are many. */
const TIMED = new Set(['load', 'create', 'update', 'touch', 'destroy', 'carry'])

/**
 * Listens on `node:diagnostics_channel`, not by `sessions.on`: an `error` that somebody listens to is no longer logged, and a dashboard must not
 * be the reason for that.
 */
export function watch({ settings }: Core): Watch {
  const { clock, name } = settings
  const since = clock()
  const series = { hour: createSeries(10 * SECOND, 360, since), day: createSeries(300 * SECOND, 288, since) }
  const both = [series.hour, series.day]
  const notices: Notice[] = []
  let outageSince: number | undefined

  const count = (what: Counted, by = 1) => {
    for (const one of both) one.count(clock(), what, by)
  }

  function onEvent(message: unknown): void {
    const told = message as EventMessage
    if (told.sessions !== name) return
    const { name: what, event } = told
    const counted = COUNTED_EVENTS[what]
    if (counted !== undefined) count(counted, what === 'revoked' ? (event as { count: number }).count : 1)
    if (what === 'error' && !((event as { error: unknown }).error instanceof StoreUnavailableError))
      count('error')
    if (what === 'outage') outageSince = clock()
    if (what === 'recovered') outageSince = undefined
    if (!NOTED.has(what)) return
    notices.unshift(noticeOf(clock(), told))
    if (ANYBODYS.has(what)) {
      const same = notices.filter((notice) => notice.name === what)
      if (same.length > ANYBODYS_NOTICES) notices.splice(notices.indexOf(same.at(-1)!), 1)
    }
    if (notices.length > NOTICES) notices.pop()
  }

  function onEnd(message: unknown): void {
    const { sessions, operation, began, error } = message as StoreMessage
    if (sessions !== name) return
    if (error !== undefined) count('error')
    else if (TIMED.has(operation)) for (const one of both) one.took(clock(), performance.now() - began)
  }

  function onCommit(message: unknown): void {
    const { sessions, conflicts } = message as CommitMessage
    if (sessions === name && conflicts > 0) count('conflict', conflicts)
  }

  const channels = [
    ['holdfast:event', onEvent],
    ['tracing:holdfast:store:asyncEnd', onEnd],
    ['tracing:holdfast:commit:asyncEnd', onCommit],
  ] as const
  for (const [channel, listener] of channels) subscribe(channel, listener)

  return {
    since,
    curves: (range) => series[range].read(clock()),
    notices,
    get outageSince() {
      return outageSince
    },
    counted(sessions) {
      for (const one of both) one.live(clock(), sessions)
    },
    stop() {
      for (const [channel, listener] of channels) unsubscribe(channel, listener)
    },
  }
}

const COUNTED_EVENTS: Partial<Record<keyof SessionEvents, Counted>> = {
  created: 'created',
  login: 'login',
  logout: 'logout',
  revoked: 'ended',
  expired: 'ended',
  reuse: 'ended',
  overwritten: 'conflict',
  invalid: 'error',
}

const NOTED: ReadonlySet<keyof SessionEvents> = new Set([
  ...(['revoked', 'refused', 'reuse', 'clientChanged', 'forged', 'duplicate'] as const),
  ...(['unproven', 'refusedProof', 'invalid', 'overwritten', 'uncommitted'] as const),
  ...(['outage', 'recovered', 'error'] as const),
])

const ANYBODYS: ReadonlySet<keyof SessionEvents> = new Set([
  ...(['forged', 'duplicate', 'refusedProof', 'uncommitted'] as const),
])

/** Of the event only what is known to be for people: no value of `data`, and of an error its message alone. */
function noticeOf(at: number, { name, event }: Pick<EventMessage, 'name' | 'event'>): Notice {
  const { handle, userId } = event as { handle?: string; userId?: string }
  const text = textOf(name, event)?.slice(0, LONGEST_TEXT)
  return { at, name, ...(handle && { handle }), ...(userId && { userId }), ...(text && { text }) }
}

function textOf(name: keyof SessionEvents, event: SessionEvents[keyof SessionEvents]): string | undefined {
  const is = <Name extends keyof SessionEvents>(_: Name) => event as SessionEvents[Name]
  switch (name) {
    case 'revoked': {
      const { count, reason } = is('revoked')
      return `${count} ${count === 1 ? 'session' : 'sessions'}${reason === 'limit' ? ', by the limit for one user' : ''}`
    }
    case 'refused':
      return `at the limit of ${is('refused').limit}`
    case 'clientChanged':
      return `another ${is('clientChanged').changed.join(' and ')}`
    case 'refusedProof':
      return is('refusedProof').reason
    case 'overwritten':
      return is('overwritten').paths.join(', ')
    case 'recovered':
      return `after ${(is('recovered').milliseconds / 1000).toFixed(1)} s`
    case 'error':
      return `${is('error').operation}: ${messageOf(is('error').error)}`
    case 'outage':
      return messageOf(is('outage').error)
    case 'invalid':
      return messageOf(is('invalid').error)
    default:
      return (event as { route?: string }).route
  }
}

/** Of whatever somebody threw. What a listener of the channel throws would end the process. */
function messageOf(error: unknown): string {
  const message: unknown = error instanceof Error ? error.message : error
  return typeof message === 'string' ? message : inspect(message)
}
