import type { CommitMessage, Written } from './channels.ts'
import type { Codec } from './codec.ts'
import type { HoldfastError, StoreUnavailableError } from './errors.ts'
import { collect, graft } from './graft.ts'
import type { LifetimePolicy } from './lifetime.ts'
import { expiry } from './lifetime.ts'
import type { Operation } from './operations.ts'
import { apply, applyAll, isActive } from './operations.ts'
import type { SessionRecord } from './record.ts'
import { newRecord } from './record.ts'
import type { RequestSource } from './request.ts'
import { keyOf, newId } from './token.ts'
import type { Carried, Kept } from './vault.ts'

/** What the client's cookie was worth: none came, it named a live session, one that has ended, or we never made it. */
export type Presented = 'none' | 'live' | 'ended' | 'forged'

/**
 * One request's dealings with its session: the one struct of state, that `session.ts` shows to the handler, `open.ts` fills,
 * `commit.ts` writes and `answer.ts` turns into headers.
 */
export interface Visit {
  readonly source: RequestSource
  readonly openedAt: number
  presented: Presented
  /** Two different valid cookies came, so that neither counts. */
  duplicate: boolean

  /** Secret, the base of tokens. Absent without a cookie, until a session is created, and for sessions found by handle. */
  id: string | undefined
  handle: string | undefined
  /** That of the token with which the request came; 0 if it is none of this session. */
  brought: number
  /** That of the token which the client holds, or will hold once it has this answer. */
  generation: number
  loaded: boolean
  /**
   * `live`: there is a record, and we may write it. `new`: none, a write creates one. `quiet`: the token has been dead for a
   * moment, and a newer one is on its way to the client, so nothing may be written and no cookie set.
   */
  standing: 'live' | 'new' | 'quiet'

  /** The handle of the session that the token names but whose record is of no use to us: it can be ended, and nothing else. */
  invalid: string | undefined
  /** Why an extension keeps the session from this request, which is `quiet` then. */
  refusal: HoldfastError | undefined

  /** The committed state that `data` and `record` started from. */
  kept: Kept | undefined
  /** `kept.record` with `operations` done. */
  record: SessionRecord
  operations: readonly Operation[]
  data: object
  /** The objects in `data` that came with it, which others' changes may be patched into. Known once the handler has them. */
  own: Set<object> | undefined
  /** `data` as it was committed, encoded: what tells whether it has changed, and the base of merging. */
  base: string
  /** The handler has had `data` in its hands, so it may have changed. */
  touched: boolean
  /** The handler asked for anything at all about the session, so the answer varies with the cookie. */
  looked: boolean
  /** A write that is on its way. Still there at the next one, its answer was lost: its revision tells what became of it. */
  unresolved: Attempt | undefined
  /** Writes without an answer that had not been done when that was looked at, and may be yet: they may still be under way. */
  lost: readonly Attempt[]
  /** An end that was sent got no answer: it may have been done. */
  mayBeEnded: boolean
  /** A login that is written, and whose answer must not leave before what it owes is done: see `login-rules.ts`. */
  unconcluded: Attempt | undefined
  /** Why the session could not be loaded, if the request goes on without it. */
  outage: StoreUnavailableError | undefined

  /** Where sessions travel with the client: what its cookie carries, or is to carry after this answer. */
  carried: Carried | undefined

  /** Paths where this visit replaced what others had set, told once it is committed. */
  overwritten: Set<string> | undefined

  /** What the answer does with the session's cookie. */
  cookie: 'none' | 'send' | 'clear'
  /** The browser is to clear what it keeps of this site. */
  clearSiteData: boolean
  /** The client's token is right but should be given again: its answer was lost, or an older secret signed it. */
  resend: boolean
  /** The headers have left; what needs a cookie is too late. */
  answered: boolean
  lateCheck: NodeJS.Timeout | undefined
  /** What is told of the commit that is under way, if somebody listens. */
  trace: Written<CommitMessage> | undefined
  /** That something was changed too late has been told. */
  isReported: boolean
  /** Resolves when all that this visit has begun is done. */
  turn: Promise<unknown>
  /** What the handler began and may not have awaited. */
  begun: Begun<unknown>[]
}

/** What was sent to the store. */
export interface Attempt {
  readonly rev: string
  /** The data, encoded. */
  readonly sent: string
  readonly record: SessionRecord
  readonly operations: readonly Operation[]
  /** What the visit stood on. */
  readonly from: { readonly kept: Kept | undefined; readonly generation: number }
  /** Brings what `update` sent into the data that the handler holds, which knows nothing of it before it is committed. */
  readonly done?: (() => void) | undefined
}

