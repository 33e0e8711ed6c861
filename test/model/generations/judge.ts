import { ANSWER_TIME, QUIET_TIME } from '../../../src/admission.ts'
import type { History, JarWrite, Request } from './history.ts'

/** What the design names as the ways in which somebody honest may find his session gone, and what nobody can help. */
export type Outcome =
  | 'login overlaps a rotation whose answer is on the wire'
  | 'login overlaps another login'
  | 'lost answer to a login'
  | 'lost answer to a step-up'
  | 'browser killed before it wrote its cookie'
  | 'parallel requests without any cookie'
  | 'parallel requests with a dead cookie'
  | 'late answer to a logout (asked for)'
  | 'expired'
  | 'theft found'
  | 'store fell behind'
  | 'store fell behind a change of user: the former one is back'

/** While it overlaps a login, a step-up or a logout, a request finds nothing; the next one does. Nobody is logged out by that. */
type Explanation = Outcome | 'overlap'

export interface Verdict {
  /** How often a user found himself logged out, or a visitor's session was replaced, by name. */
  readonly loggedOut: Partial<Record<Outcome, number>>
  readonly replaced: Partial<Record<Outcome, number>>
  readonly figures: Figures
}

export interface Figures {
  /** Logins of the honest user. */
  logins: number
  /** Thieves who used a session that somebody was logged in to, those found, and those found only after a lost token was given again. */
  thefts: number
  theftsFound: number
  theftsProlonged: number
  /** Sessions that ended by reuse although nobody had stolen their token; each has a name as well. */
  falseAlarms: number
  /** Honest requests that were answered with 401 or 409. */
  refused: number
}

export class Violation extends Error {
  readonly request: Request | undefined
  constructor(message: string, request?: Request) {
    super(request ? `${message} (request ${request.number})` : message)
    this.request = request
  }
}

/** Goes through what happened and finds a name in the design for each thing that somebody honest could mind. @throws Violation */
export function judge(history: History): Verdict {
  return new Judge(history).verdict()
}

const MINUTE = 60_000

interface Retirement {
  readonly below: number
  readonly by: Request
}

