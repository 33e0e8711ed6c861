/** The commands that look at sessions and end them: the built command, as a process of its own, on real stores. */
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters, styleText } from 'node:util'
import {
  createSessions,
  type Finding,
  type SessionOptions,
  type Sessions,
  type Store,
  type StoredRecord,
} from 'holdfast'
import { openStore } from 'holdfast/stores'
import Database from 'libsql'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bench } from '../src/cli/bench.ts'
import { doctor } from '../src/cli/doctor.ts'
import { init } from '../src/cli/init.ts'
import { list } from '../src/cli/list.ts'
import { migrate } from '../src/cli/migrate.ts'
import { revoke } from '../src/cli/revoke.ts'
import { show } from '../src/cli/show.ts'
import { stats } from '../src/cli/stats.ts'
import { sweep } from '../src/cli/sweep.ts'
import { browser, SECRET } from './helpers/browser.ts'
import { type BuiltCommand, buildCommand, start } from './helpers/command.ts'
import { runOn as runOnMariadb, startMariadb } from './servers/mariadb.ts'
import { runOn, startPostgres, type TestServer } from './servers/postgres.ts'
import { freePort } from './servers/process.ts'
import { type RedisServer, startRedis } from './servers/redis.ts'

interface Data {
  cart?: string[]
  note?: string
  since?: Date
}

const MINUTE = 60_000
const HOUR = 60 * MINUTE

let command: BuiltCommand
let redis: RedisServer
let postgres: TestServer
let mariadb: TestServer
let tables = 0
let folder: string
let sites: { sessions: Sessions<Data>; store: Store }[]

beforeAll(async () => {
  command = buildCommand('cli-sessions')
  ;[redis, postgres, mariadb] = await Promise.all([
    startRedis('--appendonly', 'yes'),
    startPostgres(),
    startMariadb(),
  ])
}, 60_000)
afterAll(() => Promise.all([redis.stop(), postgres.stop(), mariadb.stop()]))
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-cli-'))
  sites = []
})
afterEach(async () => {
  for (const { sessions } of sites) await sessions.close()
  rmSync(folder, { recursive: true, force: true })
})

const KINDS = ['sqlite', 'file', 'redis', 'postgres', 'mariadb'] as const

describe.each(KINDS)('sessions in a %s store', (kind) => {
  it('are listed, shown and counted as the site has them', async () => {
    const { url, visit } = await site(kind)
    const handles = [
      await visit('ann', 3 * MINUTE),
      await visit('bob', 2 * HOUR),
      await visit(undefined, MINUTE),
    ]

    const { sessions, ...rest } = await json('list', '--store', url)
    expect(rest).toEqual({ cursor: null, unreadable: 0 })
    expect(sessions.map(({ handle }: { handle: string }) => handle).sort()).toEqual([...handles].sort())
    const ann = sessions.find(({ userId }: { userId: string }) => userId === 'ann')
    const at = Date.parse(ann.createdAt)
    expect(ann).toEqual({
      handle: handles[0],
      userId: 'ann',
      createdAt: new Date(at).toISOString(),
      lastSeenAt: new Date(at).toISOString(),
      expiresAt: new Date(at + 24 * HOUR).toISOString(),
      authenticatedAt: new Date(at).toISOString(),
      level: 'mfa',
      externalId: 'sid-ann',
      generation: 2,
      about: { browser: 'Firefox' },
      bytes: '{"cart":["milk"],"note":"of ann"}'.length,
    })
    expect(Math.abs(Date.now() - 3 * MINUTE - at)).toBeLessThan(30_000)

    expect(await json('show', '--store', url, handles[0]!)).toEqual({
      ...ann,
      keys: { cart: 8, note: 8 },
      messages: 0,
      data: null,
      flashes: null,
    })
    expect(await json('stats', '--store', url)).toEqual({
      sessions: 3,
      loggedIn: 2,
      usedLastHour: 2,
      bytes: ann.bytes * 2 + '{"note":"of nobody"}'.length + '"cart":["milk"],'.length,
      largest: ann.bytes + 3,
      unreadable: 0,
    })
  })

  it('are listed by user, by last use, by idleness, and page by page', async () => {
    const { url, visit } = await site(kind)
    const [old, young, other] = [
      await visit('ann', 3 * HOUR),
      await visit('ann', HOUR),
      await visit('bob', 2 * HOUR),
    ]
    expect(await listed(url, '--user', 'ann')).toEqual([young, old])
    expect(await listed(url, '--user', 'ann', '--idle', '--limit', '1')).toEqual([old])
    expect(await listed(url, '--user', 'nobody')).toEqual([])
    expect(await listed(url, '--recent')).toEqual([young, other, old])
    expect(await listed(url, '--idle', '--limit', '2')).toEqual([old, other])

    const seen: string[] = []
    let cursor: string[] = []
    for (let pages = 1; ; pages++) {
      const page = await json('list', '--store', url, '--limit', '2', ...cursor)
      seen.push(...page.sessions.map(({ handle }: { handle: string }) => handle))
      if (page.cursor === null) break
      expect([page.sessions.length, pages < 3]).toEqual([2, true])
      cursor = ['--cursor', page.cursor]
    }
    expect(seen.sort()).toEqual([old, young, other].sort())
  })
})

