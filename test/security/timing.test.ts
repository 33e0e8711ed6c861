/**
 * Whether the time that a refusal takes tells how much of a token was right. Near misses are compared with texts that are right in nothing, as
 * dudect does (Reparaz, Balasch and Verbauwhede, "dude, is my code constant time?", 2017): many short measurements, taking turns in random
 * order, the slowest left out since they measure the machine, and Welch's t, which is beyond 4.5 where two kinds take different times.
 */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createTagger } from '../../src/dbsc/tags.ts'
import { csrfSigner } from '../../src/security/csrf-token.ts'
import { tokenSigner } from '../../src/token.ts'

const SECRETS = [createHash('sha256').update('a secret').digest()]
const ROUNDS = 12_000
/** Texts of one kind that are refused in one measurement. */
const BATCH = 20
/** What is slower is an interruption. */
const KEPT = 0.8

interface Comparison {
  /** Nanoseconds for one text. */
  readonly near: number
  readonly far: number
  readonly t: number
}

function compare(near: () => unknown, far: () => unknown): Comparison {
  const times: Record<'near' | 'far', number[]> = { near: [], far: [] }
  const measure = (kind: 'near' | 'far', refuse: () => unknown) => {
    const began = process.hrtime.bigint()
    for (let n = 0; n < BATCH; n++) refuse()
    times[kind].push(Number(process.hrtime.bigint() - began) / BATCH)
  }
  for (let round = 0; round < ROUNDS; round++) {
    const isNearFirst = Math.random() < 0.5
    if (isNearFirst) measure('near', near)
    measure('far', far)
    if (!isNearFirst) measure('near', near)
  }
  const [one, other] = [summary(times.near), summary(times.far)]
  const t = (one.mean - other.mean) / Math.sqrt(one.variance / one.count + other.variance / other.count)
  return { near: one.mean, far: other.mean, t }
}

function summary(times: number[]) {
  const kept = times.sort((a, b) => a - b).slice(0, Math.floor(times.length * KEPT))
  const mean = kept.reduce((sum, time) => sum + time, 0) / kept.length
  const variance = kept.reduce((sum, time) => sum + (time - mean) ** 2, 0) / (kept.length - 1)
  return { mean, variance, count: kept.length }
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

const tokens = tokenSigner(SECRETS, 'id')
const token = tokens.sign({ id: 'A'.repeat(32), generation: 1 })
const csrf = csrfSigner(SECRETS, 'id')
const login = { handle: 'a handle', userSince: 2 }
const csrfToken = csrf.sign(login)
const tagger = createTagger(SECRETS, 'id', 'challenge')
const context = ['a handle', 'a binding']
const tagged = tagger.sign('AAAAAAAA', context)

/** Right but for the last character, and right in nothing of the tag, each of which the code reads to its end. */
const kinds: Record<string, { refuse(text: string): unknown; right: string; tag: number }> = {
  'the token in the cookie': { refuse: (text) => tokens.verify(text), right: token, tag: 24 },
  'the CSRF token': { refuse: (text) => csrf.verify(text, login), right: csrfToken, tag: 32 },
  'the bound cookie and the challenges of device binding': {
    refuse: (text) => tagger.verify(text, context),
    right: tagged,
    tag: 24,
  },
}

/**
 * Texts that are right but for their last character, and texts that are right in nothing of the tag. Many of both: where a single text lies in memory, and
 * what its hash is, can make a measurable nanosecond.
 */
function misses({ right, tag }: { right: string; tag: number }) {
  const start = right.length - tag
  const wrong = (letter: string) =>
    LETTERS[(LETTERS.indexOf(letter) + 1 + Math.floor(Math.random() * (LETTERS.length - 1))) % LETTERS.length]
  const near = [...LETTERS]
    .filter((letter) => letter !== right.at(-1))
    .map((letter) => right.slice(0, -1) + letter)
  const far = near.map(() => right.slice(0, start) + [...right.slice(start)].map(wrong).join(''))
  return { near: flat(near), far: flat(far) }
}

/** As texts are that come over the wire, not put together of parts. */
function flat(texts: readonly string[]): string[] {
  return texts.map((text) => Buffer.from(text, 'latin1').toString('latin1'))
}

/** Each in its turn. */
function over(texts: readonly string[], refuse: (text: string) => unknown): () => unknown {
  let n = 0
  return () => refuse(texts[n++ % texts.length]!)
}

/** The machine may hiccup, and a leak does not go away. */
function leastOf(attempts: number, once: () => Comparison): Comparison {
  let least = once()
  for (let n = 1; n < attempts && Math.abs(least.t) > 4.5; n++) {
    const again = once()
    if (Math.abs(again.t) < Math.abs(least.t)) least = again
  }
  return least
}

describe('ASVS 11.2.4, attacker 4: how much of it was right does not show in the time that a refusal takes, of', () => {
  it.each(Object.entries(kinds))(
    '%s',
    (name, kind) => {
      const { near, far } = misses(kind)
      for (const text of [...near, ...far]) expect(kind.refuse(text) || undefined).toBeUndefined()
      const { t, ...times } = leastOf(5, () => compare(over(near, kind.refuse), over(far, kind.refuse)))
      console.log(
        `${name}: nearly right ${times.near.toFixed(0)} ns, wrong ${times.far.toFixed(0)} ns, t = ${t.toFixed(1)}`,
      )
      expect(Math.abs(t)).toBeLessThan(4.5)
    },
    120_000,
  )

  it('a comparison that ends at the first difference, which this would find', () => {
    const { near, far } = misses(kinds['the token in the cookie']!)
    const leaky = (text: string) => {
      for (let at = 0; at < token.length; at++) if (text.charCodeAt(at) !== token.charCodeAt(at)) return false
      return true
    }
    const { t } = compare(over(near, leaky), over(far, leaky))
    expect(t).toBeGreaterThan(20)
  }, 60_000)
})
