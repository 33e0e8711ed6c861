import { copy, entriesOf, equal, fingerprint, isObject, kindOf, listOf, put } from './value.ts'

/**
 * What is to stand where `held` stands, deeply equal to `wanted`: `held` itself, patched, where it is one of `own` and still of the
 * same kind, and so for all that is in it; copies elsewhere, which join `own`. What is not our own is never written to: a handler
 * may have put a constant of its module there, which other visitors' sessions hold as well.
 */
export function graft<T extends object>(held: T, wanted: T, own: Set<object>): T {
  return graftValue(held, wanted, { own, done: new Set() }) as T
}

/** All objects in `data`, itself included, that could be patched. Not by recursion: a tampered record may be nested without end. */
export function collect(data: unknown, into = new Set<object>()): Set<object> {
  const waiting: unknown[] = [data]
  while (waiting.length > 0) {
    const part = waiting.pop()
    if (!isObject(part) || into.has(part) || kindOf(part) === undefined) continue
    into.add(part)
    if (part instanceof Map) for (const [key, value] of part) waiting.push(key, value)
    else for (const value of part instanceof Set ? part : Object.values(part)) waiting.push(value)
  }
  return into
}

interface Grafting {
  readonly own: Set<object>
  /** An object held in two places can follow only one; these do. */
  readonly done: Set<object>
}

function graftValue(held: unknown, wanted: unknown, grafting: Grafting): unknown {
  const isPatchable = isObject(held) && grafting.own.has(held) && kindOf(held) === kindOf(wanted)
  if (!isPatchable || grafting.done.has(held) || !Object.isExtensible(held)) {
    return equal(held, wanted) ? held : ownCopy(wanted, grafting)
  }
  graftInto(held, wanted, grafting)
  return held
}

function ownCopy(wanted: unknown, { own }: Grafting): unknown {
  const copied = copy(wanted)
  collect(copied, own)
  return copied
}

function graftInto(held: object, wanted: unknown, grafting: Grafting): void {
  grafting.done.add(held)
  if (Array.isArray(held)) {
    const items = listOf(wanted)
    const partners = pairItems(held, items)
    held.length = items.length
    for (const at of items.keys()) {
      if (at in items) held[at] = graftValue(partners[at], items[at], grafting)
      else delete held[at] // what others have deleted from the list, which must not come back with this request
    }
    return
  }
  const want = entriesOf(wanted)
  // Entry by entry, not cleared and refilled: a loop over a Map or Set goes on undisturbed across a commit.
  for (const key of held instanceof Map || held instanceof Set ? [...held.keys()] : Object.keys(held)) {
    const kept = want.get(fingerprint(key))
    if (kept) graftValue(key, kept[0], grafting)
    else if (held instanceof Map || held instanceof Set) held.delete(key)
    else delete (held as Record<string, unknown>)[String(key)]
  }
  const have = entriesOf(held)
  for (const [id, [key, value]] of want) {
    const [heldKey, heldValue] = have.get(id) ?? [ownCopy(key, grafting), undefined]
    put(held, heldKey, graftValue(heldValue, value, grafting))
  }
}

/** For each of `items` the held one that it goes on from: one that looks the same, best at the same index. */
function pairItems(held: readonly unknown[], items: readonly unknown[]): unknown[] {
  const ids = items.map(fingerprint)
  const free = held.map(fingerprint)
  const partners: unknown[] = []
  const pair = (at: number, from: number) => {
    if (!free[from]) return
    partners[at] = held[from]
    free[from] = ''
  }
  ids.forEach((id, at) => {
    if (free[at] === id) pair(at, at)
  })
  ids.forEach((id, at) => {
    if (!(at in partners)) pair(at, free.indexOf(id))
  })
  // What is left has changed. If nothing was removed, its index still means the same item.
  if (items.length >= held.length) for (const at of ids.keys()) if (!(at in partners)) pair(at, at)
  return partners
}
