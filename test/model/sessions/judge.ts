import { QUIET_TIME } from '../../../src/admission.ts'
import type { Token } from '../tokens.ts'
import type { Administration, Failure, History, Request, View } from './history.ts'
import { mayWrite } from './program.ts'
import type { Traits } from './stores.ts'

/** A promise was broken. */
export class Violation extends Error {
  readonly request: Request | undefined
  constructor(message: string, request?: Request) {
    super(request ? `${message} (request ${request.number})` : message)
    this.request = request
  }
}

/** How long after a fault it may still show: an operation that comes late, the rest of a breaker. */
const AFTERMATH = 25_000

/** Holds what happened against what is promised. What nobody can know (an answer was lost) is allowed either way. @throws Violation */
export function judge(history: History, traits: Traits): void {
  new Judge(history, traits).judge()
}

interface Ending {
  readonly begunAt: number
  /** Infinity if nobody was told that it is done. */
  readonly doneAt: number
}

class Judge {
  readonly #history: History
  readonly #traits: Traits
  readonly #requests: readonly Request[]
  readonly #writers = new Map<string, Request>()
  readonly #makers = new Map<string, Request>()
  readonly #evictions = new Map<string, readonly Ending[]>()
  readonly #takenBack = new Map<Request, readonly string[]>()

  constructor(history: History, traits: Traits) {
    this.#history = history
    this.#traits = traits
    this.#requests = history.requests
    for (const request of history.requests)
      if (mayWrite(request.deed)) this.#writers.set(request.item, request)
    this.#findTakenBack()
  }

  /** What a login that failed had made and taken back: no handler ever heard of it. */
  #findTakenBack(): void {
    const named = new Set(this.#requests.flatMap(({ handles, saved }) => [...handles, saved?.session]))
    const unnamed = [...this.#history.created].filter(([session]) => !named.has(session))
    for (const login of this.#requests) {
      if (login.deed.kind !== 'login' || login.failures.length === 0) continue
      const made = unnamed.filter(([, at]) => at >= login.actedAt && at <= login.overAt)
      this.#takenBack.set(
        login,
        made.map(([session]) => session),
      )
    }
  }

  judge(): void {
    const { reused, errors, administration, calmAt } = this.#history
    for (const session of reused) {
      if (!this.#didAnswersCross(session))
        throw new Violation(`someone honest was taken for a thief: session ${session}`)
    }
    for (const { at, error } of errors) {
      if (!this.#wasTroubled(at, at))
        throw new Violation(`failed in the background, in calm weather: ${error}`)
    }
    for (const request of [...this.#requests].sort((one, other) => one.answeredAt - other.answeredAt)) {
      for (const failure of request.failures) this.#checkFailure(request, failure)
      this.#checkCookie(request)
      if (request.view) this.#checkView(request, request.view)
      if (request.saved && this.#traits.compares) this.#checkSaved(request)
      if (request.sentAt >= calmAt && request.status !== 200 && !this.#mayFailInCalm(request)) {
        throw new Violation(`answered with ${request.status} although all is well`, request)
      }
    }
    if (!this.#traits.compares) return
    this.#checkNobody()
    for (const admin of administration) if (admin.kind === 'list') this.#checkList(admin)
  }

  #mayFailInCalm(request: Request): boolean {
    const { token, headersAt } = request
    if (isRefused(request)) return true // which has been looked at
    if (token === undefined) return false
    return (
      this.#didAnswersCross(token.session) ||
      this.#evictionsOf(token.session).some(({ begunAt }) => begunAt <= headersAt)
    )
  }

  /** An older token arrived at a browser after a newer one, and the browser went on with it. No server can tell that from a thief. */
  #didAnswersCross(session: string): boolean {
    return this.#requests.some(({ browser, given, arrivedAt }) => {
      if (!isTokenOf(given, session) || arrivedAt === Number.POSITIVE_INFINITY) return false
      return this.#requests.some(
        (newer) =>
          newer.browser === browser &&
          isTokenOf(newer.given, session) &&
          newer.given.generation > given.generation &&
          newer.arrivedAt < arrivedAt,
      )
    })
  }

  #checkView(request: Request, view: View): void {
    this.#checkThatWhole(request, view)
    this.#checkOwners(request, view)
    this.#checkPresence(request, view)
    if (view.session === undefined) return
    this.#checkThatAlive(request, view.session)
    if (!this.#traits.compares) return
    this.#checkThatNothingIsLost(request, view, view.session)
    this.#checkLast(request, view, view.session)
    this.#checkFlashes(request, view, view.session)
  }

