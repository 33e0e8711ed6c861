/** `holdfast migrate` of 100,000 sessions, while visitors read and write some of them, interrupted twice. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { memoryStore } from 'holdfast/stores/memory'
import { expect, it } from 'vitest'
import { SECRET } from './helpers/browser.ts'
import { client } from './helpers/client.ts'
import { buildCommand, start } from './helpers/command.ts'
import { startProcesses } from './helpers/processes.ts'
import { startRedis, until } from './servers/redis.ts'

const SESSIONS = Number(process.env.HOLDFAST_SESSIONS ?? 100_000)
const VISITORS = 8

it('moves 100,000 sessions under load, interrupted twice: none is lost, nobody logged out, progress shown', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cli-migrate-'))
  const command = buildCommand('cli-migrate')
  const [old, redis] = await Promise.all([startRedis(), startRedis()])
  const [from, to] = [`redis://127.0.0.1:${old.port}`, `redis://127.0.0.1:${redis.port}`]
  const cookies = await fill(from)
  const site = await startProcesses(`migrating:?${new URLSearchParams({ from, to })}`)

  // Of each the number of visits that the site has acknowledged. Everybody begins with one.
  const visits = new Map<number, number>()
  let requests = 0
  let isOver = false
  /** One person, who uses one session after the other: each is written twice and read, by any process. */
  async function visit(first: number): Promise<void> {
    for (let n = first; !isOver; n = (n + 997 * VISITORS) % SESSIONS) {
      const ask = async (path: string) => {
        const { status, text } = await client(site.anyUrl(), cookies[n]).get(path)
        expect([path, status, text.slice(0, 200)]).toEqual([path, 200, expect.anything()])
        requests++
        return text
      }
      const known = visits.get(n) ?? 1
      expect(await ask('/me')).toBe(`user-${n}`)
      await Promise.all([ask('/update'), ask('/update')])
      visits.set(n, known + 2)
      await sleep(300)
      expect(JSON.parse(await ask('/data')).visits).toBe(known + 2)
    }
  }
  const traffic = Promise.all(Array.from({ length: VISITORS }, (_, n) => visit(n)))

  const args = ['migrate', '--from', from, '--to', to]
  const migrate = () => command.start(args, { cwd: folder })
  /** So many sessions are in the new store. */
  const moved = (count: number) => until(async () => Number(await redis.cli('DBSIZE')) / 2 >= count, 400)
  try {
    const first = migrate()
    await moved(SESSIONS * 0.2)
    first.child.kill('SIGINT')
    const { code, stdout, stderr } = await first.ended
    expect([code, stdout]).toEqual([
      130,
      expect.stringMatching(
        /^Stopped: [\d,]+ sessions have moved, about [\d,]+ left\. The same command goes on with the rest\.\n$/,
      ),
    ])
    expect(stderr).toMatch(/^Counting the sessions of the old store\n/)

    const second = migrate()
    await moved(SESSIONS * 0.4)
    second.child.kill('SIGKILL')
    expect((await second.ended).code).toBe(null)

    const program = [process.execPath, command.path, ...args].map((arg) => `"${arg}"`).join(' ')
    const third = await start(['script', '-qec', program, '/dev/null'], {
      cwd: folder,
      env: { TERM: 'xterm' },
    }).ended
    expect(third.code).toBe(0)
    const lines = third.stdout.split('\r\x1b[K')
    const bars = lines.filter((line) => /^\[#*\.*\] +\d+% +[\d,]+ of [\d,]+ sessions/.test(line))
    const shares = bars.map((line) => Number(/(\d+)%/.exec(line)![1]))
    expect(new Set(shares).size).toBeGreaterThan(10)
    expect(shares).toEqual([...shares].sort((a, b) => a - b))
    expect(shares.at(-1)).toBe(100)
    expect(lines.at(-1)).toMatch(/\nDone: [\d,]+ sessions have moved\./)

    isOver = true
    await traffic
    expect(visits.size).toBeGreaterThan(VISITORS)
    console.log(`${requests} requests to ${visits.size} of the sessions while they moved`)
  } finally {
    isOver = true
    await traffic.catch(() => {})
    await site.stop()
  }

  expect(await liveIn(from)).toBe(0)
  const sessions = createSessions<{ visits: number }>({
    secret: SECRET,
    store: openStore(to),
    sweepEvery: false,
  })
  const wrong: unknown[] = []
  await each(SESSIONS, async (n) => {
    const { userId, data } = await sessions.open(cookies[n])
    if (userId !== `user-${n}` || data.visits !== (visits.get(n) ?? 1))
      wrong.push([n, userId, data, visits.get(n)])
  })
  expect(wrong).toEqual([])
  await sessions.close()
  await Promise.all([old.stop(), redis.stop()])
  rmSync(folder, { recursive: true, force: true })
}, 900_000)

/** Logs everybody in, and gives their cookies. A manager in memory is the fastest way to so many records. */
async function fill(url: string): Promise<string[]> {
  const memory = memoryStore()
  const sessions = createSessions<{ visits: number }>({ secret: SECRET, store: memory, sweepEvery: false })
  const cookies: string[] = []
  for (let n = 0; n < SESSIONS; n++) {
    const session = await sessions.open(undefined)
    session.data.visits = 1
    await session.login(`user-${n}`)
    const { cookie } = await sessions.commit(session)
    cookies.push(`${cookie!.name}=${cookie!.value}`)
  }
  const store = openStore(url)
  let cursor: string | undefined
  do {
    const page = await memory.scan!(cursor, 100)
    await Promise.all(page.items.map(([key, record]) => store.create(key, record)))
    cursor = page.cursor
  } while (cursor !== undefined)
  await store.close!()
  await sessions.close()
  return cookies
}

async function liveIn(url: string): Promise<number> {
  const store = openStore(url)
  let count = 0
  let cursor: string | undefined
  do {
    const page = await store.scan!(cursor, 1000)
    count += page.items.length
    cursor = page.cursor
  } while (cursor !== undefined)
  await store.close!()
  return count
}

/** All numbers below `count`, some at a time. */
async function each(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      while (next < count) await work(next++)
    }),
  )
}
