import type { LifetimePolicy } from './lifetime.ts'
import { mayRotate } from './lifetime.ts'
import type { ClientWords, Flash, SessionRecord } from './record.ts'

/**
 * What a request did to its session beside the data. Kept as what was done, never as the values that came of it, so that it can
 * be done again on a record that others have changed meanwhile: their times, user and level stand.
 */
export type Operation =
  | ({ readonly kind: 'login'; readonly revokeOthers?: boolean } & LoginFacts)
  | { readonly kind: 'elevate'; readonly level: string; readonly until?: number }
  | { readonly kind: 'rotate' }
  | ({ readonly kind: 'lifetime' } & LifetimeOverrides)
  | { readonly kind: 'flash'; readonly flash: Flash }
  | { readonly kind: 'take'; readonly ids: readonly string[] }
  /** Changes what an extension keeps: again, on what others made of it meanwhile. Pure; the text itself if there is nothing to change. */
  | { readonly kind: 'bind'; readonly change: (record: SessionRecord) => string | undefined }
  | { readonly kind: 'renewCookie' }
  /** The first use of the current generation. */
  | { readonly kind: 'confirm' }
  /** Another client than before uses this user's session. */
  | { readonly kind: 'client'; readonly user: string; readonly client: ClientWords }
  /** The token of a login was given a second time. */
  | { readonly kind: 'join'; readonly revokeOthers?: boolean }
  /** The store fell behind a token that we signed. */
  | { readonly kind: 'advance'; readonly generation: number }

export interface LoginFacts {
  readonly user: string
  readonly externalId?: string
  readonly stamp?: string
  readonly level?: string
  readonly about?: Readonly<Record<string, string>>
  readonly client?: ClientWords
}

export interface LifetimeOverrides {
  readonly idle?: number | false
  readonly absolute?: number | false
  readonly endsAt?: number
  readonly persistent?: boolean
}

export interface Circumstances {
  /** The generation of the token that the request holds. */
  readonly held: number
  readonly now: number
  readonly policy: LifetimePolicy
}

/** Whether it is worth a write of its own. The others go along with the next one. */
export function isActive(operation: Operation): boolean {
  return !isNote(operation) && operation.kind !== 'advance'
}

/** Whether it says what this request was, and is written behind its answer if nothing else is. */
export function isNote({ kind }: Operation): boolean {
  return kind === 'confirm' || kind === 'client'
}

/** Whether the handler loses nothing if it is not done, since the client is to get a newer token anyway, or none. */
export function concernsTokenOnly(operation: Operation): boolean {
  const { kind } = operation
  return kind === 'rotate' || kind === 'renewCookie' || kind === 'advance' || isNote(operation)
}

/** Whether the client gets a new token by it. */
export function makesToken({ kind }: Operation): boolean {
  return kind === 'rotate' || kind === 'login' || kind === 'elevate'
}

/** Also one that joins what the first click has begun. */
export function isLogin(operation: Operation): operation is Operation & { kind: 'login' | 'join' } {
  return operation.kind === 'login' || operation.kind === 'join'
}

export function isJoin({ kind }: Operation): boolean {
  return kind === 'join'
}

/**
 * Whether undoing it, as the loss of a machine may, would leave somebody in who was shut out: a token that a login or a step-up has
 * retired, or whoever has not the key that the session is bound to.
 */
export function shutsOut(operation: Operation): boolean {
  return isLogin(operation) || operation.kind === 'elevate' || operation.kind === 'bind'
}

/** The record with all of them done; the same object if they change nothing. */
export function applyAll(
  record: SessionRecord,
  operations: readonly Operation[],
  at: Circumstances,
): SessionRecord {
  return operations.reduce((next, operation) => apply(next, operation, at), record)
}

/** The record with the operation done; the same object if it changes nothing. */
export function apply(record: SessionRecord, operation: Operation, at: Circumstances): SessionRecord {
  switch (operation.kind) {
    case 'login':
      return login(record, operation, at)
    case 'elevate':
      return {
        ...retireAll({ ...record, level: operation.level, levelUntil: operation.until }, at),
        confirmedAt: undefined,
      }
    case 'rotate':
      return mayRotate(at.held, record, at.now, at.policy) ? rotate(record, at) : record
    case 'lifetime': {
      const { kind: _, ...overrides } = operation
      return { ...record, ...overrides }
    }
    case 'flash':
      return { ...record, flashes: [...record.flashes, operation.flash] }
    case 'take': {
      const left = record.flashes.filter(({ id }) => !operation.ids.includes(id))
      return left.length === record.flashes.length ? record : { ...record, flashes: left }
    }
    case 'bind': {
      const bound = operation.change(record)
      return bound === record.bound ? record : { ...record, bound }
    }
    case 'renewCookie':
      return { ...record, cookieAt: at.now }
    case 'confirm':
      return record.generation === at.held && record.confirmedAt === undefined
        ? { ...record, confirmedAt: at.now }
        : record
    case 'client':
      return record.user === operation.user ? { ...record, client: operation.client } : record
    case 'join':
      return record.confirmedAt === undefined
        ? record
        : { ...record, confirmedAt: Math.max(at.now, record.rotatedAt + 1) }
    case 'advance':
      return record.generation < operation.generation
        ? { ...record, generation: operation.generation, rotatedAt: at.now, confirmedAt: at.now }
        : record
  }
}

function login(
  record: SessionRecord,
  { kind: _, revokeOthers: __, ...facts }: Operation & { kind: 'login' },
  at: Circumstances,
): SessionRecord {
  const isAnotherUsers = record.user !== undefined && record.user !== facts.user
  const kept = isAnotherUsers ? withoutTracesOfUser(record, at.now) : record
  const next = retireAll(
    {
      ...kept,
      ...facts,
      externalId: facts.externalId,
      stamp: facts.stamp,
      level: facts.level,
      client: facts.client,
      levelUntil: undefined,
      bound: undefined,
      authenticatedAt: at.now,
    },
    at,
  )
  return { ...next, userSince: next.generation }
}

function withoutTracesOfUser(record: SessionRecord, now: number): SessionRecord {
  return {
    createdAt: now,
    generation: record.generation,
    rotatedAt: record.rotatedAt,
    retiredBelow: record.retiredBelow,
    retiredAt: record.retiredAt,
    userSince: record.userSince,
    flashes: [],
  }
}

/** A new token, and every older one dead: there is no grace for a login or a step-up (ASVS 7.2.4). */
function retireAll(record: SessionRecord, { now }: Circumstances): SessionRecord {
  const generation = record.generation + 1
  return { ...record, generation, rotatedAt: now, confirmedAt: now, retiredBelow: generation, retiredAt: now }
}

function rotate(record: SessionRecord, { now }: Circumstances): SessionRecord {
  return { ...record, generation: record.generation + 1, rotatedAt: now, confirmedAt: undefined }
}
