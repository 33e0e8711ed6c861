import { setTimeout as sleep } from 'node:timers/promises'
import { QUIET_TIME } from './admission.ts'
import type { Core } from './core.ts'
import { replaceData, startAnew } from './core.ts'
import { initialData, readData } from './data.ts'
import { expiry } from './lifetime.ts'
import type { Operation } from './operations.ts'
import { isJoin, isLogin } from './operations.ts'
import { stillUnknown, tooMany } from './refusals.ts'
import { routeOf } from './request.ts'
import { follows, nextRev } from './revision.ts'
import type { LoginOptions } from './session.ts'
import type { Settings } from './settings.ts'
import { UnsupportedError } from './store.ts'
import { sessionsOf } from './user-sessions.ts'
import type { Kept } from './vault.ts'
import { DURABLE } from './vault.ts'
import type { Attempt, Visit } from './visit.ts'
import { adopt, handleOf } from './visit.ts'

/*
 * What a login does to the user's other sessions: `maxSessionsPerUser`, and `login(…, { revokeOthers })`. It is done after the login is
 * written and before its answer leaves, by whoever wrote it: so whoever comes last has seen all the others. See docs/decisions/022-limits-checks-privacy.md.
 */
export interface LoginRules {
  /** Refuses what can be refused before anything is changed. @throws SessionLimitError, UnsupportedError, StoreUnavailableError */
  checkRoom(visit: Visit, userId: string, options: LoginOptions): Promise<void>
  /** @throws SessionLimitError: the login has been taken back. StoreUnavailableError: it is to be tried again */
  conclude(visit: Visit, attempt: Attempt): Promise<void>
}

/** Whether it is a login after which there is more to do. */
export function owes({ operations, record, from }: Attempt, { maxSessionsPerUser }: Settings): boolean {
  const logins = operations.filter(isLogin)
  if (logins.length === 0) return false
  if (logins.some(asksToRevoke)) return true
  // A user's login in their own session adds none. But of one that is joined, nobody knows whether it has been counted.
  const isAdded = logins.some(isJoin) || from.kept?.record.user !== record.user
  return maxSessionsPerUser !== undefined && isAdded
}

/** One request may log in twice: what the first login asked for holds as well. Another user's are gone by then. */
function asksToRevoke(operation: Operation): boolean {
  return isLogin(operation) && operation.revokeOthers === true
}

/** Between two looks at whether those who came too late have gone. */
const LOOK_AGAIN = 25

/** Whose clocks differ by less than this are parallel: they must agree on one order, and either of them may be the newest. */
const SAME_MOMENT = 1_000

interface Login {
  readonly handle: string
  readonly at: number
}

