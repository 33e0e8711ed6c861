import { randomFillSync } from 'node:crypto'

const RANDOM = 6
/** The generator's price is for the call, not the byte. These bytes are no secret, so they may wait here until they are used. */
const pool = Buffer.alloc(RANDOM * 256)
let used = pool.length

/**
 * The revision after this one: it counts, for caches that ask which of two is newer, and is random, since after a failover two writers
 * may count alike.
 */
export function nextRev(rev: string): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += RANDOM
  return `${(countOf(rev) + 1).toString(36)}.${pool.toString('base64url', used - RANDOM, used)}`
}

export function countOf(rev: string): number {
  return Number.parseInt(rev, 36) // up to the dot
}
