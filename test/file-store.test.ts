import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  access,
  chmod,
  chown,
  link,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileStore } from 'holdfast/stores/file'
import { build } from 'vite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { NEVER, type Store, type StoredRecord } from '../src/store.ts'
import { StoreError } from '../src/stores/store-error.ts'
import { storeSuite } from '../src/testing/store-suite/index.ts'
import type { Added } from './openers/file-writer.ts'

const newFolder = () => mkdtemp(join(tmpdir(), 'holdfast-'))
const removeFolder = (folder: string) => rm(folder, { recursive: true, force: true })

storeSuite(
  { describe, it },
  {
    name: 'file',
    opener: new URL('./openers/file.ts', import.meta.url).href,
    async open() {
      const folder = await newFolder()
      return { store: fileStore(folder), config: { folder }, dispose: () => removeFolder(folder) }
    },
  },
)

let folder: string
let store: Store

beforeEach(async () => {
  folder = await newFolder()
  store = fileStore(folder)
})

afterEach(() => removeFolder(folder))

let revisions = 0
function record(fields: Partial<StoredRecord> = {}): StoredRecord {
  return { rev: `r${++revisions}`, text: '{}', lastSeen: 1000, expires: Date.now() + 3_600_000, ...fields }
}

/** The paths of all files below, sorted. */
async function files(below = folder): Promise<string[]> {
  const entries = await readdir(below, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

async function onlySessionFile(): Promise<string> {
  const [path, ...others] = await files(join(folder, 'sessions'))
  expect(others).toEqual([])
  return path as string
}

const textOf = async (key: string) => ((await store.load(key)) as StoredRecord).text

describe('files', () => {
  it('can be read with a pager: a line of JSON, then the text', async () => {
    await store.create('key', record({ rev: 'first', text: 'line\nline', user: 'ada', expires: 7 }))
    const [header, ...text] = (await readFile(await onlySessionFile(), 'utf8')).split('\n')
    expect(text).toEqual(['line', 'line'])
    expect(JSON.parse(header as string)).toMatchObject({
      key: 'key',
      rev: 'first',
      user: 'ada',
      lastSeen: 1000,
      expires: 7,
    })
  })

  it('and folders are closed to other users, whatever the umask', async () => {
    const umask = process.umask(0)
    try {
      store = fileStore(join(folder, 'new', 'store'))
      const made = record({ user: 'ada', externalId: 'sid' })
      await store.create('key', made)
      await store.update('key', record({ user: 'bob' }), made.rev)
    } finally {
      process.umask(umask)
    }
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    expect(entries.length).toBeGreaterThan(8)
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name)
      const mode = ((await stat(path)).mode & 0o777).toString(8)
      expect(`${path} ${mode}`).toBe(`${path} ${entry.isDirectory() ? '700' : '600'}`)
    }
  })

  it('stay inside the folder, whatever key and user', async () => {
    const hostile = [
      '../../etc/passwd',
      '/etc/passwd',
      '..',
      '.',
      '',
      'a\0b',
      'con',
      'a/b',
      'x'.repeat(10_240),
    ]
    const inner = join(folder, 'a', 'b', 'c')
    store = fileStore(inner)
    for (const text of hostile) {
      const made = record({ user: text, externalId: text })
      expect(await store.create(text, made)).toBe(true)
      expect(await store.load(text)).toEqual(made)
      expect((await store.users?.list(text))?.items).toEqual([[text, made]])
    }
    expect(await files()).toHaveLength(hostile.length * 3)
    for (const path of await files()) {
      expect(path.slice(inner.length)).toMatch(
        /^\/(sessions\/..|users\/..\/[0-9a-f]{64}|external-ids\/..\/[0-9a-f]{64})\/[0-9a-f]{64}$/,
      )
    }
  })

  it('are as few as there are sessions, after many changes', async () => {
    const made = record({ user: 'ada' })
    await store.create('key', made)
    let rev = made.rev
    for (const user of ['bob', 'cyd', undefined, 'ada']) {
      const next = record(user === undefined ? {} : { user })
      expect(await store.update('key', next, rev)).toBe('ok')
      expect(await store.update('key', record({ user: 'late' }), rev)).toBe('conflict')
      await store.touch('key', 2000 + revisions, NEVER)
      rev = next.rev
    }
    expect(await files()).toHaveLength(2)
    await store.destroy('key', 1)
    expect(await files()).toHaveLength(1)
    expect(await store.sweep?.(1, 10)).toBe(1)
    expect(await files()).toEqual([])
  })

  it('of others in the folder are left alone', async () => {
    await store.create('key', record())
    const shard = join(await onlySessionFile(), '..')
    await writeFile(join(shard, '.DS_Store'), 'x')
    await writeFile(join(folder, 'sessions', 'README'), 'x')
    await writeFile(join(folder, 'users', 'README'), 'x')
    expect((await store.scan?.(undefined, 10))?.items).toHaveLength(1)
    expect(await store.sweep?.(NEVER - 1, 10)).toBe(1)
    expect(await files()).toHaveLength(3)
  })

  it('are found by a store opened later, and from another working directory', async () => {
    const made = record()
    await store.create('key', made)
    expect(await fileStore(folder).load('key')).toEqual(made)
  })
})

