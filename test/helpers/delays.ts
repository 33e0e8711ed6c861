import { setTimeout as sleep } from 'node:timers/promises'
import type { SessionIndex, Store } from 'holdfast'

/** A store whose operations take a random time more, up to `milliseconds` before they are done and again after. */
export function delayed(store: Store, milliseconds: number): Store {
  const slowly =
    <Args extends unknown[], T>(work: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      await sleep(Math.random() * milliseconds)
      const result = await work.apply(store, args)
      await sleep(Math.random() * milliseconds)
      return result
    }
  const index = (of: SessionIndex): SessionIndex => ({
    list: slowly(of.list.bind(of)),
    destroy: slowly(of.destroy.bind(of)),
  })
  return {
    name: store.name,
    compareAndSet: store.compareAndSet,
    load: slowly(store.load),
    create: slowly(store.create),
    update: slowly(store.update),
    touch: slowly(store.touch),
    destroy: slowly(store.destroy),
    ...(store.users && { users: index(store.users) }),
    ...(store.externalIds && { externalIds: index(store.externalIds) }),
    ...(store.scan && { scan: slowly(store.scan) }),
    ...(store.sweep && { sweep: slowly(store.sweep) }),
  }
}
