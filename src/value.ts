/** Storable values: what they consist of, whether two are the same, and copies of them. */

/** Whether two values are deeply equal, numbers as by `Object.is`. */
export function equal(a: unknown, b: unknown): boolean {
  return Object.is(a, b) || (isObject(a) && isObject(b) && fingerprint(a) === fingerprint(b))
}

/** A text that two values share exactly if they are deeply equal. */
export function fingerprint(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'bigint') return `${value}n`
  if (Object.is(value, -0)) return '-0'
  if (!isObject(value)) return String(value)
  if (value instanceof Date) return `date(${value.getTime()})`
  if (value instanceof Uint8Array) return `bytes(${value.join()})`
  if (Array.isArray(value)) return `[${value.length}:${value.map(fingerprint).join()}]` // the length tells [] from a single hole
  const parts = Array.from(entriesOf(value), ([id, [, held]]) => `${id}:${fingerprint(held)}`)
  return `${kindOf(value)}{${parts.sort().join()}}`
}

export type Entry = readonly [key: unknown, value: unknown]

/** Entries of an object, a Map, or a Set (each member with the value true), by the fingerprints of their keys. */
export function entriesOf(container: unknown): Map<string, Entry> {
  return new Map(pairsOf(container).map((entry) => [fingerprint(entry[0]), entry]))
}

function pairsOf(container: unknown): Entry[] {
  if (container instanceof Set) return Array.from(container, (member) => [member, true])
  const pairs: Entry[] = container instanceof Map ? [...container] : Object.entries(container as object)
  return pairs.filter(([, value]) => value !== undefined)
}

/** A container of the kind of `model` with these entries. */
export function build(model: object, entries: readonly Entry[]): object {
  if (model instanceof Set) return new Set(entries.map(([member]) => member))
  if (model instanceof Map) return new Map(entries)
  // Who looks up foreign words in an object without a prototype relies on its having none.
  const object: object = Object.create(Object.getPrototypeOf(model))
  for (const [key, value] of entries) put(object, key, value)
  return object
}

export function put(container: object, key: unknown, value: unknown): void {
  if (container instanceof Set) container.add(key)
  else if (container instanceof Map) container.set(key, value)
  // Assigning to a key named `__proto__` would set the prototype.
  else
    Object.defineProperty(container, String(key), {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    })
}

export function copy(value: unknown): unknown {
  if (!isObject(value)) return value
  if (value instanceof Date) return new Date(value)
  if (value instanceof Uint8Array) return new Uint8Array(value)
  if (Array.isArray(value)) return value.map(copy)
  return build(
    value,
    pairsOf(value).map(([key, held]) => [copy(key), copy(held)]),
  )
}

/** What a value consists of; undefined for a leaf. */
export function kindOf(value: unknown): 'array' | 'map' | 'set' | 'object' | undefined {
  if (!isObject(value) || value instanceof Date || value instanceof Uint8Array) return undefined
  if (Array.isArray(value)) return 'array'
  if (value instanceof Map) return 'map'
  return value instanceof Set ? 'set' : 'object'
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