  /** What one request wrote is there as a whole, once, or not at all. */
  #checkThatWhole(request: Request, { keys, list, count, last }: View): void {
    const isWhole =
      new Set(list).size === list.length &&
      keys.length === list.length &&
      keys.every((key) => list.includes(key)) &&
      count === list.length &&
      (last === undefined ? list.length === 0 : list.includes(last))
    if (!isWhole) {
      throw new Violation(
        `read a state that nobody committed: keys ${keys}, list ${list}, count ${count}, last ${last}`,
        request,
      )
    }
  }

  /** One sees what came from one's own browser, as the user who wrote it, and nothing that was refused. */
  #checkOwners(request: Request, view: View): void {
    for (const item of [...view.list, ...view.flashes]) {
      const writer = this.#writers.get(item)!
      if (writer.browser !== request.browser) throw new Violation(`saw ${item} of another browser`, request)
      if (isDenied(writer) && !this.#mayHaveJoined(writer))
        throw new Violation(`saw ${item}, which was refused`, request)
      const owner = ownerOf(writer)
      if (owner !== undefined && owner !== view.user)
        throw new Violation(`${view.user ?? 'nobody known'} saw ${item} of ${owner}`, request)
    }
  }

  #leftAllAsItWas(login: Request): boolean {
    return isRefused(login) && !this.#mayHaveJoined(login)
  }

  /** Of two clicks, one joined the other's login, and one was refused or both were: the login stands, with what both have written. */
  #mayHaveJoined(login: Request): boolean {
    return (
      isRefused(login) &&
      this.#requests.some(
        (other) =>
          other !== login &&
          other.deed.kind === 'login' &&
          other.user === login.user &&
          other.token !== undefined &&
          other.token.session === login.token?.session &&
          other.actedAt <= login.overAt,
      )
    )
  }

  /** Whose token is right is let in, as who he is. */
  #checkPresence(request: Request, view: View): void {
    const { token, openedAt } = request
    if (token === undefined) {
      if (view.session !== undefined) throw new Violation('found a session without any cookie', request)
      return
    }
    if (view.session === undefined) {
      if (!this.#isExplained(request, token, openedAt))
        throw new Violation(`session ${token.session} was gone, and nobody had ended it`, request)
    } else {
      if (view.session !== token.session) throw new Violation('found a session that is not its own', request)
      this.#checkUser(request, view, view.session)
    }
    this.#checkBelief(request, view)
  }

  #checkUser(request: Request, view: View, session: string): void {
    const logins = this.#loginsTo(session).filter(({ actedAt }) => actedAt <= request.openedAt)
    const known = logins.filter(
      ({ saved }) => saved && saved.at < request.headersAt - this.#staleness(request),
    )
    const users = new Set(logins.map(({ user }) => user))
    if (known.length > 0 && users.size === 1 && view.user !== known[0]!.user) {
      throw new Violation(
        `${known[0]!.user} is logged in, and was taken for ${view.user ?? 'nobody'}`,
        request,
      )
    }
    if (view.user !== undefined && !users.has(view.user))
      throw new Violation(`was taken for ${view.user}`, request)
  }

  /** Who logged in while nothing else was going on, and did nothing since that could end it, is logged in. */
  #checkBelief(request: Request, view: View): void {
    const own = this.#requests.filter(({ browser }) => browser === request.browser)
    const before = own.filter(({ sentAt, number }) => sentAt <= request.sentAt && number < request.number)
    const login = before.findLast(({ deed }) => deed.kind === 'login' || deed.kind === 'logout')
    if (login?.deed.kind !== 'login' || login.status !== 200 || login.arrivedAt >= request.sentAt) return
    const isAlone = before.every(
      (other) => other === login || other.sentAt > login.arrivedAt || settledAt(other) < login.sentAt,
    )
    const { arrivedAt } = login
    if (this.#history.forgotten.some((at) => at >= arrivedAt && at <= request.sentAt)) return
    const session = login.saved?.session
    const isChanging = own.some(
      ({ deed, number, sentAt }) =>
        ['login', 'elevate', 'logout'].includes(deed.kind) &&
        number > login.number &&
        sentAt <= request.openedAt,
    )
    if (!isAlone || isChanging || session === undefined) return
    if (this.#mayBeEnded(session, request.openedAt) || this.#mayBeExpired(session, request.openedAt)) return
    if (view.user !== login.user)
      throw new Violation(
        `${login.user} logged in, did nothing wrong, and is ${view.user ?? 'nobody'}`,
        request,
      )
  }

  #checkThatAlive(request: Request, session: string): void {
    const { headersAt, token } = request
    if (this.#deathOf(token!) < headersAt - this.#staleness(request))
      throw new Violation('a token from before a login or step-up was let in', request)
    const end = this.#endOf(session)
    if (end < headersAt - this.#staleness(request))
      throw new Violation(`session ${session} came back`, request)
    const { policy } = this.#history
    const earlier = this.#requests.filter(
      (other) => other.headersAt < headersAt && isAbout(other, session) && other !== request,
    )
    const lastUse = Math.max(...earlier.map(({ overAt }) => overAt))
    const lastLogin = Math.max(
      ...earlier
        .filter(({ deed, handles }) => deed.kind === 'login' || handles.includes(session))
        .map(({ overAt }) => overAt),
    )
    const longest = (limit: 'idle' | 'absolute') =>
      Math.max(Number(policy[limit]), Number(policy.anonymous[limit]))
    if (headersAt >= lastUse + longest('idle') || headersAt >= lastLogin + longest('absolute'))
      throw new Violation(`session ${session} has expired and came back`, request)
  }

  /** What was acknowledged is there, and what was seen. */
  #checkThatNothingIsLost(request: Request, view: View, session: string): void {
    const since = request.headersAt - this.#staleness(request)
    const known = new Set<string>()
    for (const { item, saved, deed } of this.#writers.values()) {
      if (deed.kind !== 'flash' && saved?.session === session && saved.at < since) known.add(item)
    }
    for (const other of this.#requests) {
      if (other.view?.session === session && other.openedAt < since)
        for (const item of other.view.list) known.add(item)
    }
    for (const item of known) {
      if (view.list.includes(item) || this.#mayHaveBeenDropped(item, request)) continue
      throw new Violation(`${item} was acknowledged or seen, and is lost`, request)
    }
  }

  /** When another user logs in, what the former left is not for him. */
  #mayHaveBeenDropped(item: string, { browser, openedAt }: Request): boolean {
    const owner = ownerOf(this.#writers.get(item)!)
    const users = this.#requests
      .filter((one) => one.browser === browser && one.deed.kind === 'login' && one.actedAt <= openedAt)
      .map(({ user }) => user)
    return new Set(owner === undefined ? users : [owner, ...users]).size > 1
  }

  /** Of two changes of one value, the later wins. */
  #checkLast(request: Request, { last }: View, session: string): void {
    const writer = last === undefined ? undefined : this.#writers.get(last)!
    if (!writer?.saved || writer.failures.length > 0) return
    const since = request.headersAt - this.#staleness(request)
    for (const { item, saved, actedAt } of this.#writers.values()) {
      if (saved?.session !== session || saved.at >= since || actedAt <= writer.saved.at) continue
      if (this.#writers.get(item)!.deed.kind === 'flash') continue
      throw new Violation(`${last} stands where ${item} was written later`, request)
    }
  }

  #checkFlashes(request: Request, { flashes }: View, session: string): void {
    const since = request.headersAt - this.#staleness(request)
    const takers = this.#requests.filter(
      ({ deed, view }) => deed.kind === 'takeFlashes' && view?.session === session,
    )
    for (const { item, saved, deed } of this.#writers.values()) {
      if (deed.kind !== 'flash') continue
      const taking = takers.filter(({ view }) => view!.flashes.includes(item))
      const isKnown = saved?.session === session && saved.at < since
      const mayBeTaken = taking.some(({ actedAt }) => actedAt <= request.openedAt)
      if (isKnown && !mayBeTaken && !flashes.includes(item) && !this.#mayHaveBeenDropped(item, request))
        throw new Violation(`message ${item} is lost`, request)
      if (flashes.includes(item) && taking.some(({ doneAt }) => doneAt < since))
        throw new Violation(`message ${item} was taken and is still there`, request)
    }
  }

  #checkSaved(request: Request): void {
    const { saved, actedAt, token, deed } = request
    if (this.#endOf(saved!.session) < actedAt)
      throw new Violation('was told that it is saved, in a session that had been ended', request)
    const isByDeadToken = token?.session === saved!.session && this.#deathOf(token) < actedAt
    if (isByDeadToken && deed.kind !== 'login') throw new Violation('a dead token has written', request)
  }

  /** A cookie is set by who made a session or a token, and by nobody while the store is down; it is cleared by a logout. */
  #checkCookie(request: Request): void {
    const { given, deed, token, headersAt, doneAt, answeredAt } = request
    if (given === undefined) return
    if (given === 'clear') {
      if (deed.kind !== 'logout') throw new Violation('a cookie was cleared by what was no logout', request)
      return
    }
    if (doneAt <= answeredAt && deed.kind === 'logout') throw new Violation('a logout set a cookie', request)
    if (!this.#traits.compares) return
    const isDown = this.#spells().some(
      ({ weather, from, until }) => weather === 'down' && from <= headersAt && answeredAt < until,
    )
    if (isDown) throw new Violation('a cookie was set while the store was down', request)
    if (token && deed.kind !== 'login' && this.#isQuiet(token, headersAt, answeredAt))
      throw new Violation('a cookie was set for a token in its quiet time', request)
    const createdAt = this.#history.created.get(given.session)
    if (createdAt === undefined || createdAt > answeredAt)
      throw new Violation('a cookie was set for a session that is not in the store', request)
    if (given.session !== token?.session && !mayWrite(deed))
      throw new Violation('a session was made by who wrote nothing', request)
    const name = `${given.session}.${given.generation}`
    const maker = this.#makers.get(name)
    this.#makers.set(name, maker ?? request)
    const isGivenAgain = answeredAt >= this.#firstMadeAt(given) + this.#history.policy.grace
    if (maker && deed.kind !== 'login' && !isGivenAgain)
      throw new Violation(`a token was sent by who did not make it (request ${maker.number} did)`, request)
  }

  /** Ended or retired a moment ago, and not before that. Of a session that had expired then, there may be nothing to tell it by. */
  #isQuiet(token: Token, from: number, until: number): boolean {
    const diedAt = this.#deathOf(token)
    if (diedAt >= from || this.#mayBeExpired(token.session, diedAt)) return false
    const possibly = [
      ...this.#endings(token.session, false).map(({ begunAt }) => begunAt),
      ...this.#retirements(token).map(({ actedAt }) => actedAt),
    ]
    return until < Math.min(...possibly) + QUIET_TIME
  }

  /** When the token may have been made, by somebody who perhaps never heard of it. */
  #firstMadeAt({ session, generation }: Token): number {
    const makers = this.#requests.filter(
      ({ token, given, status, headersAt, overAt }) =>
        token?.session === session &&
        token.generation === generation - 1 &&
        // Where only a rotation was due and got no answer, the request is answered without it.
        (status === undefined ||
          this.#wasTroubled(headersAt, overAt) ||
          (given !== undefined && given !== 'clear' && given.generation === generation)),
    )
    return Math.min(...makers.map(({ actedAt }) => actedAt))
  }

  #checkFailure(request: Request, { name, status, error }: Failure): void {
    const { headersAt, overAt, token, view, deed } = request
    const fail = () => new Violation(`${name} without a reason: ${(error as Error).message}`, request)
    switch (name) {
      case 'StoreUnavailableError':
        if (!this.#wasTroubled(headersAt, overAt)) throw fail()
        return
      case 'ConflictError':
        if (this.#traits.compares && !this.#wasTroubled(headersAt, overAt)) throw fail()
        return
      case 'SessionEndedError':
        if (token === undefined || !this.#isExplained(request, token, overAt)) throw fail()
        return
      case 'SessionLimitError':
        if (!this.#mayBeFull(request)) throw fail()
        return
      case 'AuthenticationRequiredError':
        if (deed.kind !== 'elevate' || view?.user !== undefined) throw fail()
        return
      default:
        throw new Violation(`${status} ${name}: ${(error as Error).message}`, request)
    }
  }

  /** Whether there may have been no room for this login. */
  #mayBeFull({ user, headersAt, overAt, view, handles }: Request): boolean {
    const { limit } = this.#history
    if (limit?.onLimit !== 'reject') return false
    const others = [...this.#sessionsOf(user)].filter(
      ([session, logins]) =>
        session !== view?.session &&
        !handles.includes(session) &&
        logins.some(({ actedAt }) => actedAt <= overAt) &&
        this.#endOf(session) >= headersAt,
    )
    return others.length >= limit.limit
  }

  #checkNobody(): void {
    const made = new Set(
      this.#requests
        .filter(({ deed }) => mayWrite(deed) && !(deed.kind === 'write' && deed.fails && deed.commits === 0))
        .flatMap((request) => [
          ...request.handles,
          request.saved?.session,
          ...(this.#takenBack.get(request) ?? []),
        ]),
    )
    for (const session of this.#history.created.keys()) {
      if (!made.has(session)) throw new Violation(`session ${session} was made for nobody`)
    }
  }

  #checkList({ user, listed, begunAt, doneAt, overAt }: Administration): void {
    if (doneAt === Number.POSITIVE_INFINITY) return
    for (const session of listed) {
      if (this.#endOf(session) < begunAt) throw new Violation(`${session} was listed after its end`)
      if (!this.#mayBeOf(session, user, begunAt)) throw new Violation(`${session} was listed as ${user}'s`)
    }
    const counted = listed.filter((session) => this.#isOf(session, user, begunAt, overAt))
    const { limit } = this.#history
    if (limit && counted.length > limit.limit)
      throw new Violation(`${user} has ${counted.length} sessions, and may have ${limit.limit}: ${counted}`)
    for (const session of this.#sessions()) {
      const isLive = !this.#mayBeEnded(session, overAt) && !this.#mayBeExpired(session, overAt)
      if (isLive && this.#isOf(session, user, begunAt, overAt) && !listed.includes(session))
        throw new Violation(`${session} of ${user} was not listed`)
    }
  }

  #sessions(): Set<string> {
    return new Set(this.#requests.flatMap(({ saved }) => (saved ? [saved.session] : [])))
  }

  /** All that may ever have been this user's, with the logins that made them so. */
  #sessionsOf(user: string): Map<string, Request[]> {
    const sessions = new Map<string, Request[]>()
    for (const login of this.#requests) {
      if (login.deed.kind !== 'login' || login.user !== user) continue
      for (const session of this.#sessionsOfLogin(login))
        sessions.set(session, [...(sessions.get(session) ?? []), login])
    }
    return sessions
  }

  /** What a login has made its user's, or may have. */
  #sessionsOfLogin(login: Request): Set<string> {
    const { handles, saved, token } = login
    const sessions = new Set([...handles, ...(this.#takenBack.get(login) ?? [])])
    const known = saved?.session ?? token?.session
    if (known !== undefined) sessions.add(known)
    return sessions
  }

  #loginsTo(session: string): Request[] {
    return this.#requests.filter(
      (request) => request.deed.kind === 'login' && this.#sessionsOfLogin(request).has(session),
    )
  }

  /** Whether it may have been this user's session then, and certainly no longer. */
  #mayBeOf(session: string, user: string, at: number): boolean {
    const logins = this.#loginsTo(session)
    return logins.some((login) => {
      if (login.user !== user || (this.#leftAllAsItWas(login) && login.overAt < at)) return false
      return !logins.some(
        (later) =>
          later.user !== user && later.saved && later.saved.at < at && later.headersAt > effectEnd(login),
      )
    })
  }

  #isOf(session: string, user: string, from: number, until: number): boolean {
    const logins = this.#loginsTo(session)
    const isKnown = logins.some((login) => login.user === user && login.saved && login.saved.at < from)
    // Refused before that, it has changed nothing.
    return (
      isKnown &&
      logins.every(
        (login) =>
          login.user === user ||
          login.actedAt > until ||
          (this.#leftAllAsItWas(login) && login.overAt < from),
      )
    )
  }

  #endings(session: string, certainly: boolean): Ending[] {
    const endings: Ending[] = []
    for (const request of this.#requests) {
      const { deed, view, token, headersAt, actedAt, doneAt } = request
      if (deed.kind === 'logout' && (view?.session ?? token?.session) === session) {
        const isOvertaken = view?.session !== session || this.#isOvertakenByLogin(request, session)
        if (!certainly || !isOvertaken) endings.push({ begunAt: headersAt, doneAt })
      }
      if (deed.kind === 'revokeOthers' && view?.user !== undefined && view.session !== session) {
        if (
          certainly
            ? this.#isOf(session, view.user, actedAt, doneAt)
            : this.#mayBeOf(session, view.user, headersAt)
        )
          endings.push({ begunAt: actedAt, doneAt })
      }
      const { saved, user } = request
      if (request.revokesOthers && saved?.session !== session) {
        const doneAt = saved?.at ?? Number.POSITIVE_INFINITY
        const isMeant = certainly
          ? this.#isOf(session, user, actedAt, doneAt)
          : this.#mayBeOf(session, user, headersAt)
        if (isMeant) endings.push({ begunAt: actedAt, doneAt })
      }
    }
    if (!certainly) endings.push(...this.#evictionsOf(session))
    for (const admin of this.#history.administration) {
      const { kind, user, begunAt, doneAt } = admin
      const isMeant =
        kind === 'revoke'
          ? admin.session === session
          : kind === 'revokeUser' &&
            (certainly ? this.#isOf(session, user, begunAt, doneAt) : this.#mayBeOf(session, user, begunAt))
      if (isMeant) endings.push({ begunAt, doneAt })
    }
    return endings
  }

  /** When a login may have ended it as one too many. */
  #evictionsOf(session: string): readonly Ending[] {
    if (this.#history.limit?.onLimit !== 'evict-oldest') return []
    let evictions = this.#evictions.get(session)
    if (!evictions) {
      const users = new Set(this.#loginsTo(session).map(({ user }) => user))
      evictions = [...users].flatMap((user) => this.#evictionsAmong(session, this.#sessionsOf(user)))
      this.#evictions.set(session, evictions)
    }
    return evictions
  }

  /** By a login, where as many others as the limit allows may be live and newer. */
  #evictionsAmong(session: string, sessions: Map<string, Request[]>): Ending[] {
    const { limit } = this.#history.limit!
    const own = sessions.get(session)!
    const others = [...sessions].filter(([other]) => other !== session)
    return [...new Set([...sessions.values()].flat())].flatMap((login) => {
      const since = loggedInSince(own, login.actedAt)
      const newer = others.filter(
        ([other, logins]) =>
          this.#endOf(other) >= login.actedAt &&
          logins.some((one) => one.actedAt <= effectEnd(login) && effectEnd(one) >= since),
      )
      return newer.length >= limit ? [{ begunAt: login.actedAt, doneAt: Number.POSITIVE_INFINITY }] : []
    })
  }

  /** A logout ends the session that the token names, not what another login has made of it meanwhile. */
  #isOvertakenByLogin(logout: Request, session: string): boolean {
    return this.#requests.some(
      (other) =>
        other.deed.kind === 'login' &&
        isAbout(other, session) &&
        other.headersAt <= logout.doneAt &&
        effectEnd(other) >= logout.headersAt,
    )
  }

  /** From when on the token is dead for certain: by the end of its session, or by a login or step-up. */
  #deathOf(token: Token): number {
    const { session, generation } = token
    const isRetiring = (request: Request) => {
      const { deed, given, status } = request
      if (deed.kind !== 'login' && deed.kind !== 'elevate') return false
      return (
        status === 200 && isTokenOf(given, session) && given.generation > generation && !this.#joined(request)
      )
    }
    const retirements = this.#traits.compares ? this.#requests.filter(isRetiring) : []
    return Math.min(this.#endOf(session), ...retirements.map(({ answeredAt }) => answeredAt))
  }

  /** It was given a token that had been made already: the second click of a login, which retires nothing. */
  #joined(request: Request): boolean {
    const { given, answeredAt } = request
    return this.#requests.some(
      (other) =>
        other !== request &&
        other.answeredAt <= answeredAt &&
        given !== 'clear' &&
        isTokenOf(other.given, given!.session) &&
        other.given.generation === given!.generation,
    )
  }

  /** From when on the session is dead for certain. */
  #endOf(session: string): number {
    return Math.min(...this.#endings(session, true).map(({ doneAt }) => doneAt))
  }

  #mayBeEnded(session: string, at: number): boolean {
    return this.#endings(session, false).some(({ begunAt }) => begunAt <= at)
  }

  #mayBeExpired(session: string, at: number): boolean {
    const { policy } = this.#history
    const shortest = (limit: 'idle' | 'absolute') =>
      Math.min(Number(policy[limit]), Number(policy.anonymous[limit]))
    const made = this.#requests.filter(({ handles }) => handles.includes(session))
    const madeAt = Math.min(...made.map(({ headersAt }) => headersAt))
    const uses = this.#requests.filter(({ saved, actedAt }) => saved?.session === session && actedAt < at)
    // What the client carries may be old: an answer was lost, or came late.
    const lastUse = this.#traits.compares ? Math.max(...uses.map(({ actedAt }) => actedAt)) : madeAt
    return at >= lastUse + shortest('idle') || at >= madeAt + shortest('absolute')
  }

  #isExplained(request: Request, token: Token, at: number): boolean {
    const { session } = token
    if (this.#mayBeEnded(session, at) || this.#mayBeExpired(session, at)) return true
    // A login that is refused leaves the old token as it was.
    const since = request.headersAt - this.#staleness(request)
    return this.#retirements(token).some(
      (other) =>
        other !== request && other.actedAt <= at && !(this.#leftAllAsItWas(other) && other.overAt < since),
    )
  }

  /** The logins and step-ups that may have retired it. */
  #retirements(token: Token): Request[] {
    return this.#requests.filter(
      (one) =>
        (one.deed.kind === 'login' || one.deed.kind === 'elevate') &&
        isAbout(one, token.session) &&
        !isHeldBy(token, one),
    )
  }

  /** How old what was loaded may have been. */
  #staleness({ headersAt, openedAt }: Request): number {
    const { staleAfterTrouble } = this.#traits
    if (staleAfterTrouble === 0) return 0
    const from = headersAt - staleAfterTrouble - AFTERMATH
    const isTroubled =
      this.#history.kills.some((at) => at >= from && at <= openedAt) ||
      this.#spells().some(
        ({ weather, from: start, until }) => weather !== 'calm' && start <= openedAt && until >= from,
      )
    return isTroubled ? staleAfterTrouble + AFTERMATH : 0
  }

  #wasTroubled(from: number, until: number): boolean {
    return this.#spells().some(
      (spell) => spell.weather !== 'calm' && spell.from <= until && spell.until >= from - AFTERMATH,
    )
  }

  #spells() {
    const { weather } = this.#history
    return weather.map((one, i) => ({
      weather: one.weather,
      from: one.at,
      until: weather[i + 1]?.at ?? Number.POSITIVE_INFINITY,
    }))
  }
}

