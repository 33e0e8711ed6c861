import { inspect } from 'node:util'

/** What was passed in place of a client, for an error: the class and not the content, which may hold a password. */
export function describePassed(passed: unknown): string {
  if (typeof passed === 'function') return `the function ${passed.name || 'without a name'}`
  const isObject = typeof passed === 'object' && passed !== null
  return isObject ? `an object of class ${passed.constructor?.name ?? 'null'}` : inspect(passed)
}
