import type { Session } from '../session.ts'
import { behind } from '../session.ts'

/**
 * A session for libraries that write beside `data`, as they may with express-session: what the session has no member for (`messages`,
 * `returnTo`, `oauth2:example.org`) is a key of its `data`, and so is saved and merged. All else is the session itself.
 */
export function sessionView<Data extends object>(session: Session<Data>): Session<Data> {
  return new Proxy(session, {
    get(_, key) {
      if (key === behind) return session
      const value: unknown = Reflect.get(...placeOf(session, key))
      return typeof value === 'function' && key in session ? value.bind(session) : value
    },
    set: (_, key, value) => Reflect.set(...placeOf(session, key), value),
    has: (_, key) => Reflect.has(...placeOf(session, key)),
    deleteProperty: (_, key) => Reflect.deleteProperty(...placeOf(session, key)),
  })
}

function placeOf(session: Session<object>, key: string | symbol): [object, string | symbol] {
  return [typeof key === 'symbol' || key in session ? session : session.data, key]
}
