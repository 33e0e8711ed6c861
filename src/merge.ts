/**
 * The three-way merge: what parallel requests to one session mean. Pure functions of storable data.
 *
 * `base` is what the request loaded, `theirs` was committed after that, `mine` is committed now and so is the later.
 * Sameness is deep throughout: order counts in arrays only, and Map keys or Set members that look the same are one.
 */
import { build, copy, type Entry, entriesOf, equal, kindOf, listOf } from './value.ts'

/**
 * What two changes of one value mean, asked only if both sides changed it, be it to the same:
 * - `'sum'`: theirs + mine - base, of numbers or bigints. An absent one counts 0, so a deleted counter keeps what the
 *   other side added to it.
 * - `'union'`: arrays as sets of values: theirs, without what mine removed, then what mine added.
 * - `'max'`: the larger number, bigint, Date or string; absent and NaN are the lowest.
 * - `'atomic'`: one value, never mixed: the later commit wins.
 * - `'reject'`: the later commit fails: a `ConflictError`, 409, in an application.
 * - a function: its result (undefined: the key is absent). It is given copies, undefined for what is absent.
 *
 * `sum`, `union` and `max` hold for each value at or below their path, and leave what they cannot combine to the
 * general rule. The others take the value at their path as a whole.
 */
export type MergeRule =
  | 'sum'
  | 'union'
  | 'max'
  | 'atomic'
  | 'reject'
  | ((base: unknown, mine: unknown, theirs: unknown) => unknown)

/**
 * Rules by dotted path (`'cart'`, `'cart.tea'`), through objects and Maps; the most specific wins. `'*'` covers each
 * top-level key that no rule covers, and what lies beside a deeper path. A key that has a dot in it cannot be named.
 */
export type MergeRules = { readonly [path: string]: MergeRule }

/** Rules in the shape of the data: at the root `rule` is that of `'*'`. */
export interface CompiledRules {
  readonly rule?: MergeRule | undefined
  readonly below: ReadonlyMap<string, CompiledRules>
}

export interface Merged<T> {
  readonly value: T
  /** Dotted paths where the later commit, mine, replaced a different change of theirs. */
  readonly overwritten: readonly string[]
}

/** Both sides changed what the rule `'reject'` covers. */
export class MergeRejectedError extends Error {
  override readonly name = 'MergeRejectedError'
  readonly path: string
  constructor(path: string) {
    super(
      `'${path}' was changed by another request meanwhile, and its merge rule is 'reject': load and try again`,
    )
    this.path = path
  }
}

const NAMED_RULES: readonly unknown[] = ['sum', 'union', 'max', 'atomic', 'reject']

/** @throws TypeError on an unknown rule, a malformed path, or a path inside one that is merged as a whole. */
export function compileRules(rules: MergeRules): CompiledRules {
  interface Node extends CompiledRules {
    rule?: MergeRule
    readonly below: Map<string, Node>
  }
  const root: Node = { below: new Map() }
  for (const [path, rule] of Object.entries(rules)) {
    if (typeof rule !== 'function' && !NAMED_RULES.includes(rule)) {
      throw new TypeError(
        `merge: '${rule}' for '${path}' is no rule: use ${NAMED_RULES.join(', ')} or a function`,
      )
    }
    const keys = path === '*' ? [] : path.split('.')
    if (keys.includes('') || keys.includes('*')) {
      throw new TypeError(
        `merge: '${path}' is no path: write 'cart', 'cart.tea', or '*' alone for the default`,
      )
    }
    const inside = Object.keys(rules).find((other) => other.startsWith(`${path}.`))
    if (isForWhole(rule) && inside !== undefined) {
      throw new TypeError(
        `merge: '${inside}' is inside '${path}', which is merged as a whole: remove one of the rules`,
      )
    }
    let node = root
    for (const key of keys) {
      const next: Node = node.below.get(key) ?? { below: new Map() }
      node.below.set(key, next)
      node = next
    }
    node.rule = rule
  }
  return root
}

function isForWhole(rule: MergeRule | undefined): boolean {
  return typeof rule === 'function' || rule === 'atomic' || rule === 'reject'
}

/**
 * Merges two changes of one plain object. Changes no argument; the result may share parts with `base` and `theirs`,
 * never with `mine`.
 * @throws MergeRejectedError if both changed what `'reject'` covers.
 */
export function merge<T>(base: T, mine: T, theirs: T, rules: CompiledRules): Merged<T> {
  const overwritten: string[] = []
  const value = mergeEntries(base, mine, theirs, { ...rules, path: '', overwritten })
  return { value: value as T, overwritten }
}

interface Place extends CompiledRules {
  readonly path: string
  readonly overwritten: string[]
}

