import type { IncomingMessage, ServerResponse } from 'node:http'
import { inspect } from 'node:util'
import { OptionsError } from '../errors.ts'
import type { Session } from '../session.ts'
import type { Sessions } from '../sessions.ts'
import { checkMounting } from './adapter-options.ts'
import { mount } from './node.ts'
import { sessionView } from './session-view.ts'

/** What is called of a Passport: that which `import passport from 'passport'` gives, or `new Passport()`. */
export interface PassportLike {
  serializeUser(user: unknown, request: unknown, done: Done<unknown>): unknown
  deserializeUser(id: unknown, request: unknown, done: Done<unknown>): unknown
  use(name: string, strategy: object): unknown
}

type Done<T> = (error: unknown, result?: T) => void

/** A request as Passport knows it. */
interface PassportRequest extends IncomingMessage {
  session?: Session<object>
  user?: unknown
  login?: unknown
  logIn?: unknown
  logout?: unknown
  logOut?: unknown
  isAuthenticated?: unknown
  isUnauthenticated?: unknown
  flash?: unknown
}

/**
 * Passport 0.7 on Holdfast's sessions, in place of `passport.initialize()` and `passport.session()`. Mount it behind `expressSessions`.
 *
 * `passport.authenticate()` and `req.login` log in by `session.login(userId)`: a new token, and a session that is listed and revoked by its user. `req.logout`
 * is `session.logout()`. `req.user` is what `deserializeUser` makes of `session.userId`; if that is nothing, the session is ended.
 * `req.flash` is there for `failureFlash`, on the session's flash messages, and what strategies keep on `req.session` is kept in `session.data`.
 *
 * `serializeUser` must give the user's id, as text; whatever else it gives makes the login fail with a `TypeError`.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import { createSessions } from 'holdfast'
 * import { expressSessions } from 'holdfast/express'
 * import { passportSessions } from 'holdfast/passport'
 * import passport from 'passport'
 *
 * const users = new Map([['42', { id: '42', name: 'Ann' }]])
 * passport.serializeUser<string>((user, done) => done(null, (user as { id: string }).id))
 * passport.deserializeUser<string>((id, done) => done(null, users.get(id) ?? false))
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET })
 * const app = express()
 * app.use(expressSessions(sessions))
 * app.use(passportSessions(sessions, passport))
 * ```
 */
export function passportSessions<Data extends object>(
  sessions: Sessions<Data>,
  passport: PassportLike,
): (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void {
  checkMounting('passportSessions', sessions, {})
  if (typeof passport?.deserializeUser !== 'function') {
    throw new OptionsError(`passportSessions: passport must be a Passport, not ${inspect(passport)}`)
  }
  // A passport.session() that is still there would believe what it finds in data, which is no login.
  passport.use('session', {
    authenticate(this: { pass(): void }) {
      this.pass()
    },
  })

  return (request: PassportRequest, _response, next) => {
    request.isAuthenticated = () => Boolean(request.user)
    request.isUnauthenticated = () => !request.user
    if (request.session === undefined) return next() // expressSessions was told to skip this one
    const session = sessions.of(request)
    if (request.session !== session) {
      throw new OptionsError(
        'passportSessions: req.session is not what expressSessions(sessions) put there. Mount both once, with the same manager, and without another property: Passport and its strategies know only req.session',
      )
    }
    mount(request, 'session', sessionView(session))
    // Passport leaves alone what a request has of these already.
    request.login = request.logIn = logIn
    request.logout = request.logOut = logOut
    request.flash = (...message: [string?, string?]) => flash(session, ...message)
    restore().then(() => next(), next)

    async function restore(): Promise<void> {
      if (session.userId === undefined) return
      const user = await ask((done) => passport.deserializeUser(session.userId, request, done))
      if (user) request.user = user
      else await session.logout()
    }

    function logIn(user: unknown, ...rest: Rest): void {
      const { options, done } = optionsOf(rest)
      if (options.session === false) {
        request.user = user
        done?.(null)
        return
      }
      tell('req.login', done, async () => {
        const id = await ask((serialized) => passport.serializeUser(user, request, serialized))
        await session.login(checkId(id))
        request.user = user
      })
    }

    function logOut(...rest: Rest): void {
      const { options, done } = optionsOf(rest)
      tell('req.logout', done, async () => {
        if (options.keepSessionInfo) {
          throw new OptionsError(
            'req.logout: keepSessionInfo: a logout ends the session and its data. Read what the visitor should keep before, and put it into req.session.data afterwards',
          )
        }
        await session.logout()
        request.user = undefined
      })
    }
  }
}

type Rest = [done?: Done<never>] | [options?: LoginStateOptions, done?: Done<never>]

interface LoginStateOptions {
  session?: boolean
  keepSessionInfo?: boolean
}

function optionsOf(rest: Rest): { options: LoginStateOptions; done: Done<never> | undefined } {
  const [first, second] = rest
  return typeof first === 'function' ? { options: {}, done: first } : { options: first ?? {}, done: second }
}

/** What a function with a callback answers. */
function ask(call: (done: Done<unknown>) => unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    call((error, result) => (error ? reject(error) : resolve(result)))
  })
}

/** The other way round. What the callback throws is not the work's failure. */
function tell(what: string, done: Done<never> | undefined, work: () => Promise<void>): void {
  if (typeof done !== 'function') throw new TypeError(`${what} requires a callback function`)
  work().then(
    () => process.nextTick(done, null),
    (error: unknown) => process.nextTick(done, error),
  )
}

function checkId(id: unknown): string {
  if (typeof id === 'string') return id
  throw new TypeError(
    `passportSessions: serializeUser must give the user's id as text, and gave ${typeof id === 'number' ? 'a number; pass String(user.id)' : `${id === null ? 'null' : `a value of type ${typeof id}`}; pass the id, and let deserializeUser look up the rest`}`,
  )
}

/** As connect-flash has it: `req.flash('error', 'No.')` keeps a message, `req.flash('error')` takes those of a category, `req.flash()` all. */
function flash(session: Session<object>, category?: string, message?: string): unknown {
  if (category !== undefined && message !== undefined) return session.flash(category, message)
  if (category !== undefined) return session.takeFlashes(category).map((one) => one.message)
  const all = new Map<string, string[]>()
  for (const one of session.takeFlashes())
    all.set(one.category, [...(all.get(one.category) ?? []), one.message])
  return Object.fromEntries(all)
}
