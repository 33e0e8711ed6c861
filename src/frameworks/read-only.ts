import type { Session } from '../session.ts'

/** Data that may be looked at, at any depth. */
export type ReadonlyData<T> = T extends (...args: never) => unknown
  ? T
  : T extends Date | Uint8Array
    ? Readonly<T>
    : T extends ReadonlyMap<infer Key, infer Value>
      ? ReadonlyMap<ReadonlyData<Key>, ReadonlyData<Value>>
      : T extends ReadonlySet<infer Member>
        ? ReadonlySet<ReadonlyData<Member>>
        : T extends object
          ? { readonly [Key in keyof T]: ReadonlyData<T[Key]> }
          : T

const READS = ['csrfToken', 'peekFlashes', 'requireLevel', 'requireRecentLogin', 'verifyCsrfToken'] as const

type Shown =
  | 'authenticatedAt'
  | 'createdAt'
  | 'expiresAt'
  | 'generation'
  | 'handle'
  | 'isNew'
  | 'isUnavailable'
  | 'lastSeenAt'
  | 'level'
  | 'presented'
  | 'userId'

/** A session where nothing of it may change. What would change it throws a `ReadOnlySessionError`. */
export interface ReadonlySession<Data extends object = Record<string, unknown>>
  extends Pick<Session<Data>, Shown | (typeof READS)[number]> {
  /** As it was when it was first asked for. */
  readonly data: ReadonlyData<Data>
}

const HARMLESS: ReadonlySet<string | symbol> = new Set(READS)

/** `refusal` makes the error of a write, by what was tried. */
export function readOnly<Data extends object>(
  session: Session<Data>,
  refusal: (what: string) => Error,
): ReadonlySession<Data> {
  let data: unknown
  const view = new Proxy(session, {
    ...refusingTraps('session.', refusal),
    get(target: Session<Data>, name: string | symbol) {
      if (name === 'data') return (data ??= readOnlyData(target.data, refusal))
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (name === 'toJSON') {
        return () => {
          const shown = value.call(target) as object
          return 'data' in shown ? { ...shown, data: Reflect.get(view, 'data') } : shown
        }
      }
      if (typeof name === 'symbol' || HARMLESS.has(name)) return value.bind(target)
      return () => {
        throw refusal(`session.${name}()`)
      }
    },
  })
  return view as unknown as ReadonlySession<Data>
}

/** A copy, since what the session holds may yet be written to by whoever may. Maps, sets and dates are what they were, but for the methods that change them. */
function readOnlyData(data: object, refusal: (what: string) => Error): unknown {
  const copies = new Map<object, object>()

  function copyOf(value: unknown, path: string): unknown {
    if (typeof value !== 'object' || value === null) return value
    const known = copies.get(value)
    if (known) return known
    if (value instanceof Map) {
      const copy = keep(value, new Map(), ['set', 'delete', 'clear'], path)
      for (const [key, member] of value) Map.prototype.set.call(copy, key, copyOf(member, `${path}.get(…)`))
      return copy
    }
    if (value instanceof Set) {
      const copy = keep(value, new Set(), ['add', 'delete', 'clear'], path)
      for (const member of value) Set.prototype.add.call(copy, copyOf(member, `${path}.…`))
      return copy
    }
    if (value instanceof Date) return keep(value, new Date(value), SETTERS, path)
    if (value instanceof Buffer) return Buffer.from(value) // whose slice() is of the same bytes
    if (value instanceof Uint8Array) return value.slice()
    if (!isPlain(value)) return value // what a codec of the application's own makes
    const copy: Record<string, unknown> = Array.isArray(value) ? ([] as never) : {}
    const guarded = new Proxy(copy, refusingTraps(`${path}.`, refusal))
    copies.set(value, guarded)
    for (const [key, member] of Object.entries(value)) {
      Object.defineProperty(copy, key, { ...OPEN, value: copyOf(member, `${path}.${key}`) })
    }
    return guarded
  }

  function keep<T extends object>(original: object, copy: T, changing: readonly string[], path: string): T {
    copies.set(original, copy)
    for (const name of changing) {
      const value = () => {
        throw refusal(`${path}.${name}()`)
      }
      Object.defineProperty(copy, name, { value })
    }
    return copy
  }

  return copyOf(data, 'session.data')
}

const OPEN = { enumerable: true, configurable: true, writable: true } as const
const SETTERS = Object.getOwnPropertyNames(Date.prototype).filter((name) => name.startsWith('set'))

function isPlain(value: object): boolean {
  if (Array.isArray(value)) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function refusingTraps(prefix: string, refusal: (what: string) => Error) {
  const refuse = (_target: object, name: string | symbol): never => {
    throw refusal(prefix + String(name))
  }
  return { set: refuse, defineProperty: refuse, deleteProperty: refuse }
}