describe('holdfast list', () => {
  it('prints a table, and on stderr how to see more', async () => {
    const { url, visit } = await site('sqlite')
    const handle = await visit('ann', 3 * MINUTE)
    expect(await run('list', '--store', url)).toEqual({
      code: 0,
      stdout:
        `HANDLE${' '.repeat(handle.length - 6)}  USER  LAST USED  EXPIRES  LOGGED IN  DATA      ABOUT\n` +
        `${handle}  ann   3m ago     in 24h   3m ago     33 bytes  Firefox\n`,
      stderr: '',
    })
    await visit('bob', MINUTE)
    const { code, stdout, stderr } = await run('list', '--store', url, '--limit', '1')
    expect([code, stdout.split('\n').length]).toEqual([0, 3])
    expect(stderr).toMatch(/^There are more: --cursor [\w-]+\n$/)
    const next = await run('list', '--store', url, ...stderr.trim().split(' ').slice(-2))
    expect([next.code, next.stdout.split('\n').length, next.stderr]).toEqual([0, 3, ''])
    expect(next.stdout + stdout).toMatch(/ann(.|\n)*bob|bob(.|\n)*ann/)
  })

  it('says so if there are none', async () => {
    const { url } = await site('file')
    expect(await run('list', '--store', url)).toEqual({ code: 0, stdout: 'No sessions.\n', stderr: '' })
    expect(await json('list', '--store', url)).toEqual({ sessions: [], cursor: null, unreadable: 0 })
  })

  it('takes the store from HOLDFAST_STORE, and one on the command line before that', async () => {
    const [first, second] = [await site('file'), await site('sqlite')]
    await first.visit('ann', 0)
    await second.visit('bob', 0)
    const env = { HOLDFAST_STORE: first.url }
    expect((await runWith(env, 'list')).stdout).toMatch(/ann/)
    expect((await runWith(env, 'list', '--store', second.url)).stdout).toMatch(/bob/)
  })

  it('goes by the lifetimes of the site, and leaves out what has expired', async () => {
    const { url, visit } = await site('sqlite', { lifetime: { idle: '60d', absolute: false } })
    const handle = await visit('ann', 30 * 24 * HOUR)
    await visit('bob', 61 * 24 * HOUR)
    const { sessions } = await json('list', '--store', url)
    expect(sessions.map(({ handle }: { handle: string }) => handle)).toEqual([handle])
    expect(Date.parse(sessions[0].expiresAt) - Date.parse(sessions[0].lastSeenAt)).toBe(60 * 24 * HOUR)
    expect((await json('stats', '--store', url)).sessions).toBe(1)
    const endless = await site('file', { lifetime: { idle: false, absolute: false } })
    await endless.visit('ann', HOUR)
    expect((await json('list', '--store', endless.url)).sessions[0].expiresAt).toBe(null)
    expect((await run('list', '--store', endless.url)).stdout).toMatch(/ {2}never {2}/)
  })

  it('keeps to one manager: id, or the one that --name names', async () => {
    const { url, visit } = await site('sqlite')
    const admin = await site('sqlite', { name: 'admin' })
    await visit('ann', 0)
    await admin.visit('root', 0)
    const users = async (...args: string[]) =>
      (await json('list', '--store', url, ...args)).sessions.map(({ userId }: { userId: string }) => userId)
    expect(await users()).toEqual(['ann'])
    expect(await users('--name', 'admin')).toEqual(['root'])
    expect(await users('--name', 'other')).toEqual([])
  })

  it('does not let what visitors have sent command the terminal', async () => {
    const { url, visit } = await site('sqlite', {
      describe: () => ({ browser: 'Fire\u001b[2Jfox\nHANDLE\u202e' }),
    })
    const handle = await visit('an\u0007n', 0)
    for (const args of [['list'], ['show', '--reveal', handle]]) {
      const { code, stdout } = await run(args[0]!, '--store', url, ...args.slice(1))
      expect(code).toBe(0)
      expect(stdout).toContain('Fire\\u{1b}[2Jfox\\u{a}HANDLE\\u{202e}')
      expect(stdout).toContain('an\\u{7}n')
      expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
    }
  })

  it('is bold at the head on a terminal only, and never with NO_COLOR', async () => {
    const { url, visit } = await site('sqlite')
    await visit('ann', 0)
    const onTerminal = (env: Record<string, string>) =>
      start(['script', '-qec', `"${process.execPath}" "${command.path}" list`, '/dev/null'], {
        cwd: folder,
        env: { HOLDFAST_STORE: url, TERM: 'xterm', ...env },
      }).ended
    const [head, row] = (await onTerminal({})).stdout.split('\r\n')
    expect(head).toBe(styleText('bold', stripVTControlCharacters(head!), { validateStream: false }))
    expect(row).toMatch(/^\S+ +ann /)
    expect((await onTerminal({ NO_COLOR: '1' })).stdout).toMatch(/^HANDLE .*\r\n\S+ +ann /)
    expect((await runWith({ HOLDFAST_STORE: url }, 'list')).stdout).not.toContain('\u001b')
  })

  it('does not mind who reads no further', async () => {
    const { url, visit } = await site('sqlite')
    for (let i = 0; i < 20; i++) await visit(`user-${i}`, 0)
    const { stdout, stderr } = await start(
      [
        'bash',
        '-c',
        `set -o pipefail; "${process.execPath}" "${command.path}" list --store '${url}' | true; echo $?`,
      ],
      { cwd: folder },
    ).ended
    expect([stdout, stderr]).toEqual(['0\n', ''])
  })
})

