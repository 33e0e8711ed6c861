import { keyOf } from '../../src/token.ts'

export interface Token {
  readonly session: string
  readonly generation: number
}

/** What a cookie says, without verifying it. */
export function readToken(cookie: string): Token {
  const generation = Buffer.from(cookie.slice(36, 40), 'base64url').readUIntBE(0, 3)
  return { session: keyOf(cookie.slice(4, 36)), generation }
}
