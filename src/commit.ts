import { isOfThisLogin, isRetired, isRetiredByLogin, mayJoin, QUIET_TIME } from './admission.ts'
import { createCarrier } from './carry.ts'
import type { Core } from './core.ts'
import { initialData, replaceData, startAnew } from './core.ts'
import { ConflictError } from './errors.ts'
import { createLanes, type Lane } from './lanes.ts'
import { expiry, isCookieChanged } from './lifetime.ts'
import { compileRules, merge } from './merge.ts'
import type { Opener } from './open.ts'
import type { Operation } from './operations.ts'
import { apply, concernsTokenOnly, retiresTokens } from './operations.ts'
import { createRebaser } from './rebase.ts'
import type { SessionRecord } from './record.ts'
import { ended, tooLate, unavailable, withheld } from './refusals.ts'
import { routeOf, withholdsCookies } from './request.ts'
import { countOf, firstRev, follows, nextRev } from './revision.ts'
import type { WriteOptions } from './store.ts'
import { keyOf, newId } from './token.ts'
import type { Kept } from './vault.ts'
import { DURABLE } from './vault.ts'
import type { Visit } from './visit.ts'
import {
  adopt,
  encodeChanges,
  handleOf,
  hasChanges,
  hasOperations,
  isUse,
  loginOf,
  putData,
} from './visit.ts'

/** From a visit to the store: what a request changed is written, merged with what others wrote meanwhile. */
export interface Committer {
  /** Writes pending changes. Nothing at once if there are none. */
  commit(visit: Visit): Promise<void> | undefined
  /** Runs `change` on the data as it is now and writes the result; again on whatever another commit made of it. */
  update<R>(visit: Visit, change: (data: object) => R): Promise<R>
  /** Notes the first use of the current token, unless somebody else wrote meanwhile: then the next use will do. */
  confirm(visit: Visit, now: number): Promise<void>
  /** Takes over what others committed, and keeps what this visit has changed. */
  reload(visit: Visit): Promise<void>
  /** Ends the session that the client's token names, at once, and makes the visit one to no session. */
  end(visit: Visit): Promise<void>
}

/** What `update` does, on a copy: if somebody else's commit comes first there is nothing to take back, whatever the handler did meanwhile. */
interface Change {
  /** The data with the change done, encoded: what is to be committed. */
  run(): { text: string; data: object }
  /** It is committed: brings it into the data that the handler holds. */
  done(): void
}

const NO_RULES = compileRules({})

