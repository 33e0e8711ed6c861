import { admit, isRetired, QUIET_TIME, type Verdict } from './admission.ts'
import { isTraced, openTracing } from './channels.ts'
import type { ClientWatch } from './client-watch.ts'
import { CARRIES, readCookies } from './cookie.ts'
import type { Core } from './core.ts'
import { startAnew } from './core.ts'
import type { EncodedData } from './data.ts'
import { detached, initialData, readData } from './data.ts'
import type { HoldfastError } from './errors.ts'
import { InvalidRecordError, StoreUnavailableError } from './errors.ts'
import { expiry } from './lifetime.ts'
import { newRecord, type SessionRecord } from './record.ts'
import type { RequestSource } from './request.ts'
import { cookieHeader, routeOf, viewOf } from './request.ts'
import { validate } from './schema.ts'
import { checkOnStoreFailure } from './settings.ts'
import type { VerifiedToken } from './token.ts'
import { TOKEN_LENGTH } from './token.ts'
import { traceOpen } from './tracing.ts'
import type { Kept } from './vault.ts'
import type { Visit } from './visit.ts'
import { addOperation, adopt, handleOf, isUse } from './visit.ts'

/** More cookies of our name than a browser could send by accident; each costs a verification. */
const MOST_COOKIES = 8

/** From a request to a visit: reads the cookie, verifies the token, loads the record and judges the token by it. */
export interface Opener {
  open(source: RequestSource, options?: { lazy?: boolean }): Promise<Visit>
  /** Loads what a lazy visit has not loaded. */
  load(visit: Visit): Promise<void>
  /** A visit to a session known by its handle, without a client: it can be read and changed, but gets no cookie. */
  find(handle: string): Promise<Visit | undefined>
}

