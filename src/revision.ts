import { randomBytes } from 'node:crypto'

/*
 * A revision is a count, and random characters for it and for each of the three before it: 3ebUxK0a4-hQe is the third, after 2K0a4-hQe.
 * It counts, for caches that ask which of two is newer; it is random, since after a failover two writers may count alike; and it says what
 * it follows, which decides a write whose answer was lost.
 */

/** Characters of base64url, 24 bits, of which the first is no digit: so the count ends there. */
const RANDOM = 4
const REMEMBERED = 4 * RANDOM
const POOL = 512 * RANDOM
/** The generator's price is for the call, not the byte. These characters are no secret, so they may wait here until they are used. */
let pool = ''
let used = POOL

export function firstRev(): string {
  return `1${random()}`
}

/** The revision after this one. */
export function nextRev(rev: string): string {
  const count = countOf(rev)
  const digits = String(count).length
  return count + 1 + random() + rev.slice(digits, digits + REMEMBERED - RANDOM)
}

/** Whether `later` is this revision, or one of the three after it. */
export function follows(later: string, rev: string): boolean {
  const steps = countOf(later) - countOf(rev)
  const own = tailOf(rev).slice(0, RANDOM)
  return steps >= 0 && tailOf(later).slice(steps * RANDOM, (steps + 1) * RANDOM) === own
}

/** Whether `later` is so much later that it does not say whether it follows. */
export function isBeyondMemory(later: string, rev: string): boolean {
  return (countOf(later) - countOf(rev)) * RANDOM >= REMEMBERED
}

export function countOf(rev: string): number {
  return Number.parseInt(rev, 10) // up to the first random character
}

function tailOf(rev: string): string {
  return rev.slice(String(countOf(rev)).length)
}

function random(): string {
  for (;;) {
    if (used === POOL) {
      pool = randomBytes((POOL * 6) / 8).toString('base64url')
      used = 0
    }
    const characters = pool.slice(used, used + RANDOM)
    used += RANDOM
    if (characters > ':' || characters < '0') return characters
  }
}
