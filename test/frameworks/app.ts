import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { Session } from 'holdfast'

export interface Data {
  visits?: number
  cart?: Record<string, number>
  [key: string]: unknown
}

/** How a route answers, whatever the framework. */
export interface Io {
  header(name: string, value: string): void
  text(body: string, status?: number): unknown
  redirect(path: string): unknown
  /** Sends the headers at once, then what `produce` writes. */
  stream(produce: (write: (chunk: string) => void) => Promise<void>): unknown
}

/** Every way to learn or change something of a session, by the member that it goes through. */
export const accesses: Record<string, (session: Session<Data>) => unknown> = {
  data: ({ data }) => 'visits' in data,
  handle: ({ handle }) => handle,
  isNew: ({ isNew }) => isNew,
  isUnavailable: ({ isUnavailable }) => isUnavailable,
  userId: ({ userId }) => userId,
  presented: ({ presented }) => presented,
  createdAt: ({ createdAt }) => createdAt,
  lastSeenAt: ({ lastSeenAt }) => lastSeenAt,
  expiresAt: ({ expiresAt }) => expiresAt,
  authenticatedAt: ({ authenticatedAt }) => authenticatedAt,
  level: ({ level }) => level,
  generation: ({ generation }) => generation,
  login: (session) => session.login('ann'),
  logout: (session) => session.logout(),
  rotate: (session) => session.rotate(),
  update: (session) => session.update(() => {}),
  commit: (session) => session.commit(),
  load: (session) => session.load(),
  reload: (session) => session.reload(),
  elevate: (session) => session.elevate('2fa'),
  requireLevel: (session) => session.requireLevel('2fa'),
  requireRecentLogin: (session) => session.requireRecentLogin('1m'),
  verifyStamp: (session) => session.verifyStamp('of nobody'),
  csrfToken: (session) => session.csrfToken(),
  verifyCsrfToken: (session) => session.verifyCsrfToken('of nobody'),
  flash: (session) => session.flash('info', 'hello'),
  takeFlashes: (session) => session.takeFlashes(),
  peekFlashes: (session) => session.peekFlashes(),
  setLifetime: (session) => session.setLifetime({ idle: '1h' }),
  toJSON: (session) => JSON.stringify(session),
  [inspect.custom.toString()]: (session) => inspect(session),
}

/** What a handler may do in any order, for the route `/do`. */
const acts: Record<string, (session: Session<Data>) => unknown> = {
  ...accesses,
  visit: ({ data }) => {
    data.visits = (data.visits ?? 0) + 1
  },
  'login bob': (session) => session.login('bob'),
  remember: (session) => session.setLifetime({ persistent: true, absolute: '30d' }),
  clear: (session) => session.logout({ clearSiteData: true }),
  fail: () => {
    throw new Error('the handler failed')
  },
}

export type Route = (session: Session<Data>, io: Io, query: URLSearchParams) => unknown

export type Routes = Readonly<Record<string, Route>>

/** Where the route `/held-set` waits until the test lets it go on, so that no test hangs on a race of timers. */
export const held = {
  arrived: 0,
  rounds: 0,
  async all(count: number) {
    while (held.arrived < count) await sleep(2)
    held.arrived = 0
  },
  /** By looking again and again: workerd gives up a request that waits for nothing but another one. */
  async here() {
    const { rounds } = held
    held.arrived++
    while (held.rounds === rounds) await sleep(2)
  },
  release() {
    held.rounds++
  },
}

