import type { LoginOptions, Session, SessionLifetime } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import { agent } from './agent.ts'
import { type Answered, setCookies } from './answered.ts'
import { cookieJar, type StorageState } from './cookie-jar.ts'

/** What a test's visitor comes with. Options of `login` need a `userId`. */
export interface VisitorOptions<Data extends object> extends LoginOptions {
  /** Logs this user in, without the login page. */
  userId?: string
  /** What the session holds. */
  data?: Partial<Data>
  /** As `session.setLifetime` takes it; `{ persistent: true }` for a cookie that outlives the browser. */
  lifetime?: SessionLifetime
}

/** A browser in a test: its cookies in the form that each tool takes, as they are at that moment, and the session that they name. */
export interface Visitor<Data extends object = Record<string, unknown>> {
  /** A Cookie header; empty without cookies. */
  readonly cookie: string
  /** For `fetch`, Hono's `app.request(path, { headers })` and whatever else takes headers. */
  readonly headers: Record<string, string>
  /** For Fastify's `inject({ cookies })`. */
  readonly cookies: Record<string, string>
  /**
   * For Playwright's `newContext({ storageState })` and `use: { storageState }`.
   * @param site any URL of the site that is visited: the cookies become its host's
   * @throws TypeError where a browser would not send them
   */
  storageState(site: string | URL): StorageState
  /** `supertest(app)`, with these cookies on every request; what the responses set is kept. */
  agent<R extends object>(request: R): R
  /**
   * Keeps the cookies that a response sets, as a browser does, and gives the response back. Otherwise this visitor does not hear of a login, a step-up or
   * a logout. `agent` does it by itself.
   */
  keep<R extends Answered>(response: R): R
  /** The session as it is in the store now: to look at. This is no use of it, and moves no timeout. */
  session(): Promise<Session<Data>>
  /**
   * Changes the session as a request would, and saves it: `await ann.edit((session) => session.elevate('2fa'))`.
   * @returns what `change` returns
   * @throws what it throws, and what saving throws
   */
  edit<R>(change: (session: Session<Data>) => R | Promise<R>): Promise<R>
}

/**
 * A visitor with a ready-made session: logged in, if there is a `userId`. Without options one who has no cookie yet.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { visitor } from 'holdfast/testing'
 *
 * const sessions = createSessions<{ cart?: string[] }>()
 * const ann = await visitor(sessions, { userId: 'ann', level: '2fa', data: { cart: ['tea'] } })
 * await fetch('http://localhost:3000/', { headers: ann.headers })
 * const { cart } = (await ann.session()).data
 * ```
 */
export async function visitor<Data extends object>(
  sessions: Sessions<Data>,
  { userId, data, lifetime, ...login }: VisitorOptions<Data> = {},
): Promise<Visitor<Data>> {
  const [needsUser] = Object.keys(login)
  if (userId === undefined && needsUser !== undefined) {
    throw new TypeError(`visitor: ${needsUser}: this is an option of a login, and there is no userId`)
  }
  const jar = cookieJar()
  const made: Visitor<Data> = {
    get cookie() {
      return Array.from(jar.values(), ([name, value]) => `${name}=${value}`).join('; ')
    },
    get headers(): Record<string, string> {
      return made.cookie === '' ? {} : { cookie: made.cookie }
    },
    get cookies() {
      return Object.fromEntries(Array.from(jar.values(), ([name, value]) => [name, decoded(value)]))
    },
    storageState: jar.storageState,
    agent: (request) => agent(request, made),
    keep(response) {
      jar.keep(setCookies(response))
      return response
    },
    session: () => sessions.open(made.cookie),
    async edit(change) {
      const session = await sessions.open(made.cookie)
      const result = await change(session)
      const { headers } = await sessions.commit(session)
      jar.keep(headers.filter(([name]) => name === 'Set-Cookie').map(([, line]) => line))
      return result
    },
  }
  await made.edit(async (session) => {
    Object.assign(session.data, data)
    if (userId !== undefined) await session.login(userId, login)
    if (lifetime) session.setLifetime(lifetime)
  })
  return made
}

/** `inject` encodes what it is given. */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
