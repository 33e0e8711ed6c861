import express, {
  type ErrorRequestHandler,
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
} from 'express'
import { ConflictError, CrossOriginError, SessionEndedError, StoreUnavailableError } from 'holdfast'
import { dashboard } from 'holdfast/dashboard'
import { expressSessions } from 'holdfast/express'
import { layout, type Page, styles } from './layout.ts'
import { cartPage, devicesPage, endedPage, errorPage, keptPage, loginPage, shopPage } from './pages.ts'
import { cartLines, changeCart, countOf, findProduct } from './products.ts'
import { adminPasswordIn } from './secret.ts'
import { REMEMBERED, shopSessions, VISIT } from './sessions.ts'
import { ADMIN, checkPassword, DASHBOARD, findUser } from './users.ts'

/** The shop, not yet listening. `folder` keeps its database and secret; `secure` is for https. */
export function createShop({ folder, secure }: { folder: string; secure: boolean }) {
  const sessions = shopSessions({ folder, secure })
  const adminPassword = adminPasswordIn(folder)
  const board = dashboard({
    sessions,
    authorize: isAdmin,
    revealData: isAdmin,
    path: DASHBOARD,
  })
  const app = express().disable('x-powered-by')

  app.use(securityHeaders)
  app.use(expressSessions(sessions, { skip: ({ url }) => url?.startsWith('/styles.css') ?? false }))
  app.get(DASHBOARD, signedInOnly)
  app.use(board.node)
  app.use(express.urlencoded({ extended: false, limit: '4kb' }))

  app.get('/styles.css', (_req, res) => {
    res.set('Cache-Control', 'public, max-age=31536000, immutable').type('css').send(styles)
  })

  app.get('/', (req, res) => {
    const { data } = sessions.of(req)
    data.visits = (data.visits ?? 0) + 1
    show(req, res, shopPage(data))
  })

  app.get('/cart', (req, res) => {
    show(req, res, cartPage(cartLines(sessions.of(req).data.cart)))
  })

  app.post('/cart/add', (req, res, next) => {
    const session = sessions.of(req)
    const product = findProduct(field(req, 'sku'))
    if (!product) return next()
    changeCart(session.data, product, +1)
    session.flash('good', `${product.name} is in your basket.`)
    res.redirect(303, `/#${product.sku}`)
  })

  app.post('/cart/change', (req, res, next) => {
    const product = findProduct(field(req, 'sku'))
    const change = CHANGES.get(field(req, 'change'))
    if (!product || !change) return next()
    changeCart(sessions.of(req).data, product, change)
    res.redirect(303, '/cart')
  })

  app.post('/order', async (req, res) => {
    const session = sessions.of(req)
    // In one step, so that of two clicks only one finds anything to order.
    const ordered = await session.update((data) => {
      const lines = cartLines(data.cart)
      delete data.cart
      return lines
    })
    if (ordered.length > 0)
      session.flash('good', `Thank you. ${countOf(ordered)} × 100 g would now be on their way.`)
    res.redirect(303, '/cart')
  })

  app.get('/login', (req, res) => {
    if (sessions.of(req).userId !== undefined) return res.redirect(303, '/devices')
    show(req, res, loginPage())
  })

  app.post('/login', async (req, res) => {
    const session = sessions.of(req)
    const name = field(req, 'name')
    const user = await checkPassword(name, field(req, 'password'), adminPassword)
    if (!user) return show(req, res, loginPage(name), 422)
    await session.login(user.id)
    session.setLifetime(field(req, 'remember') === 'yes' ? REMEMBERED : VISIT)
    session.flash('good', `Welcome aboard, ${user.name}.`)
    res.redirect(303, user.id === ADMIN.id ? DASHBOARD : '/')
  })

  app.post('/logout', signOut)

  app.get('/devices', signedInOnly, async (req, res) => {
    const { userId, handle } = sessions.of(req)
    show(req, res, devicesPage(await sessions.list(userId!), handle))
  })

  app.post('/devices/sign-out', signedInOnly, async (req, res) => {
    const session = sessions.of(req)
    const handle = field(req, 'handle')
    if (handle === session.handle) return signOut(req, res)
    const count = await sessions.revoke({ handle, userId: session.userId! })
    if (count === 1) session.flash('good', 'Signed out there.')
    else session.flash('info', 'That device was signed out already.')
    res.redirect(303, '/devices')
  })

  app.post('/devices/sign-out-others', signedInOnly, async (req, res) => {
    const session = sessions.of(req)
    const count = await sessions.revokeOthers(session)
    session.flash(
      'good',
      count === 1 ? 'Signed out on one other device.' : `Signed out on ${count} other devices.`,
    )
    res.redirect(303, '/devices')
  })

  app.get('/kept', async (req, res) => {
    const session = sessions.of(req)
    const own = session.userId === undefined ? [] : await sessions.list(session.userId)
    const device = own.find(({ handle }) => handle === session.handle)
    show(req, res, keptPage(session, device))
  })

  app.post('/kept/rotate', async (req, res) => {
    const session = sessions.of(req)
    if (await session.rotate()) session.flash('good', 'Your browser has a new token now.')
    else session.flash('info', 'Your token is new already. Ask again in five minutes.')
    res.redirect(303, '/kept')
  })

  app.use((_req, res) => {
    res.status(404).send(layout(errorPage('Off the chart', 'There is nothing at this address.')))
  })

  app.use(answerError)

  function show(req: Request, res: Response, page: Page, status = 200): void {
    const session = sessions.of(req)
    const greeting = {
      user: findUser(session.userId),
      inCart: countOf(cartLines(session.data.cart)),
      flashes: session.takeFlashes(),
    }
    res.status(status).send(layout(page, greeting))
  }

  async function signOut(req: Request, res: Response): Promise<void> {
    const session = sessions.of(req)
    await session.logout()
    session.flash('good', 'You are signed out.')
    res.redirect(303, '/')
  }

  function signedInOnly(req: Request, res: Response, next: NextFunction): void {
    if (sessions.of(req).userId === undefined) res.redirect(303, '/login')
    else next()
  }

  function isAdmin(request: object): boolean {
    return sessions.of(request).userId === ADMIN.id
  }

  return { app, sessions, adminPassword }
}

