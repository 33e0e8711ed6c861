/** The built command, as a process of its own, on real stores. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createSessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { Progress } from '../src/cli/progress.ts'
import { isTombstone, type StoredRecord } from '../src/store.ts'
import { browser, SECRET as SESSION_SECRET } from './helpers/browser.ts'
import { type BuiltCommand, buildCommand, type Ended } from './helpers/command.ts'
import { freePort } from './servers/process.ts'
import { type RedisServer, startRedis, until } from './servers/redis.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const SECRET = 'hunter2'

let command: BuiltCommand
let folder: string
let redis: RedisServer
let to: string

beforeAll(async () => {
  command = buildCommand('cli')
  redis = await startRedis()
  to = `redis://127.0.0.1:${redis.port}`
})
afterAll(() => redis.stop())
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-cli-'))
  await redis.cli('FLUSHALL')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('holdfast', () => {
  it('tells its version and its commands', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    expect(await run('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
    for (const option of ['--help', '-h']) {
      const { code, stdout, stderr } = await run(option)
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(/^Usage: holdfast <command>.*\n {2}migrate +moves all sessions/s)
    }
    for (const option of ['--help', '-h']) {
      const { code, stdout, stderr } = await run('migrate', option)
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(/^Usage: holdfast migrate .*--rate.*HOLDFAST_STORE/s)
    }
  })

  const from = `redis://u:${SECRET}@127.0.0.1`
  const url = migrating(from, `${from}:7`)
  it.each([
    ['no command', [], /^holdfast: a command is missing\. Commands: list, .*, migrate\. /],
    ['another command', ['dry'], /^holdfast: there is no such command or option: dry\. /],
    ['a URL for a command', [url], /^holdfast: there is no such command or option\. Commands/],
    [
      'no stores',
      ['migrate'],
      /^holdfast migrate: the stores are missing: give --from <url> and --to <url>, or set HOLDFAST_STORE\. /,
    ],
    ['half of the stores', ['migrate', '--to', from], /^holdfast migrate: --from is missing: give both/],
    ['a URL as an argument', ['migrate', url], /this command takes options alone, and there is 1 argument/],
    ['another option', [...moving(url), '--too', from], /^holdfast migrate: Unknown option '--too'\. See/],
    ['an option without its value', ['migrate', '--rate'], /'--rate <value>' argument missing\. See/],
    [
      'a rate that is none',
      [...moving(url), '--rate', url],
      /--rate takes a number .* above 0: --rate 500\. /,
    ],
    ['a rate of nothing', [...moving(url), '--rate', '0'], /--rate takes a number/],
    ['an unknown scheme', moving(migrating('mongodb://h', from)), /'mongodb:' names no store; begin with/],
    ['one store twice', moving(migrating(from, from)), /the old store and the new one are the same/],
    [
      'a path with nothing there',
      moving(migrating('sqlite:./no.db', from)),
      /there is nothing at "\.\/no\.db", to which the old store points from here; correct/,
    ],
    ...['memory:', 'sqlite::memory:', 'cookie:', 'layered:?cache=memory:&database=memory:'].map(
      (gone) =>
        [
          `a new store that would be lost, ${gone}`,
          moving(migrating(from, gone)),
          /the new store would end with this command, and all sessions with it; give another URL/,
        ] as const,
    ),
  ] as [string, string[], RegExp][])(
    'refuses %s, in a line that repeats no password',
    async (_, args, message) => {
      const { code, stdout, stderr } = await run(...args)
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toMatch(message)
      expect(stderr).toMatch(
        /^[^\n]+ See holdfast( --help\n| migrate --help\nUsage: holdfast migrate [^\n]+\n)$/,
      )
      expect(stderr).not.toContain(SECRET)
    },
  )

  it.each([
    [
      'a store that does not migrate',
      from,
      /the URL in HOLDFAST_STORE .* begins with redis:; it must be migrating:/,
    ],
    [
      'what is no URL',
      './sessions',
      /the URL in HOLDFAST_STORE .* is no URL; it must be migrating:\?from=…&to=…/,
    ],
    ['half a URL', `migrating:?to=${from}`, /this URL has no from; it must be like/],
    ['what is not encoded', `${url}&table=web`, /this URL has more than from, to, moves/],
  ])('migrate refuses in HOLDFAST_STORE %s', async (_, store, message) => {
    const { code, stdout, stderr } = await start(['migrate'], { HOLDFAST_STORE: store }).ended
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(message)
    expect(stderr).not.toContain(SECRET)
  })
})

describe('holdfast migrate', () => {
  it('moves all sessions, and says so; then none are left', async () => {
    const { url, records } = await site('sqlite', 1_234)
    const { code, stdout, stderr } = await run(...moving(url))
    expect([code, stdout]).toEqual([
      0,
      'Done: 1,234 sessions have moved. When no instance uses the old store any more, give them all the URL of the new one.\n',
    ])
    expect(stderr).toBe('Counting the sessions of the old store\n')
    await expectMoved(url, records)
    const again = await run(...moving(url))
    expect([again.code, again.stdout]).toEqual([
      0,
      'Done: no sessions are left in the old store. If it should have had some, look at its URL.\n',
    ])
  })

  it('takes the stores from HOLDFAST_STORE or the configuration, and those on the command line before that', async () => {
    const [first, second, third] = [
      await site('file', 3),
      await site('sqlite', 2),
      await site('file', 4, {}, to, 'b'),
    ]
    const env = { HOLDFAST_STORE: first.url }
    const given = await start(moving(second.url), env).ended
    expect(given.stdout).toMatch(/^Done: 2 sessions/)
    writeFileSync(join(folder, 'holdfast.config.json'), JSON.stringify({ store: third.url }))
    expect((await start(['migrate'], env).ended).stdout).toMatch(/^Done: 3 sessions/)
    expect((await run('migrate')).stdout).toMatch(/^Done: 4 sessions/)
    for (const { url, records } of [first, second, third]) await expectMoved(url, records)
  })

  it('has its outcome as JSON, also of a move that was stopped', async () => {
    const { url, records } = await site('sqlite', 200)
    const stopped = start([...moving(url), '--json', '--rate', '100'])
    await moved(40)
    stopped.child.kill('SIGINT')
    const { code, stdout } = await stopped.ended
    const first = JSON.parse(stdout)
    expect(code).toBe(130)
    expect(first).toEqual({
      from: 'sqlite',
      to: 'redis',
      seen: first.moved,
      moved: expect.any(Number),
      refused: 0,
      left: 200 - first.moved,
      done: false,
    })
    const rest = await run(...moving(url), '--json')
    const left = 200 - first.moved
    expect([rest.code, JSON.parse(rest.stdout)]).toEqual([
      0,
      { from: 'sqlite', to: 'redis', seen: left, moved: left, refused: 0, left: 0, done: true },
    ])
    await expectMoved(url, records)
  })

  it('counts with --dry-run what would move and what cannot be read, and changes nothing', async () => {
    const from = `sqlite:${join(folder, 'sessions.db')}`
    const store = openStore(from)
    const sealed = createSessions({
      secret: SESSION_SECRET,
      store,
      name: 'sealed',
      seal: true,
      sweepEvery: false,
    })
    const plain = createSessions({ secret: SESSION_SECRET, store, sweepEvery: false })
    for (const sessions of [sealed, plain, plain]) {
      await browser(sessions, undefined, `__Host-${sessions.name}`).visit((session) => session.login('ann'))
    }
    await sealed.close()
    await plain.close()
    await fill(from, 2) // which no manager has written
    await fill(from, 1, { expires: Date.now() - 1000 })
    const before = await everythingIn(from)
    const target = `sqlite:${join(folder, 'new.db')}`
    const counted = { from: 'sqlite', to: 'sqlite', sessions: 6, expired: 1, begun: 0, unreadable: 2 }
    const rehearse = async (env: Record<string, string>, ...args: string[]) => {
      const { code, stdout, stderr } = await start(
        ['migrate', '--from', from, '--to', target, '--dry-run', ...args],
        env,
      ).ended
      expect([code, stderr]).toEqual([0, ''])
      return stdout
    }
    const reason = expect.stringMatching(/was not written by Holdfast/)
    expect(JSON.parse(await rehearse({}, '--json'))).toEqual({ ...counted, unchecked: 1, reason })
    const opened = { HOLDFAST_SECRET: SESSION_SECRET }
    expect(JSON.parse(await rehearse(opened, '--json'))).toEqual({ ...counted, unchecked: 0, reason })
    const wrong = { HOLDFAST_SECRET: `${SESSION_SECRET}x` }
    expect(JSON.parse(await rehearse(wrong, '--json'))).toMatchObject({ unreadable: 3, unchecked: 0 })
    expect(await rehearse({})).toMatch(
      /^Nothing has been changed\. What would move:\nsessions +6\nexpired among them +1\ncannot be read +2 \(.*\)\nsealed, not looked into +1 \(HOLDFAST_SECRET is not set\)\n$/,
    )
    expect(await everythingIn(from)).toEqual(before)
    expect(existsSync(join(folder, 'new.db'))).toBe(false)
  })

  it('loses nothing where both URLs are of one store, or the wrong way round', async () => {
    const { url, records } = await site('sqlite', 30)
    const { from } = partsOf(url)
    const sorted = async (where: string) => (await everythingIn(where)).map(([key]) => key).sort()
    const keys = await sorted(from)
    expect(keys).toHaveLength(30)
    const twice = ['migrate', '--from', from, '--to', from.replace('sqlite:', 'sqlite:///')]
    expect((await run(...twice, '--dry-run')).stderr).toMatch(/^Warning: the new store has the same sessions/)
    const same = await run(...twice)
    expect([same.code, same.stdout]).toEqual([1, ''])
    expect(same.stderr).toMatch(/^holdfast migrate: .*are the same store, under two names/m)
    expect(await sorted(from)).toEqual(keys)

    expect((await run(...moving(url))).code).toBe(0)
    const back = ['migrate', '--from', to, '--to', from]
    for (const args of [back, [...back, '--dry-run']]) {
      const { code, stdout, stderr } = await run(...args)
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(
        /^holdfast migrate: of the first 30 sessions .* 30 have ended in the new one.*Exchange/m,
      )
    }
    await expectMoved(url, records)
  })

  it('says with --dry-run also what is the matter with the new store, and fails if it cannot be reached', async () => {
    const { url } = await site('sqlite', 2)
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    const { code, stdout, stderr } = await run(...moving(url), '--dry-run')
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^sessions +2$/m)])
    expect(stderr).toMatch(/^Warning: .*allkeys-lru.*noeviction/m)
    expect(await redis.cli('DBSIZE')).toBe('0')
    const { from } = partsOf(url)
    const gone = await run(
      'migrate',
      '--from',
      from,
      '--to',
      `redis://127.0.0.1:${await freePort()}`,
      '--dry-run',
    )
    expect(gone.code).toBe(1)
    expect(gone.stderr).toMatch(/^holdfast migrate: redis store: check failed: .*ECONNREFUSED/m)
  })

  it('leaves none behind that has expired, and does not count it as moved', async () => {
    const { url, records } = await site('sqlite', 3, { expires: Date.now() - 1000 })
    const live = await fill(partsOf(url).from, 2)
    const { code, stdout } = await run(...moving(url))
    expect(code).toBe(0)
    expect(stdout).toMatch(/^Done: 2 sessions have moved\. 3 had moved or ended already\. When/)
    await expectMoved(url, live)
    expect(records.size).toBe(3)
    expect(await redis.cli('DBSIZE')).toBe('4') // with the indexes of their users
  })

  it.each([
    ['Ctrl-C', 'SIGINT', 130],
    ['SIGTERM', 'SIGTERM', 143],
  ] as const)(
    'stopped by %s it says how far it came, and goes on from there',
    async (_, signal, expected) => {
      const { url, records } = await site('sqlite', 300)
      const migration = start([...moving(url), '--rate', '100'])
      await moved(40)
      migration.child.kill(signal)
      const { code, stdout } = await migration.ended
      expect(code).toBe(expected)
      const [, done, left] =
        /^Stopped: (\d+) sessions have moved, about (\d+) left\. The same command goes on with the rest\.\n$/
          .exec(stdout)!
          .map(Number)
      expect(done).toBeGreaterThanOrEqual(20)
      expect(done! + left!).toBe(300)
      expect(await liveIn(partsOf(url).from)).toBe(left)
      const { code: resumed, stdout: outcome } = await run(...moving(url))
      expect([resumed, outcome.split('.')[0]]).toEqual([0, `Done: ${left} sessions have moved`])
      await expectMoved(url, records)
    },
  )

  it('ends at once at the second Ctrl-C, when a server does not answer, and loses nothing', async () => {
    const { url, records } = await site('sqlite', 100)
    await redis.cli('CLIENT', 'PAUSE', '60000', 'WRITE')
    const { child, ended } = start(moving(url))
    await until(async () => / cmd=evalsha/.test(await redis.cli('CLIENT', 'LIST')))
    child.kill('SIGINT')
    await sleep(300)
    expect([child.exitCode, child.signalCode]).toEqual([null, null])
    child.kill('SIGINT')
    await ended
    expect(child.signalCode).toBe('SIGINT')
    await redis.cli('CLIENT', 'UNPAUSE')
    expect((await run(...moving(url))).code).toBe(0)
    await expectMoved(url, records)
  })

  it('killed in the middle it loses nothing, and goes on from there', async () => {
    const { url, records } = await site('file', 200)
    for (const enough of [20, 80]) {
      const migration = start([...moving(url), '--rate', '200'])
      await moved(enough)
      migration.child.kill('SIGKILL')
      await migration.ended
    }
    expect((await run(...moving(url))).code).toBe(0)
    await expectMoved(url, records)
  })

  it('two at once move each session once', async () => {
    const { url, records } = await site('sqlite', 600)
    const both = await Promise.all([run(...moving(url)), run(...moving(url))])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    const counts = both.map(({ stdout }) => Number(/^Done: (\d+) sessions? ha/.exec(stdout)?.[1] ?? 0))
    expect(counts[0]! + counts[1]!).toBe(600)
    await expectMoved(url, records)
  })

  it('keeps to its rate', async () => {
    const { url } = await site('sqlite', 121)
    const before = performance.now()
    expect((await run(...moving(url), '--rate', '60')).code).toBe(0)
    // Six batches before the last session.
    expect(performance.now() - before).toBeGreaterThan(2_000)
  })

  it('writes a line every few seconds where there is no terminal', async () => {
    const { url } = await site('sqlite', 70)
    const { code, stderr } = await run(...moving(url), '--rate', '10')
    expect(code).toBe(0)
    const [counting, ...lines] = stderr.trimEnd().split('\n')
    expect(counting).toBe('Counting the sessions of the old store')
    expect([1, 2]).toContain(lines.length)
    for (const line of lines)
      expect(line).toMatch(/^ {2}\d\d% {2}\d0 of 70 sessions {2}\d+\/s {2}\d+ s left$/)
  }, 20_000)

  it('stops with an error in one line if the new store cannot be reached', async () => {
    const { url, records } = await site('sqlite', 5, {}, `redis://:${SECRET}@127.0.0.1:${await freePort()}`)
    const { code, stdout, stderr } = await run(...moving(url))
    expect([code, stdout]).toEqual([1, ''])
    const [, error, ...others] = stderr.split('\n')
    expect(error).toMatch(
      /^holdfast migrate: redis store: load failed: .*ECONNREFUSED.*The server cannot be reached\. .*through\? Nothing is lost: 0 sessions have moved, and the same command goes on with the rest\.$/,
    )
    expect(others).toEqual([''])
    expect(await liveIn(partsOf(url).from)).toBe(records.size)

    const verbose = await run(...moving(url), '--verbose')
    expect(verbose.code).toBe(1)
    expect(verbose.stderr).toMatch(/\n {4}at .*\ncaused by StoreError: redis store: .*\n {4}at /s)
    expect(stderr + verbose.stderr).not.toContain(SECRET)
  })

  it.each(['is full', 'goes away'])('stops when the new store %s, and loses nothing', async (what) => {
    // Otherwise Redis may lose its last second when it is killed, and what moved in it.
    const always = ['--appendonly', 'yes', '--appendfsync', 'always']
    const server = await startRedis(...always, '--requirepass', SECRET)
    try {
      const target = `redis://:${SECRET}@127.0.0.1:${server.port}`
      const { url, records } = await site('sqlite', 300, {}, target)
      const migration = start([...moving(url), '--rate', '100'])
      await moved(40, server)
      if (what === 'is full') await server.cli('CONFIG', 'SET', 'maxmemory', '1')
      else await server.kill()
      const { code, stdout, stderr } = await migration.ended
      expect([code, stdout]).toEqual([1, ''])
      const error = stderr.trimEnd().split('\n').at(-1)
      expect(error).toMatch(what === 'is full' ? /Raise `maxmemory`/ : /The server cannot be reached/)
      expect(error).toMatch(
        / Nothing is lost: \d+ sessions have moved, and the same command goes on with the/,
      )
      expect(stderr).not.toContain(SECRET)
      if (what === 'is full') await server.cli('CONFIG', 'SET', 'maxmemory', '0')
      else await server.restart()
      const { code: resumed, stdout: outcome } = await run(...moving(url))
      expect([resumed, outcome.slice(0, 5)]).toEqual([0, 'Done:'])
      await expectMoved(url, records)
    } finally {
      await server.stop()
    }
  })

  it('says what is in the way: an old store that cannot list, moves=false', async () => {
    const memcached = migrating('memcached://127.0.0.1:1', to)
    const unlisted = await run(...moving(memcached))
    expect([unlisted.code, unlisted.stdout]).toEqual([1, ''])
    expect(unlisted.stderr).toMatch(
      /the memcached store cannot list its sessions\. Sessions move when they are/,
    )
    expect((await run(...moving(memcached), '--dry-run')).stderr).toMatch(
      /store cannot list its sessions\. They/,
    )
    const still = { HOLDFAST_STORE: `${migrating(to, `${to}/1`)}&moves=false` }
    const unmoved = await start(['migrate'], still).ended
    expect(unmoved.code).toBe(1)
    expect(unmoved.stderr).toMatch(/moves=false in its URL\. Open it without\.\n$/)
  })

  it('warns of a server that throws sessions away', async () => {
    const { url } = await site('sqlite', 100)
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    const { code, stderr } = await run(...moving(url))
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    expect(code).toBe(0)
    expect(stderr.match(/^Warning: .*maxmemory-policy is allkeys-lru.*noeviction/gm)).toHaveLength(1)
  })
})

describe('its progress on a terminal', () => {
  afterEach(() => vi.useRealTimers())

  /** What a terminal of that width shows, after each rewriting of its line. */
  function terminal(columns: number) {
    vi.useFakeTimers()
    let written = ''
    const output = { isTTY: true, columns, write: (text: string) => (written += text) }
    return {
      progress: new Progress(output, 'Counting'),
      shown: () => written.split('\r\x1b[K').slice(1),
    }
  }

  it('is one line, with bar, share, count, speed and time left', () => {
    const { progress, shown } = terminal(100)
    expect(shown()).toEqual(['Counting'])
    for (let seen = 20; seen <= 5_000; seen += 20) {
      vi.advanceTimersByTime(20)
      progress.show(seen, 20_000)
    }
    vi.advanceTimersByTime(100)
    const lines = shown()
    expect(lines.at(-1)).toMatch(
      /^\[#{7}\.{23}\] {2}25% {2}5,000 of 20,000 sessions {2}\d+\/s {2}1[56] s left$/,
    )
    expect(lines.filter((line) => line.startsWith('Counting')).length).toBeLessThan(4)
    expect(lines.length).toBeLessThan(60)
    expect(lines.join('')).not.toContain('\n')
    progress.end()
    expect(shown().at(-1)).toMatch(/^\[#{7}\.{23}\].*left\n$/)
    const count = shown().length
    vi.advanceTimersByTime(1_000)
    expect(shown()).toHaveLength(count)
  })

  it('fits the terminal, however narrow', () => {
    for (const [told, columns] of [
      [10, 10],
      [30, 30],
      [50, 50],
      [70, 70],
      [0, 80],
    ] as const) {
      const { progress, shown } = terminal(told)
      for (let seen = 0; seen < 2_000; seen += 100) {
        progress.show(seen, 1_000_000)
        vi.advanceTimersByTime(200)
      }
      progress.end()
      const longest = Math.max(...shown().map((line) => line.trimEnd().length))
      expect(longest).toBeLessThan(columns)
      expect(longest).toBeGreaterThan(Math.min(columns, 60) - 10)
      vi.useRealTimers()
    }
  })

  it('forgets how fast it was ten seconds ago, and promises no end of what stands still', () => {
    const { progress, shown } = terminal(100)
    for (let seen = 0; seen <= 1_000; seen += 100) {
      progress.show(seen, 10_000)
      vi.advanceTimersByTime(1_000)
    }
    expect(shown().at(-1)).toMatch(/ {2}9\d\/s {2}9\d s left$/)
    vi.advanceTimersByTime(60_000)
    expect(shown().at(-1)).toMatch(/1,000 of 10,000 sessions {2}0\/s$/)
    progress.end()
  })

  it('never passes what there is, nor leaves a note within it', () => {
    const { progress, shown } = terminal(100)
    progress.show(30, 20)
    progress.note('Warning: a note')
    vi.advanceTimersByTime(100)
    progress.end()
    expect(shown().slice(-3)).toEqual([
      'Warning: a note\n',
      expect.stringMatching(/ 100% {2}30 of 30 sessions$/),
      expect.stringMatching(/ 100% {2}30 of 30 sessions\n$/),
    ])
  })

  it('leaves nothing of the counting if that is where it ended', () => {
    const { progress, shown } = terminal(100)
    progress.end()
    expect(shown().at(-1)).toBe('')
  })
})

// ---- helpers ----

function start(args: readonly string[], env: Record<string, string> = {}) {
  return command.start(args, { cwd: folder, env })
}

function run(...args: string[]): Promise<Ended> {
  return start(args).ended
}

function migrating(from: string, to: string): string {
  return `migrating:?${new URLSearchParams({ from, to })}`
}

/** As one would type it. */
function moving(url: string): string[] {
  const { from, to } = partsOf(url)
  return ['migrate', '--from', from, '--to', to]
}

async function everythingIn(url: string) {
  const store = openStore(url)
  const { items } = await store.scan!(undefined, 10_000)
  await store.close?.()
  return items
}

function partsOf(url: string): { from: string; to: string } {
  return Object.fromEntries(new URLSearchParams(url.slice(url.indexOf('?') + 1))) as {
    from: string
    to: string
  }
}

/** A site that is to move: the URL of its migrating store, and what is in the old one. */
async function site(
  kind: 'file' | 'sqlite',
  count: number,
  fields: Partial<StoredRecord> = {},
  target = to,
  name = 'sessions',
) {
  const from = `${kind}:${join(folder, `${kind}-${name}`)}`
  return { url: migrating(from, target), records: await fill(from, count, fields) }
}

async function fill(url: string, count: number, fields: Partial<StoredRecord> = {}) {
  const store = openStore(url)
  const records = new Map<string, StoredRecord>()
  for (let i = 0; i < count; i++) {
    const lastSeen = Date.now() - 60_000
    const record = {
      rev: '1.a',
      text: `data of ${i}`,
      user: `user-${i}`,
      lastSeen,
      expires: lastSeen + 3_600_000,
    }
    records.set(`${records.size}-${Math.random()}`, { ...record, ...fields })
  }
  for (const [key, record] of records) await store.create(key, record)
  await store.close?.()
  return records
}

/** At least so many keys are in the new store. */
function moved(count: number, server = redis): Promise<void> {
  return until(async () => Number(await server.cli('DBSIZE')) >= count)
}

async function liveIn(url: string): Promise<number> {
  const store = openStore(url)
  const { items } = await store.scan!(undefined, 10_000)
  await store.close?.()
  return items.length
}

/** Every session is in the new store as it was in the old one, which has nothing left but tombstones. */
async function expectMoved(url: string, records: ReadonlyMap<string, StoredRecord>): Promise<void> {
  const sides = partsOf(url)
  const [old, next] = [openStore(sides.from), openStore(sides.to)]
  for (const [key, record] of records) {
    expect(await next.load(key)).toEqual(record)
    expect(isTombstone(await old.load(key))).toBe(true)
  }
  await old.close?.()
  await next.close?.()
  expect(await liveIn(sides.from)).toBe(0)
}
