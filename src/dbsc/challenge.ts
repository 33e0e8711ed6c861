import { randomBytes } from 'node:crypto'
import { CLOCK_SKEW } from '../admission.ts'
import type { Tagger } from './tags.ts'

/** What a device has to sign. It is not remembered when it is made, only when it is used: so asking for many of them writes nothing. */
export interface Challenge {
  readonly nonce: string
  readonly madeAt: number
}

/** How long a challenge can be answered, and how long after a login the session can be bound. */
export const CHALLENGE_LIFE = 5 * 60_000

const NONCE = 24

export function makeChallenge(tagger: Tagger, context: readonly string[], now: number): string {
  return tagger.sign(randomBytes(18).toString('base64url') + timeText(now), context)
}

/** The challenge, if it was made for this context, and whether it can still be answered. */
export function readChallenge(
  tagger: Tagger,
  text: string,
  context: readonly string[],
  now: number,
): (Challenge & { isLive: boolean }) | undefined {
  const body = tagger.verify(text, context)
  if (body === undefined) return undefined
  const madeAt = timeOf(body.slice(NONCE))
  const isLive = madeAt <= now + CLOCK_SKEW && now < madeAt + CHALLENGE_LIFE
  return { nonce: body.slice(0, NONCE), madeAt, isLive }
}

/** Milliseconds in six bytes: 8 characters of base64url. */
export function timeText(time: number): string {
  const bytes = Buffer.alloc(6)
  bytes.writeUIntBE(time, 0, 6)
  return bytes.toString('base64url')
}

export function timeOf(text: string): number {
  return Buffer.from(text, 'base64url').readUIntBE(0, 6)
}
