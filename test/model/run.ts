/**
 * Runs a model in a process of its own, for `test/mutants.test.ts`: `tsx run.ts sessions memory 200` (and a seed) or `tsx run.ts generations 2000`. Prints
 * the promise that was broken, if one was. What else fails ends the process with an error.
 */
import { memoryStore } from 'holdfast/stores/memory'
import * as generations from './generations/judge.ts'
import { RealServer } from './generations/real-server.ts'
import { play as playGeneration } from './generations/simulation.ts'
import { check } from './sessions/check.ts'
import * as sessions from './sessions/judge.ts'
import { modelStores } from './sessions/stores.ts'
import { Traffic } from './traffic.ts'
import { installVirtualTime } from './virtual-time.ts'

const [model, ...rest] = process.argv.slice(2)
const run =
  model === 'sessions'
    ? () => runSessions(rest[0]!, Number(rest[1]), Number(rest[2] ?? 1))
    : () => runGenerations(Number(rest[0]))

try {
  await run()
} catch (error) {
  const { cause = error } = error as { cause?: unknown }
  if (!(cause instanceof sessions.Violation || cause instanceof generations.Violation)) throw error
  console.log(cause.message.split('\n', 1)[0])
}
process.exit()

async function runSessions(name: string, runs: number, seed: number): Promise<void> {
  const store = await modelStores[name]!()
  try {
    await check(store, { seed, runs, shrinks: false })
  } finally {
    await store.close()
  }
}

async function runGenerations(runs: number): Promise<void> {
  installVirtualTime()
  const store = memoryStore()
  const traffic = new Traffic()
  for (let seed = 1; seed <= runs; seed++) {
    const { history } = await playGeneration(
      seed,
      (world) => new RealServer(world, store, traffic),
      () => traffic.settle(),
    )
    generations.judge(history)
  }
}
