import type { Store } from 'holdfast'

/** A store in whose operations a test puts faults. */
export interface FaultyStore extends Store {
  /** From now on operations (all, or these) wait: before they are done, or after, when it is their answer that waits. */
  freeze(where?: 'before' | 'after', operations?: readonly string[]): void
  /** Lets all that wait go on, and what comes waits no more. */
  thaw(): void
  /** Operations fail at once with this, until it is undefined. */
  error: Error | undefined
  /** How many operations have begun. */
  asked: number
  underWay: number
  /** The most that were under way at once. */
  most: number
}

const OPERATIONS = ['load', 'create', 'update', 'touch', 'destroy', 'scan', 'sweep']

/** It is never `inProcess`, so that it gets deadlines. */
export function faulty(store: Store): FaultyStore {
  let frozen: { where: 'before' | 'after'; operations: readonly string[] } | undefined
  let waiting: (() => void)[] = []
  const wait = () => new Promise<void>((go) => waiting.push(go))
  const own = {
    inProcess: false,
    error: undefined as Error | undefined,
    asked: 0,
    underWay: 0,
    most: 0,
    freeze(where: 'before' | 'after' = 'before', operations: readonly string[] = OPERATIONS) {
      frozen = { where, operations }
    },
    thaw() {
      frozen = undefined
      for (const go of waiting) go()
      waiting = []
    },
  }
  const waitIf = (where: 'before' | 'after', name: string) => {
    return frozen?.where === where && frozen.operations.includes(name) ? wait() : undefined
  }
  async function run(name: string, work: () => Promise<unknown>) {
    own.asked++
    own.most = Math.max(own.most, ++own.underWay)
    try {
      if (own.error) throw own.error
      await waitIf('before', name)
      const result = await work()
      await waitIf('after', name)
      return result
    } finally {
      own.underWay--
    }
  }
  return new Proxy(store, {
    get(target, name) {
      if (name in own) return own[name as keyof typeof own]
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const work = () => value.apply(target, args) as Promise<unknown>
        return OPERATIONS.includes(String(name)) ? run(String(name), work) : work()
      }
    },
    set(_target, name, value) {
      return Reflect.set(own, name, value)
    },
  }) as FaultyStore
}
