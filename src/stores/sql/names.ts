import { inspect } from 'node:util'

/** In characters. PostgreSQL cuts names of indexes, which are longer than those of their table, at 63. */
export const LONGEST_TABLE = { sqlite: 63, postgres: 48, mysql: 63 } as const

/** @throws RangeError for anything but a plain name, so that no statement needs to escape one. */
export function checkName(caller: string, what: 'table' | 'schema', name: unknown, longest: number): void {
  if (typeof name === 'string' && name.length <= longest && /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return
  throw new RangeError(
    `${caller}: the ${what} name ${inspect(name)} is not a letter or underscore and up to ${longest - 1} letters, digits or underscores`,
  )
}
