import { generateKeyPairSync } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { boundSites } from '../helpers/bound-sites.ts'
import { challengeIn, Device, encode, type Reply } from '../helpers/device.ts'
import { type RunningSite, startBoundSite } from '../helpers/running-site.ts'

const MINUTE = 60_000
const LIVES = 'ann: undefined'

let site: RunningSite
afterEach(() => site.stop())

async function start(framework: string): Promise<RunningSite> {
  site = await startBoundSite(framework)
  return site
}

function expectNoCookie({ setCookies }: Reply): void {
  expect(setCookies).toEqual([])
}

/** What sends the browser back for another signature; the session lives on. */
function expectToProveAgain(reply: Reply, id: string): string {
  expect(reply.status).toBe(403)
  expect(reply.headers.get('secure-session-challenge')).toMatch(new RegExp(`^"[^"]+";id="${id}"$`))
  expectNoCookie(reply)
  return challengeIn(reply)
}

describe.each(Object.keys(boundSites))('on %s', (framework) => {
  it('DBSC 1 a registration binds the session to the key, and sets the bound cookie as it describes it', async () => {
    const { device, events } = await start(framework)
    const login = await device.ask('POST', '/login')
    const offer = /^\(ES256\);path="\/dbsc\/register";challenge="([A-Za-z0-9_-]{43,})"$/.exec(
      login.headers.get('secure-session-registration')!,
    )
    const reply = await device.register({ jti: offer![1]! })
    expect([reply.status, reply.headers.get('content-type'), reply.headers.get('cache-control')]).toEqual([
      200,
      'application/json',
      'no-store',
    ])
    expect(reply.setCookies).toHaveLength(1)
    const { session_identifier: id, ...instructions } = JSON.parse(reply.text)
    expect(id).toMatch(/^[A-Za-z0-9_-]{22,}$/)
    expect(reply.headers.get('secure-session-challenge')).toMatch(new RegExp(`^"[A-Za-z0-9_-]+";id="${id}"$`))
    const { name, attributes } = instructions.credentials[0]
    expect(instructions).toEqual({
      refresh_url: '/dbsc/refresh',
      scope: { include_site: false, scope_specification: [] },
      credentials: [{ type: 'cookie', name: '__Host-id-bound', attributes }],
    })
    const parts = reply.setCookies[0]!.split('; ')
    expect(parts[0]).toMatch(new RegExp(`^${name}=[A-Za-z0-9_-]+$`))
    expect(parts.slice(1).filter((part) => !part.startsWith('Max-Age='))).toEqual(attributes.split('; '))
    expect(parts).toContain('Max-Age=570')
    expect(attributes.split('; ').sort()).toEqual(['HttpOnly', 'Path=/', 'SameSite=Lax', 'Secure'])
    expect(events.bound).toEqual([{ handle: expect.any(String), userId: 'ann' }])
    expect((await device.me()).text).toBe(LIVES)
  })

  it('DBSC 2 a refresh without a proof is told to sign a challenge of its own session', async () => {
    const { device } = await start(framework)
    const first = await device.bind()
    const second = expectToProveAgain(await device.refresh(), device.id)
    expect(second).not.toBe(first)
  })

  it('DBSC 3 a proof gives a new bound cookie, and the old one dies when its time is over', async () => {
    const { device, clock } = await start(framework)
    const jti = await device.bind()
    const thief = device.thief()
    const old = device.boundCookie
    clock.now += 4 * MINUTE
    const reply = await device.refresh(device.proof({ jti }))
    expect([reply.status, reply.text, reply.setCookies.length]).toEqual([200, '', 1])
    expect(device.boundCookie).not.toBe(old)
    expect(challengeIn(reply)).not.toBe('')
    clock.now += 6 * MINUTE - 1
    expect((await thief.me()).status).toBe(200)
    clock.now += 1
    expect((await thief.me()).status).toBe(401)
    expect((await device.me()).text).toBe(LIVES)
    clock.now += 4 * MINUTE
    expect((await device.me()).status).toBe(401)
  })

  it('DBSC 4, attacker 19: a proof that has been used is refused, and the challenge that comes with it works', async () => {
    const { device } = await start(framework)
    const proof = device.proof({ jti: await device.bind() })
    expect((await device.refresh(proof)).status).toBe(200)
    const next = expectToProveAgain(await device.refresh(proof), device.id)
    expect((await device.refresh(device.proof({ jti: next }))).status).toBe(200)
    expectToProveAgain(await device.refresh(proof), device.id)
  })

  it('DBSC 5 a proof by another key is refused, and the third in a row ends the session', async () => {
    const { device, events } = await start(framework)
    await device.bind()
    const thief = device.thief()
    for (let n = 0; n < 2; n++) {
      expectToProveAgain(await thief.refresh(thief.proof({ jti: await thief.challenge() })), device.id)
    }
    expect((await device.refresh(device.proof({ jti: await device.challenge() }))).status).toBe(200)
    for (let n = 0; n < 2; n++) {
      expectToProveAgain(await thief.refresh(thief.proof({ jti: await thief.challenge() })), device.id)
    }
    expect(events.revoked).toBeUndefined()
    const last = await thief.refresh(thief.proof({ jti: await thief.challenge() }))
    expect([last.status, JSON.parse(last.text).continue]).toEqual([200, false])
    expectNoCookie(last)
    expect(events.refusedProof).toHaveLength(5)
    expect(events.revoked).toHaveLength(1)
    expect((await device.me()).status).toBe(401)
  })

  it('DBSC 6 a proof by another key that it brings along is refused', async () => {
    const { device, events } = await start(framework)
    await device.bind()
    const thief = device.thief()
    const jti = await thief.challenge()
    expectToProveAgain(await thief.refresh(thief.proof({ jti, jwk: thief.jwk })), device.id)
    expectToProveAgain(await device.refresh(device.proof({ jti, jwk: device.jwk })), device.id)
    expect(events.refusedProof!.map(({ reason }) => reason)).toEqual([
      'it brings a key of its own (jwk)',
      'it brings a key of its own (jwk)',
    ])
  })

  it.each([
    ['DBSC 7 alg none with an empty signature', { alg: 'none' }],
    ['DBSC 8 alg HS256, keyed with the public key', { alg: 'HS256' }],
    ['DBSC 9 a signature in DER', { encoding: 'der' as const }],
  ])('%s is refused, at a registration and at a refresh', async (_name, parts) => {
    const { device } = await start(framework)
    const challenge = await device.login()
    const registration = await device.register({ jti: challenge, ...parts })
    expect(registration.status).toBe(400)
    expectNoCookie(registration)
    const jti = await device.bind()
    expectToProveAgain(await device.refresh(device.proof({ jti, ...parts })), device.id)
    expect((await device.refresh(device.proof({ jti }))).status).toBe(200)
  })

  it('DBSC 10 proof and id count in quotes and without', async () => {
    const { device } = await start(framework)
    const proof = device.proof({ jti: await device.login(), jwk: device.jwk })
    const reply = await device.sendRegistration(`"${proof}"`)
    expect(reply.status).toBe(200)
    device.id = JSON.parse(reply.text).session_identifier
    const quoted = await device.refresh(`"${device.proof({ jti: challengeIn(reply) })}"`, `"${device.id}"`)
    expect(quoted.status).toBe(200)
    expect((await device.refresh(device.proof({ jti: challengeIn(quoted) }))).status).toBe(200)
  })

  it('DBSC 11 a challenge of one session does not go with the key and the id of another', async () => {
    const { device: ann, url } = await start(framework)
    const bob = new Device(url)
    await ann.bind()
    await bob.bind()
    const jti = await ann.challenge()
    expectToProveAgain(await bob.refresh(bob.proof({ jti })), bob.id)
    const mixed = await ann.refresh(bob.proof({ jti }), bob.id)
    expect(JSON.parse(mixed.text).continue).toBe(false)
    expectNoCookie(mixed)
    const registration = await bob.register({ jti: await ann.login() })
    expect(registration.status).toBe(400)
  })

  it('DBSC 12 a challenge of more than five minutes ago is refused', async () => {
    const { device, clock } = await start(framework)
    const jti = await device.bind()
    clock.now += 5 * MINUTE
    const next = expectToProveAgain(await device.refresh(device.proof({ jti })), device.id)
    clock.now += 5 * MINUTE - 1
    expect((await device.refresh(device.proof({ jti: next }))).status).toBe(200)
  })

  it('DBSC 13 two parallel refreshes with two challenges both succeed, and one session lives', async () => {
    const { device, sessions } = await start(framework)
    const challenges = [await device.bind(), await device.challenge()]
    const replies = await Promise.all(challenges.map((jti) => device.refresh(device.proof({ jti }))))
    expect(replies.map(({ status }) => status)).toEqual([200, 200])
    expect(await sessions.list('ann')).toHaveLength(1)
    expect((await device.me()).text).toBe(LIVES)
    for (const jti of challenges) expectToProveAgain(await device.refresh(device.proof({ jti })), device.id)
  })

  it('DBSC 14, attacker 18: a bound session is not bound again without a login', async () => {
    const { device, events } = await start(framework)
    const jti = await device.login()
    expect((await device.register({ jti })).status).toBe(200)
    const thief = device.thief()
    const reply = await thief.register({ jti })
    expect(reply.status).toBe(400)
    expectNoCookie(reply)
    expect(events.refusedProof!.map(({ reason }) => reason)).toEqual(['the session is bound already'])
    const again = new Device('', device.jar)
    expect(await device.bind()).not.toBe('')
    expect(device.boundCookie).not.toBe(again.boundCookie)
  })

  it('DBSC 15, attacker 17: with every cookie and no key a thief is out within ten minutes, for ever', async () => {
    const { device, clock, events } = await start(framework)
    await device.bind()
    const thief = device.thief()
    expect((await thief.me()).text).toBe(LIVES)
    clock.now += 8 * MINUTE
    expect((await device.refresh(device.proof({ jti: await device.challenge() }))).status).toBe(200)
    clock.now += 2 * MINUTE
    for (let n = 0; n < 4; n++) {
      const page = await thief.me()
      expect([page.status, page.text]).toEqual([401, 'undefined: undefined'])
      expectNoCookie(page)
      const note = await thief.ask('POST', '/note')
      expect(note.status).toBe(401)
      expectNoCookie(note)
      expectNoCookie(await thief.refresh())
      expect((await device.me()).text).toBe(LIVES)
      clock.now += 8 * MINUTE
      expect((await device.refresh(device.proof({ jti: await device.challenge() }))).status).toBe(200)
    }
    expect(events.unproven).toHaveLength(8)
  })

  it('DBSC 16 after a logout a refresh is told that it is over, and gets no cookie', async () => {
    const { device, clock } = await start(framework)
    const jti = await device.bind()
    const jar = new Map(device.jar)
    const logout = await device.ask('POST', '/logout')
    expect(logout.setCookies).toHaveLength(2)
    expect(device.jar.size).toBe(0)
    for (const cookies of [jar, new Map<string, string>()]) {
      const left = new Device('', cookies)
      for (const [name, value] of left.jar) device.jar.set(name, value)
      for (const proof of [undefined, device.proof({ jti })]) {
        const reply = await device.refresh(proof)
        expect([reply.status, JSON.parse(reply.text)]).toEqual([
          200,
          { session_identifier: device.id, continue: false },
        ])
        expectNoCookie(reply)
      }
      clock.now += 10 * MINUTE
    }
    expect((await device.me()).status).toBe(401)
  })

  it('DBSC 17 what is malformed is refused, and nothing breaks', async () => {
    const { device, events } = await start(framework)
    const { privateKey } = device.keys
    const off = encode({ x: 1 }).padEnd(43, 'A').slice(0, 43)
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    const jwks: unknown[] = [
      privateKey.export({ format: 'jwk' }),
      { ...device.jwk, x: off, y: off },
      rsa.publicKey.export({ format: 'jwk' }),
      p384.publicKey.export({ format: 'jwk' }),
      { ...device.jwk, x: `${device.jwk.x}AA` },
      { ...device.jwk, y: 7 },
      [],
      null,
      'jwk',
    ]
    const jti = await device.login()
    const malformed = [
      ...['', '.', '..', 'a.b.c', '!.!.!', '""', '"', `${encode(null)}.${encode({})}.AA`, 'A'.repeat(10_000)],
      `${encode({ alg: 'ES256', typ: 'dbsc+jwt', jwk: device.jwk })}.bm90IEpTT04.AA`,
      `${device.proof({ jti, jwk: device.jwk })}=`,
      `${device.proof({ jti, jwk: device.jwk })}.`,
      device.proof({ jti, jwk: device.jwk, typ: 'JWT' }),
      device.proof({ jwk: device.jwk }),
      device.proof({ jti: `${jti}A`, jwk: device.jwk }),
      device.proof({ jti: '\u0000'.repeat(84), jwk: device.jwk }),
      ...jwks.map((jwk) => device.proof({ jti, jwk })),
    ]
    for (const proof of malformed) {
      const reply = await device.sendRegistration(proof)
      expect([reply.status, reply.setCookies], proof.slice(0, 80)).toEqual([400, []])
    }
    const without = await device.ask('POST', '/dbsc/register')
    expect(without.status).toBe(400)
    expect((await device.ask('GET', '/dbsc/refresh')).status).toBe(405)
    expect((await device.register({ jti }, { 'sec-fetch-site': 'same-site' })).status).toBe(400)
    expect((await device.register({ jti }, { origin: 'https://elsewhere.example' })).status).toBe(400)
    for (const proof of malformed) {
      const next = await device.bind()
      const reply = await device.refresh(proof)
      expect([reply.status, reply.setCookies], proof.slice(0, 80)).toEqual([403, []])
      expect((await device.refresh(device.proof({ jti: next }))).status).toBe(200)
    }
    expect(events.error).toBeUndefined()
  })

  it('DBSC 18 a registration challenge of more than five minutes ago is refused', async () => {
    const { device, clock, events } = await start(framework)
    const jti = await device.login()
    clock.now += 5 * MINUTE
    const reply = await device.register({ jti })
    expect(reply.status).toBe(400)
    expectNoCookie(reply)
    expect(events.refusedProof!.map(({ reason }) => reason)).toEqual(['its challenge has expired'])
    expect((await device.me()).text).toBe(LIVES)
  })
})
