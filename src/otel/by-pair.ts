/** One value for each pair of names, made when it is first asked for. To look it up makes no string. */
export interface ByPair<T> {
  at(first: string, second: string): T
  values(): Iterable<T>
}

export function byPair<T>(make: (first: string, second: string) => T): ByPair<T> {
  const known = new Map<string, Map<string, T>>()
  const all: T[] = []
  return {
    at(first, second) {
      let ofFirst = known.get(first)
      if (!ofFirst) known.set(first, (ofFirst = new Map()))
      let found = ofFirst.get(second)
      if (!found) {
        found = make(first, second)
        ofFirst.set(second, found)
        all.push(found)
      }
      return found
    },
    values: () => all,
  }
}