describe('holdfast show', () => {
  it('hides the values of the data, unless they are to be revealed', async () => {
    const { url, visit, sessions } = await site('sqlite')
    const handle = await visit('ann', 2 * HOUR)
    const held = (await sessions.find(handle))!
    held.data.since = new Date(0)
    held.flash('info', 'Welcome')
    await held.commit()
    const { code, stdout, stderr } = await run('show', '--store', url, handle)
    expect([code, stderr]).toEqual([0, ''])
    const facts = Object.fromEntries(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/(?<=\S) {2,}/)),
    )
    expect(facts).toMatchObject({
      handle,
      user: 'ann',
      created: expect.stringMatching(/^\d{4}-\d\d-\d\dT\S+Z \(2h ago\)$/),
      'logged in': expect.stringMatching(/\(2h ago\)$/),
      level: 'mfa',
      'external id': 'sid-ann',
      'about browser': 'Firefox',
      data: expect.stringMatching(/^3 keys, \d+ bytes; --reveal shows the values$/),
      '  cart': '8 bytes',
      '  since': '26 bytes',
      messages: '1',
    })
    expect(stdout).not.toMatch(/milk|of ann|Welcome|1970/)
    const revealed = (await run('show', '--reveal', '--store', url, handle)).stdout
    expect(revealed).toMatch(/^ {2}cart {2,}\["milk"\]\n {2}note {2,}"of ann"\n {2}since {2,}"1970-01-01T/m)
    expect(revealed).toMatch(/^messages {2,}1\n {2}info {2,}Welcome\n$/m)
    expect(await json('show', '--reveal', '--store', url, handle)).toMatchObject({
      data: { cart: ['milk'], note: 'of ann', since: '1970-01-01T00:00:00.000Z' },
      flashes: [{ category: 'info', message: 'Welcome' }],
    })
  })

  it('fails for a session that is not there, has ended, or is of another manager', async () => {
    const { url, visit, sessions } = await site('sqlite')
    const [ended, live] = [await visit('ann', 0), await visit('bob', 0)]
    await sessions.revoke({ handle: ended })
    for (const args of [['no-such'], [ended], ['--name', 'admin', live]]) {
      const { code, stdout, stderr } = await run('show', '--store', url, ...args.slice(0, -1), args.at(-1)!)
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(
        /^holdfast show: there is no session of (id|admin) with this handle in the sqlite/,
      )
    }
  })

  it('takes a handle that begins with a dash for a handle, as revoke does', async () => {
    const { url, visit, store } = await site('sqlite')
    const handle = await visit('ann', 0)
    const dashed = `-${handle.slice(1)}`
    await store.create(`id:${dashed}`, (await store.load(`id:${handle}`)) as StoredRecord)
    for (const args of [[dashed], ['--', dashed]]) {
      expect(await json('show', '--store', url, ...args)).toMatchObject({ handle: dashed, userId: 'ann' })
    }
    for (const [args, revoked] of [
      [['--handle', dashed], 1],
      [[`--handle=${dashed}`], 0],
    ] as const) {
      expect(await json('revoke', ...args, '--store', url)).toEqual({ revoked, unreadable: 0 })
    }
    expect(await listed(url)).toEqual([handle])
  })

  it('shows data of a codec that only the site has as what it is', async () => {
    const codec = {
      encode: (data: object) => Buffer.from(JSON.stringify(data)).toString('hex'),
      decode: (text: string) => JSON.parse(Buffer.from(text, 'hex').toString()),
    }
    const { url, visit } = await site('sqlite', { codec })
    const handle = await visit('ann', 0)
    const { stdout } = await run('show', '--store', url, handle)
    expect(stdout).toMatch(
      /^data {2,}66 bytes of a codec that only the site has; --reveal shows the values$/m,
    )
    expect(await json('show', '--store', url, handle)).toMatchObject({ keys: null, data: null })
    const revealed = await json('show', '--reveal', '--store', url, handle)
    expect(revealed).toMatchObject({ keys: null, data: expect.stringMatching(/^7b22/) })
  })
})

describe.each(KINDS)('holdfast revoke on a %s store', (kind) => {
  it("ends one session, a user's, those whose login is old, and everyone's, and says how many", async () => {
    const { url, visit, liveUsers } = await site(kind)
    const users = ['ann', 'ann', 'bob', 'bob', 'eve', 'eve', undefined]
    const handles: string[] = []
    for (const [i, user] of users.entries()) handles.push(await visit(user, (i + 1) * HOUR))
    const revoke = async (...args: string[]) => {
      const { code, stdout, stderr } = await run('revoke', '--store', url, ...args)
      expect([code, stderr]).toEqual([0, ''])
      return stdout
    }
    expect(await revoke('--handle', handles[0]!)).toBe('1 session has been revoked.\n')
    expect(await revoke('--handle', handles[0]!)).toBe('0 sessions have been revoked.\n')
    expect(await liveUsers()).toEqual(['ann', 'bob', 'bob', 'eve', 'eve', undefined])
    expect(await revoke('--user', 'bob')).toBe('2 sessions have been revoked.\n')
    expect(await liveUsers()).toEqual(['ann', 'eve', 'eve', undefined])
    expect(await revoke('--older-than', '5.5h')).toBe('2 sessions have been revoked.\n')
    expect(await liveUsers()).toEqual(['ann', 'eve'])
    expect(await json('revoke', '--store', url, '--everyone', '--yes')).toEqual({ revoked: 2, unreadable: 0 })
    expect(await liveUsers()).toEqual([])
  })
})

