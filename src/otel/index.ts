import type { Meter, Tracer } from '@opentelemetry/api'
import { metrics, trace } from '@opentelemetry/api'
import { recordMetrics } from './instruments.ts'
import { recordSpans } from './spans.ts'

/** What `instrument` takes. */
export interface InstrumentOptions {
  /** Default: the tracer `holdfast` of the global provider. `false` for no spans. */
  readonly tracer?: Tracer | false
  /** Default: the meter `holdfast` of the global provider. `false` for no metrics. Set that provider first: a meter that was made before it stays idle. */
  readonly meter?: Meter | false
}

/**
 * Spans and metrics, by OpenTelemetry, of all managers in this process: `holdfast open` and `holdfast commit` below the request's span, below them
 * a span for each operation on the store, and below that whatever the driver's instrumentation adds. Call it once, at the start; the result ends it.
 * Needs `@opentelemetry/api`, and an SDK that exports what it is given. docs/metrics.md names them all.
 *
 * @example
 * ```ts
 * import { instrument } from 'holdfast/otel'
 *
 * const stop = instrument()
 * process.once('SIGTERM', stop)
 * ```
 */
export function instrument({
  tracer = trace.getTracer('holdfast'),
  meter = metrics.getMeter('holdfast'),
}: InstrumentOptions = {}): () => void {
  const stopSpans = tracer && recordSpans(tracer)
  const stopMetrics = meter && recordMetrics(meter)
  return () => {
    if (stopSpans) stopSpans()
    if (stopMetrics) stopMetrics()
  }
}
