import { setImmediate as turn } from 'node:timers/promises'
import type { Page, Store } from '../../store.ts'
import { inTime } from '../in-time.ts'
import { StoreError } from '../store-error.ts'

/** How fast `drain` goes, and who hears of it. */
export interface DrainOptions {
  /** Told after each batch. The next one waits for the promise that it may return, and so can be held up. */
  readonly onProgress?: (progress: DrainProgress) => unknown
  /**
   * Told of each session that one of the two stores refuses for good: too large, a user id that is too long, damaged. It stays in `from`, and the drain goes on,
   * unless a whole batch is refused. `key`: the manager's name, a colon and the session's handle.
   */
  readonly onRefused?: (key: string, error: StoreError) => unknown
  /** Stops after the batch under way. */
  readonly signal?: AbortSignal
  /** How many sessions are moved at once. 20 by default. */
  readonly batch?: number
  /** Goes through `from` once more, before, to know the total. False by default. */
  readonly count?: boolean
  /** How long a batch may take before the drain fails, in milliseconds. 30,000 by default. */
  readonly timeout?: number
}

/** How far a drain has come. */
export interface DrainProgress {
  /** The sessions that were met in `from`. */
  readonly seen: number
  /** Those of them that this drain moved; the others had just been moved or ended by somebody else. */
  readonly moved: number
  /** Those that cannot move, see `onRefused`. They are in `from` still. */
  readonly refused: number
  /** How many were in `from` at the start, with `count`. Live traffic moves some of them itself. */
  readonly total?: number
  /** All that were in `from` at the start have moved. */
  readonly done: boolean
}

const NAME = 'migrating'
const COUNTED_AT_ONCE = 1000

type Scan = NonNullable<Store['scan']>

/** Goes through all that is in `from`. @param move whether it has moved the session; not if that had moved or ended already */
export async function drain(
  from: Store,
  move: (item: Page['items'][number]) => Promise<boolean>,
  { onProgress, onRefused, signal, batch = 20, count = false, timeout = 30_000 }: DrainOptions,
): Promise<DrainProgress> {
  if (!from.scan) {
    const cure = 'Sessions move when they are next seen; keep this store for as long as a session lives.'
    const problem = `the ${from.name} store cannot list its sessions. ${cure}`
    throw new StoreError(NAME, 'drain', problem, { retryable: false })
  }
  const answered = <T>(work: Promise<T>) =>
    inTime(timeout, work, () => {
      const problem = `no answer to a batch within ${timeout} ms. See whether both stores are up, then start again: what has moved is not met any more`
      return new StoreError(NAME, 'drain', problem)
    })
  const scan: Scan = (cursor, limit) => answered(from.scan!(cursor, limit))
  const total = count ? await countIn(scan, signal) : undefined
  let progress: DrainProgress = {
    seen: 0,
    moved: 0,
    refused: 0,
    ...(total !== undefined && { total }),
    done: false,
  }
  let cursor: string | undefined
  while (!signal?.aborted) {
    const page = await scan(cursor, batch)
    const results = await answered(Promise.allSettled(page.items.map((item) => move(item))))
    const failed = failures(page.items, results)
    // A server that is down or full refuses all of them, and would the rest.
    const fatal =
      failed.find(({ error }) => !isRefusal(error)) ??
      (failed.length === results.length ? failed[0] : undefined)
    const refused = failed.filter(({ error }) => isRefusal(error))
    for (const { key, error } of refused) await onRefused?.(key, error as StoreError)
    cursor = page.cursor
    progress = {
      ...progress,
      seen: progress.seen + results.length,
      moved: progress.moved + results.filter((each) => each.status === 'fulfilled' && each.value).length,
      refused: progress.refused + refused.length,
      done: cursor === undefined && progress.refused + failed.length === 0,
    }
    await onProgress?.(progress)
    if (fatal) throw fatal.error
    if (cursor === undefined) break
    // Two stores that answer without I/O would let nothing else run until the end.
    await turn()
  }
  return progress
}

/** Nothing if it was stopped. */
async function countIn(scan: Scan, signal: AbortSignal | undefined): Promise<number | undefined> {
  let total = 0
  let cursor: string | undefined
  do {
    const page = await scan(cursor, COUNTED_AT_ONCE)
    total += page.items.length
    cursor = page.cursor
    await turn()
    if (signal?.aborted) return undefined
  } while (cursor !== undefined)
  return total
}

function failures(
  items: Page['items'],
  results: readonly PromiseSettledResult<unknown>[],
): { readonly key: string; readonly error: unknown }[] {
  return results.flatMap((result, i) =>
    result.status === 'rejected' ? [{ key: items[i]![0], error: result.reason as unknown }] : [],
  )
}

/** Of one session, by one of the two stores: what the migrating store itself finds wrong is wrong about all of them. */
function isRefusal(error: unknown): boolean {
  return error instanceof StoreError && !error.retryable && error.store !== NAME
}
