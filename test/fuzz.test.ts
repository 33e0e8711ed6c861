import { describe, expect, it } from 'vitest'
import { corpusOf, fuzz, REFUSED, tryOne } from './fuzz/fuzz.ts'
import { targets } from './fuzz/targets.ts'

/** For each target. A million in `npm run test:soak`. */
const RUNS = Number(process.env.HOLDFAST_INPUTS ?? 10_000)

describe.each(Object.entries(targets))('%s', (name, target) => {
  const corpus = corpusOf(name)

  it('reads what the corpus says, and refuses the rest of it', () => {
    expect(corpus.read.filter((text) => target.read(text) === REFUSED)).toEqual([])
    expect(corpus.refused.filter((text) => target.read(text) !== REFUSED)).toEqual([])
    for (const text of [...corpus.read, ...corpus.refused]) tryOne(target, corpus, text)
    expect(corpus.read.length).toBeGreaterThan(0)
  })

  it(`survives ${RUNS} other texts: no crash, none slow, none read that should not be`, () => {
    fuzz(target, corpus, RUNS)
  }, 3_600_000)
})
