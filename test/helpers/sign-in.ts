import type { Session, Sessions } from 'holdfast'

/** Logs a user in, and gives the Cookie header: bare text, which a test may take to another manager or process. */
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

/** Changes the session of a Cookie header, or a new one, as a request would; gives the header from then on, empty after a logout. */
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
