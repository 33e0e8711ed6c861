/**
 * A process can be killed or stopped between any two steps of an operation. Here each step of each operation gets its turn: the
 * operation stands still there for good, or until others have gone past it. The files are real.
 */
import { createHash } from 'node:crypto'
import { link, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileStore } from 'holdfast/stores/file'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { isTombstone, type StoredRecord, type UpdateResult } from '../src/store.ts'

/** An operation on its way, which stands still before one of its steps. */
interface Journey {
  readonly stopBefore: number
  step: number
  readonly stopped: () => void
  readonly goOn: Promise<void>
}

const journeys = await vi.hoisted(async () => {
  const { AsyncLocalStorage } = await import('node:async_hooks')
  return new AsyncLocalStorage<Journey>()
})

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>()
  const standing =
    <Args extends unknown[], Result>(step: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      const journey = journeys.getStore()
      if (journey !== undefined && journey.step++ === journey.stopBefore) {
        journey.stopped()
        await journey.goOn
      }
      return step(...args)
    }
  return {
    ...real,
    open: standing(real.open as (...args: unknown[]) => Promise<unknown>),
    link: standing(real.link),
    rename: standing(real.rename),
    unlink: standing(real.unlink),
  }
})

const folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
const store = fileStore(folder)
afterAll(() => rm(folder, { recursive: true, force: true }))

let last = 0
const newRev = () => `r${++last}`

/** A new session of its own ada, whose text says who wrote it, one after the other. It has expired by the time 9000. */
async function newSession(): Promise<{ key: string; first: StoredRecord }> {
  const key = `key ${++last}`
  const first = { rev: newRev(), text: 'first', user: `ada of ${key}`, lastSeen: 1, expires: 9000 }
  expect(await store.create(key, first)).toBe(true)
  return { key, first }
}

/** Adds a writer to the record as it was read. */
function write(key: string, found: StoredRecord, writer: string, user = found.user): Promise<UpdateResult> {
  return store.update(key, { ...found, rev: newRev(), text: `${found.text} ${writer}`, user }, found.rev)
}

/** Adds a writer to what is there. Nobody else is under way, so the first attempt succeeds if the record is left alone. */
async function writeNow(key: string, writer: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const found = await store.load(key)
    if (found === undefined || isTombstone(found)) return
    if ((await write(key, found, writer)) === 'ok') return
    expect(attempt).toBeLessThan(3)
  }
}

async function writersOf(key: string): Promise<string[]> {
  const found = await store.load(key)
  return found === undefined || isTombstone(found) ? [] : found.text.split(' ')
}

/** That the session is listed for the user that it carries, and for no other. */
async function expectListed(key: string): Promise<void> {
  const found = await store.load(key)
  const user = found === undefined || isTombstone(found) ? undefined : found.user
  for (const candidate of [`ada of ${key}`, `bob of ${key}`, `cyd of ${key}`]) {
    const page = await store.users?.list(candidate)
    expect(page?.items.map(([listed]) => listed)).toEqual(candidate === user ? [key] : [])
  }
}

/** Starts the operation, and comes back when it stands before that step, or when it is done without having come there. */
async function startUntil<T>(stopBefore: number, operation: () => Promise<T>) {
  let goOn = () => {}
  const resumed = new Promise<void>((resolve) => {
    goOn = resolve
  })
  let done: Promise<T> | undefined
  const stands = await new Promise<boolean>((resolve, reject) => {
    done = journeys.run({ stopBefore, step: 0, stopped: () => resolve(true), goOn: resumed }, operation)
    done.then(() => resolve(false), reject)
  })
  const finish = async () => {
    goOn()
    return (await done) as T
  }
  return { stands, finish }
}

type Session = Awaited<ReturnType<typeof newSession>>

/** Runs the body once for each step that the operation can stand before, each time with a new session. */
async function forEachStep(
  operation: (session: Session) => Promise<unknown>,
  body: (session: Session, finish: () => Promise<unknown>) => Promise<void>,
): Promise<void> {
  for (let step = 0; ; step++) {
    // So that a sweep meets this session and no other.
    await store.sweep?.(9000, 1000)
    const session = await newSession()
    const { stands, finish } = await startUntil(step, () => operation(session))
    if (!stands) return expect(step).toBeGreaterThan(5)
    await body(session, finish)
    // Those killed, too: what they had opened is closed then.
    await finish()
  }
}

const operations = {
  'an update': ({ key, first }: Session) => write(key, first, 'victim', `bob of ${key}`),
  'a touch': ({ key }: Session) => store.touch(key, 2, 9001),
  'a destruction': ({ key }: Session) => store.destroy(key, 9000),
  'a sweep': async () => store.sweep?.(9000, 1),
} satisfies Record<string, (session: Session) => Promise<unknown>>

describe('killed before any of its steps', () => {
  for (const [name, operation] of Object.entries(operations)) {
    it(`${name} leaves a session that others can read, write and list`, async () => {
      await forEachStep(operation, async ({ key }) => {
        const before = await writersOf(key)
        await writeNow(key, 'second')
        await writeNow(key, 'third')
        const after = await writersOf(key)
        if (before.length > 0 && after.length > 0) {
          expect(after.filter((writer) => writer !== 'victim')).toEqual(['first', 'second', 'third'])
        }
        await expectListed(key)
        await store.destroy(key, 9000)
        expect(await writersOf(key)).toEqual([])
      })
    })
  }

  it('a creation leaves a session or none', async () => {
    for (let step = 0; ; step++) {
      const key = `created ${step}`
      const made = { rev: newRev(), text: 'first', user: `ada of ${key}`, lastSeen: 1, expires: 9000 }
      const { stands, finish } = await startUntil(step, () => store.create(key, made))
      if (!stands) return expect(step).toBeGreaterThan(3)
      const found = await store.load(key)
      expect(await store.create(key, made)).toBe(found === undefined)
      expect(await store.load(key)).toEqual(made)
      await expectListed(key)
      await finish()
    }
  })
})

