import { setTimeout as sleep } from 'node:timers/promises'
import { CLOCK_SKEW, QUIET_TIME } from './admission.ts'
import type { Core } from './core.ts'
import type { Duration } from './duration.ts'
import { duration } from './duration.ts'
import { expiry } from './lifetime.ts'
import type { SessionRecord } from './record.ts'
import { timersEndWithRequest } from './runtime.ts'
import type { Settings } from './settings.ts'
import { UnsupportedError } from './store.ts'
import type { UserExport } from './user-sessions.ts'
import { exportUser, sessionsOf } from './user-sessions.ts'
import type { Kept } from './vault.ts'

/** A session as seen from outside: for lists of devices, dashboards and jobs. */
export interface SessionInfo {
  readonly handle: string
  readonly userId: string | undefined
  readonly createdAt: Date
  readonly lastSeenAt: Date
  readonly expiresAt: Date
  readonly authenticatedAt: Date | undefined
  readonly level: string | undefined
  /** How often it has been given a new token. */
  readonly generation: number
  readonly persistent: boolean
  /** What `describe` said at the login. */
  readonly about: Readonly<Record<string, string>>
  /** Size of its encoded data. */
  readonly bytes: number
}

/** A page of what `sessions.all()` lists. */
export interface SessionPage {
  readonly sessions: readonly SessionInfo[]
  /** Where the next page starts. Absent on the last one. */
  readonly cursor?: string
}

/** Which sessions `revoke` ends. */
export type RevokeTarget =
  /** Handles are public: give the `userId` too where the handle comes from a form, and it ends only a session of that user. */
  | { readonly handle: string; readonly userId?: string }
  | { readonly userId: string }
  | { readonly externalId: string }
  /** Sessions whose login (or creation, without one) is longer ago than this, or before this moment. */
  | { readonly olderThan: Duration | Date }

/** What `sessions.stats()` counts. */
export interface SessionStats {
  /** Live sessions. */
  readonly sessions: number
  /** Of them, those with a user. */
  readonly loggedIn: number
  /** Encoded data of all of them. */
  readonly bytes: number
}

export interface Management {
  list(userId: string): Promise<SessionInfo[]>
  all(page?: { cursor?: string; limit?: number }): Promise<SessionPage>
  revoke(target: RevokeTarget): Promise<number>
  revokeOthers(userId: string | undefined, handle: string | undefined): Promise<number>
  revokeAll(): Promise<number>
  exportUser(userId: string): Promise<UserExport>
  stats(): Promise<SessionStats>
  sweep(): Promise<number>
  /** Sweeps by itself from now on; the result stops that, and ends every sweep after the batch that is under way. */
  keepSweeping(): () => void
}

const WHICH = 'revoke: give { handle }, { userId }, { externalId } or { olderThan }'

const PAGE = 200
/** So few that no request feels a batch, in a store that does one thing at a time (SQLite) as well. */
const SWEEP_BATCH = 200
const SHORTEST_REST = 10
/** Node fires a timer of more than this at once. */
const LONGEST_TIMER = 2 ** 31 - 1

