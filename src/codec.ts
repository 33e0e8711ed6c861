import { parse as parseRich, stringify as stringifyRich } from 'devalue'
import { DataError } from './errors.ts'

/** Turns `data` into text and back. `decode(encode(x))` must equal x; the text must not depend on anything but x. */
export interface Codec {
  encode(data: object): string
  decode(text: string): object
}

/**
 * JSON where it loses nothing, and devalue's JSON (an array, so the first character tells) for data with a Date, Map, Set,
 * BigInt, Uint8Array, NaN, infinity, -0 or a hole. Both can be read in psql or redis-cli.
 */
export const defaultCodec: Codec = {
  encode(data) {
    const kind = classify(data, 0)
    if (kind === BAD) throw explain(data)
    return kind === PLAIN ? JSON.stringify(data) : stringifyRich(data, reducers)
  },
  decode(text) {
    const isPlain = text[0] === '{'
    const data: unknown = isPlain ? JSON.parse(text) : parseRich(text, revivers)
    if (typeof data !== 'object' || data === null || !isPlainObject(data))
      throw new DataError('the stored data is not a plain object')
    // What cannot be encoded nobody's encoder wrote, so the record was tampered with. Of JSON that is one key, and a look at the text spares the walk.
    if ((!isPlain || mayHoldProto(text)) && classify(data, 0) === BAD) throw explain(data)
    return data
  },
}

/** As it stands, or with any of its letters escaped, as JSON.stringify never does. A regular expression would take ten times as long. */
function mayHoldProto(text: string): boolean {
  return text.includes('__proto__') || text.includes('\\u00')
}

// devalue's own form of a Uint8Array carries the whole buffer behind it, which for a Buffer is Node's shared pool.
const reducers = {
  Bytes: (value: unknown) => value instanceof Uint8Array && Buffer.from(value).toString('base64'),
}
const revivers = { Bytes: (text: string) => new Uint8Array(Buffer.from(text, 'base64')) }

/** Deeper data is refused: it is a cycle, or nothing that a session should hold. */
const MAX_DEPTH = 100
/** `list[4_000_000_000] = true` is soon written, perhaps with an index that a client has sent, and takes minutes to go through. */
const MAX_HOLES = 1_000

const PLAIN = 0
const RICH = 1
const BAD = 2
type Kind = typeof PLAIN | typeof RICH | typeof BAD

function classify(value: unknown, depth: number): Kind {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return PLAIN
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? PLAIN : RICH
    case 'bigint':
      return RICH
    case 'object':
      if (value === null) return PLAIN
      if (depth > MAX_DEPTH) return BAD
      return Array.isArray(value) ? classifyArray(value, depth) : classifyObject(value, depth)
    default:
      return BAD
  }
}

function classifyArray(array: readonly unknown[], depth: number): Kind {
  if (hasTooManyHoles(array)) return BAD
  let kind: Kind = PLAIN
  for (const value of array) {
    const of = value === undefined ? RICH : classify(value, depth + 1)
    if (of === BAD) return BAD
    if (of === RICH) kind = RICH
  }
  return kind
}

function hasTooManyHoles(array: readonly unknown[]): boolean {
  if (array.length <= MAX_HOLES) return false
  let holes = 0
  for (let i = 0; i < array.length; i++) {
    if (!(i in array) && ++holes > MAX_HOLES) return true
  }
  return false
}

function classifyObject(object: object, depth: number): Kind {
  if (!isPlainObject(object)) return isStorable(object, depth) ? RICH : BAD
  let kind: Kind = PLAIN
  for (const key of Object.keys(object)) {
    const value = object[key as keyof typeof object] as unknown
    if (key === '__proto__') return BAD
    if (value === undefined) continue // the same as no key, as in JSON
    const of = classify(value, depth + 1)
    if (of === BAD) return BAD
    if (of === RICH) kind = RICH
  }
  return Object.getOwnPropertySymbols(object).length > 0 ? BAD : kind
}

