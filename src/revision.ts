import { randomBytes } from 'node:crypto'

/** Characters of base64url: 48 bits. */
const RANDOM = 8
const POOL = 256 * RANDOM
/** The generator's price is for the call, not the byte. These characters are no secret, so they may wait here until they are used. */
let pool = ''
let used = POOL

/**
 * The revision after this one: it counts, for caches that ask which of two is newer, and is random, since after a failover two writers
 * may count alike.
 */
export function nextRev(rev: string): string {
  if (used === POOL) {
    pool = randomBytes((POOL * 6) / 8).toString('base64url')
    used = 0
  }
  const random = pool.slice(used, used + RANDOM)
  used += RANDOM
  return `${(countOf(rev) + 1).toString(36)}.${random}`
}

export function countOf(rev: string): number {
  return Number.parseInt(rev, 36) // up to the dot
}
