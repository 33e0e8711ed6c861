import type { File, Task, VitestRunner } from '@vitest/runner'
import { startTests } from '@vitest/runner'

/** A test that cannot pass on a runtime, and why. */
export interface Exception {
  /** The file, then the names of the groups and of the test, as far as they are the same for all that are meant. */
  readonly test: string
  readonly why: string
  /** It would take the whole run with it, or wait until it is given up. Others are run, and must fail: those that pass need no exception. */
  readonly skip?: true
}

export interface Outcome {
  readonly passed: Readonly<Record<string, number>>
  readonly failed: readonly string[]
  /** By exception, how many tests it was for. */
  readonly excepted: readonly number[]
}

/** Runs these test files, by name, one after another. */
export async function runTests(
  files: Readonly<Record<string, () => Promise<unknown>>>,
  exceptions: readonly Exception[],
): Promise<Outcome> {
  const passed: Record<string, number> = {}
  const failed: string[] = []
  const excepted = exceptions.map(() => 0)

  function except(task: Task, name: string): void {
    const at = exceptions.findIndex(({ test }) => name.startsWith(test))
    if (task.type === 'suite') for (const child of task.tasks) except(child, `${name} > ${child.name}`)
    else if (at >= 0) {
      excepted[at]!++
      if (exceptions[at]!.skip) task.mode = 'skip'
      else task.fails = true
    }
  }
  function count(task: Task, file: string, name: string): void {
    const isExcepted = task.type === 'test' && (task.fails || task.mode === 'skip')
    if (task.type === 'suite') for (const child of task.tasks) count(child, file, `${name} > ${child.name}`)
    else if (task.result?.state === 'pass' && !isExcepted) passed[file] = (passed[file] ?? 0) + 1
    const { state, errors = [] } = task.result ?? {}
    if (state !== 'fail' || (task.type === 'suite' && errors.length === 0)) return
    failed.push(`${name}\n${errors.map(({ message, stack }) => `${message}\n${stack ?? ''}`).join('\n')}`)
  }

  for (const [file, load] of Object.entries(files)) {
    const found = await startTests([file], {
      config: CONFIG,
      importFile: load,
      onCollected: (collected: File[]) => {
        for (const each of collected) except(each, file)
      },
    })
    for (const each of found) count(each, file, file)
    if (!passed[file]) failed.push(`${file}: none of its tests passed`)
  }
  return { passed, failed, excepted }
}

const CONFIG: VitestRunner['config'] = {
  root: '/',
  setupFiles: [],
  name: undefined,
  passWithNoTests: false,
  testNamePattern: undefined,
  allowOnly: false,
  sequence: { seed: 1, hooks: 'stack', setupFiles: 'list' },
  chaiConfig: undefined,
  maxConcurrency: 5,
  testTimeout: 30_000,
  hookTimeout: 30_000,
  retry: 0,
  includeTaskLocation: false,
  tags: [],
  tagsFilter: undefined,
  strictTags: false,
}
