import { channel, tracingChannel } from 'node:diagnostics_channel'
import type { Attributes, Meter, ObservableResult } from '@opentelemetry/api'
import type { CommitMessage, EventMessage, OpenMessage, StoreMessage } from '../channels.ts'
import { EVENT_NAMES } from '../events.ts'
import { DURATIONS, failure, SIZES, storeAttributes, systemOf } from './names.ts'

/** Metrics of what the channels tell. No handle and no user is an attribute, so that there are a few time series, whatever comes. The result ends it. */
export function recordMetrics(meter: Meter): () => void {
  const seconds = (name: string, description: string) =>
    meter.createHistogram(name, {
      description,
      unit: 's',
      advice: { explicitBucketBoundaries: DURATIONS },
    })
  const storing = seconds('db.client.operation.duration', 'Duration of database client operations.')
  const opening = seconds('holdfast.open.duration', 'What it takes to open the session of a request.')
  const committing = seconds('holdfast.commit.duration', 'What it takes to save what a request changed.')
  const size = meter.createHistogram('holdfast.commit.size', {
    description: 'Encoded data of the sessions that were saved.',
    unit: 'By',
    advice: { explicitBucketBoundaries: SIZES },
  })
  const conflicts = meter.createCounter('holdfast.commit.conflicts', {
    description: 'Attempts to save that found another request to have been first.',
    unit: '{conflict}',
  })
  const events = meter.createCounter('holdfast.events', {
    description: 'Events. Those of many sessions, revoked and swept, count each.',
    unit: '{event}',
  })
  const outage = meter.createObservableGauge('holdfast.store.outage', {
    description: '1 while the store answers nobody, else 0.',
  })

  const outages = createOutages()
  outage.addCallback(outages.observe)
  const met = new Set<string>()
  // Prometheus sees no increase in a series that begins with 1: who waits for the first `reuse` must have had a 0 before it.
  const meet = (sessions: string) => {
    if (met.has(sessions)) return
    met.add(sessions)
    for (const name of EVENT_NAMES) events.add(0, { 'holdfast.sessions': sessions, 'holdfast.event': name })
  }
  const stops = [
    timed<StoreMessage>('store', (message, duration) => {
      meet(message.sessions)
      outages.know(message)
      storing.record(duration, { ...storeAttributes(message), ...failure(message.error) })
    }),
    timed<OpenMessage>('open', ({ sessions, outcome, error }, duration) => {
      meet(sessions)
      opening.record(duration, {
        'holdfast.sessions': sessions,
        ...(outcome !== undefined && { 'holdfast.outcome': outcome }),
        ...failure(error),
      })
    }),
    timed<CommitMessage>('commit', (message, duration) => {
      const attributes = { 'holdfast.sessions': message.sessions, 'holdfast.commit.kind': message.kind }
      committing.record(duration, { ...attributes, ...failure(message.error) })
      conflicts.add(message.conflicts, attributes)
      if (message.error === undefined && message.bytes !== undefined) size.record(message.bytes, attributes)
    }),
    heard((message) => {
      meet(message.sessions)
      outages.hear(message)
      events.add(countOf(message), { 'holdfast.sessions': message.sessions, 'holdfast.event': message.name })
    }),
  ]
  return () => {
    outage.removeCallback(outages.observe)
    for (const stop of stops) stop()
  }
}

function timed<Message extends object>(
  name: string,
  told: (message: Message, seconds: number) => void,
): () => void {
  const { start, asyncEnd } = tracingChannel(`holdfast:${name}`)
  const beginnings = new WeakMap<object, number>()
  const begin = (message: unknown) => void beginnings.set(message as Message, performance.now())
  const end = (message: unknown) => {
    const began = beginnings.get(message as Message)
    if (began !== undefined) told(message as Message, (performance.now() - began) / 1_000)
  }
  start.subscribe(begin)
  asyncEnd.subscribe(end)
  return () => {
    start.unsubscribe(begin)
    asyncEnd.unsubscribe(end)
  }
}

function heard(told: (message: EventMessage) => void): () => void {
  const events = channel('holdfast:event')
  const hear = (message: unknown) => told(message as EventMessage)
  events.subscribe(hear)
  return () => void events.unsubscribe(hear)
}

function countOf({ event }: EventMessage): number {
  return 'count' in event ? event.count : 1
}

/** Which managers' stores are known, and which of them give no answer. */
function createOutages() {
  const known = new Map<string, { isOut: boolean; attributes: Attributes }>()
  const know = ({ sessions, store }: { sessions: string; store: string }) => {
    const name = `${sessions}\n${store}`
    const found = known.get(name)
    if (found) return found
    const attributes = { 'holdfast.sessions': sessions, 'db.system.name': systemOf(store) }
    const made = { isOut: false, attributes }
    known.set(name, made)
    return made
  }
  return {
    know,
    hear({ sessions, name, event }: EventMessage) {
      if ((name === 'outage' || name === 'recovered') && 'store' in event)
        know({ sessions, store: event.store }).isOut = name === 'outage'
    },
    observe(result: ObservableResult) {
      for (const { isOut, attributes } of known.values()) result.observe(isOut ? 1 : 0, attributes)
    },
  }
}
