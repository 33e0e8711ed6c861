/** What is counted, each on a curve of its own. `conflict`: a commit that found another one's before it, or a value that was overwritten. */
export const COUNTED = ['created', 'login', 'logout', 'ended', 'conflict', 'error'] as const
export type Counted = (typeof COUNTED)[number]

/** Curves over the time that has passed since `start`, one value each `step`. */
export interface Curves {
  /** Milliseconds since 1970, of the first value. */
  readonly start: number
  /** Milliseconds from value to value. */
  readonly step: number
  readonly counts: Readonly<Record<Counted, readonly number[]>>
  /** Milliseconds that an operation on the store took, for the middle one and the slowest of twenty. Null where there was none. */
  readonly p50: readonly (number | null)[]
  readonly p95: readonly (number | null)[]
  /** Operations on the store. */
  readonly operations: readonly number[]
  /** Live sessions, where they have been counted. */
  readonly live: readonly (number | null)[]
}

/** A ring of buckets: the newest `keep` of them, however long it runs. */
export interface Series {
  count(now: number, what: Counted, by?: number): void
  /** An operation on the store has taken `milliseconds`. */
  took(now: number, milliseconds: number): void
  live(now: number, sessions: number): void
  read(now: number): Curves
}

interface Bucket {
  readonly counts: Record<Counted, number>
  durations: Uint32Array | undefined
  operations: number
  live: number | null
}

/** Each limit is a quarter more than the one before: from 50 µs to a minute, and all that is beyond. */
const GROWTH = 1.25
const SHORTEST = 0.05
const LIMITS = 64

/** @param start when counting began: nothing is known of the time before */
export function createSeries(step: number, keep: number, start: number): Series {
  const buckets = new Map<number, Bucket>()
  const first = Math.floor(start / step)

  function at(now: number): Bucket {
    const index = Math.floor(now / step)
    let bucket = buckets.get(index)
    if (bucket === undefined) {
      bucket = newBucket()
      buckets.set(index, bucket)
      for (const old of buckets.keys()) if (old <= index - keep) buckets.delete(old)
    }
    return bucket
  }

  return {
    count(now, what, by = 1) {
      at(now).counts[what] += by
    },
    took(now, milliseconds) {
      const bucket = at(now)
      bucket.operations++
      bucket.durations ??= new Uint32Array(LIMITS)
      bucket.durations[slotOf(milliseconds)]!++
    },
    live(now, sessions) {
      at(now).live = sessions
    },
    read(now) {
      const last = Math.floor(now / step)
      const from = Math.max(first, last - keep + 1)
      const found = Array.from({ length: Math.max(0, last - from + 1) }, (_, i) => buckets.get(from + i))
      const counts = Object.fromEntries(
        COUNTED.map((what) => [what, found.map((bucket) => bucket?.counts[what] ?? 0)]),
      ) as Record<Counted, number[]>
      return {
        start: from * step,
        step,
        counts,
        p50: found.map((bucket) => quantile(bucket?.durations, 0.5)),
        p95: found.map((bucket) => quantile(bucket?.durations, 0.95)),
        operations: found.map((bucket) => bucket?.operations ?? 0),
        live: found.map((bucket) => bucket?.live ?? null),
      }
    },
  }
}

function newBucket(): Bucket {
  const counts = Object.fromEntries(COUNTED.map((what) => [what, 0])) as Record<Counted, number>
  return { counts, durations: undefined, operations: 0, live: null }
}

function slotOf(milliseconds: number): number {
  const slot = Math.ceil(Math.log(Math.max(milliseconds, SHORTEST) / SHORTEST) / Math.log(GROWTH))
  return Math.min(LIMITS - 1, slot)
}

/** The limit under which that share of the durations lies: at most a quarter too much. */
function quantile(durations: Uint32Array | undefined, share: number): number | null {
  if (durations === undefined) return null
  const rank = share * durations.reduce((sum, each) => sum + each, 0)
  let sum = 0
  const slot = durations.findIndex((each) => (sum += each) >= rank)
  return Number((SHORTEST * GROWTH ** slot).toPrecision(3))
}