describe('holdfast revoke', () => {
  it('ends everyone also where lifetimes are longer than usual, and no one of another manager', async () => {
    const { url, visit, liveUsers } = await site('sqlite', { lifetime: { idle: '60d', absolute: false } })
    const admin = await site('sqlite', { name: 'admin' })
    for (let i = 0; i < 45; i++) await visit(`user-${i}`, 30 * 24 * HOUR)
    await admin.visit('root', 0)
    const { stdout } = await run('revoke', '--store', url, '--everyone', '-y')
    expect(stdout).toBe('45 sessions have been revoked.\n')
    expect([await liveUsers(), await admin.liveUsers()]).toEqual([[], ['root']])
  })

  it('ends everyone without the secret that their records are sealed with', async () => {
    const { url, visit, liveUsers } = await site('sqlite', { seal: true })
    await visit('ann', HOUR)
    const old = await run('revoke', '--store', url, '--older-than', '1m')
    expect([old.code, old.stdout]).toEqual([1, ''])
    expect(old.stderr).toMatch(/HOLDFAST_SECRET is not set/)
    const env = { HOLDFAST_SECRET: 'another'.padEnd(40, 'qwertyuiop') }
    const other = await runWith(env, 'revoke', '--store', url, '--older-than', '1m')
    expect([other.code, other.stdout]).toEqual([1, '0 sessions have been revoked.\n'])
    expect(other.stderr).toMatch(
      /^Warning: 1 session could not be read, .* may live on: the record is not sealed/,
    )
    expect(await liveUsers()).toEqual(['ann'])
    expect((await run('revoke', '--store', url, '--everyone', '--yes')).code).toBe(0)
    expect(await liveUsers()).toEqual([])
  })

  it('asks before it ends everyone, on a terminal, and takes nothing but yes for yes', async () => {
    const { url, visit, liveUsers } = await site('sqlite')
    await visit('ann', 0)
    const answered = (answer: string) =>
      start(
        [
          'bash',
          '-c',
          `(sleep 1; echo '${answer}'; sleep 1) | script -qec '"${process.execPath}" "${command.path}" revoke --everyone' /dev/null`,
        ],
        { cwd: folder, env: { HOLDFAST_STORE: url } },
      ).ended
    const declined = await answered('no')
    expect(declined.stdout).toMatch(/End all sessions of the manager id in this sqlite store\? .* \[y\/N\] /)
    expect([declined.code, await liveUsers()]).toEqual([1, ['ann']])
    expect(declined.stdout).toMatch(/Nothing has been revoked\.\r\n$/)
    const confirmed = await answered('yes')
    expect([confirmed.code, await liveUsers()]).toEqual([0, []])
    expect(confirmed.stdout).toMatch(/1 session has been revoked\.\r\n$/)
  })
})

describe('holdfast sweep', () => {
  it.each(['sqlite', 'file', 'postgres', 'mariadb'] as const)(
    'removes from a %s store what has expired, and says how much',
    async (kind) => {
      const { url, visit, liveUsers, store } = await site(kind)
      await visit('ann', HOUR)
      for (let i = 0; i < 3; i++) await visit(`old-${i}`, 48 * HOUR)
      const swept = () => run('sweep', '--store', url)
      expect(await swept()).toEqual({ code: 0, stdout: '3 expired records have been removed.\n', stderr: '' })
      expect((await store.scan!(undefined, 100)).items).toHaveLength(1)
      expect(await liveUsers()).toEqual(['ann'])
      expect(await json('sweep', '--store', url)).toEqual({ removed: 0 })
    },
  )

  it('has nothing to do in Redis, and says why', async () => {
    const { url } = await site('redis')
    expect((await run('sweep', '--store', url)).stdout).toBe(
      'The redis store expires by itself: there is nothing to sweep.\n',
    )
  })
})

describe('holdfast doctor', () => {
  const production = { NODE_ENV: 'production', WEB_CONCURRENCY: '' }
  const RANDOM = randomBytes(32).toString('base64url')

  it.each(['sqlite', 'file', 'redis'] as const)(
    'has one line for a %s store that is as it should be, with how quick it answers',
    async (kind) => {
      const { url } = await site(kind)
      const env = { ...production, HOLDFAST_SECRET: RANDOM }
      const { code, stdout, stderr } = await runWith(env, 'doctor', '--store', url)
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(
        new RegExp(
          `^All is well: the ${kind} store answers a load in \\d+(\\.\\d\\d)? ms \\(the median of 50; the slowest took \\d+(\\.\\d\\d)? ms\\)\\. Cookie and lifetimes were not looked at: there is no holdfast\\.config with them\\.\n$`,
        ),
      )
      const unchecked = await runWith(production, 'doctor', '--store', url)
      expect([unchecked.code, unchecked.stderr]).toEqual([0, ''])
      expect(unchecked.stdout).toMatch(
        /\)\. Its secret was not looked at: HOLDFAST_SECRET is not set\. Cookie and/,
      )
    },
  )

  it('says what it found with its cure, the gravest first, and fails for an error', async () => {
    const { url } = await site('redis')
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    const env = { NODE_ENV: 'staging', HOLDFAST_SECRET: '31415926535897932384626433832795028841971' }
    const [plain, machine] = [
      await runWith(env, 'doctor', '--store', url),
      await runWith(env, 'doctor', '--json', '--store', url),
    ]
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    expect([plain.code, plain.stderr, machine.code, machine.stderr]).toEqual([1, '', 1, ''])
    expect(plain.stdout).toMatch(
      /^error: secret\.weak, in HOLDFAST_SECRET\n {2}Secret 1 of 1 has only digits.*\n {2}Cure: .*\nerror: redis\.evicts, in the redis store\n {2}.*allkeys-lru.*\n {2}Cure: .*noeviction.*\nwarning: environment\.not-production, in the environment\n.*\n {2}Cure: .*\nThe redis store answers a load in /,
    )
    const { store, secretChecked, findings, latency } = JSON.parse(machine.stdout)
    expect([store, secretChecked]).toEqual(['redis', true])
    expect(findings.map(({ id, severity }: Finding) => [id, severity])).toEqual([
      ['secret.weak', 'error'],
      ['redis.evicts', 'error'],
      ['environment.not-production', 'warning'],
    ])
    expect(latency.loads).toBe(50)
    expect(latency.median).toBeGreaterThan(0)
    expect(latency.slowest).toBeGreaterThanOrEqual(latency.median)
  })

  it('finds a secret that no site starts with', async () => {
    const { url } = await site('sqlite')
    for (const [secret, reason] of [
      [
        'short',
        /^ {2}No site starts with what HOLDFAST_SECRET holds: 5 bytes are too few; at least 32 are needed\.$/m,
      ],
      ['please-change-me-to-32-random-bytes', /holds: this one can be guessed\.$/m],
    ] as const) {
      const env = { ...production, HOLDFAST_SECRET: secret }
      const { code, stdout, stderr } = await runWith(env, 'doctor', '--store', url)
      expect([code, stderr]).toEqual([1, ''])
      expect(stdout).toMatch(reason)
      expect(stdout).toMatch(
        /^error: secret\.refused, in HOLDFAST_SECRET\n.*\n {2}Cure: Make one with: node -p .*\nThe sqlite store answers/,
      )
      expect(stdout).not.toContain(secret)
    }
  })

  it('passes a warning with exit code 0', async () => {
    const { url } = await site('file')
    const { code, stdout } = await runWith({ NODE_ENV: 'test' }, 'doctor', '--store', url)
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^warning: environment\.not-production, in the environment\n {2}NODE_ENV is "test": .*\n.*\nThe file store answers/,
    )
  })

  it('says of a store that it cannot reach why, and measures nothing', async () => {
    const url = `redis://:hunter2@127.0.0.1:${await freePort()}`
    const { code, stdout, stderr } = await runWith(production, 'doctor', '--store', url)
    expect([code, stderr]).toEqual([1, ''])
    expect(stdout).toMatch(
      /^error: store\.unreachable, in the redis store\n {2}.*ECONNREFUSED.*\n {2}Cure: .*\n$/,
    )
    new DatabaseFile(join(folder, 'foreign.db')).execute('CREATE TABLE holdfast_sessions (sid TEXT)')
    chmodSync(join(folder, 'foreign.db'), 0o600)
    const broken = await runWith(production, 'doctor', '--json', '--store', 'sqlite:./foreign.db')
    expect([broken.code, broken.stderr]).toEqual([1, ''])
    const { findings, latency } = JSON.parse(broken.stdout)
    expect([findings.map(({ id }: Finding) => id), latency]).toEqual([['sql.wrong-table'], null])
    expect(findings[0].finding).toMatch(/ was made for something else/)
    expect(stdout).not.toContain('hunter2')
  })
})

