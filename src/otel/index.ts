import type { Meter, Tracer } from '@opentelemetry/api'
import { metrics, trace } from '@opentelemetry/api'
import { recordMetrics } from './instruments.ts'
import { recordSpans } from './spans.ts'

/** What `instrument` takes. */
export interface InstrumentOptions {
  /** Default: the tracer `holdfast` of the global provider. `false` for no spans. */
  readonly tracer?: Tracer | false
  /**
   * Of how many requests a second there are spans, about: 100 by default, `Infinity` for all. So tracing costs less than a hundredth of a core, also
   * when there is no time to lose. A trace has all spans or none, but for requests under way while the rate changes. What the sampler leaves out does
   * not count.
   */
  readonly tracesPerSecond?: number
  /** Default: the meter `holdfast` of the global provider. `false` for no metrics. Set that provider first: a meter that was made before it stays idle. */
  readonly meter?: Meter | false
}

/**
 * Spans and metrics, by OpenTelemetry, of all managers in this process: `holdfast open` and `holdfast commit` below the request's span, below them
 * a span for each operation on the store, and below that whatever the driver's instrumentation adds. Call it once, at the start; the result ends it.
 * Needs `@opentelemetry/api`, and an SDK that exports what it is given. docs/metrics.md names them all.
 * @throws TypeError for a `tracesPerSecond` that is no positive number
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
  tracesPerSecond = 100,
  meter = metrics.getMeter('holdfast'),
}: InstrumentOptions = {}): () => void {
  if (!(tracesPerSecond > 0)) {
    throw new TypeError(`instrument: tracesPerSecond is ${tracesPerSecond}; it must be a positive number`)
  }
  const stopSpans = tracer && recordSpans(tracer, tracesPerSecond)
  const stopMetrics = meter && recordMetrics(meter)
  return () => {
    if (stopSpans) stopSpans()
    if (stopMetrics) stopMetrics()
  }
}
