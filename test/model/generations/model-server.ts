import {
  ANSWER_TIME,
  admit,
  isOfThisLogin,
  isRetired,
  isRetiredByLogin,
  mayJoin,
  QUIET_TIME,
} from '../../../src/admission.ts'
import { expiry, isRotationDue, isTouchDue, mayRotate } from '../../../src/lifetime.ts'
import type { Operation } from '../../../src/operations.ts'
import { apply, concernsTokenOnly, isActive } from '../../../src/operations.ts'
import type { SessionRecord } from '../../../src/record.ts'
import { newRecord } from '../../../src/record.ts'
import type { Token } from '../tokens.ts'
import type { Answer, Circumstances, Deed, Opened, Server, View } from './server.ts'

/** The rules of the design, each by itself so that a test can break one and see the model notice. */
export const designRules = {
  admit,
  isRetired,
  mayJoin,
  apply,
  isRotationDue,
  mayRotate,
  merge: (theirs: Items, _mine: Items, written: Items): Items => new Set([...theirs, ...written]),
  resends: (loadedAt: number, now: number) => now - loadedAt <= ANSWER_TIME,
  quietTime: QUIET_TIME,
  revives: false,
  cookieOfOthers: (_visit: Visit): Answer['cookie'] => undefined,
}
export type Rules = typeof designRules

type Items = ReadonlySet<string>

interface Kept {
  readonly record: SessionRecord
  readonly items: Items
  readonly lastSeen: number
}

/** One request's dealings. */
interface Visit {
  readonly now: () => number
  readonly openedAt: number
  readonly cookie: string | undefined
  token: Token | undefined
  standing: 'live' | 'new' | 'quiet'
  record: SessionRecord
  /** Whose the session was when it was read. */
  loadedUser: string | undefined
  seen: Items
  written: Set<string>
  operations: Operation[]
  resend: boolean
  cookieToSend: Answer['cookie']
}

const NOTHING: Items = new Set()
const isLogin = ({ kind }: Operation) => kind === 'login'
const makesToken = ({ kind }: Operation) => kind === 'rotate' || kind === 'login' || kind === 'elevate'

/**
 * The generation rules with nothing around them: an ideal store, where each request reads once and writes in one step. What
 * `open.ts`, `commit.ts` and `answer.ts` do with merging, conflicts and failures is here one line each.
 */
export class ModelServer implements Server {
  readonly #world: Circumstances
  readonly #rules: Rules
  readonly #store = new ModelStore()
  #sessions = 0

  constructor(world: Circumstances, rules: Rules = designRules) {
    this.#world = world
    this.#rules = rules
  }

  read(cookie: string): Token {
    const [session, generation] = cookie.split('.')
    return { session: session!, generation: Number(generation) }
  }

  async fallBehind(session: string): Promise<readonly string[] | undefined> {
    const left = this.#store.fallBehind(session)
    return left && [...left.items]
  }

  async open(cookie: string | undefined, instance: number): Promise<Opened> {
    const visit = this.#open(cookie, () => this.#world.clock() + this.#world.skews[instance]!)
    const refusal = { status: 200 }
    return {
      view: viewOf(visit),
      act: async (deed) => {
        refusal.status = this.#act(visit, deed)
      },
      answer: async () => this.#answer(visit, refusal.status),
    }
  }

