import { hash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { OptionsError } from './errors.ts'

/**
 * The token is the secret in the cookie: `version+key id | id | generation | tag`, 64 characters of base64url. Each part
 * is a whole number of 3-byte groups, so the text can be cut without decoding it and has no second spelling.
 *
 *   4 characters   version (1 byte) and key id (2 bytes): which secret signed it, so nothing is guessed
 *  32              id: 24 random bytes, the same for the life of the session
 *   4              generation: how often the session has been rotated
 *  24              tag: HMAC-SHA256 of all before it, cut to 144 bits
 */
export interface Token {
  readonly id: string
  readonly generation: number
}

export interface VerifiedToken extends Token {
  /** `keyOf(id)` */
  readonly key: string
  /** Signed by an older secret of the list: the response should carry it signed anew. */
  readonly stale: boolean
}

export interface TokenSigner {
  sign(token: Token): string
  verify(text: string): VerifiedToken | undefined
}

const VERSION = 1
const BASE64URL = /^[A-Za-z0-9_-]+$/
const ID = 4
const GENERATION = 36
const TAG = 40
const TAG_LENGTH = 24
/** Characters of a token. */
export const TOKEN_LENGTH = TAG + TAG_LENGTH

export const MAX_GENERATION = 2 ** 24 - 1

/** @param secrets the newest first: it signs, all verify. @param name the manager's, so that tokens of one never verify in another */
export function tokenSigner(secrets: readonly Uint8Array[], name: string): TokenSigner {
  const tags = secrets.map((secret) => tagger(deriveKey(secret, name, 'token')))
  const prefixes = secrets.map((secret) => keyIdOf(secret, name))
  const byPrefix = new Map(prefixes.map((prefix, i) => [prefix, tags[i]!]))
  if (byPrefix.size < secrets.length) {
    throw new OptionsError(
      'secret: two of the secrets have the same key id (equal secrets, or one chance in 65536). Use another one.',
    )
  }
  const newest = prefixes[0]!
  const newestTag = tags[0]!
  const given = Buffer.alloc(TAG_LENGTH)
  const expected = Buffer.alloc(TAG_LENGTH)

  function verify(text: string): VerifiedToken | undefined {
    const prefix = text.slice(0, ID)
    const tag = byPrefix.get(prefix)
    if (tag === undefined) return undefined
    given.write(text.slice(TAG), 'latin1')
    expected.write(tag(text.slice(0, TAG)), 'latin1')
    if (!timingSafeEqual(given, expected)) return undefined
    const id = text.slice(ID, GENERATION)
    return {
      id,
      key: keyOf(id),
      generation: generationOf(text.slice(GENERATION, TAG)),
      stale: prefix !== newest,
    }
  }

  return {
    sign({ id, generation }) {
      const body = newest + id + generationText(generation)
      return body + newestTag(body)
    },
    verify: remembering(verify),
  }
}

/** Tokens: some 800 kB at the most. */
const REMEMBERED = 2048

/**
 * The many requests of one page, and of one visitor, bring one token, and whether we signed it never changes. So the hashes are for the
 * first of them. What is forged is not remembered. That all this is in memory tells nobody more than the secret beside it.
 */
function remembering(verify: TokenSigner['verify']): TokenSigner['verify'] {
  let recent = new Map<string, VerifiedToken>()
  let older = new Map<string, VerifiedToken>()

  return (text) => {
    if (text.length !== TOKEN_LENGTH) return undefined
    const known = recent.get(text)
    if (known) return known
    if (!BASE64URL.test(text)) return undefined
    // A part of the Cookie header keeps all of it in memory; this is a copy.
    const copy = Buffer.from(text, 'latin1').toString('latin1')
    const token = older.get(copy) ?? verify(copy)
    if (token === undefined) return undefined
    if (recent.size === REMEMBERED) {
      older = recent
      recent = new Map()
    }
    recent.set(copy, token)
    return token
  }
}

/** A new id: 192 bits from the system's generator. */
export function newId(): string {
  return randomBytes(24).toString('base64url')
}

/** What the store files the session under, and its handle. It leads back to no token. */
export function keyOf(id: string): string {
  return hash('sha256', id, 'base64url')
}

/** HKDF-SHA256, one label a purpose and manager. */
export function deriveKey(secret: Uint8Array, name: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `holdfast/1/${name}/${purpose}`, 32))
}

/** What a token begins with: its version, and which secret signed it. */
export function keyIdOf(secret: Uint8Array, name: string): string {
  const keyId = deriveKey(secret, name, 'key id').subarray(0, 2)
  return Buffer.from([VERSION, ...keyId]).toString('base64url')
}

const BLOCK = 64

/**
 * HMAC-SHA256 (RFC 2104) of what stands before the tag, cut to 144 bits. From two hashes in place of `createHmac`, whose object costs
 * twice the time of the whole sum, and collecting it as much again.
 */
function tagger(key: Buffer): (body: string) => string {
  const inner = Buffer.alloc(BLOCK + TAG, 0x36)
  const outer = Buffer.alloc(BLOCK + 32, 0x5c)
  key.forEach((byte, i) => {
    inner[i]! ^= byte
    outer[i]! ^= byte
  })
  return (body) => {
    inner.write(body, BLOCK, 'latin1')
    outer.write(hash('sha256', inner, 'binary'), BLOCK, 'latin1')
    return hash('sha256', outer, 'base64url').slice(0, TAG_LENGTH)
  }
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** The number's three bytes in base64url, which are its four digits to the base 64. */
function generationText(generation: number): string {
  if (generation > MAX_GENERATION)
    throw new RangeError(`generation ${generation}: a session has at most ${MAX_GENERATION}`)
  let text = ''
  for (let shift = 18; shift >= 0; shift -= 6) text += DIGITS[(generation >> shift) & 63]
  return text
}

function generationOf(text: string): number {
  let generation = 0
  for (const digit of text) generation = generation * 64 + DIGITS.indexOf(digit)
  return generation
}