describe('holdfast init', () => {
  it('makes the table of an SQL store, which a site then uses, and leaves one alone that is there', async () => {
    const url = `sqlite:${join(folder, 'new.db')}?table=web`
    const made = {
      code: 0,
      stdout: 'The table of the sqlite store is there, with its indexes.\n',
      stderr: '',
    }
    expect(await run('init', '--store', url)).toEqual(made)
    const tables = () =>
      new DatabaseFile(join(folder, 'new.db')).list(
        "SELECT name FROM sqlite_master WHERE name LIKE 'web%' ORDER BY name",
      )
    expect(tables()).toEqual(['web', 'web_by_expiry_hour', 'web_by_external_id', 'web_by_user'])
    const { visit, liveUsers } = await siteAt(url)
    await visit('ann', 0)
    expect(await run('init', '--store', url)).toEqual(made)
    expect(await liveUsers()).toEqual(['ann'])
  })

  it.each([
    ['postgres', () => ownTable(postgres), runOn],
    ['mysql', () => ownTable(mariadb), runOnMariadb],
  ] as const)(
    'makes the table of a %s store, or prints the DDL that does, for a site that may not',
    async (name, urlOf, execute) => {
      const [made, printed] = [urlOf(), urlOf()]
      const said = {
        code: 0,
        stdout: `The table of the ${name} store is there, with its indexes.\n`,
        stderr: '',
      }
      expect(await run('init', '--store', made)).toEqual(said)
      const { code, stdout, stderr } = await run('init', '--print', '--store', printed)
      expect([code, stderr]).toEqual([0, ''])
      await execute(printed.split('?')[0]!, ...stdout.split(/;\n/).filter(Boolean))
      for (const url of [made, printed]) {
        expect(await run('init', '--store', url)).toEqual(said)
        const { visit, liveUsers } = await siteAt(url)
        await visit('ann', 0)
        expect(await liveUsers()).toEqual(['ann'])
      }
    },
  )

  it('prints with --print the DDL that makes the same, and makes nothing', async () => {
    const url = `sqlite:${join(folder, 'new.db')}`
    const { code, stdout, stderr } = await run('init', '--print', '--store', url)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^CREATE TABLE IF NOT EXISTS "holdfast_sessions" \([^;]+;\nCREATE INDEX/)
    expect(existsSync(join(folder, 'new.db'))).toBe(false)
    new DatabaseFile(join(folder, 'new.db')).execute(stdout)
    expect((await run('init', '--store', url)).code).toBe(0)
    expect(await json('init', '--print', '--store', url)).toEqual({ store: 'sqlite', schema: stdout })
    const { visit, liveUsers } = await siteAt(url)
    await visit('ann', 0)
    expect(await liveUsers()).toEqual(['ann'])
    const postgres = await run('init', '--print', '--store', 'postgres://127.0.0.1:1/app?schema=web&table=t')
    expect([postgres.code, postgres.stdout.split(' (')[0]]).toEqual([
      0,
      'CREATE TABLE IF NOT EXISTS "web"."t"',
    ])
  })

  it('fails if a table of that name was made for something else, and says how to go on', async () => {
    new DatabaseFile(join(folder, 'new.db')).execute('CREATE TABLE holdfast_sessions (sid TEXT)')
    const { code, stdout, stderr } = await run('init', '--store', `sqlite:${join(folder, 'new.db')}`)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(
      /^holdfast init: sqlite store: createTables failed: there is a table .* made for something else/,
    )
  })

  it('has nothing to do for a store without tables, and nothing to print', async () => {
    const { url } = await site('file')
    expect(await run('init', '--store', url)).toEqual({
      code: 0,
      stdout: 'The file store has no tables: there is nothing to make.\n',
      stderr: '',
    })
    expect(await json('init', '--store', url)).toEqual({ store: 'file', schema: null })
    const { code, stdout, stderr } = await run('init', '--print', '--store', url)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(
      /the file store has no tables, so there is no DDL to print\. See holdfast init --help\n/,
    )
    const layered = await run('init', '--store', 'layered:?cache=memory:&database=sqlite:./a.db')
    expect(layered.code).toBe(2)
    expect(layered.stderr).toMatch(/layered: is made of two; give each of its SQL stores by its own URL/)
  })
})

