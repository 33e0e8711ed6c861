/** ASVS 3.3.4, CS-logs and attacker 10: whatever a site prints, logs, emits, throws, stores or answers, no token is in it but in Set-Cookie. */
import { channel, tracingChannel } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { SessionEvents, Store } from 'holdfast'
import { fileStore } from 'holdfast/stores/file'
import { memoryStore } from 'holdfast/stores/memory'
import { redisStore } from 'holdfast/stores/redis'
import { sqliteStore } from 'holdfast/stores/sql'
import { afterAll, expect, it, vi } from 'vitest'
import type { Client, Reply } from '../helpers/client.ts'
import { startRedis } from '../servers/redis.ts'
import { MINUTE, startSite } from './site.ts'

const folder = mkdtempSync(join(tmpdir(), 'holdfast-tokens-'))
const redis = await startRedis()
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await redis.stop()
})

const stores: Record<string, () => Store> = {
  memory: memoryStore,
  file: () => fileStore(join(folder, 'files')),
  sqlite: () => sqliteStore(join(folder, 'sessions.db')),
  redis: () => redisStore(`redis://127.0.0.1:${redis.port}`),
}

const EVENTS: (keyof SessionEvents)[] = [
  ...([
    'created',
    'login',
    'logout',
    'rotated',
    'revoked',
    'expired',
    'reuse',
    'forged',
    'duplicate',
  ] as const),
  ...(['invalid', 'overwritten', 'uncommitted', 'swept', 'outage', 'recovered', 'error'] as const),
]

/** That an operation on the store fails is in test/channels.test.ts. */
const CHANNELS = [
  channel('holdfast:event'),
  ...['open', 'commit', 'store'].flatMap((name) => {
    const { start, asyncEnd } = tracingChannel(`holdfast:${name}`)
    return [start, asyncEnd]
  }),
]

const cases = ['express 5', 'fastify'].flatMap((framework) =>
  Object.keys(stores).map((name) => [framework, name] as const),
)

it.each(cases)(
  'ASVS 3.3.4, CS-logs and attacker 10: no token shows on %s, with sessions in %s',
  async (framework, name) => {
    const seen: string[] = []
    const see = (...what: unknown[]) =>
      void seen.push(...what.map((one) => inspect(one, { depth: 9, showHidden: true })))
    for (const method of ['log', 'warn', 'error', 'info', 'debug'] as const) {
      vi.spyOn(console, method).mockImplementation(see)
    }
    const store = stores[name]!()
    const site = await startSite(framework, { store, maxBytes: 2_000, logger: { warn: see, error: see } })
    const { sessions, clock, visitor, loggedIn } = site
    for (const event of EVENTS) sessions.on(event, see)
    const told: string[] = []
    const seeMessage = (message: unknown, name: string | symbol) => {
      told.push(String(name))
      see(message)
    }
    for (const one of CHANNELS) one.subscribe(seeMessage)
    const tokens = new Set<string>()
    const ask = async (browser: Client, path: string) => {
      const { text, status, headers }: Reply = await browser.post(path)
      see(
        status,
        text,
        [...headers].filter(([header]) => header !== 'set-cookie'),
      )
      const value = browser.cookie?.split('=')[1]
      if (value) tokens.add(value)
      return status
    }
    try {
      const [ann, again, bob] = [visitor(), visitor(), visitor()]
      for (const browser of [ann, again]) await ask(browser, '/login?user=ann')
      await ask(bob, '/set?json=1')
      await ask(bob, '/login?user=bob')
      const thief = ann.copy()
      for (const path of ['/', '/sessions', '/handle', '/elevate', '/policy', '/everything'])
        await ask(ann, path)
      for (let n = 0; n < 4; n++) {
        clock.now += 16 * MINUTE
        for (const browser of [ann, bob, again]) await ask(browser, '/me')
      }
      expect(await ask(bob, `/set?json="${'x'.repeat(3_000)}"`)).toBe(500)
      await ask(visitor(`${bob.cookie}x`), '/me')
      await ask(visitor(`${ann.cookie}; ${bob.cookie}`), '/me')
      await ask(thief, '/me')
      await ask(bob, '/sessions/revoke-others')

      const session = await sessions.open(bob.cookie)
      see(session, JSON.stringify(session), String(session), sessions, { ...session })
      const failure = await session
        .update((data) => void (data.made = () => {}))
        .catch((error: Error) => error)
      see(failure, (failure as Error).stack)
      for await (const [key, record] of (await store.scan!(undefined, 100)).items) see(key, record)
      await ask(again, '/logout')
      await ask(bob, '/admin/revoke-all')
      see(await sessions.sweep(), await sessions.stats(), await sessions.check())
    } finally {
      for (const one of CHANNELS) one.unsubscribe(seeMessage)
      vi.restoreAllMocks()
      await site.stop()
      await store.close?.()
    }

    expect(tokens.size).toBeGreaterThan(7)
    const everything = seen.join('\n')
    for (const { name } of CHANNELS) expect(told).toContain(name)
    expect(everything).toContain('ann')
    for (const token of tokens) {
      const bytes = Buffer.from(token, 'base64url')
      // The id, which is in the middle, also by itself, and the tag at the end.
      const parts = [
        token,
        token.slice(5, 37),
        token.slice(-16),
        bytes.toString('hex'),
        bytes.toString('base64'),
      ]
      expect(parts.filter((part) => everything.includes(part))).toEqual([])
    }
    expect(await loggedIn('x').catch((error: Error) => error)).toBeInstanceOf(Error) // the site is closed
  },
)
