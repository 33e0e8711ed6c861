import { hash } from 'node:crypto'
import type { Answer } from './answer.ts'
import { createAnswerer } from './answer.ts'
import { traceStore } from './channels.ts'
import { createClientWatch } from './client-watch.ts'
import { createCommitter } from './commit.ts'
import type { Core } from './core.ts'
import { ownHandle } from './dead-token.ts'
import { OptionsError } from './errors.ts'
import type { Listener, SessionEvents } from './events.ts'
import { createEvents } from './events.ts'
import { guardStore } from './guard.ts'
import { HeldSession, loadedVisitOf, visitOf } from './held-session.ts'
import { createLoginRules } from './login-rules.ts'
import type { RevokeTarget, SessionInfo, SessionPage, SessionStats } from './management.ts'
import { createManagement } from './management.ts'
import { createOpener } from './open.ts'
import type { SessionOptions } from './options.ts'
import { keepParts } from './parts.ts'
import type { Policy } from './policy.ts'
import { policyOf } from './policy.ts'
import { managerClosed, unavailable } from './refusals.ts'
import type { RequestSource } from './request.ts'
import { createRequestSlots, layersOf } from './request-slots.ts'
import type { SchemaOutput, StandardSchema } from './schema.ts'
import { recordSeal } from './seal.ts'
import { crossOrigin } from './security/csrf.ts'
import { csrfSigner } from './security/csrf-token.ts'
import type { Session } from './session.ts'
import { resolveOptions } from './settings.ts'
import type { Finding, Store } from './store.ts'
import { tokenSigner } from './token.ts'
import type { UserExport } from './user-sessions.ts'
import { createVault } from './vault.ts'
import type { Visit } from './visit.ts'
import { inTurn } from './visit.ts'
import { createWork } from './work.ts'

/** The sessions of one application: what `createSessions` makes and adapters are given. */
export interface Sessions<Data extends object = Record<string, unknown>> {
  /** Tells managers apart, as the option `name`. */
  readonly name: string
  /** What is in force, as frozen data that JSON keeps: for documentation (ASVS 7.1.1) and for checks. */
  readonly policy: Policy

  /**
   * The session that the request's cookie names, or a new one. Loaded, unless `lazy`. Opening one request twice gives one session.
   * @throws StoreUnavailableError; CrossOriginError where `csrf` is set, before anything is loaded; with `onInvalid: 'error'` InvalidRecordError or SchemaError
   */
  open(source: RequestSource, options?: { lazy?: boolean }): Promise<Session<Data>>
  /**
   * Saves what is pending and says which headers the response must carry. At once, without a promise, when there is nothing to wait for.
   * A status of 500 or more discards what the handler left behind (unless `saveOnError`), and so does `discard`. `rotate: false` leaves a rotation
   * that is due to a later answer, where somebody else may use the new token before the client has it.
   * @throws ConflictError, SessionEndedError, StoreUnavailableError, DataError: the response must then be that error
   */
  commit(
    session: Session<Data>,
    options?: { status?: number; discard?: boolean; rotate?: boolean },
  ): Answer | Promise<Answer>
  /** For adapters, once the response is over: what was changed after the headers and never committed becomes an event. */
  closed(session: Session<Data>): void
  /** The session that an adapter has opened for this request (or context). @throws TypeError when none has */
  of(request: object): Session<Data>

