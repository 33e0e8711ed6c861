import type { Attributes } from '@opentelemetry/api'
import { SpanKind } from '@opentelemetry/api'
import type { StoreMessage } from '../channels.ts'

/*
 * Names of the OpenTelemetry semantic conventions 1.45.0, database spans and metrics, which are stable, and our own below `holdfast.`
 * https://github.com/open-telemetry/semantic-conventions/blob/v1.45.0/docs/db/database-spans.md
 */

/** Of `db.client.operation.duration`, in seconds, as the conventions recommend them. */
export const DURATIONS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

/** Values of `db.system.name` that differ from our stores' names. */
const SYSTEMS: Record<string, string> = { postgres: 'postgresql' }
/** The conventions let spans of what runs in this process be internal ones. */
const IN_PROCESS = new Set(['memory', 'file', 'sqlite', 'cookie'])

export function systemOf(store: string): string {
  return SYSTEMS[store] ?? store
}

export function kindOf({ store }: StoreMessage): SpanKind {
  return IN_PROCESS.has(store) ? SpanKind.INTERNAL : SpanKind.CLIENT
}

export function storeAttributes(store: string, operation: string): Attributes {
  return { 'db.system.name': systemOf(store), 'db.operation.name': operation }
}

/** The code that an error has (`ECONNREFUSED`, `HOLDFAST_CONFLICT`), or its name; of what a store has only wrapped, that of its cause. */
export function errorType(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER'
  const { code } = error as { code?: unknown }
  if (typeof code === 'string' && code !== '') return code
  return error.name === 'StoreError' && error.cause ? errorType(error.cause) : error.name
}
