import { createHmac, timingSafeEqual } from 'node:crypto'
import { deriveKey } from '../token.ts'

/**
 * Text that only we can have made, for one purpose and in one context, so that nothing about it need be remembered:
 * `key id | body | tag`, in base64url. The tag is HMAC-SHA256 under a key of the purpose, cut to 144 bits as that of tokens is.
 */
export interface Tagger {
  sign(body: string, context: readonly string[]): string
  /** The body, if we made the text for this context. */
  verify(text: string, context: readonly string[]): string | undefined
}

const KEY_ID = 4
const TAG = 24
const LONGEST = 128
const BASE64URL = /^[A-Za-z0-9_-]+$/

/** @param secrets the newest first: it signs, all verify; the key id says which, so that none is tried */
export function createTagger(secrets: readonly Uint8Array[], name: string, purpose: string): Tagger {
  const keys = new Map(
    secrets.map((secret) => {
      const id = deriveKey(secret, name, `${purpose} key id`).subarray(0, 3).toString('base64url')
      return [id, deriveKey(secret, name, purpose)] as const
    }),
  )
  const [newest] = keys.keys() as Iterable<string> as [string]

  function tag(keyId: string, body: string, context: readonly string[]): string {
    const sum = createHmac('sha256', keys.get(keyId)!).update(JSON.stringify([keyId, body, ...context]))
    return sum.digest('base64url').slice(0, TAG)
  }

  return {
    sign: (body, context) => newest + body + tag(newest, body, context),
    verify(text, context) {
      if (text.length <= KEY_ID + TAG || text.length > LONGEST || !BASE64URL.test(text)) return undefined
      const keyId = text.slice(0, KEY_ID)
      if (!keys.has(keyId)) return undefined
      const body = text.slice(KEY_ID, -TAG)
      const expected = Buffer.from(tag(keyId, body, context), 'latin1')
      return timingSafeEqual(Buffer.from(text.slice(-TAG), 'latin1'), expected) ? body : undefined
    },
  }
}
