import { randomBytes } from 'node:crypto'
import { InvalidRecordError } from '../errors.ts'
import type { Challenge } from './challenge.ts'
import { CHALLENGE_LIFE } from './challenge.ts'
import type { PublicKey } from './proof.ts'

/** What a record keeps of the device that its session is bound to. A plain value: a change makes a new one. */
export interface Binding {
  /** The session identifier of the protocol, which goes over the wire in the clear: neither the token nor the handle. */
  readonly id: string
  readonly key: PublicKey
  readonly boundAt: number
  /** Bad proofs since the last good one. */
  readonly failures: number
  /** Challenges made until then have been used, or count as used. */
  readonly usedUntil: number
  /** Challenges made later, and used. */
  readonly used: readonly Challenge[]
}

/** More than a browser signs in the life of a challenge: 6 in 9 minutes. */
const MOST_USED = 8

export function newBinding(key: PublicKey, now: number): Binding {
  const id = randomBytes(18).toString('base64url')
  return { id, key, boundAt: now, failures: 0, usedUntil: 0, used: [] }
}

/**
 * The binding with the challenge used, or nothing if it has been. What is left out of the list, as it is full or its challenge has expired,
 * leaves its time behind: so no clock that is behind lets a challenge be used again.
 */
export function use(binding: Binding, challenge: Challenge, now: number): Binding | undefined {
  const isUsed =
    challenge.madeAt <= binding.usedUntil || binding.used.some(({ nonce }) => nonce === challenge.nonce)
  if (isUsed) return undefined
  const latestFirst = [...binding.used, challenge].sort((a, b) => b.madeAt - a.madeAt)
  const used = latestFirst.filter(({ madeAt }, i) => i < MOST_USED && now < madeAt + CHALLENGE_LIFE)
  const usedUntil = latestFirst[used.length]?.madeAt ?? binding.usedUntil
  return { ...binding, failures: 0, usedUntil, used }
}

/** `id.x.y.boundAt.failures.usedUntil`, and two fields for each challenge used: nothing in it needs an escape in JSON. */
export function formatBinding({ id, key, boundAt, failures, usedUntil, used }: Binding): string {
  const numbers = [boundAt, failures, usedUntil].map((number) => number.toString(36))
  return [id, key.x, key.y, ...numbers, ...used.flatMap((one) => [one.nonce, one.madeAt.toString(36)])].join(
    '.',
  )
}

/** @throws InvalidRecordError: a session that may be bound must not pass for one that is not */
export function parseBinding(text: string): Binding {
  const [id = '', x = '', y = '', boundAt, failures, usedUntil, ...rest] = text.split('.')
  const numbers = [boundAt, failures, usedUntil].map(parseNumber)
  const used = rest.flatMap((nonce, i) => (i % 2 === 0 ? [{ nonce, madeAt: parseNumber(rest[i + 1]) }] : []))
  if ([...numbers, ...used.map(({ madeAt }) => madeAt)].some(Number.isNaN)) {
    throw new InvalidRecordError(
      'what the record says of its device is not as this version of holdfast/dbsc writes it',
    )
  }
  const [at, failed, until] = numbers as [number, number, number]
  return { id, key: { x, y }, boundAt: at, failures: failed, usedUntil: until, used }
}

function parseNumber(text = ''): number {
  return Number.parseInt(text, 36)
}