const CHANGES = new Map<string, 1 | -1>([
  ['more', +1],
  ['fewer', -1],
])

const securityHeaders: RequestHandler = (_req, res, next) => {
  res.set({
    'Cache-Control': 'private, no-cache',
    'Content-Security-Policy':
      "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    'Referrer-Policy': 'same-origin',
    'X-Content-Type-Options': 'nosniff',
  })
  next()
}

/** A field of the posted form; empty if it is missing or there twice. */
function field(req: Request, name: string): string {
  const value: unknown = req.body?.[name]
  return typeof value === 'string' ? value : ''
}

/** Sessions fail with a status and a page, as everything else does. No session is asked for here: it may be what failed. */
const answerError: ErrorRequestHandler = (error, _req, res, next) => {
  if (res.headersSent) return next(error)
  const status = statusOf(error)
  if (status >= 500) console.error(error)
  if (error instanceof StoreUnavailableError) res.set('Retry-After', '5')
  res.status(status).send(layout(explain(error, status)))
}

function statusOf(error: unknown): number {
  const { status } = Object(error) as { status?: unknown }
  return typeof status === 'number' && status >= 400 ? status : 500
}

function explain(error: unknown, status: number): Page {
  if (error instanceof SessionEndedError) return endedPage
  if (error instanceof CrossOriginError) {
    return errorPage('Not from here', 'Another site sent this form. Nothing was changed.')
  }
  if (error instanceof ConflictError) {
    return errorPage('Two at once', 'Something else changed at the same moment. Please try it again.')
  }
  if (error instanceof StoreUnavailableError) {
    return errorPage(
      'Back in a moment',
      'We cannot reach your session just now. Nobody is signed out by that.',
    )
  }
  if (status < 500) return errorPage('Garbled', 'That form was not as we sent it, so nothing was changed.')
  return errorPage('Run aground', 'Something broke on our side, so nothing was changed.')
}
