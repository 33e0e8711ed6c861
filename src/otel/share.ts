/** Which traces are recorded, so that it is about so many a second. */
export interface Share {
  /** A request has come. */
  count(): void
  /** Whether a trace is among them: the same answer for all that belongs to it, until the share changes. */
  includes(traceId: string): boolean
}

const SECOND = 1_000

/** Goes by how many came in the second before; after a quiet one, all are. */
export function shareFor(perSecond: number): Share {
  let share = 1
  let counted = 0
  let until = 0
  return {
    count() {
      const now = performance.now()
      if (now >= until) {
        share = now < until + SECOND ? Math.min(1, perSecond / counted) : 1
        counted = 0
        until = now + SECOND
      }
      counted++
    },
    // The ids are random, and samplers that go by them do not go by these digits alone.
    includes: (traceId) => share === 1 || Number.parseInt(traceId.slice(0, 8), 16) < share * 2 ** 32,
  }
}
