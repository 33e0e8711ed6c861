import { OptionsError } from './errors.ts'

/** Checks of what applications hand in: a misspelt name must not be taken for a default. */
export function refuseUnknown(where: string, given: object, known: readonly string[]): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new OptionsError(
      `${where.replace(/[.]$/, '') || 'createSessions'}: takes an object of options, not ${String(given)}`,
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
    throw new OptionsError(`${where}${key}: ${JSON.stringify(value) ?? String(value)} must be a ${type}`)
  }
}
