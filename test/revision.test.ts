import { describe, expect, it } from 'vitest'
import { countOf, firstRev, follows, isBeyondMemory, nextRev } from '../src/revision.ts'

/** The first, and those after it. */
function revisions(count: number): string[] {
  const all = [firstRev()]
  while (all.length < count) all.push(nextRev(all.at(-1)!))
  return all
}

describe('a revision', () => {
  it('counts', () => {
    expect(revisions(1_200).map(countOf)).toEqual(Array.from({ length: 1_200 }, (_, i) => i + 1))
  })

  it('is a count, its own characters, and those of the three before it', () => {
    const all = revisions(1_200)
    const own = all.map((rev, i) => rev.slice(String(i + 1).length).slice(0, 4))
    for (const [i, rev] of all.entries()) {
      expect(rev).toBe(
        i +
          1 +
          own
            .slice(Math.max(0, i - 3), i + 1)
            .reverse()
            .join(''),
      )
    }
  })

  it('never repeats, and its own characters never begin with a digit, where the count would go on', () => {
    const firsts = Array.from({ length: 20_000 }, firstRev)
    for (const rev of firsts) expect(rev).toMatch(/^1[A-Za-z_-][A-Za-z0-9_-]{3}$/)
    // Of 54 * 64^3 some 14 are expected twice.
    expect(new Set(firsts).size).toBeGreaterThan(19_900)
    expect(new Set(firsts.map((rev) => rev[1])).size).toBe(54)
    expect(new Set(firsts.map((rev) => rev[4])).size).toBe(64)
  })
})

describe('whether one follows another', () => {
  const all = revisions(30)

  it('is told of itself and the three after it, also where the count gets a digit more', () => {
    for (const [i, rev] of all.entries()) {
      const following = all.filter((later) => follows(later, rev))
      expect(following).toEqual(all.slice(i, i + 4))
    }
  })

  it('is never told of one that went another way', () => {
    const mine = nextRev(all[4]!)
    const others = [all[5]!, all[6]!, nextRev(mine)]
    expect(others.map((later) => follows(later, mine))).toEqual([false, false, true])
    expect(follows('7', all[6]!)).toBe(false)
  })

  it('is never told of an earlier one, whatever characters it has', () => {
    expect(follows('5aaaabbbbccccdddd', '7cccc')).toBe(false)
  })

  it('can be told as long as three have followed, and not of what is four or more behind', () => {
    for (const [i, rev] of all.entries()) {
      expect(all.filter((later) => isBeyondMemory(later, rev))).toEqual(all.slice(i + 4))
    }
  })
})