class Judge {
  readonly #history: History
  readonly #slack: number
  readonly #answered: readonly Request[]
  readonly #retirements = new Map<string, Retirement[]>()
  /** The request whose answer carried a token first. */
  readonly #makers = new Map<string, Request>()
  readonly #replacements: { at: number; why: Outcome }[] = []
  readonly #verdict: Verdict = {
    loggedOut: {},
    replaced: {},
    figures: { logins: 0, thefts: 0, theftsFound: 0, theftsProlonged: 0, falseAlarms: 0, refused: 0 },
  }

  constructor(history: History) {
    this.#history = history
    this.#slack = history.slack
    this.#answered = history.requests
      .filter(({ answer }) => answer !== undefined)
      .sort((one, other) => one.turn - other.turn)
  }

  verdict(): Verdict {
    if (this.#history.stuck) throw new Violation(`stuck: ${this.#history.stuck}`)
    this.#learnWhoMadeWhat()
    for (const request of this.#answered) {
      this.#checkCookie(request)
      this.#checkRefusal(request)
      this.#checkWrite(request)
    }
    this.#checkData()
    this.#checkEnds()
    this.#checkReplacements()
    for (const request of this.#history.requests) this.#checkContinuity(request)
    this.#checkBeliefs()
    this.#checkThief()
    return this.#verdict
  }

  #learnWhoMadeWhat(): void {
    for (const request of this.#answered) {
      const { given, deed, token } = request
      if (!given) continue
      const name = `${given.session}.${given.generation}`
      if (this.#makers.has(name)) continue
      this.#makers.set(name, request)
      const retires = deed.kind === 'login' || deed.kind === 'elevate'
      if (retires && token?.session === given.session) {
        const list = this.#retirements.get(given.session) ?? []
        list.push({ below: given.generation, by: request })
        this.#retirements.set(given.session, list)
      }
    }
  }

  /** The login or step-up that may have made this request's token dead at that moment, the latest first. */
  #retirement({ token }: Request, at: number): Retirement | undefined {
    return this.#retirements
      .get(token?.session ?? '')
      ?.findLast(({ below, by }) => below > token!.generation && by.actedAt <= at)
  }

  #isLost(session: string | undefined): boolean {
    return this.#history.losses.some((loss) => loss.session === session)
  }

  /** Since when the token has been dead for certain: by the end of its session, or by a login or step-up. */
  #deadSince(request: Request): number {
    const end = this.#history.ends.get(request.token?.session ?? '')
    const retired = this.#retirements
      .get(request.token?.session ?? '')
      ?.find(({ below }) => below > request.token!.generation)
    return Math.min(
      end && end.why !== 'expired' ? end.at : Number.POSITIVE_INFINITY,
      retired ? retired.by.answeredAt : Number.POSITIVE_INFINITY,
    )
  }

  /** A cookie is set by who made a session or a token, joined a login or gives a lost one again; it is cleared by a logout. */
  #checkCookie(request: Request): void {
    const { answer, given, token, deed, view } = request
    if (answer!.cookie === undefined) return
    const fail = (what: string) => new Violation(`${what} set a cookie`, request)
    if (answer!.cookie === 'clear') {
      if (deed.kind !== 'logout') throw new Violation('a cookie was cleared by what was no logout', request)
      return
    }
    if (deed.kind === 'logout') throw fail('a logout')
    const isMaker = this.#makers.get(`${given!.session}.${given!.generation}`) === request
    const isNewSession = given!.session !== token?.session
    if (isNewSession) {
      if (!isMaker) throw fail('a request that had nothing to do with the session')
      if (!('item' in deed)) throw fail('a request that wrote nothing')
      if (deed.kind !== 'login' && token && this.#isQuiet(request))
        throw fail('a request with a token in its quiet time')
      if (deed.kind === 'login' && token) this.#checkThatItCouldNotJoin(request)
      return
    }
    if (this.#isLost(token.session)) return
    if (deed.kind !== 'login' && this.#isQuiet(request))
      throw fail('a request with a token in its quiet time')
    if (isMaker) {
      const isAsked = deed.kind === 'rotate' || deed.kind === 'login' || deed.kind === 'elevate'
      if (!isAsked && view?.user === undefined) throw fail('a request that made no token')
      if (given!.generation !== token.generation + 1 && deed.kind !== 'login' && deed.kind !== 'elevate') {
        throw fail('a rotation of an old token')
      }
      return
    }
    if (deed.kind === 'login') return
    this.#checkThatAnswerWasLost(request)
  }

  #isQuiet(request: Request): boolean {
    if (this.#isLost(request.token?.session)) return false
    const since = this.#deadSince(request)
    return (
      since < request.headersAt - this.#history.staleFor &&
      request.openedAt < since + QUIET_TIME - this.#slack
    )
  }

  #checkThatItCouldNotJoin(request: Request): void {
    const { token, deed } = request
    if (deed.kind !== 'login' || this.#history.ends.has(token!.session) || this.#isLost(token!.session))
      return
    const retirement = this.#retirement(request, request.answeredAt)
    const by = retirement?.by.deed
    if (by?.kind !== 'login' || by.user !== deed.user) return
    if (request.answeredAt < retirement!.by.actedAt + QUIET_TIME - this.#slack) {
      throw new Violation('a login did not join the session that the same login had just made', request)
    }
  }

  #checkThatAnswerWasLost(request: Request): void {
    const { token, given, headersAt, answeredAt } = request
    const maker = this.#makers.get(`${given!.session}.${given!.generation}`)!
    const isNext = given!.generation === token!.generation + 1
    const isLate = request.openedAt >= maker.actedAt + this.#history.policy.grace - this.#slack
    const isQuick = answeredAt <= headersAt + ANSWER_TIME + this.#slack
    const wasUsed = this.#answered.some(
      (other) =>
        other.token?.session === given!.session &&
        other.token.generation === given!.generation &&
        other.answeredAt < headersAt - this.#slack - this.#history.staleFor &&
        !this.#isCrossed(other),
    )
    if (!isNext || !isLate || !isQuick || wasUsed) {
      throw new Violation('a token was given again although its answer was not lost', request)
    }
  }

  /** Whether another request wrote meanwhile, so that the first use of a token may have gone unnoted. */
  #isCrossed({ headersAt, answeredAt, token }: Request): boolean {
    return this.#answered.some(
      (other) =>
        other.answer!.session === token!.session &&
        other.answeredAt >= headersAt - this.#slack &&
        other.actedAt <= answeredAt + this.#slack &&
        (isAcknowledged(other) || other.given !== undefined),
    )
  }

  /** 409 is for who overlaps a login, a step-up or the end of the session, and for nobody else. */
  #checkRefusal(request: Request): void {
    const { answer, token, headersAt, answeredAt, deed } = request
    if (answer!.status === 500 && deed.kind === 'write' && deed.fails) return
    if (answer!.status === 200) return
    if (request.from === 'owner') this.#verdict.figures.refused++
    if (answer!.status === 401 && deed.kind === 'elevate' && request.view?.user === undefined) return
    if (answer!.status !== 409) throw new Violation(`answered with ${answer!.status}`, request)
    if (deed.kind === 'view' || deed.kind === 'rotate')
      throw new Violation('refused although it changed nothing', request)
    if (token && this.#isLost(token.session)) return
    const retirement = token && this.#retirement(request, answeredAt)
    const end = token && this.#history.ends.get(token.session)
    const since = Math.max(
      retirement ? retirement.by.answeredAt : 0,
      end && end.at <= answeredAt + this.#history.lag ? end.at : 0,
    )
    if (since < headersAt - QUIET_TIME - this.#slack && !this.#isTooOld(request, answeredAt)) {
      throw new Violation('refused although nothing happened to its session', request)
    }
  }

  #isTooOld({ token }: Request, at: number): boolean {
    const created = token && this.#makers.get(`${token.session}.1`)
    const { absolute, anonymous } = this.#history.policy
    const limit = Math.min(
      Number(absolute || Number.POSITIVE_INFINITY),
      Number(anonymous.absolute || Number.POSITIVE_INFINITY),
    )
    return created !== undefined && at > created.headersAt + limit - this.#slack
  }

  /** What a dead token wrote must not count. */
  #checkWrite(request: Request): void {
    const { token, answer, deed } = request
    if (!isAcknowledged(request) || !token || answer!.session !== token.session) return
    const end = this.#history.ends.get(token.session)
    const ended = end && end.why !== 'expired' ? end.at : Number.POSITIVE_INFINITY
    const dead = deed.kind === 'login' ? ended : this.#deadSince(request)
    if (dead < request.actedAt - this.#slack && !this.#isLost(token.session)) {
      throw new Violation('a dead token has written to its session', request)
    }
  }

  /** Each acknowledged item is there for who is in its session, and for nobody else. */
  #checkData(): void {
    const { losses, staleFor } = this.#history
    interface Item {
      readonly name: string
      readonly owner: string | undefined
      readonly from: number
      readonly at: number
      droppedFrom: number
      goneBy: number
    }
    const bySession = new Map<string, Item[]>()
    const owners = new Map<string, string | undefined>()
    const users = new Map<string, string | undefined>()
    const changes: { session: string; user: string; by: Request }[] = []
    const never = new Set<string>()
    for (const request of this.#answered) {
      const { answer, deed, view } = request
      if (!('item' in deed)) continue
      if (!isAcknowledged(request)) {
        never.add(deed.item)
        continue
      }
      const session = answer!.session!
      const before = this.#isLost(session) && view?.session === session ? view.user : users.get(session)
      if (deed.kind === 'login') {
        if (before !== undefined && before !== deed.user)
          changes.push({ session, user: deed.user, by: request })
        users.set(session, deed.user)
      }
      const owner = deed.kind === 'login' ? deed.user : session === view?.session ? view.user : undefined
      owners.set(deed.item, owner)
      const items = bySession.get(session) ?? []
      items.push({
        name: deed.item,
        owner,
        from: request.actedAt,
        at: request.answeredAt,
        droppedFrom: Number.POSITIVE_INFINITY,
        goneBy: Number.POSITIVE_INFINITY,
      })
      bySession.set(session, items)
    }
    for (const { session, user, by } of changes) {
      for (const item of bySession.get(session) ?? []) {
        if (item.owner === user || item.from > by.answeredAt) continue
        item.droppedFrom = Math.min(item.droppedFrom, by.actedAt)
        item.goneBy = Math.min(item.goneBy, by.answeredAt)
      }
    }
    for (const { session, left, at } of losses) {
      for (const item of bySession.get(session) ?? []) {
        if (item.from <= at && !left.includes(item.name)) item.droppedFrom = Math.min(item.droppedFrom, at)
      }
    }
    for (const request of this.#history.requests) {
      const { view, headersAt, openedAt } = request
      if (!view?.session) continue
      const seen = new Set(view.items)
      for (const item of bySession.get(view.session) ?? []) {
        const isExpected = item.at < headersAt - staleFor && openedAt < item.droppedFrom
        if (isExpected && !seen.has(item.name))
          throw new Violation(`${item.name} was acknowledged and is lost`, request)
        const isForbidden = item.goneBy < headersAt - staleFor && !this.#isLost(view.session)
        if (isForbidden && seen.has(item.name))
          throw new Violation(`${item.name} was another user's`, request)
      }
      for (const name of seen) {
        if (never.has(name)) throw new Violation(`${name} was not acknowledged and is there`, request)
        const owner = owners.get(name)
        if (owner !== undefined && owner !== view.user) {
          throw new Violation(
            `${name} is ${owner}'s and was shown to ${view.user ?? 'nobody known'}`,
            request,
          )
        }
      }
    }
  }

  /** No alarm is false, no token from before a login ends a session, and nothing expires too soon. */
  #checkEnds(): void {
    const { ends, policy } = this.#history
    for (const [session, { why, by, at }] of ends) {
      if (why === 'expired') {
        const uses = this.#answered.filter(
          (request) => request.view?.session === session && request.answeredAt < by.headersAt,
        )
        const lastUse = Math.max(0, ...uses.map(({ headersAt }) => headersAt))
        const idle = Math.min(Number(policy.idle), Number(policy.anonymous.idle))
        const isIdle = at >= lastUse + idle - policy.touchEvery - this.#slack
        if (!isIdle && !this.#isTooOld(by, at) && !this.#isLost(session)) {
          throw new Violation('a session expired too soon', by)
        }
      }
      if (why !== 'reuse') continue
      const login = this.#retirements
        .get(session)
        ?.findLast((one) => one.by.deed.kind === 'login' && one.by.answeredAt < at)
      if (login && by.token!.generation < login.below && !this.#isLost(session)) {
        throw new Violation('a token from before the login ended the session', by)
      }
      if (!this.#isStolen(session)) {
        this.#verdict.figures.falseAlarms++
        const why = this.#explainDead(by)
        if (why.startsWith('lost answer')) throw new Violation('a lost answer was taken for a theft', by)
      }
    }
  }

  #isStolen(session: string): boolean {
    return this.#history.theft?.token.session === session
  }

  /** Where an answer puts another session in the place of one that still lives. */
  #checkReplacements(): void {
    let held: JarWrite | undefined
    for (const write of this.#history.jar) {
      const before = held?.token
      if (before && before.session !== write.token?.session) {
        const why = this.#explainReplacement(held!, write)
        if (why !== 'overlap') {
          count(this.#verdict.replaced, why)
          this.#replacements.push({ at: write.at, why })
        }
      }
      held = write
    }
  }

  #explainReplacement(held: JarWrite, { by, at, token }: JarWrite): Explanation {
    if (by === 'kill') return 'browser killed before it wrote its cookie'
    const end = this.#history.ends.get(held.token!.session)
    if (!token) return held.at > by.sentAt ? 'late answer to a logout (asked for)' : 'overlap'
    if (end && end.at <= at + this.#history.lag) return 'overlap'
    if (this.#isLost(held.token!.session)) return 'store fell behind'
    const isOvertaken = held.at >= by.sentAt
    const isOfDeadToken = by.token && by.token.session !== token.session
    const holdsDead = this.#retirement({ ...by, token: held.token }, at)
    if (by.deed.kind === 'login' && (isOvertaken || holdsDead)) return 'login overlaps another login'
    if (!by.token && isOvertaken) return 'parallel requests without any cookie'
    if (isOfDeadToken && by.view?.session === undefined) {
      if (isOvertaken) return 'parallel requests with a dead cookie'
      return this.#explainDead({ ...by, view: by.view })
    }
    if (!isOfDeadToken && by.token && isOvertaken)
      return 'login overlaps a rotation whose answer is on the wire'
    throw new Violation(`the cookie of ${held.token!.session} was replaced by that of ${token.session}`, by)
  }

  /** Whose token is right must be let in. */
  #checkContinuity(request: Request): void {
    if (request.from === 'owner' && request.token && request.view && request.view.session === undefined) {
      this.#explainDead(request)
    }
  }

  /** Why the token of an honest request was worth nothing. */
  #explainDead(request: Request): Explanation {
    const { token, openedAt } = request
    const { session } = token!
    const end = this.#history.ends.get(session)
    if (end && end.at <= openedAt + this.#history.lag) {
      if (end.why === 'logout')
        return end.by.from === 'owner' ? 'late answer to a logout (asked for)' : 'theft found'
      if (end.why === 'expired') return 'expired'
      if (this.#isStolen(session)) return 'theft found'
      return this.#explainOld(end.by)
    }
    return this.#explainOld(request)
  }

  #explainOld(request: Request): Explanation {
    const { token, openedAt } = request
    if (this.#isLost(token!.session)) return 'store fell behind'
    const retirement = this.#retirement(request, openedAt)
    return retirement ? this.#explainRetired(request, retirement) : this.#explainStale(request)
  }

  /** The login or step-up answered with a newer token; why does the browser not have it? */
  #explainRetired(request: Request, { below, by }: Retirement): Explanation {
    const { sentAt, token } = request
    const carriers = this.#answered.filter(
      ({ from, given }) => from === 'owner' && given?.session === token!.session && given.generation >= below,
    )
    const arrived = carriers.filter(({ arrivedAt }) => arrivedAt < sentAt)
    if (arrived.length === 0) {
      if (by.answeredAt > sentAt) return 'overlap'
      if (carriers.some((one) => one.sentAt <= sentAt && one.arrivedAt >= sentAt && one.fate === 'arrived'))
        return 'overlap'
      if (by.fate === 'browser killed') return 'browser killed before it wrote its cookie'
      if (by.fate !== 'lost') throw new Violation('the token of a login did not reach its browser', request)
      return by.deed.kind === 'login' ? 'lost answer to a login' : 'lost answer to a step-up'
    }
    const since = Math.min(...arrived.map(({ arrivedAt }) => arrivedAt))
    const write = this.#jarOf(request)
    if (!write || write.at < since)
      throw new Violation('the cookie jar holds what it was never given', request)
    if (write.by === 'kill') return 'browser killed before it wrote its cookie'
    const isOvertaken = write.by.sentAt < since
    if (!isOvertaken) throw new Violation('a newer token was replaced by a dead one', request)
    return write.by.deed.kind === 'login' || write.by.deed.kind === 'elevate'
      ? 'login overlaps another login'
      : 'login overlaps a rotation whose answer is on the wire'
  }

  /** The token had a successor, and its grace is over. */
  #explainStale(request: Request): Explanation {
    const { token, sentAt } = request
    if (this.#isStolen(token!.session)) return 'theft found'
    const newer = this.#history.jar.find(
      ({ token: other, at }) =>
        at <= sentAt && other?.session === token!.session && other.generation > token!.generation,
    )
    const killed = this.#history.jar.some(
      ({ by, at }) => by === 'kill' && at <= sentAt && newer && at >= newer.at,
    )
    const killedUnderWay = this.#answered.some(
      ({ fate, given }) =>
        fate === 'browser killed' &&
        given?.session === token!.session &&
        given.generation > token!.generation,
    )
    if (killed || killedUnderWay) return 'browser killed before it wrote its cookie'
    throw new Violation('an honest token was taken for an old one', request)
  }

  /** What put the token of this request into the cookie jar. */
  #jarOf({ sentAt, token: sent }: Request): JarWrite | undefined {
    return this.#history.jar.findLast(
      ({ at, token }) =>
        at <= sentAt && token?.session === sent!.session && token.generation === sent!.generation,
    )
  }

  /** A user who logged in and did not log out is logged in, or there is a name for why not. */
  #checkBeliefs(): void {
    const { requests } = this.#history
    const owners = requests.filter(({ from }) => from === 'owner')
    this.#verdict.figures.logins = owners.filter(({ deed }) => deed.kind === 'login').length
    const disappointed = new Set<Request>()
    for (const request of [...owners].sort((one, other) => one.openedAt - other.openedAt)) {
      const { belief, view, openedAt, sentAt } = request
      if (!belief || !view || view.user === belief.user || disappointed.has(belief.by)) continue
      const isAskingOtherwise = owners.some(
        ({ deed, sentAt: at, arrivedAt, answeredAt, fate }) =>
          at <= openedAt &&
          ((deed.kind === 'logout' && at > belief.by.sentAt) ||
            (deed.kind === 'login' && (fate === 'arrived' ? arrivedAt : answeredAt) > sentAt)),
      )
      if (isAskingOtherwise) continue
      const why = this.#explainDisappointment(request, belief.user)
      if (why === 'overlap') continue
      count(this.#verdict.loggedOut, why)
      disappointed.add(belief.by)
    }
  }

  #explainDisappointment(request: Request, user: string): Explanation {
    const { token, view, sentAt, belief } = request
    const replacement = this.#replacements.find(({ at }) => at <= sentAt && at >= belief!.by.arrivedAt)
    const isOfThatLogin = token?.session === belief!.by.answer!.session
    if (replacement && !isOfThatLogin) return replacement.why
    if (token && view!.session === undefined) return this.#explainDead(request)
    if (token && this.#isLost(token.session)) {
      return view!.user === undefined
        ? 'store fell behind'
        : 'store fell behind a change of user: the former one is back'
    }
    // A copy in a cache that has not heard of the login yet.
    if (token && this.#history.staleFor > 0 && this.#retirement(request, request.openedAt)) {
      return this.#explainOld(request)
    }
    const otherLogin = this.#answered.some(
      ({ deed, given, number }) =>
        deed.kind === 'login' &&
        deed.user !== user &&
        given?.session === token?.session &&
        number > belief!.by.number - 5,
    )
    if (otherLogin) return 'login overlaps another login'
    throw new Violation(`${user} is logged in and found ${view!.user ?? 'nobody'}`, request)
  }

  /** Nothing for who holds a token that a login or step-up retired; and an end to it all where both sides go on. */
  #checkThief(): void {
    const { theft, requests, staleFor, ends, policy } = this.#history
    if (!theft) return
    const { session } = theft.token
    const live = requests.filter(({ view }) => view?.session === session)
    // By the clock of one instance a session may have expired that by another's has not.
    const end = ends.get(session)?.why === 'expired' ? undefined : ends.get(session)
    for (const request of live) {
      if (request.from !== 'thief' || this.#isLost(session)) continue
      const retirement = this.#retirement(request, request.headersAt)
      const since = Math.min(
        end?.at ?? Number.POSITIVE_INFINITY,
        retirement?.by.answeredAt ?? Number.POSITIVE_INFINITY,
      )
      if (since < request.headersAt - staleFor - this.#slack)
        throw new Violation('a thief got in with a dead token', request)
    }
    if (!this.#isLost(session)) for (const request of requests) this.#checkAlarm(request, session)
    const uses = live.filter(({ view, openedAt }) => view!.user !== undefined && openedAt >= theft.at)
    const thiefs = uses.filter(({ from }) => from === 'thief')
    if (thiefs.length === 0) return
    this.#verdict.figures.thefts++
    if (ends.get(session)?.why === 'reuse') this.#verdict.figures.theftsFound++
    if (this.#isLost(session)) return

    // Each of: the use that rotates, the one that confirms, the one that is too late. And what was on its way.
    const bound = Number(policy.rotateEvery) + policy.grace + 4 * MINUTE + this.#slack
    const { from, until } = this.#spellTogether(uses, theft.at)
    if (until - from <= bound) return
    const givenAgain = this.#answered.filter(
      ({ given, deed, number }) =>
        given?.session === session &&
        deed.kind !== 'login' &&
        this.#makers.get(`${session}.${given.generation}`)!.number !== number,
    )
    if (until - Math.max(from, ...givenAgain.map(({ answeredAt }) => answeredAt)) > bound) {
      const minutes = Math.round((until - from) / MINUTE)
      throw new Violation(`owner and thief shared a session for ${minutes} minutes`, thiefs.at(-1))
    }
    this.#verdict.figures.theftsProlonged++
  }

  /** A token of this login that is worth nothing any more, though no login or step-up retired it: somebody else has its successor. */
  #checkAlarm(request: Request, session: string): void {
    const { token, view, openedAt } = request
    if (token?.session !== session || !view || view.session !== undefined) return
    const end = this.#history.ends.get(session)
    if ((end && end.at <= openedAt + this.#history.lag) || this.#retirement(request, openedAt + this.#slack))
      return
    const isOfLogin = this.#answered.some(
      ({ deed, given, answeredAt }) =>
        deed.kind === 'login' &&
        given?.session === session &&
        given.generation <= token.generation &&
        answeredAt < openedAt,
    )
    if (isOfLogin) throw new Violation('an old token of a stolen session raised no alarm', request)
  }

  /** The longest time for which both used the session, neither with a break of over a minute. */
  #spellTogether(uses: readonly Request[], from: number) {
    const last = { owner: from, thief: from }
    let spell = { from, until: from }
    let longest = spell
    for (const { from: side, openedAt } of [...uses].sort((one, other) => one.openedAt - other.openedAt)) {
      if (openedAt - Math.min(last.owner, last.thief) > MINUTE) {
        spell = { from: openedAt, until: openedAt }
        last.owner = last.thief = openedAt
      }
      last[side] = openedAt
      spell.until = openedAt
      if (spell.until - spell.from > longest.until - longest.from) longest = spell
    }
    return longest
  }
}

function isAcknowledged({ answer, deed }: Request): boolean {
  return (
    'item' in deed &&
    (answer!.status === 200 ||
      (deed.kind === 'update' && answer!.session !== undefined && answer!.status !== 409))
  )
}

function count(counts: Partial<Record<Outcome, number>>, why: Outcome): void {
  counts[why] = (counts[why] ?? 0) + 1
}
