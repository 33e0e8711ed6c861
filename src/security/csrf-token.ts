import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { deriveKey, keyIdOf } from '../token.ts'

/**
 * Tokens for forms: `key id | salt | tag`, 52 characters of base64url, where the tag is HMAC-SHA256, under a key of its own, of the salt and
 * of the login of one session. The salt makes each one another text, so that a compressed page tells nothing about it (BREACH).
 */
export interface CsrfSigner {
  sign(login: Login): string
  /** Also what is no text at all, as a form that was tampered with may bring. */
  verify(token: unknown, login: Login): boolean
}

/** Stays through rotations, and ends with a login, a logout and the session. */
export interface Login {
  readonly handle: string
  readonly userSince: number
}

const KEY_ID = 4
const SALT = 16
const TAG = 32

/** @param secrets the newest first: it signs, all verify */
export function csrfSigner(secrets: readonly Uint8Array[], name: string): CsrfSigner {
  const keys = new Map(secrets.map((secret) => [keyIdOf(secret, name), deriveKey(secret, name, 'csrf')]))
  const newest = keyIdOf(secrets[0]!, name)

  function tokenOf(keyId: string, salt: string, { handle, userSince }: Login): string {
    const tag = createHmac('sha256', keys.get(keyId)!).update(`${salt} ${handle} ${userSince}`)
    return keyId + salt + tag.digest('base64url').slice(0, TAG)
  }

  return {
    sign: (login) => tokenOf(newest, randomBytes(12).toString('base64url'), login),
    verify(token, login) {
      if (typeof token !== 'string' || !/^[A-Za-z0-9_-]+$/.test(token)) return false
      if (token.length !== KEY_ID + SALT + TAG) return false
      const keyId = token.slice(0, KEY_ID)
      if (!keys.has(keyId)) return false
      const expected = tokenOf(keyId, token.slice(KEY_ID, KEY_ID + SALT), login)
      return timingSafeEqual(Buffer.from(token), Buffer.from(expected))
    },
  }
}
