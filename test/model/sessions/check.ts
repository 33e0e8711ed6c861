import fc from 'fast-check'
import { installVirtualTime } from '../virtual-time.ts'
import { judge, Violation } from './judge.ts'
import { play } from './play.ts'
import { program } from './program.ts'
import type { ModelStore } from './stores.ts'
import { trace } from './trace.ts'

export interface Tally {
  programs: number
  /** What was asked of sessions: requests, revocations, lists. */
  deeds: number
  /** What was asked of the store for that. */
  operations: number
}

/**
 * Plays `runs` programs on a store and judges each. The same seed, the same programs; with the `path` of a failure, that one alone.
 * @throws Error with the smallest program that fast-check finds to break the same promise, and all that happened in it
 */
export async function check(
  store: ModelStore,
  options: { seed: number; runs: number; path?: string; shrinks?: boolean },
): Promise<Tally> {
  const tally: Tally = { programs: 0, deeds: 0, operations: 0 }
  const property = fc.asyncProperty(program, async (one) => {
    const { history, deeds, operations } = await play(one, store)
    tally.programs++
    tally.deeds += deeds
    tally.operations += operations
    try {
      judge(history, store.traits)
    } catch (error) {
      if (error instanceof Violation) error.message += `\n${trace(history, error.request)}`
      throw error
    }
  })
  const uninstall = installVirtualTime()
  try {
    const { seed, runs: numRuns, path, shrinks = true } = options
    const parameters = { seed, numRuns, endOnFailure: !shrinks, ...(path !== undefined && { path }) }
    const details = await fc.check(property, parameters)
    if (details.failed) {
      const { counterexamplePath, errorInstance } = details
      throw new Error(
        `${errorInstance}\n\nAgain: HOLDFAST_SEED=${seed} HOLDFAST_PATH=${counterexamplePath}\n${fc.stringify(details.counterexample)}`,
        { cause: errorInstance },
      )
    }
    return tally
  } finally {
    uninstall()
  }
}
