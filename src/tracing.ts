import type { CommitMessage, OpenMessage, Outcome, Written } from './channels.ts'
import { commitTracing, openTracing, trace } from './channels.ts'
import type { RequestSource } from './request.ts'
import { routeOf } from './request.ts'
import type { Visit } from './visit.ts'

/*
 * What the channels are told of a visit, once somebody listens.
 */

export function traceOpen(
  sessions: string,
  source: RequestSource,
  work: () => Promise<Visit>,
): Promise<Visit> {
  const message: Written<OpenMessage> = { sessions, route: routeOf(source) }
  return trace(openTracing, message, work, (visit) => {
    if (visit) message.outcome = outcomeOf(visit)
  })
}

function outcomeOf(visit: Visit): Outcome {
  if (!visit.loaded) return 'lazy'
  if (visit.duplicate) return 'duplicate'
  if (visit.outage) return 'outage'
  if (visit.invalid) return 'invalid'
  if (visit.refusal) return 'refused'
  return visit.standing === 'quiet' ? 'quiet' : visit.presented
}

export function traceCommit(sessions: string, visit: Visit, work: () => Promise<void>): Promise<void> {
  const { handle, standing } = visit
  const kind = standing === 'live' ? 'update' : 'create'
  const message: Written<CommitMessage> = { sessions, handle, kind, attempts: 0, conflicts: 0 }
  visit.trace = message
  return trace(commitTracing, message, work, () => (visit.trace = undefined))
}

/** `data`: encoded. */
export function traceAttempt(
  trace: Written<CommitMessage>,
  handle: string,
  kind: CommitMessage['kind'],
  data: string,
): void {
  trace.attempts++
  trace.handle = handle
  trace.kind = kind
  trace.bytes = Buffer.byteLength(data)
}
