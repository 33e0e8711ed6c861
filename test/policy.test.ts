import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions, type SessionOptions } from 'holdfast'
import { cookieStore } from 'holdfast/stores/cookie'
import { memcachedStore } from 'holdfast/stores/memcached'
import { sqliteStore } from 'holdfast/stores/sql'
import { describe, expect, it } from 'vitest'
import { servers } from './frameworks/servers.ts'
import { manager, SECRET } from './helpers/browser.ts'
import { client } from './helpers/client.ts'

const policyOf = (options: SessionOptions<object> = {}) => manager(options).sessions.policy

describe('the policy', () => {
  it('is all that is in force, defaults included', () => {
    expect(policyOf({ sweepEvery: '10m' })).toEqual({
      name: 'id',
      lifetime: {
        idle: 86_400_000,
        absolute: 14 * 86_400_000,
        anonymous: { idle: 86_400_000, absolute: 14 * 86_400_000 },
        rotateEvery: 900_000,
        grace: 300_000,
        touchEvery: 60_000,
        persistent: false,
      },
      cookie: {
        name: '__Host-id',
        attributes: { path: '/', secure: true, httpOnly: true, sameSite: 'Lax' },
      },
      maxSessionsPerUser: false,
      csrf: false,
      watchClient: false,
      seal: false,
      maxBytes: 32_768,
      deadlines: { load: 500, write: 1000, request: 5000 },
      onReuse: 'end',
      onStoreFailure: 'error',
      saveOnError: false,
      sweepEvery: 600_000,
      store: {
        name: 'memory',
        compareAndSet: true,
        inProcess: true,
        keptByClient: false,
        listsByUser: true,
        listsByExternalId: true,
        listsAll: true,
      },
    })
  })

  it('names a preset, the limit of sessions, and what the application decides by itself', () => {
    const policy = policyOf({
      name: 'admin',
      lifetime: 'aal3',
      maxSessionsPerUser: { limit: 1, onLimit: 'reject' },
      csrf: { trustedOrigins: ['https://shop.example'] },
      onStoreFailure: () => 'anonymous',
      cookie: { domain: 'example.com', sameSite: 'strict' },
    })
    expect(policy.lifetime).toMatchObject({ preset: 'aal3', idle: 900_000, absolute: 43_200_000 })
    expect(policy).toMatchObject({
      name: 'admin',
      maxSessionsPerUser: { limit: 1, onLimit: 'reject' },
      csrf: { trustedOrigins: ['https://shop.example'], strict: false },
      onStoreFailure: 'by request',
      cookie: {
        name: '__Secure-admin',
        attributes: { domain: 'example.com', sameSite: 'Strict' },
      },
    })
  })

  it('says what the store can do', () => {
    expect(policyOf({ store: cookieStore() })).toMatchObject({
      seal: true,
      store: {
        name: 'cookie',
        compareAndSet: false,
        keptByClient: true,
        listsByUser: false,
        listsAll: false,
      },
    })
    expect(policyOf({ store: memcachedStore('localhost') }).store).toMatchObject({
      name: 'memcached',
      compareAndSet: true,
      inProcess: false,
      listsByUser: false,
      listsByExternalId: false,
    })
    expect(policyOf({ store: sqliteStore(':memory:') }).store).toMatchObject({
      name: 'sqlite',
      listsAll: true,
    })
  })

  it('survives JSON as it is, holds no secret and cannot be changed', () => {
    for (const lifetime of ['aal1', { idle: false, absolute: false }] as const) {
      const policy = policyOf({ lifetime, seal: true })
      const json = JSON.stringify(policy)
      expect(JSON.parse(json)).toEqual(policy)
      for (const encoding of ['utf8', 'base64', 'base64url', 'hex'] as const)
        expect(json).not.toContain(Buffer.from(SECRET).toString(encoding))
      expect(() => Object.assign(policy.lifetime.anonymous, { idle: 1 })).toThrow(TypeError)
      expect(() => Object.assign(policy.cookie.attributes, { secure: false })).toThrow(TypeError)
      expect(() => Object.assign(policy, { seal: false })).toThrow(TypeError)
    }
  })

  it('ASVS 7.1.1: holds the timeouts that a client measures', async () => {
    const sessions = createSessions({
      secret: SECRET,
      lifetime: { idle: 1_200, absolute: 2_000, touchEvery: 0 },
    })
    const server = await servers['express 5']!(sessions)
    const { idle, absolute } = JSON.parse(JSON.stringify(sessions.policy)).lifetime
    const [idler, busy] = [client(server.url), client(server.url)]
    const me = async (who: typeof busy) => (await who.get('/me')).text
    const start = performance.now()
    for (const who of [idler, busy]) await who.get('/login?user=ann')
    const began = performance.now()
    let last = began
    for (;;) {
      await sleep(100)
      if ((await me(busy)) !== 'ann') break
      last = performance.now()
      if (last - began > idle + 200 && idler.cookie) {
        expect(await me(idler)).toBe('nobody')
        idler.cookie = undefined
      }
    }
    expect(last - began).toBeGreaterThan(idle)
    expect(last - began).toBeLessThanOrEqual(absolute)
    expect(performance.now() - start).toBeGreaterThanOrEqual(absolute)
    expect(idler.cookie).toBeUndefined()
    await server.close()
    await sessions.close()
  })
})