describe('stopped before any of its steps while others go on', () => {
  const meanwhile: Record<string, (key: string) => Promise<unknown>> = {
    'one update': (key) => writeNow(key, 'second'),
    'two updates': (key) => writeNow(key, 'second').then(() => writeNow(key, 'third')),
    'an update and a sweep': (key) => writeNow(key, 'second').then(() => store.sweep?.(1, 1)),
    'a touch': (key) => store.touch(key, 3, 9002),
  }
  for (const [happened, happens] of Object.entries(meanwhile)) {
    it(`an update is told the truth after ${happened}`, async () => {
      await forEachStep(operations['an update'], async ({ key }, finish) => {
        await happens(key)
        const others = (await writersOf(key)).filter((writer) => writer !== 'victim')
        const result = await finish()
        const writers = await writersOf(key)
        expect(writers.filter((writer) => writer === 'victim')).toHaveLength(result === 'ok' ? 1 : 0)
        expect(writers.filter((writer) => writer !== 'victim')).toEqual(others)
        await expectListed(key)
      })
    })
  }

  for (const name of ['an update', 'a touch'] as const) {
    it(`${name} brings nothing back that was destroyed`, async () => {
      await forEachStep(operations[name], async ({ key }, finish) => {
        expect(await store.destroy(key, 9000)).toBe(true)
        await finish()
        expect(await store.load(key)).toEqual({ destroyedUntil: 9000 })
        await expectListed(key)
      })
    })

    it(`${name} brings nothing back that has been swept`, async () => {
      await forEachStep(operations[name], async ({ key }, finish) => {
        await store.destroy(key, 9000)
        await store.sweep?.(9000, 100)
        await finish()
        expect(await store.load(key)).toBeUndefined()
        await expectListed(key)
      })
    })
  }

  it('a sweep removes nothing that was prolonged', async () => {
    await forEachStep(operations['a sweep'], async ({ key }, finish) => {
      const prolonged = await store.touch(key, 2, 9001)
      await finish()
      expect((await store.load(key)) !== undefined).toBe(prolonged)
      await store.destroy(key, 0)
    })
  })
})

/** A claim by another process on the state that the session has now; `make` leaves it there, whatever has happened meanwhile. */
async function foreignClaim(key: string, writer: string): Promise<{ make: () => Promise<void> }> {
  const hash = createHash('sha256').update(key).digest('hex')
  const path = join(folder, 'sessions', hash.slice(0, 2), hash)
  const [header = '', text] = (await readFile(path, 'utf8')).split('\n')
  const { id, ...fields } = JSON.parse(header)
  const claimed = `${text} ${writer}`
  const state = { ...fields, id: writer, rev: newRev(), bytes: Buffer.byteLength(claimed) }
  const make = async () => {
    await writeFile(`${path}~${id}~${writer}`, `${JSON.stringify(state)}\n${claimed}`)
    await link(`${path}~${id}~${writer}`, `${path}~${id}`)
  }
  return { make }
}

it('an update, stopped while it helps another, does not take a late claim for the one it found', async () => {
  for (let step = 0; ; step++) {
    const { key, first } = await newSession()
    const late = await foreignClaim(key, 'late')
    const dead = await foreignClaim(key, 'dead')
    await dead.make()
    const { stands, finish } = await startUntil(step, () => write(key, first, 'helper'))
    if (!stands) return expect(step).toBeGreaterThan(5)
    await writeNow(key, 'second')
    // Not possible while the claim that was found is still there.
    await late.make().catch((error) => expect(error).toMatchObject({ code: 'EEXIST', syscall: 'link' }))
    expect(await finish()).toBe('conflict')
    expect(await writersOf(key)).toEqual(['first', 'dead', 'second'])
  }
})

it('two updates, each stopped before any of its steps, are told the truth after two others', async () => {
  let combinations = 0
  for (let stepOfA = 0; ; stepOfA++) {
    for (let stepOfB = 0; ; stepOfB++) {
      const { key, first } = await newSession()
      const a = await startUntil(stepOfA, () => write(key, first, 'a', `bob of ${key}`))
      if (!a.stands) return expect(combinations).toBeGreaterThan(50)
      const b = await startUntil(stepOfB, () => write(key, first, 'b', `cyd of ${key}`))
      if (b.stands) {
        await writeNow(key, 'second')
        await writeNow(key, 'third')
      }
      const order = (stepOfA + stepOfB) % 2 === 0 ? [a, b] : [b, a]
      for (const { finish } of order) await finish()
      const told = [(await a.finish()) === 'ok' && 'a', (await b.finish()) === 'ok' && 'b'].filter(Boolean)
      const writers = await writersOf(key)
      expect(writers.filter((writer) => writer.length === 1)).toEqual(told)
      expect(writers.filter((writer) => writer.length > 1)).toEqual([
        'first',
        ...(b.stands ? ['second', 'third'] : []),
      ])
      await expectListed(key)
      combinations++
      if (!b.stands) break
    }
  }
})
