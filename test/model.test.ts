/**
 * Random programs (several browsers, processes that are killed, a store with faults) are run on the real code and every store, in virtual time,
 * and held against what is promised. A failure is shrunk, and says how to have it again:
 * `HOLDFAST_SEED=1 HOLDFAST_PATH=17:3 npx vitest run test/model.test.ts -t sqlite`.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { check, type Tally } from './model/sessions/check.ts'
import { type ModelStore, modelStores } from './model/sessions/stores.ts'

const { HOLDFAST_SEED, HOLDFAST_PATH, HOLDFAST_MODEL_MINUTES } = process.env
const MINUTES = Number(HOLDFAST_MODEL_MINUTES ?? 0)
/** In a long run, another one each time. */
const SEED = Number(HOLDFAST_SEED ?? (MINUTES > 0 ? Date.now() % 2 ** 31 : 1))

/** Programs by store; a program asks some 44 things of its sessions. */
const RUNS: Record<string, number> = {
  memory: 800,
  sqlite: 500,
  file: 80,
  'moving from file to sqlite': 80,
}
const RUNS_ELSEWHERE = 150
const runsOn = (name: string) => RUNS[name] ?? RUNS_ELSEWHERE

const total: Tally = { programs: 0, deeds: 0, operations: 0 }

describe.each(Object.keys(modelStores))('what is promised holds on %s', (name) => {
  let store: ModelStore
  beforeAll(async () => {
    store = await modelStores[name]!()
  }, 60_000)
  afterAll(() => store?.close())

  const share = MINUTES / Object.keys(modelStores).length
  const howLong = MINUTES > 0 ? `for ${share.toFixed(1)} minutes` : `in ${runsOn(name)} random programs`

  it(`${howLong}, from seed ${SEED}`, { timeout: 300_000 + share * 60_000 }, async () => {
    const until = performance.now() + share * 60_000
    let seed = SEED
    do {
      const path = HOLDFAST_PATH === undefined ? {} : { path: HOLDFAST_PATH }
      const { programs, deeds, operations } = await check(store, { seed, runs: runsOn(name), ...path })
      total.programs += programs
      total.deeds += deeds
      total.operations += operations
      seed++
    } while (performance.now() < until)
  })
})

it('that is, in 100,000 operations', () => {
  console.log('the model:', total)
  if (HOLDFAST_PATH === undefined) expect(total.deeds).toBeGreaterThanOrEqual(100_000)
})