export function createManagement(core: Core): Management {
  const { settings, vault, events, work } = core
  const { clock } = settings

  const describe = (handle: string, kept: Kept) => infoOf(handle, kept, settings)

  async function list(userId: string): Promise<SessionInfo[]> {
    text('userId', userId)
    const sessions: SessionInfo[] = []
    for await (const { handle, kept } of sessionsOf(vault, userId))
      if (isLive(kept, settings)) sessions.push(describe(handle, kept))
    return sessions.sort((a, b) => b.lastSeenAt.getTime() - a.lastSeenAt.getTime())
  }

  async function all({
    cursor,
    limit = PAGE,
  }: {
    cursor?: string
    limit?: number
  } = {}): Promise<SessionPage> {
    const page = await vault.scan(cursor, limit)
    const sessions = page.items
      .filter(({ kept }) => isLive(kept, settings))
      .map(({ handle, kept }) => describe(handle, kept))
    return page.cursor === undefined ? { sessions } : { sessions, cursor: page.cursor }
  }

  async function eachKept(
    visit: (handle: string, kept: Kept) => Promise<void> | void,
    visitUnreadable?: (handle: string) => Promise<void>,
  ): Promise<void> {
    let cursor: string | undefined
    do {
      const page = await vault.scan(cursor, PAGE)
      for (const { handle, kept } of page.items) if (isLive(kept, settings)) await visit(handle, kept)
      for (const handle of page.unreadable) await visitUnreadable?.(handle)
      cursor = page.cursor
    } while (cursor !== undefined)
  }

  async function revoke(target: RevokeTarget): Promise<number> {
    const count = await destroyTarget(target)
    const { handle, userId } = target as { handle?: string; userId?: string }
    return announced(count, { handle, userId })
  }

  async function destroyTarget(target: RevokeTarget): Promise<number> {
    const until = clock() + QUIET_TIME
    if (typeof target !== 'object' || target === null) throw new TypeError(WHICH)
    if ('handle' in target) {
      const handle = text('handle', target.handle)
      if ('userId' in target && !(await mayBeOf(handle, text('userId', target.userId)))) return 0
      return (await vault.destroy(handle, until)) ? 1 : 0
    }
    if ('userId' in target) return vault.destroyAll('users', text('userId', target.userId), until)
    if ('externalId' in target)
      return vault.destroyAll('externalIds', text('externalId', target.externalId), until)
    if ('olderThan' in target) {
      const { olderThan } = target
      const before =
        olderThan instanceof Date ? olderThan.getTime() : clock() - duration('olderThan', olderThan)
      if (Number.isNaN(before)) throw new TypeError('revoke: olderThan is an invalid Date')
      return destroyWhere((record) => (record.authenticatedAt ?? record.createdAt) < before)
    }
    throw new TypeError(WHICH)
  }

  /** Also if it has ended, perhaps by an attempt whose durability nobody confirmed: to end it again asks for that again, and harms nobody. */
  async function mayBeOf(handle: string, userId: string): Promise<boolean> {
    if (vault.carry) {
      throw new UnsupportedError(
        'revoke: sessions travel with their clients, so whose one is cannot be looked up; pass { handle } or { userId } alone',
      )
    }
    const kept = await vault.load(handle)
    return kept === 'destroyed' || kept?.record.user === userId
  }

  async function destroyWhere(isMeant: (record: SessionRecord) => boolean): Promise<number> {
    let count = 0
    await eachKept(async (handle, { record }) => {
      if (isMeant(record) && (await vault.destroy(handle, clock() + QUIET_TIME))) count++
    })
    return count
  }

  /** Also what cannot be read: with the secret that it was sealed by, it would be somebody's again. */
  async function destroyAll(): Promise<number> {
    let count = 0
    const end = async (handle: string) => {
      if (await vault.destroy(handle, clock() + QUIET_TIME)) count++
    }
    await eachKept(end, end)
    return count
  }

  function announced(count: number, which: { handle?: string; userId?: string } = {}): number {
    if (count > 0) events.emit('revoked', { count, ...which })
    return count
  }

  async function revokeOthers(userId: string | undefined, handle: string | undefined): Promise<number> {
    if (userId === undefined) return 0
    const count = await vault.destroyAll('users', userId, clock() + QUIET_TIME, { except: handle })
    return announced(count, { userId })
  }

  async function stats(): Promise<SessionStats> {
    let [sessions, loggedIn, bytes] = [0, 0, 0]
    await eachKept((_handle, { record, data }) => {
      sessions++
      if (record.user !== undefined) loggedIn++
      bytes += Buffer.byteLength(data)
    })
    return { sessions, loggedIn, bytes }
  }

  const stopping = new AbortController()

  /**
   * Goes on until nothing is left. After each batch it rests as long as that took, so that requests have the store, and the process,
   * to themselves for at least half of the time. `ref`: whether the process stays alive for it.
   */
  async function sweepAll(ref: boolean): Promise<number> {
    if (!vault.sweep) return 0
    const { signal } = stopping
    let count = 0
    try {
      for (;;) {
        const start = performance.now()
        const removed = await vault.sweep(clock() - CLOCK_SKEW, SWEEP_BATCH)
        count += removed
        if (removed < SWEEP_BATCH) return count
        const rest = Math.max(performance.now() - start, SHORTEST_REST)
        await sleep(rest, undefined, { ref, signal }).catch(() => undefined) // it fails only when stopped
        if (signal.aborted) return count
      }
    } finally {
      if (count > 0) events.emit('swept', { count })
    }
  }

  function keepSweeping(): () => void {
    const { sweepEvery } = settings
    let timer: NodeJS.Timeout | undefined
    const schedule = (every: number) => {
      if (stopping.signal.aborted) return
      // Instances that were started together must not all sweep at once.
      const wait = Math.min(every * (0.5 + Math.random()), LONGEST_TIMER)
      timer = setTimeout(
        () => work.inBackground('sweep', () => sweepAll(false).finally(() => schedule(every))),
        wait,
      ).unref()
    }
    if (vault.sweep && sweepEvery !== false) {
      try {
        schedule(sweepEvery)
      } catch (error) {
        // There are no timers yet while a worker's modules load: it calls `sessions.sweep()` from a cron trigger.
        if (!timersEndWithRequest) throw error
      }
    }
    return () => {
      stopping.abort()
      clearTimeout(timer)
    }
  }

  return {
    list,
    all,
    revoke,
    revokeOthers,
    revokeAll: async () => announced(await destroyAll()),
    exportUser: async (userId) => exportUser(text('userId', userId), core),
    stats,
    sweep: () => sweepAll(true),
    keepSweeping,
  }
}

export function isLive(
  { record, lastSeen }: Kept,
  { clock, lifetime }: Pick<Settings, 'clock' | 'lifetime'>,
): boolean {
  return clock() < expiry(record, lastSeen, lifetime)
}

export function infoOf(
  handle: string,
  { record, lastSeen, data }: Kept,
  { clock, lifetime }: Pick<Settings, 'clock' | 'lifetime'>,
): SessionInfo {
  const isLevelOver = record.levelUntil !== undefined && clock() >= record.levelUntil
  return {
    handle,
    userId: record.user,
    createdAt: new Date(record.createdAt),
    lastSeenAt: new Date(lastSeen),
    expiresAt: new Date(expiry(record, lastSeen, lifetime)),
    authenticatedAt: record.authenticatedAt === undefined ? undefined : new Date(record.authenticatedAt),
    level: isLevelOver ? undefined : record.level,
    generation: record.generation,
    persistent: record.persistent ?? lifetime.persistent,
    about: record.about ?? {},
    bytes: Buffer.byteLength(data),
  }
}

function text(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw new TypeError(`${name} must be text, and not empty`)
  return value
}
