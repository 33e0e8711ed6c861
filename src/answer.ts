import { ANSWER_TIME } from './admission.ts'
import type { Committer } from './commit.ts'
import type { Cookie, CookieAttributes, HeaderChange } from './cookie.ts'
import { CARRIES, setCookie } from './cookie.ts'
import type { Core } from './core.ts'
import { StoreUnavailableError } from './errors.ts'
import { cookieMaxAge, expiry, isCookieRenewalDue, isRotationDue, isTouchDue } from './lifetime.ts'
import { isNote } from './operations.ts'
import { managerClosed } from './refusals.ts'
import { isPlainHttp, routeOf } from './request.ts'
import type { Visit } from './visit.ts'
import { addOperation, discard, handleOf, hasChanges, isUse } from './visit.ts'

/** What the response must carry for the session. */
export interface Answer {
  readonly cookie?: Cookie
  readonly headers: readonly HeaderChange[]
}

/** From a visit to the response: commits what is pending and says which headers must go out. */
export interface Answerer {
  /** At once when there is nothing to wait for. Saves what is pending unless it is to be discarded. */
  answer(visit: Visit, isDiscarded: boolean, mayRotate?: boolean): Answer | Promise<Answer>
  /** The response is over: reports what was changed too late to be saved. */
  closed(visit: Visit): void
  /** The session was used, whether or not there was anything to write: moves its idle timeout when that is due. */
  noteUse(visit: Visit): void
  /** `data` was asked for after the answer: look again in a moment whether that changed anything. */
  checkLater(visit: Visit): void
}

const NOTHING: Answer = { headers: [] }
const VARY: Answer = { headers: [['Vary', 'Cookie', 'append']] }
const LATE_CHECK = 1_000