  /** The live sessions of a user, the last used first. */
  list(userId: string): Promise<SessionInfo[]>
  /** All live sessions, page by page. */
  all(page?: { cursor?: string; limit?: number }): Promise<SessionPage>
  /** A session by its handle, without a client: to read, to change and `commit()`, in a job or on the command line. */
  find(handle: string): Promise<Session<Data> | undefined>
  /** Ends sessions from outside, now; how many. */
  revoke(target: RevokeTarget): Promise<number>
  /** Ends all sessions of this one's user but this one. @throws StoreUnavailableError also where `onStoreFailure: 'anonymous'` has put an empty one in its place */
  revokeOthers(session: Session<Data>): Promise<number>
  /** Ends everybody's session, also those whose record cannot be read; how many. */
  revokeAll(): Promise<number>
  /**
   * Everything that is kept of a user, as data for JSON: for those who ask what you hold of them. Sessions that have expired and are not yet swept are
   * in it. `revoke({ userId })` removes all of it, and leaves only hashes of ids with a time, for five minutes.
   * @throws UnsupportedError on a store that cannot list by user
   */
  exportUser(userId: string): Promise<UserExport>
  /** Removes expired records where the store does not do it by itself; how many. For cron and serverless. */
  sweep(): Promise<number>
  /** Counts all live sessions, which reads them all. */
  stats(): Promise<SessionStats>
  /**
   * What is weak about this deployment, with the cure, the gravest first: secrets, cookie, lifetimes, and what the store finds about its server
   * (eviction, clocks, several processes). Changes nothing. For a start-up log, a health page, or the command line.
   *
   * @example
   * ```ts
   * import { createSessions } from 'holdfast'
   *
   * const sessions = createSessions({ secret: process.env.SESSION_SECRET })
   * for (const { severity, finding, cure } of await sessions.check()) console.warn(`${severity}: ${finding} ${cure}`)
   * ```
   */
  check(): Promise<Finding[]>
  /** Listens to events; the result stops it. */
  on<Name extends keyof SessionEvents>(event: Name, listener: Listener<Name>): () => void
  /**
   * Ends it all: what is under way is finished first (commits, other operations on sessions, writes that no answer waited for), then what the
   * store opened is closed, unless another manager uses it. No timer, socket or listener is left. Takes as long as the deadlines allow, at most.
   *
   * What begins after the call is refused with a `StoreUnavailableError` (503): opening a session, and saving what a handler has changed that
   * is still at work. So stop taking requests first, and close the sessions once the last one is answered.
   *
   * @example
   * ```ts
   * import { createServer } from 'node:http'
   * import { createSessions } from 'holdfast'
   * import { nodeSessions } from 'holdfast/node'
   *
   * const sessions = createSessions()
   * const server = createServer(nodeSessions(sessions, (_request, response) => response.end('hello'))).listen(3000)
   *
   * process.once('SIGTERM', () => server.close(() => sessions.close()))
   * ```
   */
  close(): Promise<void>
}

/**
 * Makes the sessions of an application. A new session is empty, so every key of `Data` is optional in `session.data`; with a `schema`, which
 * may give defaults, `data` is what that makes of an empty object.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 *
 * interface Visitor { visits?: number }
 *
 * export const sessions = createSessions<Visitor>({
 *   secret: process.env.SESSION_SECRET,
 *   merge: { visits: 'sum' },
 * })
 * ```
 * @throws OptionsError naming the option that is unknown, malformed or contradicts another
 */
