/**
 * Processes that are killed at every step of what they write, databases that are locked, disks that are full: what was acknowledged is there, nothing is there by
 * halves, and nothing that was ended is back.
 */
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import {
  createSessions,
  type Session,
  SessionEndedError,
  type Sessions,
  type Store,
  StoreUnavailableError,
} from 'holdfast'
import { fileStore } from 'holdfast/stores/file'
import { sqliteStore } from 'holdfast/stores/sql'
import { build } from 'vite'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { browser } from './helpers/browser.ts'
import { ACTS, type Act, AFTER, type Entry, SECRET } from './helpers/crashing-acts.ts'
import { type Kind, open, type Place } from './openers/crashing.ts'
import type { Order } from './openers/sqlite-writer.ts'
import { type RedisServer, startRedis } from './servers/redis.ts'

interface Data {
  visits?: number
  blob?: string
}

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-crashes-'))
  closing.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

describe('a process killed at every step of its writes', () => {
  let redis: RedisServer | undefined
  /** Bundled, since it is started some hundred times: from its sources a process takes longer to start than for all that it does. */
  const bundle = mkdtempSync(join(tmpdir(), 'holdfast-crashing-'))
  beforeAll(async () => {
    const entry = fileURLToPath(new URL('./helpers/crashing-process.ts', import.meta.url))
    await build({
      configFile: false,
      logLevel: 'error',
      ssr: { noExternal: true },
      build: { ssr: entry, outDir: bundle, target: 'node20', minify: false, emptyOutDir: true },
    })
    writeFileSync(join(bundle, 'package.json'), '{ "type": "module" }')
  })
  afterAll(async () => {
    await redis?.stop()
    rmSync(bundle, { recursive: true, force: true })
  })

  async function runUntil(step: number, place: Place): Promise<Entry[]> {
    const journal = join(place.path, 'journal')
    const args = [JSON.stringify(place), String(step), journal]
    const child = fork(join(bundle, 'crashing-process.js'), args, {
      execArgv: [],
      // For what is no JavaScript, and cannot be bundled.
      env: { ...process.env, NODE_PATH: fileURLToPath(new URL('../node_modules', import.meta.url)) },
    })
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
    if (code !== 0 && signal !== 'SIGKILL') throw new Error(`the process ended with ${code ?? signal}`)
    const lines = readFileSync(journal, 'utf8').split('\n').filter(Boolean)
    return lines.map((line) => JSON.parse(line) as Entry)
  }

  function manage(store: Store, ahead: number): Sessions<Data> {
    return createSessions<Data>({ secret: SECRET, store, sweepEvery: false, clock: () => Date.now() + ahead })
  }

  /** All that is there, as `AFTER` has it. */
  async function world(sessions: Sessions<Data>): Promise<string[]> {
    const { sessions: all } = await sessions.all()
    const found = await Promise.all(all.map(({ handle }) => stateOf(sessions, handle)))
    return worldOf(found)
  }

  /** Once it is settled: what was decided and not finished is finished by a fresh load, and a cache may know it as it was. */
  async function stateOf(sessions: Sessions<Data>, handle: string): Promise<string | undefined> {
    for (;;) {
      const session = await sessions.find(handle)
      try {
        await session?.reload()
        return session && `${session.userId ?? 'nobody'} ${session.data.visits ?? 0}`
      } catch (error) {
        expect(error).toBeInstanceOf(SessionEndedError)
        await sleep(50)
      }
    }
  }

  async function check(place: Place, entries: readonly Entry[]): Promise<void> {
    const begun = entries.findLast((entry) => 'act' in entry)!
    const done = entries.findLast((entry) => 'done' in entry)
    const opened = open(place)
    const sessions = manage(opened.store, begun.ahead)
    const where = `killed during '${begun.act}'`
    const before = done ? AFTER[done.done] : [undefined, undefined]
    const after = AFTER[begun.act]
    const is = await world(sessions)
    expect([worldOf(before), worldOf(after)], where).toContainEqual(is)
    await checkIndexes(sessions, where)

    // What the browser has is as good as it was, unless what was under way has been done.
    const [phone] = before
    if (phone !== undefined) {
      const { userId, data } = await sessions.open(done!.cookies.phone)
      const seen = `${userId ?? 'nobody'} ${data.visits ?? 0}`
      if (seen !== phone) expect(is, `${where}, the phone sees ${seen}`).toEqual(worldOf(after))
    }

    // Nothing is in the way of those who come later, and what they end is ended.
    for (const { handle } of (await sessions.all()).sessions) {
      const session = (await sessions.find(handle))!
      await session.update((data) => void (data.visits = 100))
    }
    expect(
      (await world(sessions)).every((session) => session.endsWith(' 100')),
      where,
    ).toBe(true)
    await checkIndexes(sessions, where)
    await sessions.revoke({ userId: 'ada' })
    await sessions.revoke({ userId: 'bob' })
    expect(
      (await world(sessions)).filter((session) => !session.startsWith('nobody')),
      where,
    ).toEqual([])
    await sessions.revokeAll()
    expect(await world(sessions), where).toEqual([])
    await sessions.close()
    await opened.close()
    await checkThatNothingIsLeft(place)
  }

  function worldOf(sessions: readonly (string | undefined)[]): string[] {
    return sessions.filter((session) => session !== undefined).sort()
  }

  async function checkIndexes(sessions: Sessions<Data>, where: string): Promise<void> {
    const all = (await sessions.all()).sessions
    for (const user of ['ada', 'bob']) {
      const listed = (await sessions.list(user)).map(({ handle }) => handle)
      const carrying = all.filter(({ userId }) => userId === user).map(({ handle }) => handle)
      expect(listed.sort(), `${where}: the sessions of ${user}`).toEqual(carrying.sort())
    }
  }

  /** What the dead left behind goes when a sweep comes by after an hour in which nobody could still be at it. */
  async function checkThatNothingIsLeft({ kind, path }: Place): Promise<void> {
    if (kind !== 'file') return
    const entries = () => readdirSync(join(path, 'sessions', 'users'), { recursive: true }) as string[]
    const files = () => entries().filter((name) => statSync(join(path, 'sessions', 'users', name)).isFile())
    const store = fileStore(join(path, 'sessions'))
    await store.sweep?.(Date.now() + 86_400_000, 1000)
    await store.sweep?.(Date.now() + 86_400_000, 1000)
    expect(files()).toEqual([])
  }

  for (const kind of ['sqlite', 'file', 'layered', 'migrating', 'redis'] satisfies Kind[]) {
    it(`${kind}: loses nothing acknowledged, leaves nothing half done and revives nothing`, {
      timeout: 120_000,
    }, async () => {
      if (kind === 'redis') redis = await startRedis()
      const run = async (step: number) => {
        const path = newFolder()
        const port = redis?.port ?? 0
        const place: Place = { kind, path, port }
        const entries = await runUntil(step, place)
        if (step > 0) expect(entries.at(-1), `step ${step}`).toHaveProperty('act')
        await check(place, entries)
        return entries
      }
      const [{ steps }] = (await run(0)).slice(-1) as [{ steps: number }]
      const acts = new Map<Act, number>()
      let next = 1
      const one = async () => {
        while (next <= steps) {
          const { act } = (await run(next++)).at(-1) as { act: Act }
          acts.set(act, (acts.get(act) ?? 0) + 1)
        }
      }
      await (kind === 'redis' ? one() : Promise.all([one(), one()]))
      console.log(
        `${kind}: killed ${steps} times, ${[...acts].map(([act, times]) => `${times} during '${act}'`).join(', ')}`,
      )
      const counted = kind === 'migrating' ? ACTS.slice(2) : ACTS
      expect([...acts.keys()].sort()).toEqual([...counted].sort())
    })
  }
})

