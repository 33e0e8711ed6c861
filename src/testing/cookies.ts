import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'

/**
 * Logs a user in without going through the login page, and gives the Cookie header of a browser that did.
 *
 * @param data what the session holds besides
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { signIn } from 'holdfast/testing'
 *
 * const sessions = createSessions<{ cart?: string[] }>()
 * const cookie = await signIn(sessions, 'ann', { cart: ['tea'] })
 * await fetch('http://localhost:3000/', { headers: { cookie } })
 * ```
 */
export async function signIn<Data extends object>(
  sessions: Sessions<Data>,
  userId: string,
  data: Partial<Data> = {},
): Promise<string> {
  return edit(sessions, undefined, async (session) => {
    Object.assign(session.data, data)
    await session.login(userId)
  })
}

/**
 * Looks into the session behind a Cookie header, or changes it, as a request would.
 *
 * @param cookie the Cookie header; without one the change is made to a new session
 * @returns the Cookie header from then on: another one if the change was a login or a rotation, empty after a logout
 * @throws what saving it throws
 */
export async function edit<Data extends object>(
  sessions: Sessions<Data>,
  cookie: string | undefined,
  change: (session: Session<Data>) => unknown,
): Promise<string> {
  const session = await sessions.open(cookie)
  await change(session)
  const answer = await sessions.commit(session)
  if (!answer.cookie) return cookie ?? ''
  const { name, value } = answer.cookie
  return value === '' ? '' : `${name}=${value}`
}