describe('a damaged file', () => {
  let path: string
  beforeEach(async () => {
    await store.create('key', record({ text: 'some text', user: 'ada' }))
    path = await onlySessionFile()
  })

  const damages: [string, () => Promise<void>, RegExp][] = [
    ['empty', () => truncate(path, 0), /is empty/],
    ['cut in its first line', () => truncate(path, 10), /does not begin with a line of JSON/],
    [
      'cut in its text',
      async () => truncate(path, (await stat(path)).size - 1),
      /holds 8 bytes of text, not 9/,
    ],
    ['garbage', () => writeFile(path, Buffer.from([0xff, 0xfe, 0x0a, 0x00])), /line of JSON/],
    ['other JSON', () => writeFile(path, 'null\n'), /line of JSON/],
    ['of a later format', () => writeFile(path, '{"format":2}\n'), /has the format 2, not 1/],
    ['without its fields', () => writeFile(path, '{"format":1,"bytes":0}\n'), /lacks a field/],
  ]
  for (const [what, damage, complaint] of damages) {
    it(`that is ${what} is an error that names it, and can only be ended`, async () => {
      await damage()
      for (const attempt of [
        () => store.load('key'),
        () => store.update('key', record(), 'r'),
        () => store.touch('key', 2000, NEVER),
        () => store.scan?.(undefined, 10),
        () => store.users?.list('ada'),
      ]) {
        const error = await Promise.resolve(attempt()).catch((error) => error)
        expect(error).toBeInstanceOf(StoreError)
        expect(error).toMatchObject({ name: 'StoreError', store: 'file', retryable: false })
        expect(error.message).toMatch(complaint)
        expect(error.message).toContain(join('sessions', basename(path).slice(0, 2), basename(path)))
        expect(error.message).not.toContain(folder)
      }
      expect(await store.create('key', record())).toBe(false)
      expect(await store.sweep?.(NEVER - 1, 10)).toBe(0)
      expect(await store.destroy('key', 5000)).toBe(true)
      expect(await store.load('key')).toEqual({ destroyedUntil: 5000 })
      expect(await store.sweep?.(5000, 10)).toBe(1)
    })
  }

  it('does not keep the other sessions of its user from being ended, and ends with them', async () => {
    await store.create('other', record({ user: 'ada' }))
    await truncate(path, 5)
    expect(await store.users?.destroy('ada', 5000)).toBe(2)
    expect(await store.load('key')).toEqual({ destroyedUntil: 5000 })
    expect(await store.load('other')).toEqual({ destroyedUntil: 5000 })
  })
})

describe('trouble with the folder', () => {
  it('is an error when the store is opened', async () => {
    expect(() => fileStore('')).toThrow(/the folder is ""; it must be a path/)
    await writeFile(join(folder, 'file'), '')
    expect(() => fileStore(join(folder, 'file', 'store'))).toThrow(StoreError)
    expect(() => fileStore(join(folder, 'file', 'store'))).toThrow(/open failed: .*ENOTDIR, there is a file/)
  })

  it('when it has gone is an error, not an absent session, and over when it is back', async () => {
    const made = record({ user: 'ada' })
    await store.create('key', made)
    await rename(folder, `${folder}.away`)
    try {
      for (const attempt of [
        () => store.load('key'),
        () => store.create('other', record()),
        () => store.create('other', record({ user: 'bob' })),
        () => store.update('key', record(), made.rev),
        () => store.touch('key', 2000, NEVER),
        () => store.destroy('key', 1),
        () => store.scan?.(undefined, 10),
        () => store.sweep?.(1, 10),
      ]) {
        await expect(attempt()).rejects.toMatchObject({
          message: expect.stringMatching(/ENOENT, a folder of the store has gone/),
          retryable: false,
        })
      }
      await expect(access(folder)).rejects.toThrow()
    } finally {
      await rename(`${folder}.away`, folder)
    }
    expect(await store.load('key')).toEqual(made)
  })

  it('that may not be written to is an error that says so, and nothing has changed', async () => {
    const made = record()
    await store.create('key', made)
    const shard = join(await onlySessionFile(), '..')
    await asNobodySpecial(async () => {
      await chmod(shard, 0o500)
      await expect(store.update('key', record(), made.rev)).rejects.toMatchObject({
        message: expect.stringMatching(/EACCES, let the user/),
        retryable: false,
      })
      await chmod(shard, 0o700)
    })
    expect(await store.load('key')).toEqual(made)
    expect(await files()).toHaveLength(1)
  })

  /** Root may write anywhere, so it becomes somebody else for as long as that takes. */
  async function asNobodySpecial(work: () => Promise<void>): Promise<void> {
    if (process.getuid?.() !== 0) return work()
    const nobody = 65_534
    for (const path of ['.', ...(await readdir(folder, { recursive: true }))]) {
      await chown(join(folder, path), nobody, nobody)
    }
    process.seteuid!(nobody)
    try {
      await work()
    } finally {
      process.seteuid!(0)
    }
  }
})

