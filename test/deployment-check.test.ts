/** `sessions.check()`: what is weak about a deployment, seen on real servers. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createSessions, type Finding, type SessionOptions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { keyvStore } from 'holdfast/stores/bridges'
import { cookieStore } from 'holdfast/stores/cookie'
import { layeredStore } from 'holdfast/stores/layered'
import { memcachedStore } from 'holdfast/stores/memcached'
import { memoryStore } from 'holdfast/stores/memory'
import { migratingStore } from 'holdfast/stores/migrating'
import { redisStore } from 'holdfast/stores/redis'
import { sqliteStore } from 'holdfast/stores/sql'
import Keyv from 'keyv'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SECRET } from './helpers/browser.ts'
import { serverStores } from './helpers/stores.ts'
import { runOn } from './servers/mariadb.ts'
import { startRedis } from './servers/redis.ts'

const quiet = { warn: () => {}, error: () => {} }

beforeEach(() => {
  vi.stubEnv('NODE_ENV', 'production')
  vi.stubEnv('WEB_CONCURRENCY', undefined)
})
afterEach(() => {
  vi.unstubAllEnvs()
})

async function check(options: SessionOptions<object> = {}): Promise<Finding[]> {
  const store = options.store ?? sqliteStore(':memory:')
  const sessions = createSessions({ secret: SECRET, csrf: true, logger: quiet, ...options, store })
  try {
    return await sessions.check()
  } finally {
    await sessions.close()
  }
}

const ids = (findings: readonly Finding[]) => findings.map(({ severity, id }) => `${severity} ${id}`)

describe('the check', () => {
  it('finds nothing in a deployment as it should be', async () => {
    expect(await check()).toEqual([])
    expect(
      await check({ lifetime: 'aal2', secret: [Buffer.alloc(32, 'QmFzZTY0IGlzIGZpbmUu1'), SECRET] }),
    ).toEqual([])
  })

  it('says that nothing refuses what pages of other origins send', async () => {
    expect(ids(await check({ csrf: false }))).toEqual(['info csrf.off'])
  })

  it('gives findings as data: a name for programs, a severity, what is so, and the cure; the gravest first', async () => {
    vi.stubEnv('NODE_ENV', 'staging')
    const findings = await check({ cookie: { secure: false }, store: cookieStore() })
    expect(ids(findings)).toEqual([
      'error cookie-store.no-revocations',
      'warning environment.not-production',
      'warning cookie.insecure',
      'warning store.no-compare-and-set',
    ])
    for (const finding of findings) {
      expect(Object.keys(finding)).toEqual(['id', 'severity', 'finding', 'cure'])
      expect(finding.finding).toMatch(/^[A-Z].*\.$/s)
      expect(finding.cure).toMatch(/^[A-Z].*[.)]$/s)
    }
    expect(JSON.parse(JSON.stringify(findings))).toEqual(findings)
  })

  it('knows secrets that can be guessed, are missing or too many, and tells none of them', async () => {
    const weak = {
      abcdefghijklmnopabcdefghijklmnop: 'repeats itself',
      '48151623421084815162342108481516234210999': 'has only digits',
      'correct horse battery staple tokyo drift': 'looks like words',
    }
    for (const [secret, reason] of Object.entries(weak)) {
      const findings = await check({ secret: [SECRET, secret] })
      expect(ids(findings)).toEqual(['error secret.weak'])
      expect(findings[0]!.finding).toContain(`Secret 2 of 2 ${reason}`)
      expect(JSON.stringify(findings)).not.toContain(secret)
    }
    const hex = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'
    expect(await check({ secret: hex })).toEqual([])
    const many = [1, 2, 3, 4].map((n) => `${n}${SECRET}`)
    expect(ids(await check({ secret: many }))).toEqual(['info secret.many'])
    vi.stubEnv('NODE_ENV', undefined)
    expect(ids(await check({ secret: undefined }))).toEqual([
      'error secret.missing',
      'warning environment.not-production',
    ])
  })

  it('knows lifetimes without an end, and logins that outlive the browser for long', async () => {
    expect(ids(await check({ lifetime: { idle: false, absolute: false, persistent: true } }))).toEqual([
      'warning lifetime.persistent-long',
      'warning lifetime.endless',
    ])
    expect(ids(await check({ lifetime: { absolute: '90d', persistent: true } }))).toEqual([
      'warning lifetime.persistent-long',
    ])
    expect(await check({ lifetime: { absolute: '30d', persistent: true } })).toEqual([])
    const [short] = await check({ lifetime: { idle: 1800 } })
    expect(short).toMatchObject({
      id: 'lifetime.short',
      finding: expect.stringContaining('Sessions last 2s'),
    })
    expect(ids(await check({ cookie: { secure: false } }))).toEqual(['error cookie.insecure'])
  })
})

describe('the cookie', () => {
  it('is told to go too far: to all subdomains, or with requests of other sites that nothing refuses', async () => {
    const wide = { domain: 'shop.example' }
    expect(ids(await check({ cookie: wide }))).toEqual(['warning cookie.domain'])
    expect(ids(await check({ cookie: { sameSite: 'none' } }))).toEqual([])
    expect(ids(await check({ cookie: { sameSite: 'none' }, csrf: false }))).toEqual([
      'error cookie.cross-site',
      'info csrf.off',
    ])
  })
})

describe('in memory', () => {
  it('warns in production, and where the environment announces several processes', async () => {
    const store = () => memoryStore()
    expect(ids(await check({ store: store() }))).toEqual(['warning memory.production'])
    vi.stubEnv('WEB_CONCURRENCY', '4')
    expect(ids(await check({ store: store() }))).toEqual(['error memory.several-processes'])
    vi.stubEnv('WEB_CONCURRENCY', '1')
    vi.stubEnv('NODE_ENV', 'test')
    expect(ids(await check({ store: store() }))).toEqual(['warning environment.not-production'])
  })

  it.each([
    ['alone', 'warning memory.production'],
    ['cluster', 'error memory.several-processes'],
  ])('as a process of its own: %s', async (how, expected) => {
    const file = fileURLToPath(new URL('./helpers/checking-process.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', file, how])
    expect(ids(JSON.parse(stdout))).toEqual([expected])
  })
})

describe('on servers', () => {
  it('Redis: one that evicts, one that does not, one that does not tell, and one that is gone', async () => {
    const redis = await startRedis(
      '--appendonly',
      'yes',
      '--maxmemory',
      '50mb',
      '--maxmemory-policy',
      'allkeys-lru',
    )
    const url = `redis://127.0.0.1:${redis.port}`
    const [finding, ...others] = await check({ store: redisStore(url) })
    expect(others).toEqual([])
    expect(finding).toMatchObject({ id: 'redis.evicts', severity: 'error' })
    expect(finding!.finding).toContain('allkeys-lru')
    expect(finding!.cure).toContain('maxmemory-policy noeviction')

    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    expect(await check({ store: redisStore(url) })).toEqual([])

    await redis.cli('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '+@all', '-info')
    const withAcl = url.replace('127', 'app:secret@127')
    expect(ids(await check({ store: redisStore(withAcl) }))).toEqual(['info redis.eviction-unknown'])

    await redis.stop()
    const [gone, ...rest] = await check({ store: redisStore(url) })
    expect(rest).toEqual([])
    expect(gone).toMatchObject({ id: 'store.unreachable', severity: 'error' })
  })

  it.each(['redis', 'postgres', 'mariadb'] as const)(
    '%s: a clock that differs',
    async (name) => {
      const running = await serverStores[name]()
      if (name === 'mariadb') await runOn(running.url, 'SET GLOBAL innodb_flush_log_at_trx_commit = 1')
      const at = async (offset: number) => {
        const options = { store: openStore(running.url), clock: () => Date.now() + offset }
        const found = (await check(options)).filter(({ id }) => id !== 'redis.no-persistence')
        return found.map(({ severity, id, finding }) => [
          severity,
          id,
          /is (\d+)\S* s (\w+)/.exec(finding)!.slice(1),
        ])
      }
      expect(await at(0)).toEqual([])
      expect(await at(2_000)).toEqual([])
      expect(await at(20_000)).toEqual([
        ['warning', 'store.clock-skew', [expect.stringMatching(/^(19|20)$/), 'ahead']],
      ])
      expect(await at(-20_000)).toEqual([
        ['warning', 'store.clock-skew', [expect.stringMatching(/^(19|20)$/), 'behind']],
      ])
      expect(await at(120_000)).toEqual([
        ['error', 'store.clock-skew', [expect.stringMatching(/^1(19|20)$/), 'ahead']],
      ])
      await running.stop()
    },
    60_000,
  )

  it('Memcached, sessions in cookies, and bridges are told for what they are', async () => {
    expect(ids(await check({ store: memcachedStore('localhost') }))).toEqual(['warning memcached.evicts'])
    expect(ids(await check({ store: cookieStore() }))).toEqual([
      'error cookie-store.no-revocations',
      'warning store.no-compare-and-set',
    ])
    expect(ids(await check({ store: cookieStore({ revocations: sqliteStore(':memory:') }) }))).toEqual([
      'warning store.no-compare-and-set',
    ])
    expect(ids(await check({ store: keyvStore(new Keyv({ throwOnErrors: true })) }))).toEqual([
      'warning store.no-compare-and-set',
    ])
  })

  it('composite stores are what their parts are; a cache may forget', async () => {
    const database = () => sqliteStore(':memory:')
    expect(await check({ store: layeredStore({ cache: memoryStore(), database: database() }) })).toEqual([])
    expect(
      ids(await check({ store: layeredStore({ cache: memoryStore(), database: memoryStore() }) })),
    ).toEqual(['warning memory.production'])
    expect(ids(await check({ store: migratingStore({ from: memoryStore(), to: database() }) }))).toEqual([
      'warning memory.production',
    ])
  })
})