  #open(cookie: string | undefined, now: () => number): Visit {
    const token = cookie === undefined ? undefined : this.read(cookie)
    const visit: Visit = {
      now,
      openedAt: now(),
      cookie,
      token,
      standing: 'new',
      record: newRecord(now()),
      loadedUser: undefined,
      seen: NOTHING,
      written: new Set(),
      operations: [],
      resend: false,
      cookieToSend: undefined,
    }
    if (token) this.#judge(visit, token, false)
    return visit
  }

  #judge(visit: Visit, token: Token, fresh: boolean): void {
    const { ended, policy, staleFor, random, clock } = this.#world
    const now = visit.now()
    const isStale = !fresh && staleFor > 0 && random.chance(0.3)
    const kept = isStale
      ? this.#store.asOf(token.session, clock() - random.between(0, staleFor))
      : this.#store.load(token.session)
    if (kept === undefined) return
    if ('destroyedUntil' in kept) {
      if (now < kept.destroyedUntil) visit.standing = 'quiet'
      return
    }
    if (now >= expiry(kept.record, kept.lastSeen, policy)) {
      ended(token.session, 'expired')
      return
    }
    const verdict = this.#rules.admit(token.generation, kept.record, now, policy.grace)
    switch (verdict.as) {
      case 'live':
        enter(visit, kept)
        if (verdict.confirm) this.#do(visit, { kind: 'confirm' })
        visit.resend = verdict.resend
        return
      case 'ahead':
        if (!fresh) {
          this.#judge(visit, token, true)
          return
        }
        enter(visit, kept)
        this.#do(visit, { kind: 'advance', generation: token.generation })
        return
      case 'quiet':
        visit.standing = 'quiet'
        return
      case 'reuse':
        if (!fresh) {
          this.#judge(visit, token, true)
          return
        }
        this.#store.destroy(token.session, now + this.#rules.quietTime, clock())
        ended(token.session, 'reuse')
        visit.standing = 'quiet'
        return
      case 'unknown':
        return
    }
  }

  /** @returns the status that the handler's answer has so far */
  #act(visit: Visit, deed: Deed): number {
    const { record } = visit
    switch (deed.kind) {
      case 'view':
        return 200
      case 'write':
        visit.written.add(deed.item)
        return deed.fails ? 500 : 200
      case 'update':
        visit.written.add(deed.item)
        return this.#commit(visit)
      case 'login':
        if (record.user !== undefined && record.user !== deed.user) visit.seen = NOTHING
        this.#do(visit, { kind: 'login', user: deed.user })
        visit.written.add(deed.item)
        return 200
      case 'elevate':
        if (record.user === undefined) return 401
        this.#do(visit, { kind: 'elevate', level: 'high' })
        return 200
      case 'rotate':
        if (
          visit.standing === 'live' &&
          this.#rules.mayRotate(visit.token!.generation, record, visit.now(), this.#world.policy)
        ) {
          this.#do(visit, { kind: 'rotate' })
        }
        return 200
      case 'logout':
        this.#logout(visit)
        return 200
    }
  }

  #logout(visit: Visit): void {
    const { token } = visit
    const kept = token && this.#store.load(token.session)
    if (
      kept &&
      'record' in kept &&
      (visit.standing === 'live' ||
        (visit.standing === 'quiet' && isOfThisLogin(token.generation, kept.record)))
    ) {
      this.#store.destroy(token.session, visit.now() + this.#rules.quietTime, this.#world.clock())
      this.#world.ended(token.session, 'logout')
    }
    startAnew(visit)
    if (visit.cookie !== undefined) visit.cookieToSend = 'clear'
  }

  #answer(visit: Visit, statusSoFar: number): Answer {
    const { policy } = this.#world
    let status = statusSoFar
    if (status === 200) {
      if (
        visit.standing === 'live' &&
        this.#rules.isRotationDue(visit.token!.generation, visit.record, visit.now(), policy)
      ) {
        this.#do(visit, { kind: 'rotate' })
      }
      status = this.#commit(visit)
    }
    const cookie = this.#cookie(visit)
    this.#noteUse(visit)
    return { status, cookie, session: visit.standing === 'live' ? visit.token!.session : undefined }
  }

  #commit(visit: Visit): number {
    const hasChanges =
      visit.written.size > 0 || visit.operations.some(visit.standing === 'new' ? isLogin : isActive)
    if (!hasChanges) return 200
    if (visit.standing === 'live' || this.#joins(visit)) return this.#replace(visit)
    if (visit.standing === 'quiet' && !visit.operations.some(isLogin)) return 409
    return this.#create(visit)
  }

  #create(visit: Visit): number {
    const session = `s${++this.#sessions}`
    startAnew(visit, visit.operations)
    const record = this.#applied(visit, newRecord(visit.now()), 1)
    this.#wrote(visit, session, {
      record,
      items: new Set([...visit.seen, ...visit.written]),
      lastSeen: visit.now(),
    })
    visit.cookieToSend = textOf(visit.token!)
    return 200
  }

  #replace(visit: Visit): number {
    const { session, generation } = visit.token!
    const current = this.#store.load(session)
    const isGone = current === undefined || 'destroyedUntil' in current || this.#isExpired(visit, current)
    if (isGone && this.#rules.revives) return this.#revive(visit)
    if (isGone) return this.#afterDeath(visit)
    if (this.#joins(visit)) return this.#join(visit, current)
    const isAnothers = current.record.user !== visit.loadedUser
    if (isAnothers || this.#rules.isRetired(generation, current.record)) return this.#afterDeath(visit)

    const record = this.#applied(visit, current.record, generation)
    const isAnotherUsers = current.record.user !== undefined && record.user !== current.record.user
    const items = isAnotherUsers ? visit.written : this.#rules.merge(current.items, visit.seen, visit.written)
    const makesOne = record.generation > current.record.generation && visit.operations.some(makesToken)
    this.#wrote(
      visit,
      session,
      { record, items, lastSeen: Math.max(current.lastSeen, visit.now()) },
      makesOne,
    )
    if (makesOne) visit.cookieToSend = textOf(visit.token!)
    return 200
  }

  #isExpired(visit: Visit, { record, lastSeen }: Kept): boolean {
    return visit.now() >= expiry(record, Math.max(lastSeen, visit.openedAt), this.#world.policy)
  }

  #afterDeath(visit: Visit): number {
    if (visit.operations.some(isLogin)) return this.#create(visit)
    const isForTokenOnly = visit.written.size === 0 && visit.operations.every(concernsTokenOnly)
    visit.operations = []
    return isForTokenOnly ? 200 : 409
  }

  #joins({ token, operations, now }: Visit): boolean {
    const login = operations.find((operation) => operation.kind === 'login')
    const current = token && this.#store.load(token.session)
    if (!login || !current || 'destroyedUntil' in current) return false
    return this.#rules.mayJoin(token.generation, current.record, login.user, now())
  }

  #join(visit: Visit, current: Kept): number {
    const joins = isRetiredByLogin(current.record)
    visit.operations = visit.operations
      .filter(({ kind }) => kind !== 'confirm')
      .map((operation) => (operation.kind === 'login' && joins ? { kind: 'join' } : operation))
    visit.token = { session: visit.token!.session, generation: current.record.generation }
    visit.standing = 'live'
    visit.loadedUser = current.record.user
    const status = this.#replace(visit)
    if (joins) visit.cookieToSend = textOf(visit.token)
    return status
  }

  #revive(visit: Visit): number {
    const record = this.#applied(visit, visit.record, visit.token!.generation)
    this.#wrote(visit, visit.token!.session, { record, items: visit.seen, lastSeen: visit.now() })
    return 200
  }

  #applied(visit: Visit, record: SessionRecord, held: number): SessionRecord {
    const at = { held, now: visit.now(), policy: this.#world.policy }
    return visit.operations.reduce((next, operation) => this.#rules.apply(next, operation, at), record)
  }

  #do(visit: Visit, operation: Operation): void {
    visit.operations.push(operation)
    const at = { held: visit.token?.generation ?? 1, now: visit.now(), policy: this.#world.policy }
    visit.record = this.#rules.apply(visit.record, operation, at)
  }

  #wrote(visit: Visit, session: string, kept: Kept, isNewToken = true): void {
    this.#store.put(session, kept, this.#world.clock())
    visit.token = isNewToken ? { session, generation: kept.record.generation } : visit.token
    visit.standing = 'live'
    visit.record = kept.record
    visit.loadedUser = kept.record.user
    visit.seen = kept.items
    visit.written = new Set()
    visit.operations = []
  }

  #cookie(visit: Visit): Answer['cookie'] {
    if (visit.cookieToSend !== undefined) return visit.cookieToSend
    if (!visit.resend || visit.standing !== 'live' || !this.#rules.resends(visit.openedAt, visit.now())) {
      return this.#rules.cookieOfOthers(visit)
    }
    return textOf({ session: visit.token!.session, generation: visit.record.generation })
  }

  /** After the answer: that the token has been used, and the session. */
  #noteUse(visit: Visit): void {
    const current = visit.standing === 'live' && this.#store.load(visit.token!.session)
    if (!current || 'destroyedUntil' in current) return
    const now = visit.now()
    const confirms = visit.operations.filter(({ kind }) => kind === 'confirm')
    const record = this.#applied({ ...visit, operations: confirms }, current.record, visit.token!.generation)
    if (record === current.record && !isTouchDue(record, current.lastSeen, now, this.#world.policy)) return
    this.#store.put(
      visit.token!.session,
      { ...current, record, lastSeen: Math.max(current.lastSeen, now) },
      this.#world.clock(),
    )
  }
}

