import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import type { Context, Span, SpanContext, Tracer } from '@opentelemetry/api'
import { context, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'
import type { CommitMessage, OpenMessage, StoreMessage } from '../channels.ts'
import { HoldfastError } from '../errors.ts'
import { errorType, kindOf, storeAttributes } from './names.ts'
import { type Share, shareFor } from './share.ts'

/** Spans of what the channels tell. The result ends it. */
export function recordSpans(tracer: Tracer, tracesPerSecond: number): () => void {
  const share = shareFor(tracesPerSecond)
  const stops = [
    record<OpenMessage>(
      share,
      'open',
      ({ sessions }) => tracer.startSpan('holdfast open').setAttribute('holdfast.sessions', sessions),
      (span, { outcome }) => {
        if (outcome !== undefined) span.setAttribute('holdfast.outcome', outcome)
      },
    ),
    record<CommitMessage>(
      share,
      'commit',
      ({ sessions }) => tracer.startSpan('holdfast commit').setAttribute('holdfast.sessions', sessions),
      (span, { handle, kind, attempts, conflicts, bytes }) => {
        span.setAttributes({
          'holdfast.handle': handle,
          'holdfast.commit.kind': kind,
          'holdfast.commit.attempts': attempts,
          'holdfast.commit.conflicts': conflicts,
          'holdfast.commit.bytes': bytes,
        })
      },
    ),
    record<StoreMessage>(share, 'store', (message) => {
      const { sessions, operation, handle } = message
      const span = tracer.startSpan(operation, {
        kind: kindOf(message),
        attributes: storeAttributes(message.store, operation),
      })
      span.setAttribute('holdfast.sessions', sessions)
      if (handle !== undefined) span.setAttribute('holdfast.handle', handle)
      return span
    }),
  ]
  return () => {
    for (const stop of stops) stop()
  }
}

function record<Message extends { readonly error?: unknown }>(
  share: Share,
  name: 'open' | 'commit' | 'store',
  begin: (message: Message) => Span,
  describe?: (span: Span, message: Message) => void,
): () => void {
  // In the message, and not in a WeakMap, which would cost more than the span.
  const kept = Symbol('span')
  type Traced = Message & { [kept]?: Span }
  const { start, asyncEnd } = tracingChannel<Context | undefined, Message>(`holdfast:${name}`)
  start.bindStore(activeContext, (message) => {
    const active = context.active()
    const parent = trace.getSpanContext(active)
    if (parent && !isSampled(parent)) return undefined
    if (name === 'open') share.count()
    if (parent && !share.includes(parent.traceId)) return undefined
    const span = begin(message)
    const own = span.spanContext()
    if (!parent && !share.includes(own.traceId)) {
      // Nothing below it is recorded either.
      return trace.setSpanContext(active, { ...own, traceFlags: TraceFlags.NONE })
    }
    ;(message as Traced)[kept] = span
    return trace.setSpan(active, span)
  })
  const end = (message: unknown) => {
    const { [kept]: span, error } = message as Traced
    if (!span) return // left out, or it began before we listened
    if (error !== undefined) fail(span, error)
    describe?.(span, message as Message)
    span.end()
  }
  asyncEnd.subscribe(end)
  return () => {
    start.unbindStore(activeContext)
    asyncEnd.unsubscribe(end)
  }
}

/** Else its children are not either, and most requests are such. */
function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0
}

/** The text is told where it is ours. A driver's may quote what could not be stored. */
function fail(span: Span, error: unknown): void {
  span.setAttribute('error.type', errorType(error))
  const message = error instanceof HoldfastError ? { message: error.message } : {}
  span.setStatus({ code: SpanStatusCode.ERROR, ...message })
}

/**
 * Enough of an AsyncLocalStorage for `bindStore`: what runs in it has the context active, whichever manager the application has. `undefined`: the
 * one that is active already, as for all that has no span.
 */
const activeContext = {
  run: <R>(other: Context | undefined, work: () => R): R => (other ? context.with(other, work) : work()),
  /** In place of `run`, from Node 26 on. The API has no such scope, but its usual manager is an AsyncLocalStorage, which has. */
  withScope: (other: Context | undefined): Disposable =>
    (other && storageOfManager()?.withScope?.(other)) ?? NO_SCOPE,
} as unknown as AsyncLocalStorage<Context | undefined>

interface ScopedStorage {
  withScope?(active: Context): Disposable
}

function storageOfManager(): ScopedStorage | undefined {
  const api = context as unknown as { _getContextManager?(): { _asyncLocalStorage?: unknown } | undefined }
  const storage = api._getContextManager?.()?._asyncLocalStorage
  return storage instanceof AsyncLocalStorage ? (storage as ScopedStorage) : undefined
}

const NO_SCOPE = { [Symbol.dispose]() {} }
