import type { EncodedData } from './data.ts'
import { compileRules, merge } from './merge.ts'
import type { Settings } from './settings.ts'
import type { Visit } from './visit.ts'
import { putData } from './visit.ts'

/**
 * What `update` does, on a copy: if somebody else's commit comes first there is nothing to take back, whatever the handler did
 * meanwhile.
 */
export interface Update<R = unknown> {
  /** The data with the change done: what is to be committed. Again, on whatever another commit made of the data. */
  run(): EncodedData
  /** It is committed: brings it into the data that the handler holds. */
  done(): void
  /** What the change gave when it last ran. */
  readonly result: R
}

const NO_RULES = compileRules({})

export function updateOf<R>(visit: Visit, settings: Settings, change: (data: object) => R): Update<R> {
  const { codec, mergeRules } = settings
  let result: R
  let before = ''
  let after = ''

  /** What the handler did while its own update was on the way: nobody to refuse it. */
  function mergeOwn(): object {
    const [base, changed] = [codec.decode(before), codec.decode(after)]
    try {
      return merge(base, visit.data, changed, mergeRules).value
    } catch {
      return merge(base, visit.data, changed, NO_RULES).value
    }
  }

  return {
    get result() {
      return result
    },
    run() {
      before = codec.encode(visit.data)
      const data = codec.decode(before)
      result = change(data)
      refusePromise(result)
      after = codec.encode(data)
      return { text: after, data }
    },
    done() {
      putData(visit, mergeOwn())
      before = after
    },
  }
}

function refusePromise(result: unknown): void {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then === 'function') {
    throw new TypeError(
      'update: the change must be synchronous, since it may run again; do the waiting before it',
    )
  }
}
