import type { KeyObject } from 'node:crypto'
import { createPublicKey, verify } from 'node:crypto'

/** A point on P-256, as it stands in a JWK: 32 bytes each, in base64url. */
export interface PublicKey {
  readonly x: string
  readonly y: string
}

/** What came as a proof is none; the message says which check it failed. Never thrown at applications. */
export class ProofError extends Error {
  override readonly name = 'ProofError'
}

const LONGEST = 4096
const COORDINATE = /^[A-Za-z0-9_-]{43}$/
/** ECDSA on P-256 in the form of RFC 7518, section 3.4: r and s, and nothing around them. */
const SIGNATURE = 64

/** The proof of a registration brings its key along. @throws ProofError */
export function readRegistration(header: string): { key: PublicKey; challenge: string } {
  const proof = parse(header)
  const key = publicKeyOf(proof.header.jwk)
  checkSignature(proof, keyObject(key))
  return { key, challenge: challengeOf(proof) }
}

/** A key that a refresh brings along would let anybody refresh: it is the one that we keep, or none. @throws ProofError */
export function readRefresh(header: string, key: PublicKey): { challenge: string } {
  const proof = parse(header)
  for (const name of ['jwk', 'jku', 'x5c', 'x5u']) {
    if (name in proof.header) throw new ProofError(`it brings a key of its own (${name})`)
  }
  checkSignature(proof, keyObject(key))
  return { challenge: challengeOf(proof) }
}

interface Jws {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Readonly<Record<string, unknown>>
  readonly signed: string
  readonly signature: Buffer
}

function parse(header: string): Jws {
  if (header.length > LONGEST) throw new ProofError(`it is longer than ${LONGEST} characters`)
  const parts = header.split('.')
  if (parts.length !== 3 || !parts.every(isBase64url))
    throw new ProofError('it is no compact JWS of three parts')
  const [head, payload, signature] = parts as [string, string, string]
  const jws: Jws = {
    header: parsePart(head, 'header'),
    payload: parsePart(payload, 'payload'),
    signed: `${head}.${payload}`,
    signature: Buffer.from(signature, 'base64url'),
  }
  const { typ, alg } = jws.header
  if (typ !== 'dbsc+jwt') throw new ProofError('its typ is not dbsc+jwt')
  if (alg !== 'ES256') throw new ProofError('its alg is not ES256')
  if ('crit' in jws.header) throw new ProofError('it has critical extensions (RFC 7515, section 4.1.11)')
  return jws
}

/** The one spelling of its bytes, and not empty. */
function isBase64url(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part
}

function parsePart(part: string, name: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  } catch {
    throw new ProofError(`its ${name} is not JSON`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ProofError(`its ${name} is no object`)
  return value as Record<string, unknown>
}

function publicKeyOf(jwk: unknown): PublicKey {
  if (typeof jwk !== 'object' || jwk === null) throw new ProofError('it has no jwk')
  const { kty, crv, x, y } = jwk as Record<string, unknown>
  // Node takes other curves, and private keys for their public half.
  if (kty !== 'EC' || crv !== 'P-256') throw new ProofError('its jwk is not of EC and P-256')
  if ('d' in jwk) throw new ProofError('its jwk is a private key')
  if (typeof x !== 'string' || typeof y !== 'string' || !COORDINATE.test(x) || !COORDINATE.test(y))
    throw new ProofError('its jwk is not of 32 bytes each, x and y')
  return { x, y }
}

function keyObject({ x, y }: PublicKey): KeyObject {
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' })
  } catch {
    throw new ProofError('its jwk is no point of the curve')
  }
}

function checkSignature({ signed, signature }: Jws, key: KeyObject): void {
  const isRight =
    signature.length === SIGNATURE &&
    verify('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, signature)
  if (!isRight) throw new ProofError('its signature is not that of the key')
}

function challengeOf({ payload }: Jws): string {
  if (typeof payload.jti !== 'string') throw new ProofError('it answers no challenge (jti)')
  return payload.jti
}