/** A promise that knows whether anybody else takes care of its failure. */
export class Begun<T> extends Promise<T> {
  isObserved = false

  static override get [Symbol.species]() {
    return Promise
  }

  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.isObserved = true
    return super.then(onFulfilled, onRejected)
  }

  /**
   * Starts `work` on behalf of a visit: its answer waits for it, and fails with it if nobody else does. Once the answer has left,
   * such a failure is told to `lost`.
   */
  static start<T>(visit: Visit, work: () => Promise<T>, lost: (error: unknown) => void): Begun<T> {
    const begun = new Begun<T>((resolve, reject) => void work().then(resolve, reject))
    const isLate = visit.answered
    // What went well is let go: the visit of a WebSocket may last for days, without an answer to wait for anything.
    const wentWell = () => {
      visit.begun = visit.begun.filter((one) => one !== begun)
    }
    Promise.prototype.then.call(begun, wentWell, (error) => {
      if (isLate && !begun.isObserved) lost(error)
    })
    if (!isLate) visit.begun.push(begun)
    return begun
  }
}

/** What is done to one visit takes turns: a logout beside an update would otherwise be half undone by what the update brings back. */
export function inTurn<T>(visit: Visit, work: () => Promise<T>): Promise<T> {
  const turn = visit.turn.then(work)
  visit.turn = turn.catch(() => {}) // its own caller hears of it
  return turn
}

export function loginOf(visit: Visit): (Operation & { kind: 'login' }) | undefined {
  return visit.operations.find((operation) => operation.kind === 'login')
}

/** The data for the handler's hands, where it may change. */
export function handOut(visit: Visit): object {
  visit.own ??= collect(visit.data)
  visit.touched = true
  return visit.data
}

/** Makes the data what `wanted` is, in the objects that the handler may hold. */
export function putData(visit: Visit, wanted: object): void {
  visit.own ??= collect(visit.data)
  visit.data = graft(visit.data, wanted, visit.own)
}

/** The data encoded, if the handler may have changed it. @throws DataError naming what cannot be stored */
export function encodeChanges(visit: Visit, codec: Codec): string | undefined {
  if (!visit.touched) return undefined
  const text = codec.encode(visit.data)
  return text === visit.base ? undefined : text
}

/** Whether there is something to write. A new session is made by data, a flash message or a login, and by nothing else. */
export function hasChanges(visit: Visit, codec: Codec): boolean {
  return hasOperations(visit) || encodeChanges(visit, codec) !== undefined
}

/** The same, of all but the data. */
export function hasOperations({ standing, record, operations }: Visit): boolean {
  if (standing === 'new') return record.user !== undefined || record.flashes.length > 0
  return operations.some(isActive)
}

export function addOperation(visit: Visit, operation: Operation, now: number, policy: LifetimePolicy): void {
  visit.operations = [...visit.operations, operation]
  visit.record = apply(visit.record, operation, { held: visit.generation, now, policy })
}

/** Takes back what has not been committed, so that no later commit takes it along: a login, least of all, whose cookie can no longer leave. */
export function discard(visit: Visit, codec: Codec, now: number, policy: LifetimePolicy): void {
  visit.operations = visit.operations.filter((operation) => !isActive(operation))
  if (visit.standing === 'live') adopt(visit, visit.kept!, now, policy)
  else visit.record = newRecord(now)
  if (visit.touched) putData(visit, codec.decode(visit.base))
}

/** Whether it is the session's own client that visits. What is read or changed from outside, by its handle, has not been used. */
export function isUse(visit: Visit): boolean {
  return visit.source !== undefined || visit.id !== undefined
}

/** This request is a use of the session itself, so it does not expire under its hands for want of use before it began. */
export function isExpired(
  visit: Visit,
  { record, lastSeen }: Kept,
  now: number,
  policy: LifetimePolicy,
): boolean {
  return now >= expiry(record, isUse(visit) ? Math.max(lastSeen, visit.openedAt) : lastSeen, policy)
}

/** Takes `kept` as what the session is now, and does what this request did again on top of it. */
export function adopt(visit: Visit, kept: Kept, now: number, policy: LifetimePolicy): void {
  visit.kept = kept
  visit.record = applyAll(kept.record, visit.operations, { held: visit.generation, now, policy })
}

/** The handle, of a session that has none yet as well: its id is made now and kept when the session is created. */
export function handleOf(visit: Visit): string {
  if (visit.handle === undefined) {
    visit.id ??= newId()
    visit.handle = keyOf(visit.id)
  }
  return visit.handle
}