export function createLoginRules(core: Core): LoginRules {
  const { settings, vault, events } = core
  const { clock, lifetime, maxSessionsPerUser, store } = settings

  async function checkRoom(visit: Visit, userId: string, { revokeOthers }: LoginOptions): Promise<void> {
    if (revokeOthers) {
      if (store.users) return
      throw new UnsupportedError(
        `login: revokeOthers: the ${store.name} store cannot find sessions by user. Give login a stamp that changes with the password, ` +
          'and verifyStamp() ends the others at their next request.',
      )
    }
    if (maxSessionsPerUser?.onLimit !== 'reject' || visit.record.user === userId) return
    const others = (await loginsOf(userId)).filter(({ handle }) => handle !== visit.handle)
    if (others.length >= maxSessionsPerUser.limit) throw refusal(visit, userId)
  }

  async function conclude(visit: Visit, attempt: Attempt): Promise<void> {
    // Whatever fails here, the login and what was changed with it are written.
    await concludeWritten(visit, attempt).catch(stillUnknown)
  }

  async function concludeWritten(visit: Visit, attempt: Attempt): Promise<void> {
    const user = attempt.record.user!
    if (attempt.operations.some(asksToRevoke)) return revokeOthers(visit, user)
    if (maxSessionsPerUser?.onLimit === 'evict-oldest') return evict(user)
    if (await hasRoom(visit, user)) return
    await takeBack(visit, attempt)
    visit.unconcluded = undefined
    throw refusal(visit, user)
  }

  async function revokeOthers(visit: Visit, userId: string): Promise<void> {
    const options = { except: handleOf(visit) }
    const count = await vault.destroyAll('users', userId, clock() + QUIET_TIME, options)
    if (count > 0) events.emit('revoked', { count, userId })
  }

  /**
   * Parallel logins may well all do this: they agree on who is too many, and a session ends once. What is still to come by this clock was
   * written by one that is ahead of it, and before this look: so it is no newer than the login that looks, which would be ended by it.
   */
  async function evict(userId: string): Promise<void> {
    const logins = await loginsOf(userId)
    const moment = clock() + SAME_MOMENT
    const [ahead, others] = [logins.filter(({ at }) => at > moment), logins.filter(({ at }) => at <= moment)]
    const oldest = [...ahead, ...others].slice(0, -maxSessionsPerUser!.limit)
    await Promise.all(
      oldest.map(async ({ handle }) => {
        if (await vault.destroy(handle, clock() + QUIET_TIME))
          events.emit('revoked', { count: 1, handle, userId, reason: 'limit' })
      }),
    )
  }

  /**
   * Who logged in before goes first. Who is within the limit and sees others beyond it waits for them to go; if they stay, they had been let in
   * before this login was written, so this one goes. If several wait, the last ones do, as many as there are too many, and the others wait for that.
   */
  async function hasRoom(visit: Visit, userId: string): Promise<boolean> {
    const { limit } = maxSessionsPerUser!
    const began = performance.now()
    for (;;) {
      const logins = await loginsOf(userId)
      if (logins.length <= limit) return true
      const place = logins.findIndex(({ handle }) => handle === handleOf(visit))
      const patience = settings.deadlines.write * (place < limit * 2 - logins.length ? 2 : 1)
      if (place >= limit || performance.now() >= began + patience) return false
      await sleep(LOOK_AGAIN * (0.5 + Math.random()))
    }
  }

  /** The user's live sessions, in the order of their logins. */
  async function loginsOf(userId: string): Promise<Login[]> {
    const logins = new Map<string, Login>() // one that moves from store to store may be listed twice
    for await (const { handle, kept } of sessionsOf(vault, userId)) {
      const { record, lastSeen } = kept
      if (clock() >= expiry(record, lastSeen, lifetime)) continue
      logins.set(handle, { handle, at: record.authenticatedAt ?? record.createdAt })
    }
    return [...logins.values()].sort((a, b) => a.at - b.at || (a.handle < b.handle ? -1 : 1))
  }

  /** The visitor's session is again what it was before the login, and so is the visit: what this request wanted to change goes with it. */
  async function takeBack(visit: Visit, attempt: Attempt): Promise<void> {
    const { kept, generation } = attempt.from
    // It joined a login of which others hold the token, perhaps.
    if (attempt.operations.some(isJoin)) return leave(visit)
    // Another user's session could have been revoked meanwhile, and nobody would have found it: it was not that user's then.
    if (kept === undefined || kept.record.user !== undefined) {
      await vault.destroy(handleOf(visit), clock() + QUIET_TIME)
      return leave(visit)
    }
    const restored = await restore(visit, attempt, kept)
    if (!restored) return leave(visit)
    const { text } = await readData(restored, core)
    visit.operations = []
    visit.generation = generation
    replaceData(visit, core, text)
    adopt(visit, restored, clock(), lifetime)
  }

  /** Undefined if the session has ended meanwhile, or another click has joined this login: it may have been answered, so it stands. */
  async function restore(visit: Visit, attempt: Attempt, before: Kept): Promise<Kept | undefined> {
    const { lastSeen } = visit.kept!
    const next: Kept = { ...before, rev: nextRev(attempt.rev), lastSeen }
    const expires = expiry(next.record, lastSeen, lifetime)
    if ((await vault.update(handleOf(visit), next, expires, attempt.rev, DURABLE)) === 'ok') return next
    const found = await vault.load(handleOf(visit), { fresh: true })
    if (found === undefined || found === 'destroyed') return undefined
    return follows(found.rev, next.rev) ? found : undefined
  }

  async function leave(visit: Visit): Promise<void> {
    const { text } = await initialData(core)
    startAnew(visit, core, text)
    replaceData(visit, core, text)
  }

  function refusal(visit: Visit, userId: string): Error {
    const { limit } = maxSessionsPerUser!
    events.emit('refused', { userId, limit, route: routeOf(visit.source) })
    return tooMany(limit)
  }

  return { checkRoom, conclude }
}
