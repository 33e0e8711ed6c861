import { OptionsError } from './errors.ts'

/** Checks of what applications hand in: a misspelt name must not be taken for a default. */
export function refuseUnknown(where: string, given: object, known: readonly string[]): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new OptionsError(
      `${where.replace(/(\.|: )$/, '') || 'createSessions'}: takes an object of options, not ${typeOf(given)}`,
    )
  }
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue
    throw new OptionsError(`${where}${key}: there is no such option. There are: ${known.join(', ')}`)
  }
}

/** @throws OptionsError unless each of these is absent or of its type */
export function checkTypes(
  where: string,
  given: object,
  types: Readonly<Record<string, 'boolean' | 'function' | 'number' | 'string'>>,
): void {
  for (const [key, type] of Object.entries(types)) {
    const value: unknown = given[key as keyof typeof given]
    if (value === undefined || typeof value === type) continue
    const isObject = Object(value) === value
    const shown = isObject ? typeOf(value) : typeof value === 'string' ? JSON.stringify(value) : String(value)
    throw new OptionsError(`${where}${key}: ${shown} must be a ${type}`)
  }
}

/** What was handed in by mistake, in an error that is logged: it may be a secret, a whole user, or what a visitor has typed. */
export function typeOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  return Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