function enter(visit: Visit, kept: Kept): void {
  visit.standing = 'live'
  visit.record = kept.record
  visit.loadedUser = kept.record.user
  visit.seen = kept.items
}

function startAnew(visit: Visit, operations: Operation[] = []): void {
  visit.standing = 'new'
  visit.token = undefined
  visit.record = newRecord(visit.now())
  visit.operations = operations
}

function viewOf({ standing, token, record, seen }: Visit): View {
  if (standing !== 'live') return { session: undefined, user: undefined, items: [] }
  return { session: token!.session, user: record.user, items: [...seen] }
}

function textOf({ session, generation }: Token): string {
  return `${session}.${generation}`
}

/** Keeps all that it ever held, so that it can fall behind. */
class ModelStore {
  readonly #past = new Map<string, { at: number; kept: Kept | { destroyedUntil: number } }[]>()

  load(session: string): Kept | { destroyedUntil: number } | undefined {
    return this.#past.get(session)?.at(-1)?.kept
  }

  asOf(session: string, then: number): Kept | { destroyedUntil: number } | undefined {
    const past = this.#past.get(session)
    return past?.findLast(({ at }) => at <= then)?.kept ?? past?.[0]?.kept
  }

  put(session: string, kept: Kept | { destroyedUntil: number }, at: number): void {
    const past = this.#past.get(session)
    if (past) past.push({ at, kept })
    else this.#past.set(session, [{ at, kept }])
  }

  destroy(session: string, destroyedUntil: number, at: number): void {
    const kept = this.load(session)
    if (kept && 'record' in kept) this.put(session, { destroyedUntil }, at)
  }

  fallBehind(session: string): Kept | undefined {
    const past = this.#past.get(session)
    const last = past?.at(-1)?.kept
    if (!past || past.length < 2 || !last || 'destroyedUntil' in last) return undefined
    past.pop()
    return this.load(session) as Kept
  }
}
