import type { BreakerEvents, Limit } from './breaker.ts'
import { Breaker } from './breaker.ts'
import type { SessionIndex, Store } from './store.ts'

/** How long the store may take, in milliseconds. */
export interface Deadlines {
  readonly load: number
  readonly write: number
  /** For all that one request does, and for what reads or writes many records at once. */
  readonly request: number
}

/** The store behind deadlines and a breaker. A store in this process is what it was: it cannot be late. */
export function guardStore(store: Store, deadlines: Deadlines, events: BreakerEvents): Store {
  if (store.inProcess) return store
  const breaker = new Breaker(store.name, events)
  const load: Limit = { name: 'deadlines.load', milliseconds: deadlines.load }
  const write: Limit = { name: 'deadlines.write', milliseconds: deadlines.write }
  const bulk: Limit = { name: 'deadlines.request', milliseconds: deadlines.request, isBulk: true }

  const guarded =
    <Args extends unknown[], T>(limit: Limit, work: (...args: Args) => Promise<T>) =>
    (...args: Args) =>
      breaker.ask(limit, () => work.apply(store, args))
  const index = (of: SessionIndex): SessionIndex => ({
    list: (...args) => breaker.ask(bulk, () => of.list(...args)),
    destroy: (...args) => breaker.ask(bulk, () => of.destroy(...args)),
  })
  return {
    name: store.name,
    compareAndSet: store.compareAndSet,
    load: guarded(load, store.load),
    create: guarded(write, store.create),
    update: guarded(write, store.update),
    touch: guarded(write, store.touch),
    destroy: guarded(write, store.destroy),
    ...(store.users && { users: index(store.users) }),
    ...(store.externalIds && { externalIds: index(store.externalIds) }),
    ...(store.scan && { scan: guarded(bulk, store.scan) }),
    ...(store.sweep && { sweep: guarded(bulk, store.sweep) }),
    ...(store.check && { check: guarded(bulk, store.check) }),
    ...(store.carry && { carry: guarded(write, store.carry) }),
  }
}
