import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { InvalidRecordError, OptionsError } from './errors.ts'
import { deriveKey } from './token.ts'

/** Encrypts a record's text at rest. `bound` is authenticated with it, so that no sealed text passes for another's. */
export interface Seal {
  seal(text: string, bound: string): string
  /** @throws InvalidRecordError when it was not sealed with one of the secrets, for this `bound`, or at all */
  open(sealed: string, bound: string): string
}

const NONCE = 12
const TAG = 16

/**
 * AES-256-GCM: `s1.key id.base64url(nonce | ciphertext | tag)`. Each text has a key of its own, derived from the secret, its nonce and what it is
 * bound to, which keeps random nonces far from the limit of 2^32 messages a key (NIST SP 800-38D, section 8.3). The key id names the
 * secret: none is tried.
 */
export function recordSeal(secrets: readonly Uint8Array[], name: string): Seal {
  const keys = new Map(
    secrets.map((secret) => {
      const id = deriveKey(secret, name, 'seal key id').subarray(0, 3).toString('base64url')
      return [id, deriveKey(secret, name, 'seal')] as const
    }),
  )
  if (keys.size < secrets.length) {
    throw new OptionsError(
      'secret: two of the secrets have the same key id for seals (one chance in 16 million). Use another one.',
    )
  }
  const [newestId, newestKey] = [...keys][0]!

  return {
    seal(text, bound) {
      const nonce = randomBytes(NONCE)
      const cipher = createCipheriv('aes-256-gcm', keyFor(newestKey, nonce, bound), nonce).setAAD(
        Buffer.from(bound),
      )
      // workerd takes an empty text for the end, and fails at the next one.
      const body = text === '' ? [] : [cipher.update(text, 'utf8')]
      const sealed = Buffer.concat([nonce, ...body, cipher.final(), cipher.getAuthTag()])
      return `s1.${newestId}.${sealed.toString('base64url')}`
    },
    open(sealed, bound) {
      const [version, keyId = '', body = '', ...more] = sealed.split('.')
      const key = keys.get(keyId)
      if (version !== 's1' || !key)
        throw new InvalidRecordError('the record is not sealed with any of the secrets')
      const bytes = Buffer.from(body, 'base64url')
      const nonce = bytes.subarray(0, NONCE)
      const tag = bytes.subarray(-TAG)
      if (bytes.length < NONCE + TAG) throw new InvalidRecordError('the sealed record is truncated')
      // One text, one spelling: base64url is read whatever stands between its letters and after them.
      if (more.length > 0 || bytes.toString('base64url') !== body)
        throw new InvalidRecordError('the sealed record is not spelled as it was written')
      try {
        const decipher = createDecipheriv('aes-256-gcm', keyFor(key, nonce, bound), nonce, {
          authTagLength: TAG,
        })
        decipher.setAAD(Buffer.from(bound)).setAuthTag(tag)
        return decipher.update(bytes.subarray(NONCE, -TAG), undefined, 'utf8') + decipher.final('utf8')
      } catch (cause) {
        throw new InvalidRecordError('the sealed record was changed, or belongs to another session', {
          cause,
        })
      }
    },
  }
}

function keyFor(key: Buffer, nonce: Buffer, bound: string): Buffer {
  return createHmac('sha256', key).update(nonce).update(bound).digest()
}