const writer = fileURLToPath(new URL('./openers/sqlite-writer.ts', import.meta.url))

describe('a SQLite database that another process has locked', () => {
  /** Resolves once it is locked. */
  async function lock(path: string, milliseconds: number): Promise<{ released: Promise<unknown> }> {
    const child = fork(writer, [JSON.stringify({ path })], { execArgv: ['--import', 'tsx'] })
    closing.push(() => child.kill('SIGKILL'))
    await once(child, 'message')
    child.send({ block: milliseconds } satisfies Order)
    await once(child, 'message')
    return { released: once(child, 'message') }
  }

  it('for half a second holds a write up, for longer is a 503 that says what to look for; afterwards all is well', async () => {
    const path = join(newFolder(), 'sessions.db')
    const sessions = createSessions<Data>({ secret: SECRET, store: sqliteStore(path) })
    closing.push(() => sessions.close())
    const jar = browser(sessions)
    await jar.visit(count)
    const short = await lock(path, 500)
    let isSaved = false
    const saving = jar.visit(count).then(() => (isSaved = true))
    // Meanwhile this process serves others.
    let reads = 0
    for (; !isSaved; reads++) {
      await browser(sessions, jar.cookie).visit(({ data }) => data.visits)
      await sleep(1)
    }
    await saving
    expect(reads).toBeGreaterThan(5)
    await short.released

    const long = await lock(path, 6_000)
    const { cookie } = jar
    const writes = [
      count,
      (session: Session<Data>) => session.login('ada'),
      (session: Session<Data>) => session.logout(),
    ]
    for (const write of writes) {
      await expectRefusal(
        jar.visit(write),
        /database is locked\. Another connection kept the write lock too long: look for an open transaction or a backup/,
      )
    }
    // Many of them do not wait one after another.
    const before = performance.now()
    const crowd = Array.from({ length: 20 }, () => browser(sessions).visit(count))
    for (const { status } of await Promise.allSettled(crowd)) expect(status).toBe('rejected')
    expect(performance.now() - before).toBeLessThan(2_000)
    expect(await jar.visit(({ data }) => data.visits)).toBe(2)
    await long.released
    await jar.visit(count)
    expect(await jar.visit(({ data, userId }) => [data.visits, userId])).toEqual([3, undefined])
    expect(jar.cookie).toBe(cookie)
  })
})