export function createOpener(core: Core): Opener {
  const { settings, vault, signer, events, work, watch } = core
  const { name, clock, codec, schema, lifetime, onReuse } = settings

  function open(source: RequestSource, options?: { lazy?: boolean }): Promise<Visit> {
    if (!isTraced(openTracing)) return begin(source, options)
    return traceOpen(name, source, () => begin(source, options))
  }

  async function begin(source: RequestSource, { lazy = false } = {}): Promise<Visit> {
    const visit = newVisit(source, clock())
    const token = readToken(visit)
    if (token === undefined) {
      const beginning = beginNew(visit)
      if (beginning) await beginning
    } else {
      visit.id = token.id
      visit.handle = token.key
      visit.brought = visit.generation = token.generation
      visit.presented = 'live'
      visit.resend = token.stale
      if (!lazy) await judge(visit, false)
    }
    return visit
  }

  function readToken(visit: Visit): VerifiedToken | undefined {
    const header = cookieHeader(visit.source)
    if (header === '') return undefined
    const texts = readCookies(header, settings.cookie.name, MOST_COOKIES)
    const tokens: VerifiedToken[] = []
    for (const text of texts.length > 1 ? new Set(texts) : texts) {
      const isCarrying = vault.carry !== undefined && text[TOKEN_LENGTH] === CARRIES
      const token = signer.verify(isCarrying ? text.slice(0, TOKEN_LENGTH) : text)
      if (token) tokens.push(token)
      if (token && isCarrying) {
        visit.carried = { text: text.slice(TOKEN_LENGTH + 1), generation: token.generation }
      }
    }
    if (tokens.length > 1) {
      visit.duplicate = true
      events.emit('duplicate', { route: routeOf(visit.source) })
      return undefined
    }
    if (tokens.length === 0 && texts.some((text) => text !== '')) {
      visit.presented = 'forged'
      events.emit('forged', { route: routeOf(visit.source) })
    }
    return tokens[0]
  }

  async function load(visit: Visit): Promise<void> {
    if (visit.loaded) return
    if (!isTraced(openTracing)) await judge(visit, false)
    else await traceOpen(name, visit.source, () => judge(visit, false).then(() => visit))
  }

  async function judge(visit: Visit, fresh: boolean): Promise<void> {
    const handle = handleOf(visit)
    let kept: Kept | 'destroyed' | undefined
    try {
      kept = await vault.load(handle, fresh || visit.carried ? { fresh, carried: visit.carried } : undefined)
    } catch (error) {
      if (error instanceof InvalidRecordError) return meetInvalid(visit, error)
      if (error instanceof StoreUnavailableError && mayGoOnWithout(visit))
        return beginUnavailable(visit, error)
      throw error
    }
    const now = clock()
    if (kept === undefined) return beginNew(visit, 'ended')
    if (kept === 'destroyed') return fallQuiet(visit)
    if (now >= expiry(kept.record, kept.lastSeen, lifetime)) {
      events.emit('expired', { handle })
      return beginNew(visit, 'ended')
    }
    let verdict = admit(visit.generation, kept.record, now, lifetime.grace)
    if (verdict.as === 'live' || (fresh && (verdict.as === 'ahead' || verdict.as === 'reuse'))) {
      let refusal: HoldfastError | undefined
      try {
        refusal = core.extension?.refuse(visit, kept.record)
      } catch (error) {
        return meetInvalid(visit, error as Error)
      }
      if (refusal) return keepFrom(visit, kept, refusal)
    }
    if (verdict.as === 'reuse' && fresh) verdict = await meetReuse(visit, kept.record)
    switch (verdict.as) {
      case 'live': {
        const entering = enter(visit, kept)
        if (entering) await entering
        if (visit.standing !== 'live') return
        if (verdict.confirm) addOperation(visit, { kind: 'confirm' }, now, lifetime)
        if (watch) lookAtClient(visit, watch)
        visit.resend = verdict.resend || (visit.resend && visit.generation === kept.record.generation)
        return
      }
      case 'ahead':
        if (!fresh) return judge(visit, true)
        await enter(visit, kept)
        if (visit.standing !== 'live') return
        return addOperation(visit, { kind: 'advance', generation: visit.generation }, now, lifetime)
      case 'quiet':
        visit.kept = kept
        return fallQuiet(visit)
      case 'reuse':
        return fresh ? fallQuiet(visit) : judge(visit, true)
      case 'unknown':
        return beginNew(visit, 'ended')
    }
  }

  /** Two parties hold this login, and the application has chosen what then becomes of it. */
  async function meetReuse(visit: Visit, record: SessionRecord): Promise<Verdict> {
    const handle = handleOf(visit)
    if (onReuse === 'end') await vault.destroy(handle, clock() + QUIET_TIME)
    events.emit('reuse', { handle, userId: record.user, route: routeOf(visit.source) })
    if (onReuse === 'end') return { as: 'reuse' }
    // No choice lets in what a login or a step-up has retired (ASVS 7.2.4).
    const isLetIn = onReuse === 'event' && !isRetired(visit.generation, record)
    return isLetIn ? { as: 'live', confirm: false, resend: false } : { as: 'unknown' }
  }

  function lookAtClient(visit: Visit, watch: ClientWatch): void {
    const { source, record } = visit
    const { user, client } = record
    if (user === undefined || client === undefined) return
    const { changed, words } = watch.compare(client, source, user)
    if (changed.length === 0) return
    addOperation(visit, { kind: 'client', user, client: words }, clock(), lifetime)
    const handle = handleOf(visit)
    events.emit('clientChanged', { handle, userId: user, changed, route: routeOf(source) })
  }

  /** At once, unless there is something to wait for: on the way of every request, each promise shows. */
  function enter(visit: Visit, kept: Kept): Promise<void> | undefined {
    let read: EncodedData | Promise<EncodedData>
    try {
      read = readData(kept, core)
    } catch (error) {
      return meetInvalid(visit, error as Error, kept)
    }
    if (read instanceof Promise) {
      return read.then(
        (own) => enterWith(visit, kept, own),
        (error) => meetInvalid(visit, error, kept),
      )
    }
    return enterWith(visit, kept, read)
  }

  function enterWith(visit: Visit, kept: Kept, { data, text }: EncodedData): undefined {
    visit.data = data
    visit.base = text
    visit.standing = 'live'
    visit.loaded = true
    adopt(visit, kept, clock(), lifetime)
    if (isUse(visit)) keepAliveForThisRequest(visit, kept)
  }

  /** The record is there but of no use; what then happens is the application's choice, and the record stays. */
  async function meetInvalid(visit: Visit, error: Error, kept?: Kept): Promise<void> {
    const { onInvalid } = settings
    events.emit('invalid', { handle: handleOf(visit), error })
    if (onInvalid === 'error') throw error
    if (typeof onInvalid === 'function' && kept) {
      const repaired = onInvalid(tryDecode(kept.data), error)
      if (repaired !== undefined) {
        return enterWith(visit, kept, detached(schema ? await validate(schema, repaired) : repaired, codec))
      }
    }
    const invalid = handleOf(visit)
    await beginNew(visit, 'ended')
    visit.invalid = invalid
  }

  function tryDecode(text: string): unknown {
    try {
      return codec.decode(text)
    } catch {
      return text
    }
  }

  /** Another instance may sweep what looks idle while this request is still at work. */
  function keepAliveForThisRequest(visit: Visit, kept: Kept): void {
    const now = visit.openedAt
    const expires = expiry(kept.record, kept.lastSeen, lifetime)
    const then = expiry(kept.record, now, lifetime)
    if (then > expires && expires - now < settings.deadlines.request) {
      work.inBackground('touch', () => vault.touch(handleOf(visit), now, then))
    }
  }

  function mayGoOnWithout({ source }: Visit): boolean {
    const { onStoreFailure } = settings
    if (typeof onStoreFailure !== 'function') return onStoreFailure === 'anonymous'
    return checkOnStoreFailure(onStoreFailure(viewOf(source))) === 'anonymous'
  }

  async function beginUnavailable(visit: Visit, outage: StoreUnavailableError): Promise<void> {
    const { id, handle } = visit
    await beginNew(visit)
    Object.assign(visit, { id, handle, outage })
  }

  function beginNew(visit: Visit, presented = visit.presented): Promise<void> | undefined {
    visit.presented = presented
    const initial = initialData(core)
    return initial instanceof Promise
      ? initial.then((data) => beginWith(visit, data))
      : beginWith(visit, initial)
  }

  function beginWith(visit: Visit, { data, text }: EncodedData): undefined {
    startAnew(visit, core, text)
    visit.data = data
    visit.loaded = true
    visit.resend = false
  }

  async function fallQuiet(visit: Visit): Promise<void> {
    const { id, handle, generation, kept } = visit
    await beginNew(visit, 'ended')
    Object.assign(visit, { id, handle, generation, kept, standing: 'quiet' })
  }

  /** The token is right and does not suffice. */
  async function keepFrom(visit: Visit, kept: Kept, refusal: HoldfastError): Promise<void> {
    visit.kept = kept
    await fallQuiet(visit)
    visit.refusal = refusal
  }

  async function find(handle: string): Promise<Visit | undefined> {
    let kept: Kept | 'destroyed' | undefined
    try {
      kept = await vault.load(handle)
    } catch (error) {
      if (!(error instanceof InvalidRecordError) || settings.onInvalid === 'error') throw error
      events.emit('invalid', { handle, error })
    }
    if (kept === undefined || kept === 'destroyed') return undefined
    if (clock() >= expiry(kept.record, kept.lastSeen, lifetime)) return undefined
    const visit = newVisit(undefined, clock())
    visit.handle = handle
    visit.generation = kept.record.generation
    visit.presented = 'live'
    visit.answered = true
    await enter(visit, kept)
    return visit.standing === 'live' ? visit : undefined
  }

  return { open, load, find }
}

const DONE = Promise.resolve()
/** Stands in until the visit is loaded. */
const NO_RECORD = newRecord(0)

function newVisit(source: RequestSource, now: number): Visit {
  return {
    source,
    openedAt: now,
    presented: 'none',
    duplicate: false,
    id: undefined,
    handle: undefined,
    brought: 0,
    generation: 1,
    loaded: false,
    standing: 'new',
    invalid: undefined,
    refusal: undefined,
    kept: undefined,
    record: NO_RECORD,
    operations: [],
    data: {},
    own: undefined,
    base: '{}',
    touched: false,
    looked: false,
    unresolved: undefined,
    lost: [],
    mayBeEnded: false,
    unconcluded: undefined,
    outage: undefined,
    carried: undefined,
    overwritten: undefined,
    cookie: 'none',
    clearSiteData: false,
    resend: false,
    answered: false,
    lateCheck: undefined,
    trace: undefined,
    isReported: false,
    turn: DONE,
    begun: [],
  }
}
