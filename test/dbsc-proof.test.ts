import { generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProofError, readRefresh, readRegistration } from '../src/dbsc/proof.ts'
import { Device, encode } from './helpers/device.ts'

const device = new Device('')
const { x, y } = device.jwk as { x: string; y: string }
const key = { x, y }
const registration = device.proof({ jti: 'challenge', jwk: device.jwk })
const refresh = device.proof({ jti: 'challenge' })

/** Signed as it should be, whatever it says. */
function signed(header: unknown, payload: unknown, key = device.keys.privateKey): string {
  const text = `${encode(header)}.${encode(payload)}`
  const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
  return `${text}.${signature.toString('base64url')}`
}

const HEAD = { alg: 'ES256', typ: 'dbsc+jwt' }

describe('the proof of a registration', () => {
  it('brings its key, and answers a challenge', () => {
    expect(readRegistration(registration)).toEqual({ key, challenge: 'challenge' })
  })

  it.each<[string, unknown]>([
    ['it has no jwk', undefined],
    ['it has no jwk', null],
    ['it has no jwk', 'jwk'],
    ['its jwk is not of EC and P-256', {}],
    ['its jwk is not of EC and P-256', { ...device.jwk, kty: 'RSA' }],
    ['its jwk is not of EC and P-256', { ...device.jwk, crv: 'P-384' }],
    ['its jwk is a private key', device.keys.privateKey.export({ format: 'jwk' })],
    ['its jwk is not of 32 bytes each, x and y', { ...device.jwk, x: 1 }],
    ['its jwk is not of 32 bytes each, x and y', { ...device.jwk, y: undefined }],
    ['its jwk is not of 32 bytes each, x and y', { ...device.jwk, x: `${x}A` }],
    ['its jwk is not of 32 bytes each, x and y', { ...device.jwk, y: `A${y}` }],
    ['its jwk is not of 32 bytes each, x and y', { ...device.jwk, x: x.slice(1) }],
    ['its jwk is no point of the curve', { ...device.jwk, y: x }],
    ['its signature is not that of the key', new Device('').jwk],
  ])('is refused: %s', (reason, jwk) => {
    expect(() => readRegistration(signed({ ...HEAD, jwk }, { jti: 'challenge' }))).toThrow(
      new ProofError(reason),
    )
  })
})

describe('the proof of a refresh', () => {
  it('answers a challenge, by the key that is kept', () => {
    expect(readRefresh(refresh, key)).toEqual({ challenge: 'challenge' })
    expect(() => readRefresh(refresh, new Device('').jwk as never)).toThrow(ProofError)
  })

  it.each(['jwk', 'jku', 'x5c', 'x5u'])('brings no key: %s', (name) => {
    const proof = signed({ ...HEAD, [name]: device.jwk }, { jti: 'challenge' })
    expect(() => readRefresh(proof, key)).toThrow(new ProofError(`it brings a key of its own (${name})`))
  })

  const body = refresh.slice(0, refresh.lastIndexOf('.'))
  it.each<[string, string]>([
    ['it is longer than 4096 characters', 'A'.repeat(4097)],
    ['it is no compact JWS of three parts', 'A'.repeat(4096)],
    ['it is no compact JWS of three parts', ''],
    ['it is no compact JWS of three parts', body],
    ['it is no compact JWS of three parts', `${body}.`],
    ['it is no compact JWS of three parts', `${refresh}.`],
    ['it is no compact JWS of three parts', `${refresh}.AAAA`],
    ['it is no compact JWS of three parts', `${refresh}=`],
    ['it is no compact JWS of three parts', ` ${refresh}`],
    ['its header is not JSON', 'AAAA.e30.AAAA'],
    ['its header is no object', 'W10.e30.AAAA'],
    ['its header is no object', 'bnVsbA.e30.AAAA'],
    ['its header is no object', 'NQ.e30.AAAA'],
    ['its payload is not JSON', `${encode(HEAD)}.AAAA.AAAA`],
    ['its payload is no object', `${encode(HEAD)}.W10.AAAA`],
    ['its typ is not dbsc+jwt', signed({ alg: 'ES256' }, { jti: 'challenge' })],
    ['its typ is not dbsc+jwt', signed({ ...HEAD, typ: 'JWT' }, { jti: 'challenge' })],
    ['its alg is not ES256', signed({ typ: 'dbsc+jwt' }, { jti: 'challenge' })],
    ['its alg is not ES256', signed({ ...HEAD, alg: 'none' }, { jti: 'challenge' })],
    ['its alg is not ES256', signed({ ...HEAD, alg: 'RS256' }, { jti: 'challenge' })],
    ['it has critical extensions (RFC 7515, section 4.1.11)', signed({ ...HEAD, crit: [] }, { jti: 'c' })],
    ['its signature is not that of the key', `${body}.AAAA`],
    ['its signature is not that of the key', device.proof({ jti: 'challenge', encoding: 'der' })],
    [
      'its signature is not that of the key',
      `${refresh.slice(0, -4)}${refresh.endsWith('AAAA') ? 'BBBA' : 'AAAA'}`,
    ],
    ['it answers no challenge (jti)', signed(HEAD, {})],
    ['it answers no challenge (jti)', signed(HEAD, { jti: 7 })],
  ])('is refused: %s', (reason, proof) => {
    expect(() => readRefresh(proof, key)).toThrow(new ProofError(reason))
  })

  it('of another kind of key is refused', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
    expect(() => readRefresh(signed(HEAD, { jti: 'challenge' }, privateKey), key)).toThrow(ProofError)
  })

  it('is not accepted with anything changed, and nothing but that is thrown', () => {
    const change = fc.record({
      at: fc.nat(refresh.length),
      length: fc.nat(4),
      put: fc.string({ unit: 'binary', maxLength: 4 }),
    })
    fc.assert(
      fc.property(change, ({ at, length, put }) => {
        const changed = refresh.slice(0, at) + put + refresh.slice(at + length)
        if (changed !== refresh) expect(() => readRefresh(changed, key)).toThrow(ProofError)
      }),
      { numRuns: 5_000 },
    )
  })

  it('of any shape is refused and nothing worse', () => {
    const json = fc.json().map((text) => Buffer.from(text).toString('base64url'))
    const part = fc.oneof(json, fc.constant(encode(HEAD)), fc.string({ unit: 'binary' }), fc.base64String())
    const jws = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.tuple(part, part, part).map((parts) => parts.join('.')),
    )
    fc.assert(
      fc.property(jws, (text) => {
        expect(() => readRefresh(text, key)).toThrow(ProofError)
        expect(() => readRegistration(text)).toThrow(ProofError)
      }),
      { numRuns: 5_000 },
    )
  })
})