describe('sealed records', () => {
  it('are read with HOLDFAST_SECRET', async () => {
    const { url, visit } = await site('sqlite', { seal: true })
    const handle = await visit('ann', 0)
    const env = { HOLDFAST_SECRET: SECRET }
    expect((await runWith(env, 'list', '--store', url)).stdout).toMatch(/ann .* 33 bytes/)
    expect((await runWith(env, 'show', '--reveal', '--store', url, handle)).stdout).toMatch(/\["milk"\]/)
    expect((await runWith(env, 'stats', '--store', url)).stdout).toMatch(/^sessions +1$/m)
  })

  it('are read with any of several, from the environment or the configuration, the environment first', async () => {
    const { url, visit } = await site('sqlite', { seal: true })
    await visit('ann', 0)
    const newer = randomBytes(32).toString('base64url')
    const users = async (env: Record<string, string>) => {
      const { code, stdout, stderr } = await runWith(env, 'list', '--json', '--store', url)
      return [code, JSON.parse(stdout).sessions.map(({ userId }: { userId: string }) => userId), stderr]
    }
    expect(await users({ HOLDFAST_SECRET: `${newer}, ${SECRET}` })).toEqual([0, ['ann'], ''])
    writeFileSync(
      join(folder, 'holdfast.config.js'),
      `module.exports = { secret: ['${newer}', process.env.SESSION_SECRET] }`,
    )
    expect(await users({ SESSION_SECRET: SECRET })).toEqual([0, ['ann'], ''])
    const [, none, warning] = await users({ SESSION_SECRET: SECRET, HOLDFAST_SECRET: newer })
    expect([none, warning]).toEqual([[], expect.stringContaining('1 session could not be read')])
  })

  it('are refused without it, with the cure', async () => {
    const { url, visit } = await site('sqlite', { seal: true })
    const handle = await visit('ann', 0)
    for (const args of [['list'], ['stats'], ['list', '--user', 'ann'], ['show', handle]]) {
      const { code, stdout, stderr } = await run(args[0]!, '--store', url, ...args.slice(1))
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(
        /: the records are sealed, and HOLDFAST_SECRET is not set\. Set it to the secret of/,
      )
    }
  })

  it('of another secret are counted as what they are, and never taken for no sessions', async () => {
    const { url, visit } = await site('sqlite', { seal: true })
    const handle = await visit('ann', 0)
    const env = { HOLDFAST_SECRET: 'another'.padEnd(40, 'qwertyuiop') }
    const { code, stdout, stderr } = await runWith(env, 'stats', '--json', '--store', url)
    expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ sessions: 0, unreadable: 1 })])
    expect(stderr).toMatch(
      /^Warning: 1 session could not be read and left out: the record is not sealed with any/,
    )
    const shown = await runWith(env, 'show', '--store', url, handle)
    expect([shown.code, shown.stdout]).toEqual([1, ''])
    expect(shown.stderr).toMatch(/the record is not sealed with any of the secrets/)
  })
})

