import type { Store } from 'holdfast'

/** Knows how often it was read and written. */
export interface CountingStore extends Store {
  readonly loads: number
  readonly writes: number
}

export function counting(store: Store): CountingStore {
  const counts = { loads: 0, writes: 0 }
  return new Proxy(store, {
    get(target, name) {
      if (name in counts) return counts[name as keyof typeof counts]
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (name === 'load') counts.loads++
        if (['create', 'update', 'touch', 'destroy'].includes(String(name))) counts.writes++
        return value.apply(target, args)
      }
    },
  }) as CountingStore
}