export function createSessions<S extends StandardSchema<unknown, object>>(
  options: SessionOptions<SchemaOutput<S>> & { schema: S },
): Sessions<SchemaOutput<S>>
export function createSessions<Data extends object = Record<string, unknown>>(
  options?: SessionOptions<Data>,
): Sessions<Partial<Data>>
export function createSessions<Data extends object>(options: SessionOptions<Data> = {}): Sessions<Data> {
  const settings = resolveOptions(options)
  const { name, secrets, clock, logger } = settings
  const release = claimName(settings.store, name)

  const events = createEvents(logger, name)
  settings.store.reportTo?.((operation, error) =>
    events.emit('error', { operation: `${operation} of the ${settings.store.name} store`, error }),
  )
  const store = guardStore(settings.store, settings.deadlines, {
    outage: (error) => events.emit('outage', { store: settings.store.name, error }),
    recovered: (milliseconds) => events.emit('recovered', { store: settings.store.name, milliseconds }),
  })
  const vault = createVault({
    store: traceStore(store, name),
    name,
    clock,
    seal: settings.seal ? recordSeal(secrets, name) : undefined,
    cookieSeal: recordSeal(secrets, name),
    onInvalid: (handle, error) => events.emit('invalid', { handle, error }),
  })
  const work = createWork(name, events)
  const core: Core = {
    settings,
    vault,
    signer: tokenSigner(secrets, name),
    events,
    watch: createClientWatch(settings, events),
    work,
    extension: undefined,
  }
  const opener = createOpener(core)
  const logins = createLoginRules(core)
  const committer = createCommitter(core, logins)
  const answerer = createAnswerer(core, committer)
  const management = createManagement(core)
  const stopSweeping = management.keepSweeping()

  const slots = createRequestSlots<Opened<Data>>(name)
  const parts = {
    core,
    opener,
    committer,
    logins,
    answerer,
    csrf: csrfSigner(secrets, name),
    stampOf: (value: string) => hash('sha256', `${name} ${value}`, 'base64url'),
  }

  function open(source: RequestSource, openOptions?: { lazy?: boolean }): Promise<Session<Data>> {
    const known = typeof source === 'object' ? slots.get(source) : undefined
    if (known) return openOptions?.lazy ? known.opening : known.opening.then(load)
    const refused = settings.csrf && crossOrigin(source, settings.csrf, settings.cookie.name)
    if (refused) return Promise.reject(refused)
    if (work.isClosing) return Promise.reject(managerClosed(name))
    const begun = work.count(opener.open(source, openOptions))
    if (typeof source !== 'object') return begun.then(hold)
    const opening: Promise<Session<Data>> = begun.then(
      (visit) => (opened.session = hold(visit)),
      (error) => {
        slots.set(source, undefined) // this caller hears of it; the next one may try again
        throw error
      },
    )
    const opened = new Opened<Data>(source, opening)
    slots.set(source, opened)
    return opening
  }

  /** What somebody else may have opened lazily. */
  async function load(session: Session<Data>): Promise<Session<Data>> {
    const visit = visitOf(session)
    if (!visit.loaded) await work.run(() => inTurn(visit, () => opener.load(visit)))
    return session
  }

  function hold(visit: Visit): Session<Data> {
    return new HeldSession<Data>(visit, parts)
  }

  let closing: Promise<void> | undefined
  async function close(): Promise<void> {
    stopSweeping()
    await work.close()
    if (release()) await settings.store.close?.()
  }

  const sessions: Sessions<Data> = {
    name,
    policy: policyOf(settings),
    open,
    commit(session, { status = 200, discard = status >= 500 && !settings.saveOnError, rotate } = {}) {
      return answerer.answer(visitOf(session), discard, rotate)
    },
    closed: (session) => answerer.closed(visitOf(session)),
    of(request) {
      for (const layer of layersOf(request)) {
        const session = slots.get(layer)?.session
        if (session) return session
      }
      throw new TypeError(
        `no session of '${name}' was opened for this request: mount the adapter before this handler`,
      )
    },
    list: (userId) => work.run(() => management.list(userId)),
    all: (page) => work.run(() => management.all(page)),
    async find(handle) {
      const visit = await work.run(() => opener.find(handle))
      return visit && hold(visit)
    },
    revoke: (target) => work.run(() => management.revoke(target)),
    async revokeOthers(session) {
      const visit = loadedVisitOf(session)
      if (visit.outage) throw unavailable(visit) // whose others they are is not known, which is no reason to report them ended
      // In turn, so that a login which nobody has awaited counts.
      return work.run(() =>
        inTurn(visit, () => management.revokeOthers(visit.record.user, ownHandle(visit, core))),
      )
    },
    revokeAll: () => work.run(management.revokeAll),
    exportUser: (userId) => work.run(() => management.exportUser(userId)),
    sweep: () => work.run(management.sweep),
    stats: () => work.run(management.stats),
    check: () =>
      work.run(async () => {
        // No request needs it.
        const { checkDeployment } = await import('./deployment-check.ts')
        return checkDeployment(settings, store)
      }),
    on: events.on,
    close: () => (closing ??= close()),
  }
  keepParts(sessions, parts)
  return sessions
}

/** What stands in a request's slot. It shows nothing of itself: whoever logs a request does not mean the session. */
class Opened<Data extends object> {
  readonly #request: object
  readonly #opening: Promise<Session<Data>>
  #session: Session<Data> | undefined

  constructor(request: object, opening: Promise<Session<Data>>) {
    this.#request = request
    this.#opening = opening
  }

  isOf(request: object): boolean {
    return this.#request === request
  }

  get opening(): Promise<Session<Data>> {
    return this.#opening
  }

  /** Once it is open. */
  get session(): Session<Data> | undefined {
    return this.#session
  }

  set session(session: Session<Data>) {
    this.#session = session
  }
}

const namesOn = new WeakMap<Store, Set<string>>()

/**
 * Two managers of one name on one store would take each other's sessions for their own. The result gives the name back; true if no
 * other manager is left on the store.
 */
function claimName(store: Store, name: string): () => boolean {
  const names = namesOn.get(store) ?? new Set()
  if (names.has(name)) {
    throw new OptionsError(
      `name: there is already a manager called '${name}' on this store; give one of them another name`,
    )
  }
  namesOn.set(store, names.add(name))
  return () => names.delete(name) && names.size === 0
}