describe('holdfast migrate', () => {
  it('goes past a session that the new store refuses, names it, and ends with 1', async () => {
    await runOn(
      postgres.url,
      "CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    const { url, visit, liveUsers } = await site('file')
    const there = await siteAt(Object.assign(new URL(postgres.url), { pathname: '/latin1' }).href)
    await visit('ann', 0)
    const handle = await visit('安', 0)
    await visit('bob', 0)
    const { code, stdout, stderr } = await run('migrate', '--from', url, '--to', there.url)
    expect([code, stdout]).toEqual([
      1,
      '2 sessions have moved. 1 session cannot, and remains in the old store: do what is said above, or end what is left (holdfast revoke), and start again.\n',
    ])
    expect(stderr).toContain(`Refused, and left where it is: id:${handle}: postgres store: create failed: `)
    expect(stderr).toContain('create it with ENCODING UTF8')
    expect((await there.liveUsers()).sort()).toEqual(['ann', 'bob'])
    expect(await liveUsers()).toEqual(['安'])
  }, 60_000)
})

describe('--help', () => {
  it.each(Object.entries({ list, show, stats, revoke, sweep, doctor, bench, init, migrate }))(
    'of %s teaches by examples, names every option, and says what JSON and exit codes mean',
    async (name, { options }) => {
      const { code, stdout, stderr } = await run(name, '--help')
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(new RegExp(`^Usage: holdfast ${name} \\[options\\]`))
      expect(stdout.match(new RegExp(`^ {2}.*holdfast ${name} .*`, 'gm'))!.length).toBeGreaterThan(1)
      for (const option of [...Object.keys(options), 'help', 'verbose']) {
        expect(stdout).toMatch(new RegExp(`^ {2}(-\\w, | {4})--${option} .*\\w`, 'm'))
      }
      expect(stdout).toMatch(
        /^JSON: .*\n(.|\n)*^Exit codes: 0 .*1 .*2 wrong usage(\.|, 130 stopped by Ctrl-C \(143 by SIGTERM\)\.)\n$/m,
      )
    },
  )
})

describe('holdfast.config', () => {
  const write = (extension: string, text: string) =>
    writeFileSync(join(folder, `holdfast.config.${extension}`), text)

  it.each([
    ['json', (config: object) => JSON.stringify(config)],
    ['js', (config: object) => `module.exports = ${JSON.stringify(config)}`],
  ] as const)(
    '.%s gives the store and the name; options and the environment go first',
    async (extension, textOf) => {
      const { url, visit } = await site('sqlite', { name: 'admin' })
      const other = await site('file', { name: 'admin' })
      const plain = await siteAt(url)
      await visit('root', 0)
      await other.visit('eve', 0)
      await plain.visit('ann', 0)
      write(extension, textOf({ store: url, name: 'admin' }))
      const users = async (env: Record<string, string>, ...args: string[]) => {
        const { code, stdout, stderr } = await runWith(env, 'list', '--json', ...args)
        expect([code, stderr]).toEqual([0, ''])
        return JSON.parse(stdout).sessions.map(({ userId }: { userId: string }) => userId)
      }
      expect(await users({})).toEqual(['root'])
      expect(await users({}, '--name', 'id')).toEqual(['ann'])
      expect(await users({ HOLDFAST_STORE: other.url })).toEqual(['eve'])
      expect(await users({ HOLDFAST_STORE: other.url }, '--store', url)).toEqual(['root'])
      expect((await run('init')).stdout).toMatch(/^The table of the sqlite store is there/)
    },
  )

  it('.js may give an open store, whose connections keep no command from ending', async () => {
    const url = ownTable(postgres)
    const { visit } = await siteAt(url)
    await visit('ann', 0)
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    const [driver, stores] = [
      createRequire(import.meta.url).resolve('pg'),
      join(command.path, '../../stores/sql/index.js'),
    ]
    write(
      'js',
      `import pg from ${JSON.stringify(driver)}
       import { postgresStore } from ${JSON.stringify(stores)}
       const pool = new pg.Pool({ connectionString: ${JSON.stringify(url.split('?')[0])}, idleTimeoutMillis: 60_000 })
       export default { store: postgresStore(pool, { table: '${new URL(url).searchParams.get('table')}' }) }`,
    )
    const began = performance.now()
    const { code, stdout, stderr } = await run('list')
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/ ann /)
    expect(performance.now() - began).toBeLessThan(20_000)
  })

  const HIDDEN = 'hunter2'
  it.each([
    [
      'is no JSON',
      'json',
      `{ "store": "redis://:${HIDDEN}@127.0.0.1" "name": "id" }`,
      /holdfast\.config\.json: it is no JSON; look/,
    ],
    [
      'holds no object',
      'json',
      `"redis://:${HIDDEN}@127.0.0.1"`,
      /holdfast\.config\.json: it holds no object; make it like/,
    ],
    [
      'has an unknown field',
      'js',
      'module.exports = { stores: "file:." }',
      /\.js: there is no field "stores"; there are the options of createSessions: secret, store, /,
    ],
    [
      'has a store that is no URL',
      'js',
      'module.exports = { store: {} }',
      /holdfast\.config\.js: store is neither a URL nor a store; give one of them\. /,
    ],
    [
      'has a secret that would be committed',
      'json',
      `{ "store": "sqlite:./no.db", "secret": "${HIDDEN}" }`,
      /holdfast\.config\.json: a secret in it would be committed; put it into HOLDFAST_SECRET, or/,
    ],
    ['fails', 'js', 'throw new Error("no such variable")', /holdfast\.config\.js: no such variable\. See/],
    ['is of a language that is none', 'ts', 'export default { store: }', /holdfast\.config\.ts: /],
  ])('that %s is refused, naming the file', async (_, extension, text, message) => {
    write(extension, text)
    const { code, stdout, stderr } = await run('list')
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(message)
    expect(stderr).not.toContain(HIDDEN)
  })

  it('.ts is read where Node reads TypeScript, and refused elsewhere with the cure', async () => {
    const { url, visit } = await site('sqlite')
    await visit('ann', 0)
    write('ts', `const store: string = ${JSON.stringify(url)}\nexport default { store }`)
    const { code, stdout, stderr } = await run('list')
    if ('typescript' in process.features && process.features.typescript)
      expect([code, stdout]).toEqual([0, expect.stringContaining('ann')])
    else {
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toMatch(
        /holdfast\.config\.ts: this Node reads no TypeScript; use Node 22\.18 or newer, or name it/,
      )
    }
  })
})

describe('wrong usage', () => {
  const HIDDEN = 'hunter2'
  const url = `redis://:${HIDDEN}@127.0.0.1:1`
  it.each([
    [
      'no store',
      ['list'],
      /^holdfast list: the store is missing: give --store <url>, or set HOLDFAST_STORE\. /,
    ],
    [
      'a store of this process',
      ['list', '--store', 'memory:'],
      /holds nothing that another process could see/,
    ],
    [
      'an unknown scheme',
      ['stats', '--store', `mongodb://${HIDDEN}`],
      /'mongodb:' names no store; begin with/,
    ],
    [
      'a path with nothing there',
      ['list', '--store', 'sqlite:./no.db?table=t'],
      /there is nothing at "\.\/no\.db", to which --store/,
    ],
    [
      'an unknown option',
      ['list', '--store', url, '--all'],
      /Unknown option '--all'\. See holdfast list --help\nUsage: holdfast list \[options\]\n$/,
    ],
    [
      'an argument',
      ['list', url],
      /this command takes options alone, and there is 1 argument; the URL follows --store/,
    ],
    [
      'a limit that is none',
      ['list', '--store', url, '--limit', '0'],
      /--limit: "0" is no whole number from 1 up/,
    ],
    ['opposites', ['list', '--store', url, '--recent', '--idle'], /--recent and --idle are opposites/],
    [
      'a cursor with an order',
      ['list', '--store', url, '--recent', '--cursor', 'YQ'],
      /leave out --user, --recent and --idle/,
    ],
    ['a cursor that is none', ['list', '--store', url, '--cursor', '{}'], /--cursor: this is none/],
    ['no user', ['list', '--store', url, '--user', ''], /--user: the id is empty/],
    [
      'a name that is none',
      ['list', '--store', url, '--name', 'a b'],
      /--name: "a b" \(or name in holdfast\.config\) must be 1 to 32 letters/,
    ],
    [
      'nobody to revoke',
      ['revoke', '--store', url],
      /exactly one of --handle, .* is needed, and there is none of them/,
    ],
    [
      'too much to revoke',
      ['revoke', '--store', url, '--user', 'a', '--everyone'],
      /exactly one .* and there is 2/,
    ],
    ['a handle that a script has not set', ['revoke', '--store', url, '--handle='], /--handle: it is empty/],
    [
      'an age without its unit',
      ['revoke', '--store', url, '--older-than', '7'],
      /--older-than: "7" is no age above 0 with its unit: 90m, 12h, 7d/,
    ],
    [
      'an age that is none',
      ['revoke', '--store', url, '--older-than', '7 moons'],
      /--older-than: "7 moons" is no age/,
    ],
    [
      'an age of nothing',
      ['revoke', '--store', url, '--older-than', '0d'],
      /--older-than: "0d" is no age above 0/,
    ],
    [
      'everyone, unasked',
      ['revoke', '--store', url, '--everyone'],
      /nobody can be asked here; give --yes if that is meant/,
    ],
    ['no handle', ['show', '--store', url], /one handle is expected, and there are no arguments/],
    ['two handles', ['show', '--store', url, 'a', 'b'], /one handle is expected, and there are 2 arguments/],
  ] as [string, string[], RegExp][])(
    '%s is refused with exit code 2, and makes nothing',
    async (_, args, message) => {
      const { code, stdout, stderr } = await run(...args)
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toMatch(message)
      expect(stderr).toMatch(/^[^\n]+ See holdfast \w+ --help\nUsage: holdfast \w+ [^\n]+\n$/)
      expect(stderr).not.toContain(HIDDEN)
    },
  )

  it('is not what a server is that cannot be reached: exit code 1, and what may be wrong', async () => {
    const { code, stdout, stderr } = await run('list', '--store', url)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(
      /^holdfast list: redis store: scan failed: .*ECONNREFUSED.*The server cannot be reached\./,
    )
    expect(stderr).not.toContain(HIDDEN)
  })
})

