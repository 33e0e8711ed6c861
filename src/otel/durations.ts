import type { Attributes, Histogram } from '@opentelemetry/api'

/** Durations on their way into a histogram. */
export interface Durations {
  /** Milliseconds of an operation with these names; `error` if it failed. */
  add(store: string, operation: string, milliseconds: number, error: string | undefined): void
  /** Gives the histogram all that it does not have yet. */
  flush(): void
}

interface Series {
  readonly attributes: Attributes
  readonly seconds: Float64Array
  count: number
}

/** As many of one series are given to the histogram at once. */
const BATCH = 256

/**
 * An SDK finds out anew for each number to which series it belongs, sorting its attributes and writing them as JSON. Between other work that costs more
 * than all else that is done here; for many numbers in a row it costs a third.
 */
export function durationsFor(
  histogram: Histogram,
  attributesOf: (store: string, operation: string) => Attributes,
): Durations {
  const byStore = new Map<string, Map<string, Series>>()

  function seriesOf(store: string, operation: string): Series {
    let ofStore = byStore.get(store)
    if (!ofStore) byStore.set(store, (ofStore = new Map()))
    let series = ofStore.get(operation)
    if (!series) {
      series = { attributes: attributesOf(store, operation), seconds: new Float64Array(BATCH), count: 0 }
      ofStore.set(operation, series)
    }
    return series
  }

  function give(series: Series): void {
    const { attributes, seconds, count } = series
    series.count = 0
    for (let i = 0; i < count; i++) histogram.record(seconds[i]!, attributes)
  }

  return {
    add(store, operation, milliseconds, error) {
      const series = seriesOf(store, operation)
      if (error !== undefined) {
        histogram.record(milliseconds / 1_000, { ...series.attributes, 'error.type': error })
        return
      }
      series.seconds[series.count++] = milliseconds / 1_000
      if (series.count === BATCH) give(series)
    },
    flush() {
      for (const ofStore of byStore.values()) for (const series of ofStore.values()) give(series)
    },
  }
}