describe('what a dead process left', () => {
  /** As if a process had been killed on its way from the present state to `next`. */
  async function leave(
    next: StoredRecord,
    steps: 'draft' | 'claim',
  ): Promise<{ draft: string; claim: string }> {
    const path = await onlySessionFile()
    const [header] = (await readFile(path, 'utf8')).split('\n')
    const { id, ...rest } = JSON.parse(header as string)
    const { text, ...fields } = next
    const draft = `${path}~${id}~next`
    const claim = `${path}~${id}`
    const successor = { ...rest, ...fields, id: 'next', bytes: Buffer.byteLength(text) }
    await writeFile(draft, `${JSON.stringify(successor)}\n${text}`)
    if (steps === 'claim') await link(draft, claim)
    return { draft, claim }
  }

  const first = record({ text: 'first', user: 'ada' })
  beforeEach(() => store.create('key', first))

  it('before its claim has not happened', async () => {
    await leave(record({ text: 'second' }), 'draft')
    expect(await textOf('key')).toBe('first')
    expect(await store.update('key', record({ text: 'third' }), first.rev)).toBe('ok')
    expect(await textOf('key')).toBe('third')
  })

  it('after its claim is completed by the next writer, at once', async () => {
    const second = record({ text: 'second', user: 'bob' })
    await leave(second, 'claim')
    const began = performance.now()
    expect(await store.update('key', record({ text: 'third' }), first.rev)).toBe('conflict')
    expect(await store.load('key')).toEqual(second)
    expect((await store.users?.list('bob'))?.items).toEqual([['key', second]])
    expect((await store.users?.list('ada'))?.items).toEqual([])
    expect(await store.update('key', record({ text: 'third' }), second.rev)).toBe('ok')
    expect(performance.now() - began).toBeLessThan(1000)
    expect(await files()).toHaveLength(1)
  })

  it('after its claim is completed by a fresh load, which then tells what stays', async () => {
    const second = record({ text: 'second', user: 'ada' })
    await leave(second, 'claim')
    expect(await store.load('key')).toEqual(first)
    expect(await store.load('key', { fresh: true })).toEqual(second)
    expect(await store.load('key')).toEqual(second)
    expect(await files()).toHaveLength(2)
  })

  it('after its claim is completed by a sweep', async () => {
    const second = record({ text: 'second', user: 'ada' })
    await leave(second, 'claim')
    expect(await store.sweep?.(1, 10)).toBe(0)
    expect(await store.load('key')).toEqual(second)
    expect(await files()).toHaveLength(2)
  })

  it('as a claim on a state of the past is removed by a sweep', async () => {
    const { draft, claim } = await leave(record({ text: 'late' }), 'draft')
    expect(await store.update('key', record({ text: 'second' }), first.rev)).toBe('ok')
    await link(draft, claim)
    await store.sweep?.(1, 10)
    expect(await textOf('key')).toBe('second')
    await expect(access(claim)).rejects.toThrow()
  })

  it('with the loss of power is void, and holds nobody up', async () => {
    const { draft, claim } = await leave(record({ text: 'second' }), 'claim')
    await truncate(draft, 0)
    await store.sweep?.(1, 10)
    expect(await store.load('key', { fresh: true })).toEqual(first)
    const third = record({ text: 'third' })
    expect(await store.update('key', third, first.rev)).toBe('ok')
    expect(await store.touch('key', 2000, NEVER)).toBe(true)
    expect(await store.load('key')).toEqual({ ...third, lastSeen: 2000, expires: NEVER })
    await store.sweep?.(1, 10)
    await expect(access(claim)).rejects.toThrow()
  })

  it('in a backup, with the claim but without the draft, holds nobody up', async () => {
    const { draft } = await leave(record({ text: 'second' }), 'claim')
    await unlink(draft)
    const attempt = () => store.update('key', record({ text: 'third' }), first.rev)
    expect(await attempt()).toBe('ok')
    expect(await textOf('key')).toBe('third')
  })

  it('in the index is removed by a sweep once the session is', async () => {
    const [entry] = await files(join(folder, 'users'))
    await unlink(await onlySessionFile())
    await store.sweep?.(1, 10)
    await expect(access(entry as string)).rejects.toThrow()
    expect(await readdir(join(entry as string, '..', '..'))).toEqual([])
  })
})