describe('docs/command-line.md', () => {
  const text = readFileSync(new URL('../docs/command-line.md', import.meta.url), 'utf8')
  const samples = [...text.matchAll(/^npx holdfast (.+?)(?: +[#>|].*)?$/gm)].map(([, sample]) => sample!)

  it.each(samples)('has a sample that works: holdfast %s', async (sample) => {
    const { url, visit } = await site('sqlite')
    const handle = await visit('ann', 0)
    const args = sample
      .replace('HANDLE', handle)
      .replace('sqlite:./sessions.db', url)
      .replace('redis://localhost', `redis://127.0.0.1:${redis.port}`)
      .split(' ')
    const { code, stdout, stderr } = await runWith({ HOLDFAST_STORE: url }, ...args)
    expect(code).toBe(0)
    // Besides how far it is.
    expect(stderr).toMatch(/^((Counting the sessions of the old store|Loading the sqlite store .*)\n)?$/)
    expect(stdout).not.toBe('')
  })

  it('has a table as it is printed', async () => {
    const { url, visit } = await site('sqlite')
    const handle = await visit('ann', 3 * MINUTE)
    const { stdout } = await run('list', '--store', url)
    expect(text).toContain(stdout.replace(handle, 'oVAtUbLXALhBRCUuzyy_7jCYMDUPOZxu5ROGRYL1OYs'))
  })
})

// ---- helpers ----

function run(...args: string[]) {
  return runWith({}, ...args)
}

function runWith(env: Record<string, string>, ...args: string[]) {
  return command.start(args, { cwd: folder, env }).ended
}

async function json(name: string, ...args: string[]) {
  const { code, stdout, stderr } = await run(name, '--json', ...args)
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout)
}

async function listed(url: string, ...args: string[]): Promise<string[]> {
  const { sessions } = await json('list', '--store', url, ...args)
  return sessions.map(({ handle }: { handle: string }) => handle)
}

/** As another program sees it. */
class DatabaseFile {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  execute(sql: string): void {
    const database = new Database(this.#path)
    database.exec(sql)
    database.close()
  }

  list(sql: string): unknown[] {
    const database = new Database(this.#path)
    const rows = database.prepare(sql).all() as object[]
    database.close()
    return rows.map((row) => Object.values(row)[0])
  }
}

/** The URL of a table that nobody else has. */
function ownTable({ url }: TestServer): string {
  return `${url}?table=sessions_${tables++}`
}

/** A site with sessions in a store of that kind, empty before. */
async function site(kind: (typeof KINDS)[number], options: SessionOptions<Data> = {}) {
  if (kind === 'redis') await redis.cli('FLUSHALL')
  const url = {
    sqlite: () => `sqlite:${join(folder, kind)}`,
    file: () => `file:${join(folder, kind)}`,
    redis: () => `redis://127.0.0.1:${redis.port}`,
    postgres: () => ownTable(postgres),
    mariadb: () => ownTable(mariadb),
  }[kind]()
  return siteAt(url, options)
}

/** `visit` makes a session that was last used so many milliseconds ago, and gives its handle. */
async function siteAt(url: string, options: SessionOptions<Data> = {}) {
  const store = openStore(url)
  await store.scan!(undefined, 1) // makes files and tables
  let now = Date.now()
  const sessions = createSessions<Data>({
    secret: SECRET,
    store,
    sweepEvery: false,
    clock: () => now,
    describe: () => ({ browser: 'Firefox' }),
    ...options,
  })
  sites.push({ sessions, store })
  const visit = async (userId: string | undefined, ago: number) => {
    now = Date.now() - ago
    const handle = await browser(sessions, undefined, `__Host-${sessions.name}`).visit(async (session) => {
      session.data = { cart: ['milk'], note: `of ${userId ?? 'nobody'}` }
      if (userId !== undefined) await session.login(userId, { externalId: `sid-${userId}`, level: 'mfa' })
      return session.handle
    })
    now = Date.now()
    return handle
  }
  /** In the order of their last use. */
  const liveUsers = async () => {
    const { sessions: live } = await sessions.all()
    return [...live]
      .sort((a, b) => b.lastSeenAt.getTime() - a.lastSeenAt.getTime())
      .map(({ userId }) => userId)
  }
  return { url, store, sessions, visit, liveUsers }
}
