import { createSessions, type Session, type SessionOptions, type Sessions, type Store } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'

export const SECRET = 'q5vXx0Tn2yq8W1ZbJ4uR7sKd3fHgLmPc'

/** A manager on a memory store, with a clock that the test moves. */
export function manager<Data extends object = Record<string, unknown>>(options: SessionOptions<Data> = {}) {
  const clock = { now: 1_800_000_000_000 }
  const store: Store = options.store ?? memoryStore()
  // A test knows what it has put into `data`, and which schema gives it.
  const sessions = createSessions({
    secret: SECRET,
    clock: () => clock.now,
    sweepEvery: false,
    ...options,
    store,
  } as SessionOptions<Data>) as Sessions<Data>
  return { sessions, store, clock }
}

/** A visitor's cookie jar, without a server in between. */
export function browser<Data extends object>(sessions: Sessions<Data>, cookie?: string, name = '__Host-id') {
  const jar = {
    cookie,
    setCookies: [] as string[],
    get header() {
      return jar.cookie === undefined ? undefined : `${name}=${jar.cookie}`
    },
    async visit<R>(handler: (session: Session<Data>) => R | Promise<R>, status = 200): Promise<R> {
      const session = await sessions.open(jar.header)
      const result = await handler(session)
      const answer = await sessions.commit(session, { status })
      if (answer.cookie) {
        jar.setCookies.push(answer.headers.find(([name]) => name === 'Set-Cookie')![1])
        jar.cookie = answer.cookie.value || undefined
      }
      return result
    },
  }
  return jar
}