function mergeValue(base: unknown, mine: unknown, theirs: unknown, place: Place): unknown {
  if (equal(mine, base)) return theirs
  if (equal(theirs, base)) return copy(mine)

  const { rule, below, path, overwritten } = place
  // Deleting a container deletes the entries that it had, so the deleted side counts as an empty one.
  const kind = kindOf(mine === undefined ? base : mine)
  const haveEntries =
    kind !== undefined && kind !== 'array' && kind === kindOf(theirs === undefined ? base : theirs)
  const isWhole = isForWhole(rule) && (below.size === 0 || !haveEntries)
  if (isWhole && rule === 'reject') throw new MergeRejectedError(path)
  if (isWhole && typeof rule === 'function') return rule(copy(base), copy(mine), copy(theirs))
  // Both deleted it: no sum may turn that into a number.
  if (mine === undefined && theirs === undefined) return undefined
  if (haveEntries && !isWhole) return mergeEntries(base, mine, theirs, place)

  const combined = typeof rule === 'string' ? combine[rule]?.(base, mine, theirs) : undefined
  if (combined !== undefined) return copy(combined)
  // Before the shortcut for equal values: the same item appended twice is two items.
  if (!isWhole && Array.isArray(mine) && Array.isArray(theirs)) {
    const shared = listOf(base)
    const appended = [mine, theirs].every((list) => equal(list.slice(0, shared.length), shared))
    if (appended) return theirs.concat(mine.slice(shared.length).map(copy))
  }
  if (equal(mine, theirs)) return theirs
  overwritten.push(path)
  return copy(mine)
}

function mergeEntries(base: unknown, mine: unknown, theirs: unknown, place: Place): unknown {
  const model = (mine ?? theirs) as object
  // A base of another kind says nothing about these entries: it counts as missing, and a missing one as empty.
  const before = kindOf(base) === kindOf(model) ? entriesOf(base) : entriesOf({})
  const my = entriesOf(mine ?? {})
  const their = entriesOf(theirs ?? {})
  const merged: Entry[] = []
  // In the order of mine, then of what theirs added: the order in which `graft` leaves the live objects.
  for (const [id, [key]] of new Map([...my, ...their, ...before])) {
    const name = typeof key === 'string' ? key : id
    const own = place.below.get(name)
    const value = mergeValue(before.get(id)?.[1], my.get(id)?.[1], their.get(id)?.[1], {
      rule: own?.rule ?? place.rule,
      below: own?.below ?? new Map(),
      path: place.path === '' ? name : `${place.path}.${name}`,
      overwritten: place.overwritten,
    })
    if (value !== undefined) merged.push([copy(key), value])
  }
  const wasDeleted = mine === undefined || theirs === undefined
  return wasDeleted && merged.length === 0 ? undefined : build(model, merged)
}

/** The rules for single values; each gives undefined for what it cannot combine. */
const combine: { readonly [rule: string]: (base: unknown, mine: unknown, theirs: unknown) => unknown } = {
  sum(base, mine, theirs) {
    const zero = typeof mine === 'bigint' || typeof theirs === 'bigint' ? 0n : 0
    const my = mine === undefined ? zero : mine
    const their = theirs === undefined ? zero : theirs
    if (typeof my === 'number' && typeof their === 'number') {
      return their + my - (typeof base === 'number' ? base : 0)
    }
    if (typeof my === 'bigint' && typeof their === 'bigint') {
      return their + my - (typeof base === 'bigint' ? base : 0n)
    }
  },

  union(base, mine, theirs) {
    if (![mine, theirs].every((side) => side === undefined || Array.isArray(side))) return undefined
    const before = entriesOf(new Set(listOf(base)))
    const my = entriesOf(new Set(listOf(mine)))
    const their = entriesOf(new Set(listOf(theirs)))
    const kept = [...their].filter(([id]) => my.has(id) || !before.has(id))
    const added = [...my].filter(([id]) => !before.has(id))
    return Array.from(new Map([...kept, ...added]).values(), ([item]) => item)
  },

  max(_base, mine, theirs) {
    const my = mine === undefined ? theirs : mine
    const their = theirs === undefined ? mine : theirs
    const [myRank, theirRank] = [rankOf(my), rankOf(their)]
    if (myRank === undefined || theirRank === undefined) return undefined
    if (typeof myRank !== typeof theirRank || my instanceof Date !== their instanceof Date) return undefined
    return myRank > theirRank || Number.isNaN(theirRank) ? my : their
  },
}

function rankOf(value: unknown): number | bigint | string | undefined {
  if (value instanceof Date) return value.getTime()
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'string'
    ? value
    : undefined
}
