import { isRetired } from './admission.ts'
import { resolve, settle, settleLost } from './attempts.ts'
import { createCarrier } from './carry.ts'
import { commitTracing, isTraced } from './channels.ts'
import type { Core } from './core.ts'
import { goOnAfterDeath, joinsSuccessor, startWithLogin } from './dead-token.ts'
import { ConflictError } from './errors.ts'
import { createLanes, type Lane } from './lanes.ts'
import { expiry, isCookieChanged } from './lifetime.ts'
import { checkData, checkFlashes } from './limits.ts'
import { type LoginRules, owes } from './login-rules.ts'
import type { Operation } from './operations.ts'
import { applyAll, concernsTokenOnly, isJoin, isLogin, isNote, makesToken, shutsOut } from './operations.ts'
import { loadLatest, rebase } from './rebase.ts'
import type { SessionRecord } from './record.ts'
import { stillUnknown, tooLate, unavailable, withheld } from './refusals.ts'
import { routeOf, withholdsCookies } from './request.ts'
import { countOf, firstRev, follows, nextRev } from './revision.ts'
import type { WriteOptions } from './store.ts'
import { keyOf, newId } from './token.ts'
import { traceAttempt, traceCommit } from './tracing.ts'
import type { Update } from './update.ts'
import { updateOf } from './update.ts'
import type { Kept } from './vault.ts'
import { DURABLE } from './vault.ts'
import type { Attempt, Visit } from './visit.ts'
import { encodeChanges, handleOf, hasChanges, hasOperations, isExpired, isUse, loginOf } from './visit.ts'

/** From a visit to the store: what a request changed is written, merged with what others wrote meanwhile. */
export interface Committer {
  /** Writes pending changes. Nothing at once if there are none. */
  commit(visit: Visit): Promise<void> | undefined
  /** Runs `change` on the data as it is now and writes the result; again on whatever another commit made of it. */
  update<R>(visit: Visit, change: (data: object) => R): Promise<R>
  /** Writes what is to be noted of the request itself, as the first use of a token, unless somebody else wrote meanwhile: then the next one will do. */
  note(visit: Visit, now: number): Promise<void>
}