describe('a full disk', () => {
  /** A disk that a test can fill. */
  function smallDisk(): { path: string; fill: () => void; makeRoom: () => void } {
    const path = newFolder()
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', path], { encoding: 'utf8' })
    if (mounted.status !== 0) {
      throw new Error(
        `this test mounts a disk of its own, so it must run as root: ${mounted.error ?? mounted.stderr}`,
      )
    }
    closing.push(() => spawnSync('umount', ['-l', path]))
    const ballast = join(path, 'ballast')
    return {
      path,
      fill() {
        const file = openSync(ballast, 'a')
        try {
          for (;;) writeSync(file, Buffer.alloc(4096))
        } catch (error) {
          expect(error).toMatchObject({ code: 'ENOSPC' })
        } finally {
          closeSync(file)
        }
      },
      makeRoom: () => rmSync(ballast),
    }
  }

  const stores: Record<string, { open: (disk: string) => Store; message: RegExp }> = {
    file: {
      open: (disk) => fileStore(join(disk, 'sessions')),
      message: /ENOSPC, the disk is full; make room/,
    },
    sqlite: {
      open: (disk) => sqliteStore(join(disk, 'sessions.db')),
      message: /disk is full\. The disk is full; nothing was written/,
    },
  }

  it.each(Object.keys(stores))(
    'under the %s store is a 503 that says so; nothing is lost, and with room all goes on',
    async (name) => {
      const disk = smallDisk()
      const { open, message } = stores[name]!
      const sessions = createSessions<Data>({ secret: SECRET, store: open(disk.path) })
      closing.push(() => sessions.close())
      const jars = Array.from({ length: 10 }, () => browser(sessions))
      for (const jar of jars) {
        await jar.visit(count)
        await jar.visit((session) => session.login('ada'))
      }
      const told = jars.map(() => 1)
      disk.fill()
      // A database has some room of its own left.
      let refused = 0
      for (let i = 0; refused < 20; i++) {
        const n = i % jars.length
        const isDone = await jars[n]!.visit(count).then(
          () => true,
          (error: unknown) => error,
        )
        if (isDone === true) told[n]!++
        else {
          refused++
          await expectRefusal(Promise.reject(isDone), message, LASTING)
        }
        expect(i).toBeLessThan(2_000)
      }
      await expectRefusal(
        browser(sessions).visit((session) => void (session.data.blob = 'x'.repeat(20_000))),
        message,
        LASTING,
      )
      const seen = async () =>
        Promise.all(jars.map((jar) => jar.visit(({ data, userId }) => [userId, data.visits])))
      expect(await seen()).toEqual(told.map((visits) => ['ada', visits]))
      const leaving = jars[0]!.cookie
      await expectRefusal(
        jars[0]!.visit((session) => session.logout()),
        message,
        LASTING,
      )
      expect(jars[0]!.cookie).toBe(leaving)

      disk.makeRoom()
      for (const jar of jars) await jar.visit(count)
      expect(await seen()).toEqual(told.map((visits) => ['ada', visits + 1]))
      expect(await sessions.list('ada')).toHaveLength(10)
      await jars[0]!.visit((session) => session.logout())
      expect(await browser(sessions, leaving).visit(({ userId }) => userId)).toBeUndefined()
      expect(await sessions.revoke({ userId: 'ada' })).toBe(9)
    },
  )
})

function count({ data }: Session<Data>): void {
  data.visits = (data.visits ?? 0) + 1
}

/** Somebody has to act. */
const LASTING = false

async function expectRefusal(work: Promise<unknown>, message: RegExp, retryable = true): Promise<void> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(StoreUnavailableError)
  expect(error).toMatchObject({ status: 503, retryable })
  expect(String((error as Error).cause)).toMatch(message)
}
