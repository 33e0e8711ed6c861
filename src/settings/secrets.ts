import { randomBytes } from 'node:crypto'
import { OptionsError } from '../errors.ts'
import type { Logger, Secret, SessionOptions } from '../options.ts'

export const MAKE_ONE = 'Make one with: node -p "crypto.randomBytes(32).toString(\'base64url\')"'

export function resolveSecrets(secret: SessionOptions<object>['secret'], logger: Logger): Uint8Array[] {
  if (Array.isArray(secret) && secret.length === 0)
    throw new OptionsError(`secret: the list is empty. ${MAKE_ONE}`)
  const list =
    secret === undefined ? [] : Array.isArray(secret) ? (secret as readonly Secret[]) : [secret as Secret]
  if (list.length > 0) return refuseRepeated(list.map(checkSecret))
  if (process.env.NODE_ENV === 'production') {
    throw new OptionsError(`secret: needed in production. ${MAKE_ONE}`)
  }
  logger.warn('holdfast: no secret given, so a random one is used, and all sessions end with this process.')
  return [randomBytes(32)]
}

/** What was to be a new secret would be none. */
function refuseRepeated(secrets: Uint8Array[]): Uint8Array[] {
  const texts = secrets.map((secret) => Buffer.from(secret).toString('base64'))
  for (const [i, text] of texts.entries()) {
    const first = texts.indexOf(text)
    if (first < i) {
      throw new OptionsError(
        `secret: number ${i + 1} of the list is the same as number ${first + 1}; leave one of them out`,
      )
    }
  }
  return secrets
}

const EXAMPLE_SECRETS =
  /change.?me|your.?secret|secret.?here|example|minimum length of 32|at.?least.?32|thirtytwochar|keyboard.?cat|supersecret/i

function checkSecret(secret: Secret): Uint8Array {
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) {
    throw new OptionsError(
      `secret: ${secret === null ? 'null' : `a ${typeof secret}`} is not a secret; give text or bytes`,
    )
  }
  const bytes = Buffer.from(secret as Uint8Array)
  if (bytes.length < 32)
    throw new OptionsError(`secret: ${bytes.length} bytes are too few; at least 32 are needed. ${MAKE_ONE}`)
  if (new Set(bytes).size < 8 || (typeof secret === 'string' && EXAMPLE_SECRETS.test(secret))) {
    throw new OptionsError(`secret: this one can be guessed. ${MAKE_ONE}`)
  }
  return bytes
}
