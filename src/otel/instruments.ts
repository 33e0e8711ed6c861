import { channel, tracingChannel } from 'node:diagnostics_channel'
import type { Attributes, Meter, ObservableResult } from '@opentelemetry/api'
import type { CommitMessage, OpenMessage, StoreMessage } from '../channels.ts'
import type { EventMessage } from '../events.ts'
import { EVENT_NAMES } from '../events.ts'
import { byPair } from './by-pair.ts'
import { durationsFor } from './durations.ts'
import { DURATIONS, errorType, storeAttributes, systemOf } from './names.ts'

/**
 * Metrics of what the channels tell. No handle and no user is an attribute, so that there are a few time series, whatever comes. What can be counted
 * is counted here and read when it is collected: an SDK takes a microsecond to find out which series a number belongs to. The result ends it.
 */
export function recordMetrics(meter: Meter): () => void {
  const histogram = meter.createHistogram('db.client.operation.duration', {
    description: 'Duration of database client operations.',
    unit: 's',
    advice: { explicitBucketBoundaries: DURATIONS },
  })
  const counter = (name: string, unit: string, description: string) =>
    meter.createObservableCounter(name, { unit, description })
  const opened = counter('holdfast.opens', '{request}', 'Requests whose session was opened.')
  const saved = counter('holdfast.commits', '{commit}', 'Times that a session was saved.')
  const size = counter('holdfast.commit.bytes', 'By', 'Encoded data of the sessions that were saved.')
  const met = counter(
    'holdfast.commit.conflicts',
    '{conflict}',
    'Attempts to save that found another request to have been first.',
  )
  const happened = counter('holdfast.events', '{event}', 'Events. Those of many sessions count each.')
  const state = meter.createObservableGauge('holdfast.store.outage', {
    description: '1 while the store answers nobody, else 0.',
  })
  const opens = tally(opened, 'holdfast.outcome')
  const failedOpens = tally(opened, 'error.type')
  const commits = tally(saved, 'holdfast.commit.kind')
  const failedCommits = tally(saved, 'error.type')
  const bytes = tally(size, 'holdfast.commit.kind')
  const conflicts = tally(met, 'holdfast.commit.kind')
  const events = tally(happened, 'holdfast.event')
  const outages = tally(state, 'db.system.name')

  const durations = durationsFor(histogram, storeAttributes)
  // Before it is collected: what is observed is asked for first.
  meter.addBatchObservableCallback(durations.flush, [opened])

  const known = new Set<string>()
  // Prometheus sees no increase in a series that begins with 1: who waits for the first `reuse` must have had a 0 before it.
  const meet = (sessions: string) => {
    if (known.has(sessions)) return
    known.add(sessions)
    for (const name of EVENT_NAMES) events.at(sessions, name)
  }
  const outageOf = (sessions: string, store: string) => outages.at(sessions, systemOf(store))

  const stops = [
    listen<StoreMessage>(tracingChannel('holdfast:store').asyncEnd, (message) => {
      const { sessions, store, operation, began, error } = message
      outageOf(sessions, store)
      const failure = error === undefined ? undefined : errorType(error)
      durations.add(store, operation, performance.now() - began, failure)
    }),
    listen<OpenMessage>(tracingChannel('holdfast:open').asyncEnd, ({ sessions, outcome, error }) => {
      meet(sessions)
      const count =
        error === undefined ? opens.at(sessions, outcome!) : failedOpens.at(sessions, errorType(error))
      count.value++
    }),
    listen<CommitMessage>(tracingChannel('holdfast:commit').asyncEnd, (message) => {
      const { sessions, kind, error } = message
      conflicts.at(sessions, kind).value += message.conflicts
      if (error !== undefined) {
        failedCommits.at(sessions, errorType(error)).value++
        return
      }
      commits.at(sessions, kind).value++
      bytes.at(sessions, kind).value += message.bytes ?? 0
    }),
    listen<EventMessage>(channel('holdfast:event'), ({ sessions, name, event }) => {
      meet(sessions)
      events.at(sessions, name).value += 'count' in event ? event.count : 1
      if ((name === 'outage' || name === 'recovered') && 'store' in event)
        outageOf(sessions, event.store).value = name === 'outage' ? 1 : 0
    }),
    ...[opens, failedOpens, commits, failedCommits, bytes, conflicts, events, outages].map(
      ({ stop }) => stop,
    ),
  ]
  return () => {
    for (const stop of stops) stop()
    meter.removeBatchObservableCallback(durations.flush, [opened])
    durations.flush()
  }
}

interface Listened {
  subscribe(listener: (message: unknown) => void): void
  unsubscribe(listener: (message: unknown) => void): unknown
}

function listen<Message>(one: Listened, told: (message: Message) => void): () => void {
  const hear = (message: unknown) => told(message as Message)
  one.subscribe(hear)
  return () => void one.unsubscribe(hear)
}

interface Observed {
  addCallback(observe: (result: ObservableResult) => void): void
  removeCallback(observe: (result: ObservableResult) => void): void
}

/** Numbers by the manager's name and one more attribute. */
function tally(instrument: Observed, attribute: string) {
  const numbers = byPair((sessions, is) => {
    const attributes: Attributes = { 'holdfast.sessions': sessions, [attribute]: is }
    return { value: 0, attributes }
  })
  const observe = (result: ObservableResult) => {
    for (const { value, attributes } of numbers.values()) result.observe(value, attributes)
  }
  instrument.addCallback(observe)
  return { at: numbers.at, stop: () => instrument.removeCallback(observe) }
}
