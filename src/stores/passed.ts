import { inspect } from 'node:util'

/** What was passed in place of a client, for an error: the class and not the content, which may hold a password. */
export function describePassed(passed: unknown): string {
  if (typeof passed === 'function') return `the function ${passed.name || 'without a name'}`
  const isObject = typeof passed === 'object' && passed !== null
  return isObject ? `an object of class ${passed.constructor?.name ?? 'null'}` : inspect(passed)
}

/** @param unknown what is left of the options without those that there are. @throws RangeError if that is anything */
export function refuseRest(where: string, unknown: object, known: string): void {
  for (const name of Object.keys(unknown))
    throw new RangeError(`${where}: there is no option ${name}. There are: ${known}`)
}