function isAbout({ token, view, saved, handles }: Request, session: string): boolean {
  return (
    token?.session === session ||
    view?.session === session ||
    saved?.session === session ||
    handles.includes(session)
  )
}

/** Whether the token is that of this login or step-up, or a later one. */
function isHeldBy(token: Token, { given, status }: Request): boolean {
  return (
    status === 200 &&
    given !== undefined &&
    given !== 'clear' &&
    given.session === token.session &&
    given.generation <= token.generation
  )
}

/** Of the logins that had been acknowledged by then, no earlier than that. One that joins another keeps its time. */
function loggedInSince(logins: readonly Request[], at: number): number {
  const earliest = (some: readonly Request[]) => Math.min(...some.map(({ actedAt }) => actedAt))
  const acknowledged = logins.filter(({ saved }) => saved && saved.at <= at)
  if (acknowledged.length === 0) return earliest(logins)
  const last = Math.max(...acknowledged.map(({ actedAt }) => actedAt))
  return earliest(logins.filter((login) => effectEnd(login) >= last - QUIET_TIME))
}

/** There was no room for its login, so it has changed nothing. */
function isRefused({ failures }: Request): boolean {
  return failures.length > 0 && failures.every(({ name }) => name === 'SessionLimitError')
}

/** What it did is done by then, if it is done at all. */
function effectEnd({ saved, overAt }: Request): number {
  return saved ? saved.at : overAt + AFTERMATH
}

/** Until then, the browser may hear of it. */
function isTokenOf(given: Request['given'], session: string): given is Token {
  return given !== undefined && given !== 'clear' && given.session === session
}

function settledAt({ overAt, arrivedAt }: Request): number {
  return arrivedAt === Number.POSITIVE_INFINITY ? overAt + 60_000 : arrivedAt
}

/** Whose it is. Undefined: of a visitor, and of whoever logs in next in that session. */
function ownerOf({ deed, user, view }: Request): string | undefined {
  return deed.kind === 'login' ? user : view?.user
}

/** It was answered, and the answer says that nothing was written. */
function isDenied({ saved, status, failures }: Request): boolean {
  return saved === undefined && status !== undefined && !failures.some(({ maybeApplied }) => maybeApplied)
}