export function createAnswerer(core: Core, committer: Committer): Answerer {
  const { settings, vault, signer, events, work } = core
  const { clock, codec, lifetime } = settings
  let hasWarned = false

  function answer(visit: Visit, isDiscarded: boolean, mayRotate = true): Answer | Promise<Answer> {
    if (visit.begun.length > 0) {
      const done = isDiscarded ? waitForBegun(visit).catch(() => {}) : waitForBegun(visit)
      return done.then(() => answer(visit, isDiscarded, mayRotate))
    }
    if (isDiscarded) {
      discard(visit, codec, clock(), lifetime)
      return finish(visit)
    }
    if (!visit.loaded) return finish(visit)
    if (work.isClosing)
      return hasChanges(visit, codec) ? Promise.reject(managerClosed(settings.name)) : finish(visit)
    const isOnlyDue = addWhatIsDue(visit, mayRotate)
    const written = committer.commit(visit)
    if (!written) return finish(visit)
    visit.turn = work.count(written).catch(() => {}) // the answer hears of it
    // What the handler has begun meanwhile belongs to this answer too.
    const goOn = () => (visit.begun.length > 0 ? answer(visit, isDiscarded, mayRotate) : finish(visit))
    return written.then(goOn, isOnlyDue ? (error) => goOnWithout(visit, error) : undefined)
  }

  /** What was due is due at the next request too: a page that only looked need not fail since the store reads and cannot write. */
  function goOnWithout(visit: Visit, error: unknown): Answer | Promise<Answer> {
    if (!(error instanceof StoreUnavailableError)) throw error
    events.emit('error', { operation: 'rotate', error })
    discard(visit, codec, clock(), lifetime)
    return visit.begun.length > 0 ? answer(visit, false, false) : finish(visit)
  }

  /** Waits for all that the handler began. What failed without anybody looking is this answer's failure. */
  async function waitForBegun(visit: Visit): Promise<void> {
    while (visit.begun.length > 0) {
      const begun = visit.begun
      visit.begun = []
      const ends = await Promise.all(
        begun.map((one) =>
          Promise.prototype.then.call(
            one,
            () => undefined,
            (error) => ({ one, error }),
          ),
        ),
      )
      for (const end of ends as ({ one: (typeof begun)[0]; error: unknown } | undefined)[]) {
        if (end && !end.one.isObserved) throw end.error
      }
    }
  }

  /** Whether that is all there is to write. */
  function addWhatIsDue(visit: Visit, mayRotate: boolean): boolean {
    if (visit.standing !== 'live' || visit.answered) return false
    const now = clock()
    const { record, generation } = visit
    const mustRotate = mayRotate && isRotationDue(generation, record, now, lifetime)
    const mustRenew = isCookieRenewalDue(record, now, lifetime) || isCarriedTooLong(visit, now)
    if (!mustRotate && !mustRenew) return false
    const isAll = !hasChanges(visit, codec)
    if (mustRotate) addOperation(visit, { kind: 'rotate' }, now, lifetime)
    if (mustRenew) addOperation(visit, { kind: 'renewCookie' }, now, lifetime)
    return isAll
  }

  /** What a client carries can be touched, and sealed by the newest secret, only by giving it anew. */
  function isCarriedTooLong({ kept, resend }: Visit, now: number): boolean {
    if (vault.carry === undefined || kept === undefined) return false
    return resend || isTouchDue(kept.record, kept.lastSeen, now, lifetime)
  }

  function finish(visit: Visit): Answer {
    const wasAnswered = visit.answered
    visit.answered = true
    if (wasAnswered) return NOTHING
    noteRequest(visit)
    const cookie = cookieFor(visit)
    if (!cookie && !visit.clearSiteData) return visit.looked ? VARY : NOTHING
    const cookies = cookie ? [cookie, ...formerCookies(visit)] : []
    const headers: HeaderChange[] = [
      ...cookies.map((one) => ['Set-Cookie', setCookie(one), 'append'] as const),
      ['Vary', 'Cookie', 'append'],
      ['Cache-Control', 'no-store', 'set'],
      ...((cookie && core.extension?.headers(visit)) ?? []),
    ]
    if (visit.clearSiteData) headers.push(['Clear-Site-Data', '"cache", "cookies", "storage"', 'append'])
    return cookie ? { cookie, headers } : { headers }
  }

  function cookieFor(visit: Visit): Cookie | undefined {
    const { name, attributes } = settings.cookie
    if (visit.cookie === 'clear') return { name, value: '', attributes: { ...attributes, maxAge: 0 } }
    const isResent = visit.resend && visit.standing === 'live' && clock() - visit.openedAt <= ANSWER_TIME
    if ((visit.cookie === 'none' && !isResent) || visit.unconcluded) return undefined
    warnOfPlainHttp(visit)
    const record = visit.kept!.record
    const token = signer.sign({ id: visit.id!, generation: record.generation })
    const value = visit.carried ? token + CARRIES + visit.carried.text : token
    const maxAge = cookieMaxAge(record, clock(), lifetime)
    return { name, value, attributes: maxAge === undefined ? attributes : { ...attributes, maxAge } }
  }

  /** After a login that found two sessions in one request: what an earlier version of the site may have left behind. */
  function formerCookies(visit: Visit): Cookie[] {
    if (!visit.duplicate || visit.record.user === undefined) return []
    return settings.cookie.formerly.map(({ name, domain, path = '/' }) => {
      const attributes: CookieAttributes = { ...settings.cookie.attributes, path, maxAge: 0 }
      return { name, value: '', attributes: domain === undefined ? attributes : { ...attributes, domain } }
    })
  }

  function warnOfPlainHttp(visit: Visit): void {
    if (hasWarned || !settings.cookie.attributes.secure || process.env.NODE_ENV === 'production') return
    if (!isPlainHttp(visit.source)) return
    hasWarned = true
    settings.logger.warn(
      'holdfast: a Secure cookie was sent over plain http, where browsers drop it except on localhost. ' +
        'Use https, or cookie: { secure: false } for a test without it.',
    )
  }

  /** That the session was used, and its token: written after the answer, which waits for neither. */
  function noteRequest(visit: Visit): void {
    const { standing, operations } = visit
    if (standing === 'live' && !vault.carry && operations.some(isNote)) {
      const now = clock()
      work.inBackground('note', () => committer.note(visit, now))
    } else {
      noteUse(visit)
    }
  }

  function noteUse(visit: Visit): void {
    const { kept, standing } = visit
    if (standing !== 'live' || kept === undefined || vault.carry || !isUse(visit)) return
    const now = clock()
    if (!isTouchDue(kept.record, kept.lastSeen, now, lifetime)) return
    visit.kept = { ...kept, lastSeen: now } // the next use of a long visit is not to touch again
    work.inBackground('touch', () => vault.touch(handleOf(visit), now, expiry(kept.record, now, lifetime)))
  }

  function closed(visit: Visit): void {
    clearTimeout(visit.lateCheck)
    visit.lateCheck = undefined
    if (visit.loaded && !visit.isReported && isChanged(visit)) {
      visit.isReported = true
      events.emit('uncommitted', { handle: handleOf(visit), route: routeOf(visit.source) })
    }
  }

  function isChanged(visit: Visit): boolean {
    try {
      return hasChanges(visit, codec)
    } catch {
      return true // what cannot even be stored has certainly not been
    }
  }

  function checkLater(visit: Visit): void {
    visit.lateCheck ??= setTimeout(() => closed(visit), LATE_CHECK).unref()
  }

  return { answer, closed, noteUse, checkLater }
}