describe('a sweep', () => {
  it('goes by what a file says, not by its time', async () => {
    const made = record({ expires: 5000 })
    await store.create('key', made)
    await utimes(await onlySessionFile(), 1, 1)
    expect(await store.sweep?.(4999, 10)).toBe(0)
    expect(await store.load('key')).toEqual(made)
    expect(await store.sweep?.(5000, 10)).toBe(1)
  })

  it('gives every shard its turn, however small the limit', async () => {
    for (let i = 0; i < 30; i++) await store.create(`key ${i}`, record({ expires: 1000 + i }))
    let removed = 0
    for (let now = 1000; now < 1030; now++) removed += (await store.sweep?.(now, 1)) ?? 0
    expect(removed).toBe(30)
  })
})

describe('other processes', () => {
  const keys = ['one', 'two', 'three']
  let built: string

  // Built once, as a process that must first translate its sources takes long to start.
  beforeAll(async () => {
    built = await newFolder()
    await build({
      configFile: false,
      logLevel: 'silent',
      build: { ssr: new URL('./openers/file-writer.ts', import.meta.url).pathname, outDir: built },
    })
    await writeFile(join(built, 'package.json'), '{"type":"module"}')
  })
  afterAll(() => removeFolder(built))

  beforeEach(async () => {
    for (const key of keys) await store.create(key, record())
  })

  /** By session, how much each writer has added so far, as far as it was told. */
  type Counts = Map<string, Record<string, number>>

  function startWriter(
    writer: string,
    acknowledged: Counts,
  ): { child: ChildProcess; ended: Promise<unknown> } {
    const child = fork(join(built, 'file-writer.js'), [folder, writer, JSON.stringify(keys)])
    child.on('message', ({ key, count }: Added) => {
      acknowledged.set(key, { ...acknowledged.get(key), [writer]: count })
    })
    return { child, ended: Promise.all([once(child, 'exit'), once(child, 'disconnect')]) }
  }

  async function counts(key: string): Promise<Record<string, number>> {
    return JSON.parse(await textOf(key))
  }

  /** Adds one here, as the writers do there. */
  async function add(key: string): Promise<void> {
    for (;;) {
      const found = (await store.load(key)) as StoredRecord
      const before = JSON.parse(found.text)
      const text = JSON.stringify({ ...before, here: (before.here ?? 0) + 1 })
      if ((await store.update(key, { ...found, rev: `here.${++revisions}`, text }, found.rev)) === 'ok')
        return
    }
  }

  it('killed 51 times amid their updates lose nothing acknowledged and hold nobody up', async () => {
    const acknowledged: Counts = new Map()
    let longest = 0
    for (let round = 0; round < 17; round++) {
      const writers = ['a', 'b', 'c'].map((name) => startWriter(`${name}${round}`, acknowledged))
      await Promise.all(writers.map(({ child }) => once(child, 'message')))
      await sleep(Math.random() * 30)
      for (const { child } of writers) child.kill('SIGKILL')
      await Promise.all(writers.map(({ ended }) => ended))
      for (const key of keys) {
        const began = performance.now()
        await add(key)
        longest = Math.max(longest, performance.now() - began)
      }
    }
    expect(longest).toBeLessThan(2000)
    for (const key of keys) {
      const found = await counts(key)
      expect(found.here).toBe(17)
      const told = Object.entries(acknowledged.get(key) ?? {})
      expect(told.length).toBeGreaterThan(0)
      for (const [writer, count] of told) {
        // The last ones may have been written and not been told.
        expect(found[writer]).toBeGreaterThanOrEqual(count)
        expect(found[writer]).toBeLessThan(count + 20)
      }
    }
  }, 60_000)

  it('frozen amid their updates for 1.5 s overwrite nothing when they go on', async () => {
    const acknowledged: Counts = new Map()
    const writers = ['a', 'b', 'c'].map((name) => startWriter(name, acknowledged))
    await Promise.all(writers.map(({ child }) => once(child, 'message')))
    let added = 0
    for (let round = 0; round < 4; round++) {
      await sleep(100 + Math.random() * 20)
      for (const { child } of writers) child.kill('SIGSTOP')
      const until = performance.now() + 1500
      while (performance.now() < until) {
        for (const key of keys) await add(key)
        added++
      }
      for (const { child } of writers) child.kill('SIGCONT')
    }
    await sleep(100)
    for (const { child } of writers) child.send('stop')
    await Promise.all(writers.map(({ ended }) => ended))
    for (const key of keys) expect(await counts(key)).toEqual({ here: added, ...acknowledged.get(key) })
    await store.sweep?.(1, 10)
    expect(await files()).toHaveLength(keys.length)
  }, 60_000)
})