/** One application, that each framework serves in its own way. */
export const routes: Routes = {
  '/none': (_session, io) => io.text('no session needed'),
  async '/do'(session, io, query) {
    for (const act of query.get('acts')!.split(',')) await acts[act]!(session)
    return io.text('done')
  },
  '/cached-none'(_session, io) {
    io.header('Cache-Control', 'public, max-age=60')
    return io.text('the same for everybody')
  },
  '/cached-me'(session, io) {
    io.header('Cache-Control', 'public, max-age=60')
    return io.text(`page of ${session.userId ?? 'nobody'}`)
  },
  '/cached-name'(session, io) {
    io.header('Cache-Control', 'public, max-age=60')
    return io.text(`name: ${'name' in session.data ? session.data.name : 'none'}`)
  },
  '/cached-missing'(session, io) {
    return io.text(`nothing here, ${session.userId ?? 'nobody'}`, 404)
  },
  '/cached-visits'(session, io) {
    io.header('Cache-Control', 'public, max-age=60')
    session.data.visits = (session.data.visits ?? 0) + 1
    return io.text(`${session.userId ?? 'nobody'}: ${session.data.visits}`)
  },
  '/look': (session, io) => io.text(session.presented),
  '/me': (session, io) => io.text(session.userId ?? 'nobody'),
  '/data': (session, io) => io.text(JSON.stringify(session.data)),
  '/handle': (session, io) => io.text(session.handle),
  '/visits'(session, io) {
    session.data.visits = (session.data.visits ?? 0) + 1
    return io.text(`Total visits: ${session.data.visits}`)
  },
  async '/slow-visits'(session, io) {
    const visits = session.data.visits ?? 0
    await sleep(5)
    session.data.visits = visits + 1
    return io.text('ok')
  },
  async '/update'(session, io) {
    await sleep(5)
    const visits = await session.update((data) => {
      data.visits = (data.visits ?? 0) + 1
      return data.visits
    })
    return io.text(String(visits))
  },
  async '/cart'(session, io, query) {
    session.data.cart ??= {}
    await sleep(5)
    session.data.cart[query.get('item')!] = 1
    return io.text('ok')
  },
  async '/set'(session, io, query) {
    void session.data
    await sleep(Number(query.get('ms') ?? 0))
    session.data[query.get('key')!] = query.get('value')
    return io.text('ok')
  },
  async '/held-set'(session, io, query) {
    const { data } = session
    await held.here()
    data[query.get('key')!] = query.get('value')
    return io.text('ok')
  },
  async '/held-data'(session, io) {
    await held.here()
    return io.text(JSON.stringify(session.data))
  },
  async '/login'(session, io, query) {
    await session.login(query.get('user')!)
    return io.text('welcome')
  },
  async '/logout'(session, io) {
    await session.logout()
    session.flash('info', 'Signed out')
    return io.text('bye')
  },
  async '/clear-more'(session, io) {
    io.header('Clear-Site-Data', '"executionContexts"')
    await session.logout({ clearSiteData: true })
    return io.text('bye')
  },
  async '/leave'(session, io) {
    await session.logout()
    return io.text('bye')
  },
  async '/rotate'(session, io) {
    return io.text(String(await session.rotate()))
  },
  '/flashes': (session, io) =>
    io.text(
      session
        .takeFlashes()
        .map(({ message }) => message)
        .join(', '),
    ),
  '/redirect'(session, io, query) {
    session.data.last = query.get('value')
    return io.redirect('/data')
  },
  '/stream'(session, io) {
    session.data.streamed = true
    return io.stream(async (write) => {
      write('one ')
      await sleep(5)
      write('two')
    })
  },
  '/late'(session, io) {
    session.data.early = true
    return io.stream(async (write) => {
      write('headers are gone')
      await sleep(20)
      session.data.late = true
    })
  },
  '/late-commit'(session, io) {
    session.data.early = true
    return io.stream(async (write) => {
      write('headers are gone')
      await sleep(20)
      session.data.late = true
      await session.commit()
    })
  },
  '/late-login'(session, io) {
    return io.stream(async (write) => {
      write('headers are gone ')
      await sleep(20)
      await session.login('ann').catch((error: Error) => write(error.name))
    })
  },
  '/throw'(session) {
    session.data.half = 'done'
    throw new Error('the handler failed')
  },
  async '/commit-and-throw'(session) {
    session.data.whole = 'done'
    await session.commit()
    session.data.half = 'done'
    throw new Error('the handler failed')
  },
  '/error'(session, io) {
    session.data.half = 'done'
    return io.text('sorry', 500)
  },
  '/unstorable'(session, io) {
    session.data.user = { save() {} }
    return io.text('this must not be seen')
  },
  '/unawaited'(session, io) {
    void session.update(() => {
      throw new Error('nobody awaited this')
    })
    return io.text('this must not be seen')
  },
  async '/caught'(session, io) {
    const caught = await session
      .update(() => {
        throw new Error('handled')
      })
      .catch((error: Error) => error.message)
    return io.text(caught)
  },
  '/headers'(session, io) {
    io.header('Set-Cookie', 'theme=dark')
    io.header('Vary', 'Accept-Encoding')
    io.header('Cache-Control', 'private, max-age=60')
    session.data.headers = 'set'
    return io.text('ok')
  },
  async '/conflict'(session, io) {
    void session.data
    await sleep(50)
    session.data.guarded = Math.random()
    io.header('X-App', 'dropped')
    return io.text('this must not be seen by the loser')
  },
}