export function createCommitter(core: Core, opener: Opener): Committer {
  const { settings, vault, events } = core
  const { clock, codec, lifetime } = settings
  const { check, checkFlashes, rebase } = createRebaser(core, opener)
  const { carry, takeAlong } = createCarrier(core)
  const lanes = createLanes()

  function commit(visit: Visit): Promise<void> | undefined {
    if (visit.unresolved) return resolve(visit).then(() => commit(visit))
    const encoded = encodeChanges(visit, codec)
    if (encoded === undefined && !hasOperations(visit)) return undefined
    return visit.outage ? Promise.reject(unavailable(visit)) : write(visit, undefined, encoded)
  }

  async function update<R>(visit: Visit, change: (data: object) => R): Promise<R> {
    if (visit.outage) throw unavailable(visit)
    if (visit.unresolved) await resolve(visit)
    visit.touched = true
    let result: R
    let before = ''
    let after = ''
    await write(visit, {
      run() {
        before = codec.encode(visit.data)
        const data = codec.decode(before)
        result = change(data)
        refusePromise(result)
        after = codec.encode(data)
        return { text: after, data }
      },
      done() {
        putData(visit, mergeOwn(codec.decode(before), visit.data, codec.decode(after)))
        before = after
      },
    })
    return result!
  }

  /** What the handler did while its own update was on the way: nobody to refuse it. */
  function mergeOwn(before: object, mine: object, after: object): object {
    try {
      return merge(before, mine, after, settings.mergeRules).value
    } catch {
      return merge(before, mine, after, NO_RULES).value
    }
  }

  /** Until it is written, ended or out of time: whatever stands in the store now is the base of the next attempt. */
  async function write(visit: Visit, change?: Change, encoded?: string): Promise<void> {
    const deadline = performance.now() + settings.deadlines.request
    let known = encoded
    for (;;) {
      const attempt =
        visit.standing === 'live' || joinable(visit)
          ? lanes.run(handleOf(visit), (lane) => replace(visit, lane, deadline, change, known))
          : create(visit, change)
      known = undefined // true for an attempt that began at once; whoever waits may see the data change
      if (await attempt) break
    }
    if (visit.overwritten) {
      const paths = [...visit.overwritten]
      visit.overwritten = undefined
      events.emit('overwritten', { handle: handleOf(visit), paths, route: routeOf(visit.source) })
    }
  }

  /** @returns false when the id was taken: by an earlier attempt whose answer was lost, or by a broken generator of random numbers */
  async function create(visit: Visit, change?: Change): Promise<boolean> {
    const login = loginOf(visit)
    if (visit.standing === 'quiet') {
      if (!login) throw ended(visit)
      startAnew(visit, core, (await initialData(core)).text, visit.operations)
    }
    if (visit.answered) throw tooLate('start a session')
    if (!login && visit.presented === 'none' && withholdsCookies(visit.source)) throw withheld(visit)

    const changed = change?.run()
    if (changed?.text === visit.base) {
      change?.done()
      if (!hasChanges(visit, codec)) return true
    }
    const sent = changed?.text ?? codec.encode(visit.data)
    const handle = handleOf(visit)
    const now = clock()
    const { operations, record } = visit
    await check(sent, changed?.data ?? visit.data)
    const kept: Kept = { rev: firstRev(), record, data: sent, lastSeen: now }
    checkFlashes(record)
    const expires = expiry(record, now, lifetime)
    const carried = vault.carry && (await carry(visit, kept, expires, visit.id!))
    visit.unresolved = { rev: kept.rev, sent, record, operations, done: change?.done }
    const isCreated = await vault.create(handle, kept, expires, durability(operations))
    if (!isCreated) {
      if (await hasLanded(visit)) return false
      visit.id = newId()
      visit.handle = keyOf(visit.id)
      return false
    }
    visit.unresolved = undefined
    change?.done()
    visit.carried = carried
    committed(visit, kept, sent, operations)
    visit.standing = 'live'
    visit.generation = record.generation
    visit.cookie = 'send'
    events.emit('created', { handle, userId: record.user })
    if (login) events.emit('login', { handle, userId: login.user })
    return true
  }

  /** @returns false when the visit has become one to a new session, or to the session that it joins: go on from there */
  async function replace(
    visit: Visit,
    lane: Lane,
    deadline: number,
    change?: Change,
    encoded?: string,
  ): Promise<boolean> {
    let known = encoded
    let current = newer(lane.latest, visit.kept!)
    const isForTokenOnly = change === undefined && changesTokenOnly(visit)
    for (let attempt = 0; ; attempt++) {
      const now = clock()
      if (current !== 'gone' && isExpired(visit, current, now)) {
        known = undefined
        current = await reloaded(visit, now)
      }
      if (current === 'gone' || isDead(visit, current.record)) {
        if (isForTokenOnly) {
          visit.operations = []
          return true
        }
        return afterDeath(visit, current, now)
      }
      if (current.rev !== visit.kept?.rev) {
        known = undefined
        await rebase(visit, current)
      }

      const changed = change?.run()
      const text = changed ? changed.text : (known ?? encodeChanges(visit, codec))
      known = undefined
      const sent = text === visit.base ? undefined : text
      const { operations } = visit
      const record = applyAll(current.record, operations, visit.generation, now)
      if (sent === undefined && record === current.record) {
        change?.done()
        visit.operations = []
        return true
      }
      const checking = sent === undefined ? undefined : check(sent, changed?.data ?? visit.data)
      if (checking) await checking
      const next = successor(current, record, sent ?? current.data, visit, now)
      checkFlashes(record)
      const expires = expiry(record, next.lastSeen, lifetime)
      // A login there gets an id of its own: what was carried before, and may come back, is not of this login.
      const id = vault.carry && loginOf(visit) ? newId() : visit.id
      const carried = vault.carry && (await carry(visit, next, expires, id!))
      visit.unresolved = { rev: next.rev, sent: sent ?? visit.base, record, operations, done: change?.done }
      lane.latest = undefined
      const result = await vault.update(handleOf(visit), next, expires, current.rev, durability(operations))
      if (result === 'conflict' && attempt > 0) await pause(Math.random() * Math.min(attempt, 5))
      const found = result === 'conflict' ? await reloaded(visit, clock()) : 'gone'
      visit.unresolved = undefined
      // A driver whose connection broke may have sent it again, and tell only of the second time.
      const wasRepeated = found !== 'gone' && follows(found.rev, next.rev)
      if (result === 'ok' || wasRepeated) {
        if (carried) await takeAlong(visit, carried, id!)
        lane.latest = wasRepeated ? found : next
        change?.done()
        committed(visit, next, sent ?? visit.base, operations)
        announce(visit, current.record, record, operations)
        return true
      }
      if (performance.now() >= deadline) {
        throw new ConflictError(
          `session ${handleOf(visit)}: others kept changing it for ${settings.deadlines.request} ms (deadlines.request)`,
        )
      }
      lane.latest = current = found
      if (current !== 'gone') takeOverLost(visit, current)
    }
  }

  /** What the store holds now; `gone` also when it has expired. */
  async function reloaded(visit: Visit, now: number): Promise<Kept | 'gone'> {
    const found = await vault.load(handleOf(visit), { fresh: true, carried: visit.carried })
    if (found === undefined || found === 'destroyed' || isExpired(visit, found, now)) return 'gone'
    return found
  }

  /** This request is a use of the session itself, so it does not expire under its hands for want of use before it began. */
  function isExpired(visit: Visit, { record, lastSeen }: Kept, now: number): boolean {
    return now >= expiry(record, isUse(visit) ? Math.max(lastSeen, visit.openedAt) : lastSeen, lifetime)
  }

  /** After a failover the record may be back with whoever had it before the login: what this user wrote is not for them. */
  function isDead(visit: Visit, record: SessionRecord): boolean {
    return isRetired(visit.generation, record) || record.user !== visit.kept!.record.user
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

  /** The token is dead. Only a login goes on: in the session that the same login has just made of it, or in a new one. */
  async function afterDeath(visit: Visit, current: Kept | 'gone', now: number): Promise<boolean> {
    const login = loginOf(visit)
    if (!login) throw ended(visit)
    if (current !== 'gone' && mayJoin(visit.generation, current.record, login.user, now)) {
      await join(visit, current)
    } else {
      startAnew(visit, core, (await initialData(core)).text, visit.operations)
    }
    return false
  }

  /** A quiet visit whose login belongs to the session that it was retired by. */
  function joinable(visit: Visit): boolean {
    const login = loginOf(visit)
    return (
      visit.standing === 'quiet' &&
      visit.kept !== undefined &&
      login !== undefined &&
      mayJoin(visit.generation, visit.kept.record, login.user, clock())
    )
  }

  async function join(visit: Visit, current: Kept): Promise<void> {
    if (visit.answered) throw tooLate('log in')
    const before = visit.kept?.record.user
    // What an earlier user left was never the base of what this one did.
    if (before !== undefined && before !== current.record.user) visit.base = (await initialData(core)).text
    const { record } = current
    const login = loginOf(visit)
    const isSameLogin =
      isRetiredByLogin(record) && record.stamp === login?.stamp && record.level === login?.level
    visit.operations = visit.operations.flatMap((operation): Operation[] => {
      // The first use of the old token is none of the one that it is given now.
      if (operation.kind === 'confirm') return []
      return [operation.kind === 'login' && isSameLogin ? { kind: 'join' } : operation]
    })
    if (isSameLogin) visit.cookie = 'send'
    visit.generation = current.record.generation
    visit.standing = 'live'
    await rebase(visit, current)
  }

  function successor(current: Kept, record: SessionRecord, data: string, visit: Visit, now: number): Kept {
    const lastSeen = isUse(visit) ? Math.max(now, current.lastSeen) : current.lastSeen
    return { rev: nextRev(current.rev), record, data, lastSeen }
  }

  function applyAll(
    record: SessionRecord,
    operations: readonly Operation[],
    presented: number,
    now: number,
  ): SessionRecord {
    const at = { presented, now, policy: lifetime }
    return operations.reduce((next, operation) => apply(next, operation, at), record)
  }

  /** What was sent is the base from now on; what was done since then is still to be written. */
  function committed(visit: Visit, kept: Kept, sent: string, operations: readonly Operation[]): void {
    visit.operations = visit.operations.filter((operation) => !operations.includes(operation))
    visit.base = sent
    adopt(visit, kept, clock(), lifetime)
  }

  /** Only the request whose commit made a new token sends it, and the one that changed how long the cookie lives. */
  function announce(
    visit: Visit,
    before: SessionRecord,
    after: SessionRecord,
    operations: readonly Operation[],
  ): void {
    const handle = handleOf(visit)
    const isNewToken = after.generation > before.generation && operations.some(makesToken)
    if (isNewToken) visit.generation = after.generation
    if (isNewToken || isCookieChanged(before, after, lifetime)) visit.cookie = 'send'
    const login = operations.find((operation) => operation.kind === 'login')
    if (login) events.emit('login', { handle, userId: login.user })
    else if (isNewToken) events.emit('rotated', { handle })
  }

  /** Finds out what became of a write that got no answer: its revision tells. */
  async function resolve(visit: Visit): Promise<void> {
    const attempt = visit.unresolved!
    const found = await vault.load(handleOf(visit), { fresh: true, carried: visit.carried })
    visit.unresolved = undefined
    visit.lost = [...visit.lost, attempt]
    if (found !== undefined && found !== 'destroyed') takeOverLost(visit, found)
  }

  /** Whether the id is taken by this visit itself: by a create whose answer was lost, or that the driver has sent twice. */
  async function hasLanded(visit: Visit): Promise<boolean> {
    await resolve(visit)
    return visit.standing === 'live'
  }

  /** What this visit had given up, and was done all the same: not to be done again. */
  function takeOverLost(visit: Visit, found: Kept): void {
    const landed = visit.lost.find(({ rev }) => follows(found.rev, rev))
    if (!landed) return
    visit.lost = []
    const { rev, sent, record, operations, done } = landed
    done?.()
    const before = visit.standing === 'live' ? visit.kept!.record.generation : 0
    committed(visit, { ...found, rev }, sent, operations)
    if (visit.standing === 'new' || (operations.some(makesToken) && record.generation > before)) {
      visit.standing = 'live'
      visit.generation = record.generation
      // Others may have gone on from there: a login or step-up of theirs gives no token to this request.
      if (!isRetired(record.generation, found.record)) visit.cookie = 'send'
    }
  }

  async function confirm(visit: Visit, now: number): Promise<void> {
    const { kept, generation } = visit
    if (kept === undefined) return // logged out since
    const handle = handleOf(visit)
    await lanes.run(handle, async (lane) => {
      const current = newer(lane.latest, kept)
      if (current === 'gone') return
      const record = apply(
        current.record,
        { kind: 'confirm' },
        { presented: generation, now, policy: lifetime },
      )
      if (record === current.record) return
      const next = successor(current, record, current.data, visit, now)
      lane.latest = undefined
      const result = await vault.update(handle, next, expiry(record, next.lastSeen, lifetime), current.rev)
      if (result === 'ok') lane.latest = next
    })
  }

  async function reload(visit: Visit): Promise<void> {
    if (visit.outage) throw unavailable(visit)
    if (visit.unresolved) await resolve(visit)
    if (visit.standing !== 'live') return
    const current = await reloaded(visit, clock())
    if (current === 'gone' || isRetired(visit.generation, current.record)) throw ended(visit)
    if (current.rev === visit.kept!.rev) return
    await rebase(visit, current)
  }

  async function end(visit: Visit): Promise<void> {
    if (visit.outage) throw unavailable(visit)
    if (visit.kept !== undefined || visit.standing === 'quiet') {
      const handle = handleOf(visit)
      const now = clock()
      const found = await vault.load(handle, { fresh: true, carried: visit.carried })
      if (found === 'destroyed') {
        // Perhaps by an attempt whose durability nobody confirmed, this client's last one: ask again.
        await vault.destroy(handle, now + QUIET_TIME)
      } else if (found && !isExpired(visit, found, now) && isOwn(visit.generation, found.record)) {
        // Not if somebody has logged in since it was opened: that session is not the one which this token names.
        const isEnded = await vault.destroy(handle, now + QUIET_TIME)
        if (!isEnded && vault.carry && visit.answered) throw tooLate('log out')
        events.emit('logout', { handle, userId: found.record.user })
      }
    } else if (visit.unresolved) {
      await vault.destroy(handleOf(visit), clock() + QUIET_TIME)
    }
    if (visit.refused) {
      await vault.destroy(visit.refused, clock() + QUIET_TIME)
      visit.refused = undefined
    }
    const initial = await initialData(core)
    startAnew(visit, core, initial.text)
    replaceData(visit, core, initial.text)
  }

  return { commit, update, confirm, reload, end }
}

/** Whether the token is the session's, or was until a step-up of the same login. */
function isOwn(generation: number, record: SessionRecord): boolean {
  return !isRetired(generation, record) || isOfThisLogin(generation, record)
}

/** A lane may lag behind what this visit has loaded; merging onto an older state would take its absences for deletions. */
function newer(latest: Lane['latest'], kept: Kept): Kept | 'gone' {
  if (latest === undefined) return kept
  return latest === 'gone' || countOf(latest.rev) > countOf(kept.rev) ? latest : kept
}

function durability(operations: readonly Operation[]): WriteOptions | undefined {
  return operations.some(retiresTokens) ? DURABLE : undefined
}

function makesToken({ kind }: Operation): boolean {
  return kind === 'rotate' || kind === 'login' || kind === 'elevate'
}

function refusePromise(result: unknown): void {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then === 'function') {
    throw new TypeError(
      'update: the change must be synchronous, since it may run again; do the waiting before it',
    )
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resume) => setTimeout(resume, milliseconds))
}