function isStorable(object: object, depth: number): boolean {
  if (object instanceof Date) return !Number.isNaN(object.getTime())
  if (object instanceof Uint8Array) return true
  if (object instanceof Map || object instanceof Set) {
    for (const entry of object instanceof Map ? [...object.keys(), ...object.values()] : object) {
      if (entry !== undefined && classify(entry, depth + 1) === BAD) return false
    }
    return true
  }
  return false
}

/** With no prototype or a root one, whichever realm it is from. */
function isPlainObject(object: object): boolean {
  const prototype = Object.getPrototypeOf(object)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}

/** The slow walk, for the error that names the path. */
function explain(data: unknown): DataError {
  const found = findBad(data, 'data', new Set())
  const [path, what] = found ?? ['data', `nested deeper than ${MAX_DEPTH} levels`]
  return new DataError(
    `${path} is ${what}, which a session cannot store. Keep plain data in it, or leave it out.`,
  )
}

function findBad(value: unknown, path: string, above: Set<object>): [path: string, what: string] | undefined {
  if (typeof value === 'function') return [path, 'a function']
  if (typeof value === 'symbol') return [path, 'a symbol']
  if (typeof value !== 'object' || value === null) return undefined
  if (above.has(value)) return [path, 'a reference to an object around it (a cycle)']
  if (above.size > MAX_DEPTH) return [path, `nested deeper than ${MAX_DEPTH} levels`]
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? [path, 'an invalid Date'] : undefined
  if (value instanceof Uint8Array) return undefined
  if (Array.isArray(value) && hasTooManyHoles(value))
    return [path, `a list of ${value.length} places with more than ${MAX_HOLES} holes`]

  above.add(value)
  for (const [label, child] of childrenOf(value)) {
    const found = findBad(child, path + label, above)
    if (found) return found
  }
  above.delete(value)

  if (Array.isArray(value) || value instanceof Map || value instanceof Set) return undefined
  if (value instanceof Promise) return [path, 'a promise that nobody has awaited']
  if (!isPlainObject(value)) return [path, `an instance of ${value.constructor?.name || 'a class'}`]
  if (Object.hasOwn(value, '__proto__'))
    return [`${path}["__proto__"]`, 'a key that would replace a prototype']
  const symbol = Object.getOwnPropertySymbols(value)[0]
  return symbol && [`${path}[${String(symbol)}]`, 'a value under a symbol']
}

function* childrenOf(value: object): Iterable<[label: string, child: unknown]> {
  if (value instanceof Map) {
    for (const [key, child] of value) {
      yield ['.keys()', key]
      yield [`.get(${String(key)})`, child]
    }
  } else if (value instanceof Set) {
    for (const child of value) yield ['.values()', child]
  } else if (Array.isArray(value)) {
    for (const [i, child] of value.entries()) yield [`[${i}]`, child]
  } else if (isPlainObject(value)) {
    for (const [key, child] of Object.entries(value)) {
      yield [/^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`, child]
    }
  }
}

/** Throws when `text`, the encoding of `data`, is over the limit; names what takes most of the room. */
export function checkSize(text: string, data: object, maxBytes: number): void {
  if (text.length * 3 <= maxBytes) return
  const bytes = Buffer.byteLength(text)
  if (bytes <= maxBytes) return
  const sizes = Object.entries(data).map(
    ([key, value]) => [key, JSON.stringify(value, sizeable)?.length ?? 0] as const,
  )
  const [largest, size] = sizes.sort((a, b) => b[1] - a[1])[0] ?? ['', 0]
  throw new DataError(
    `data takes ${bytes} bytes, over the limit of ${maxBytes} (maxBytes); data.${largest} alone takes about ${size}. ` +
      'Keep large things elsewhere and their ids in the session.',
  )
}

function sizeable(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Map || value instanceof Set) return [...value]
  return value
}
