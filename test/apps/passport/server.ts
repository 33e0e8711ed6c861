/** A site on Passport: passwords, or an account elsewhere (`PROVIDER`, which speaks OAuth 2). */
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import { createSessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { passportSessions } from 'holdfast/passport'
import { openStore } from 'holdfast/stores'
import 'holdfast/express/types'
import { setTimeout as sleep } from 'node:timers/promises'
import passport from 'passport'
import { Strategy as LocalStrategy } from 'passport-local'
import { Strategy as OAuth2Strategy, type VerifyCallback } from 'passport-oauth2'

interface Visitor {
  visits?: number
  cart?: string[]
  /** Passport's own: `failureMessage`, and where to go after the login. */
  messages?: string[]
  returnTo?: string
}
interface User {
  id: string
  name: string
}

const users = new Map<string, User>(
  ['ann', 'bob', 'carl'].map((name) => [`id of ${name}`, { id: `id of ${name}`, name }]),
)

const sessions = createSessions<Visitor>({
  secret: process.env.SESSION_SECRET,
  store: openStore(process.env.SESSION_STORE!),
  merge: { visits: 'sum' },
})
declare module 'holdfast' {
  interface Register {
    session: typeof sessions
  }
}

passport.serializeUser<string>((user, done) => done(null, (user as User).id))
passport.deserializeUser<string>((id, done) => done(null, users.get(id) ?? false))
passport.use(
  new LocalStrategy((name, password, done) => {
    const user = users.get(`id of ${name}`)
    if (user && password === 'correct horse') done(null, user)
    else done(null, false, { message: 'That is not right.' })
  }),
)
const provider = process.env.PROVIDER!
const elsewhere = {
  authorizationURL: `${provider}/authorize`,
  tokenURL: `${provider}/token`,
  clientID: 'site',
  clientSecret: 'secret',
}
const known = (token: string, _refresh: string, _profile: unknown, done: VerifyCallback) =>
  done(null, users.get(token) ?? false)
passport.use('state', new OAuth2Strategy({ ...elsewhere, callbackURL: '/back/state', state: true }, known))
passport.use(
  'pkce',
  new OAuth2Strategy({ ...elsewhere, callbackURL: '/back/pkce', state: true, pkce: true }, known),
)

const app = express()
app.use(express.urlencoded({ extended: false }))
app.use(expressSessions(sessions, { skip: ({ url }) => url === '/health' }))
app.use(passportSessions(sessions, passport))

app.get('/health', (req, res) => void res.json({ isAuthenticated: req.isAuthenticated() }))
app.get('/', (req, res) => {
  const { data, userId, handle } = req.session
  res.json({ user: req.user, isAuthenticated: req.isAuthenticated(), userId, handle, data })
})

app.post(
  '/login',
  passport.authenticate('local', {
    successReturnToOrRedirect: '/',
    failureRedirect: '/login',
    failureFlash: true,
    keepSessionInfo: true,
  }),
)
app.post(
  '/login-with-message',
  passport.authenticate('local', { successRedirect: '/', failureRedirect: '/login', failureMessage: true }),
)
app.post(
  '/login-once',
  passport.authenticate('local', { session: false }),
  (req, res) => void res.json({ user: req.user }),
)
app.get(
  '/login',
  (req, res) => void res.json({ flashes: req.session.takeFlashes(), messages: req.session.data.messages }),
)
app.get('/flashes', (req, res) => void res.json((req as unknown as { flash(): unknown }).flash()))
app.get('/with/:strategy', (req, res, next) => passport.authenticate(req.params.strategy)(req, res, next))
app.get('/back/:strategy', (req, res, next) =>
  passport.authenticate(req.params.strategy, {
    successRedirect: '/',
    failureRedirect: '/login',
    failureFlash: true,
  })(req, res, next),
)
app.post('/logout', (req, res, next) => req.logout((error) => (error ? next(error) : res.redirect('/'))))
app.post('/logout-keeping', (req, _res, next) => req.logout({ keepSessionInfo: true }, next))

const signedIn: RequestHandler = (req, res, next) => {
  if (req.isAuthenticated()) return next()
  const session: object = req.session
  ;(session as Visitor).returnTo = req.originalUrl // as connect-ensure-login does
  res.redirect('/login')
}
app.get('/account', signedIn, (req, res) => void res.json(req.user))
app.post('/visit', async (req, res) => {
  const { visits = 0 } = req.session.data
  await sleep(20)
  req.session.data.visits = visits + 1
  res.send('counted')
})
app.post('/put', async (req, res) => {
  const { data } = req.session
  await sleep(20)
  data.cart ??= []
  data.cart.push(req.body.item)
  res.send('put')
})
app.post('/rotate', async (req, res) => void res.json(await req.session.rotate()))
app.post('/slow', async (req, res) => {
  await sleep(600)
  req.session.data.cart = ['late']
  res.send('saved')
})
app.get(
  '/devices',
  signedIn,
  async (req, res) => void res.json((await sessions.list(req.session.userId!)).map(({ handle }) => handle)),
)
app.post(
  '/revoke-others',
  signedIn,
  async (req, res) => void res.json(await sessions.revokeOthers(req.session)),
)
app.post('/delete-account', signedIn, (req, res) => {
  users.delete(req.session.userId!)
  res.send('deleted')
})
const failed: ErrorRequestHandler = (error, _req, res, _next) =>
  void res.status(error.status ?? 500).send(error.message)
app.use(failed)

const server = app.listen(Number(process.env.PORT))
process.once('SIGTERM', () => server.close(() => sessions.close()))