export function createCommitter(core: Core, logins: LoginRules): Committer {
  const { settings, vault, events } = core
  const { name, clock, codec, lifetime } = settings
  const { carry, takeAlong } = createCarrier(core)
  const lanes = createLanes(settings.deadlines.request)

  function commit(visit: Visit): Promise<void> | undefined {
    if (visit.unresolved) return resolve(visit, core).then(() => commit(visit))
    if (visit.unconcluded) return conclude(visit).then(() => commit(visit))
    const encoded = encodeChanges(visit, codec)
    if (encoded === undefined && !hasOperations(visit)) return undefined
    return visit.outage ? Promise.reject(unavailable(visit)) : write(visit, undefined, encoded)
  }

  async function update<R>(visit: Visit, change: (data: object) => R): Promise<R> {
    if (visit.outage) throw unavailable(visit)
    if (visit.unresolved) await resolve(visit, core)
    if (visit.unconcluded) await conclude(visit)
    visit.touched = true
    const updating = updateOf(visit, settings, change)
    await write(visit, updating)
    return updating.result
  }

  function write(visit: Visit, updating?: Update, encoded?: string): Promise<void> {
    const wasLost = visit.lost.length > 0
    const writing = isTraced(commitTracing)
      ? traceCommit(name, visit, () => writeAll(visit, updating, encoded))
      : writeAll(visit, updating, encoded)
    return wasLost ? writing.catch(stillUnknown) : writing
  }

  /** Until it is written, ended or out of time: whatever stands in the store now is the base of the next attempt. */
  async function writeAll(visit: Visit, updating?: Update, encoded?: string): Promise<void> {
    const deadline = performance.now() + settings.deadlines.request
    let known = encoded
    for (;;) {
      const writing =
        visit.standing === 'live' || joinsSuccessor(visit, core)
          ? lanes.run(handleOf(visit), (lane) => replace(visit, lane, deadline, updating, known))
          : create(visit, updating)
      known = undefined // true for an attempt that began at once; whoever waits may see the data change
      if (await writing) break
    }
    if (visit.unconcluded) await conclude(visit)
    if (visit.overwritten) {
      const paths = [...visit.overwritten]
      visit.overwritten = undefined
      events.emit('overwritten', { handle: handleOf(visit), paths, route: routeOf(visit.source) })
    }
  }

  /** @returns false when the id was taken: go on from there */
  async function create(visit: Visit, updating?: Update): Promise<boolean> {
    if (visit.standing === 'quiet') await startWithLogin(visit, core)
    const login = loginOf(visit)
    if (visit.answered) throw tooLate('start a session')
    if (!login && visit.presented === 'none' && withholdsCookies(visit.source)) throw withheld(visit)

    const updated = updating?.run()
    if (updated?.text === visit.base) {
      updating?.done()
      if (!hasChanges(visit, codec)) return true
    }
    const sent = updated?.text ?? codec.encode(visit.data)
    const handle = handleOf(visit)
    const now = clock()
    const { operations, record } = visit
    await checkData(sent, updated?.data ?? visit.data, settings)
    checkFlashes(record, settings)

    const kept: Kept = { rev: firstRev(), record, data: sent, lastSeen: now }
    const from = { kept: undefined, generation: visit.generation }
    const attempt: Attempt = { rev: kept.rev, sent, record, operations, from, done: updating?.done }
    const expires = expiry(record, now, lifetime)
    const carried = vault.carry && (await carry(visit, kept, expires, visit.id!))
    visit.unresolved = attempt
    if (visit.trace) traceAttempt(visit.trace, handle, 'create', sent)
    const isCreated = await vault.create(handle, kept, expires, durability(operations))
    if (!isCreated) {
      if (visit.trace) visit.trace.conflicts++
      await giveUpIdUnlessOwn(visit)
      return false
    }
    visit.unresolved = undefined
    visit.carried = carried
    visit.standing = 'live'
    goOnFrom(visit, attempt, kept)
    return true
  }

  /** By an earlier attempt whose answer was lost, or that the driver has sent twice; or by a broken generator of random numbers. */
  async function giveUpIdUnlessOwn(visit: Visit): Promise<void> {
    await resolve(visit, core)
    if (visit.standing === 'live') return
    visit.id = newId()
    visit.handle = keyOf(visit.id)
  }

  /** @returns false when the visit has become one to a new session, or to the session that it joins: go on from there */
  async function replace(
    visit: Visit,
    lane: Lane,
    deadline: number,
    updating?: Update,
    encoded?: string,
  ): Promise<boolean> {
    let known = encoded
    let current = newer(lane.latest, visit.kept!)
    const isForTokenOnly = updating === undefined && changesTokenOnly(visit)
    for (let tries = 0; ; tries++) {
      const now = clock()
      if (current !== 'gone' && isExpired(visit, current, now, lifetime)) {
        known = undefined
        current = await loadLatest(visit, core)
      }
      // Whoever wrote before this one in the lane may have come upon what this visit had given up.
      if (current !== 'gone') settleLost(visit, current, core)
      if (current === 'gone' || isDead(visit, current.record)) {
        if (!isForTokenOnly) {
          await goOnAfterDeath(visit, current, core)
          return false
        }
        visit.operations = []
        return true
      }
      if (current.rev !== visit.kept?.rev) {
        known = undefined
        await rebase(visit, current, core)
      }

      const updated = updating?.run()
      const text = updated ? updated.text : (known ?? encodeChanges(visit, codec))
      known = undefined
      const sent = text === visit.base ? undefined : text
      const { operations } = visit
      const at = { held: visit.generation, now, policy: lifetime }
      const record = applyAll(current.record, operations, at)
      if (sent === undefined && record === current.record) {
        updating?.done()
        visit.operations = []
        if (operations.some(isJoin)) visit.cookie = 'send'
        return true
      }
      const checking = sent === undefined ? undefined : checkData(sent, updated?.data ?? visit.data, settings)
      if (checking) await checking
      checkFlashes(record, settings)

      const next = successor(visit, current, record, sent ?? current.data, now)
      const attempt: Attempt = {
        rev: next.rev,
        sent: sent ?? visit.base,
        record,
        operations,
        from: { kept: current, generation: visit.generation },
        done: updating?.done,
      }
      const found = await send(visit, lane, { attempt, current, next, tries })
      if (found === undefined) {
        if (visit.unconcluded === attempt) {
          lane.latest = undefined // it may be taken back
          await conclude(visit) // before the next in this lane, which may be the second click
        }
        return true
      }
      if (performance.now() >= deadline) {
        throw new ConflictError(
          `session ${handleOf(visit)}: others kept changing it for ${settings.deadlines.request} ms (deadlines.request)`,
        )
      }
      lane.latest = current = found
    }
  }

  /** @returns what the store holds in place of `current`, if others came first: merge with that and try again */
  async function send(
    visit: Visit,
    lane: Lane,
    { attempt, current, next, tries }: { attempt: Attempt; current: Kept; next: Kept; tries: number },
  ): Promise<Kept | 'gone' | undefined> {
    const { operations } = attempt
    const expires = expiry(next.record, next.lastSeen, lifetime)
    // A login there gets an id of its own, be it the second click: what was carried before, and may come back, is not of this login.
    const id = vault.carry && operations.some(isLogin) ? newId() : visit.id
    const carried = vault.carry && (await carry(visit, next, expires, id!))
    visit.unresolved = attempt
    lane.latest = undefined
    if (visit.trace) traceAttempt(visit.trace, handleOf(visit), 'update', next.data)
    const result = await vault.update(handleOf(visit), next, expires, current.rev, durability(operations))
    if (visit.trace && result === 'conflict') visit.trace.conflicts++
    if (result === 'conflict' && tries > 0) await pause(Math.random() * Math.min(tries, 5))
    // A driver whose connection broke may have sent it again, and tell only of the second time.
    const found = result === 'conflict' ? await loadLatest(visit, core).catch(stillUnknown) : 'gone'
    visit.unresolved = undefined
    const wasRepeated = found !== 'gone' && follows(found.rev, next.rev)
    if (result !== 'ok' && !wasRepeated) return found
    if (carried) await takeAlong(visit, carried, id!)
    lane.latest = wasRepeated ? found : next
    goOnFrom(visit, attempt, next)
    return undefined
  }

  /** The attempt is written as `kept`. A login that owes something is told only when that is done. */
  function goOnFrom(visit: Visit, attempt: Attempt, kept: Kept): void {
    settle(visit, attempt, kept, core)
    if (owes(attempt, settings)) visit.unconcluded = attempt
    else announce(visit, attempt)
  }

  /** A rotation that was due and came too late is nothing to fail an answer for. */
  function changesTokenOnly(visit: Visit): boolean {
    const { operations } = visit
    return (
      operations.length > 0 &&
      operations.every(concernsTokenOnly) &&
      encodeChanges(visit, codec) === undefined
    )
  }

  /** Not before this is done does a login count: until then its token goes nowhere. */
  async function conclude(visit: Visit): Promise<void> {
    const attempt = visit.unconcluded!
    await logins.conclude(visit, attempt)
    visit.unconcluded = undefined
    announce(visit, attempt)
  }

  /** Only the request whose commit made a new token sends it, the second click of that, and the one that changed how long the cookie lives. */
  function announce(visit: Visit, { record, operations, from: { kept } }: Attempt): void {
    const handle = handleOf(visit)
    const isNewToken =
      kept === undefined || (record.generation > kept.record.generation && operations.some(makesToken))
    if (isNewToken) visit.generation = record.generation
    if (isNewToken || operations.some(isJoin) || isCookieChanged(kept.record, record, lifetime))
      visit.cookie = 'send'
    if (kept === undefined) events.emit('created', { handle, userId: record.user })
    const login = operations.find((operation) => operation.kind === 'login')
    if (login) events.emit('login', { handle, userId: login.user })
    else if (isNewToken && kept) events.emit('rotated', { handle })
  }

  async function note(visit: Visit, now: number): Promise<void> {
    const { kept, generation } = visit
    const notes = visit.operations.filter(isNote)
    if (kept === undefined) return // logged out since
    const handle = handleOf(visit)
    await lanes.run(handle, async (lane) => {
      const current = newer(lane.latest, kept)
      if (current === 'gone') return
      const at = { held: generation, now, policy: lifetime }
      const record = applyAll(current.record, notes, at)
      if (record === current.record) return
      const next = successor(visit, current, record, current.data, now)
      lane.latest = undefined
      const result = await vault.update(handle, next, expiry(record, next.lastSeen, lifetime), current.rev)
      if (result === 'ok') lane.latest = next
    })
  }

  return { commit, update, note }
}

/** A lane may lag behind what this visit has loaded; merging onto an older state would take its absences for deletions. */
function newer(latest: Lane['latest'], kept: Kept): Kept | 'gone' {
  if (latest === undefined) return kept
  return latest === 'gone' || countOf(latest.rev) > countOf(kept.rev) ? latest : kept
}

/** After a failover the record may be back with whoever had it before the login: what this user wrote is not for them. */
function isDead(visit: Visit, record: SessionRecord): boolean {
  return isRetired(visit.generation, record) || record.user !== visit.kept!.record.user
}

function successor(visit: Visit, current: Kept, record: SessionRecord, data: string, now: number): Kept {
  const lastSeen = isUse(visit) ? Math.max(now, current.lastSeen) : current.lastSeen
  return { rev: nextRev(current.rev), record, data, lastSeen }
}

function durability(operations: readonly Operation[]): WriteOptions | undefined {
  return operations.some(shutsOut) ? DURABLE : undefined
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resume) => setTimeout(resume, milliseconds))
}
