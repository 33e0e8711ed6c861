import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/**
 * The managers of an application by the property under which requests carry their sessions. Declare it once, and import the
 * types of the framework: `req.session.data` is typed from then on.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import 'holdfast/express/types'
 *
 * const sessions = createSessions<{ visits?: number }>()
 *
 * declare module 'holdfast' {
 *   interface Register { session: typeof sessions }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications fill it in by declaration merging
export interface Register {}

/** The session of each registered manager. */
export type RegisteredSessions = {
  [Property in keyof Register]: Register[Property] extends Sessions<infer Data> ? Session<Data> : never
}
