import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { afterAll, describe, expect, it } from 'vitest'
import { browser, SECRET } from './helpers/browser.ts'

const folder = mkdtempSync(join(tmpdir(), 'holdfast-open-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('openStore', () => {
  const encoded = (parts: Record<string, string>) => new URLSearchParams(parts).toString()
  it.each([
    ['memory:', 'memory'],
    [`file:${folder}/sessions`, 'file'],
    [`file://${folder}/sessions`, 'file'],
    [`sqlite:${folder}/a.db`, 'sqlite'],
    [`sqlite://${folder}/a.db?table=web`, 'sqlite'],
    ['sqlite::memory:', 'sqlite'],
    ['redis://localhost', 'redis'],
    ['rediss://user:secret@localhost:6380/2', 'redis'],
    ['redis+cluster://a:7000,b:7000', 'redis'],
    ['redis+sentinel://a,b,c/primary?prefix=web', 'redis'],
    ['memcached://a,b:11212', 'memcached'],
    ['memcacheds://a', 'memcached'],
    ['postgres://u:p@localhost/app?table=web&schema=app&sslmode=disable', 'postgres'],
    ['postgresql://localhost/app', 'postgres'],
    ['mysql://localhost/app?table=web', 'mysql'],
    ['mariadb://localhost/app', 'mysql'],
    ['cookie:', 'cookie'],
    [`layered:?${encoded({ cache: 'memory:', database: 'postgres://localhost/app?table=x' })}`, 'layered'],
    [`migrating:?${encoded({ from: 'memory:', to: 'redis://localhost' })}`, 'migrating'],
  ])('opens %s', async (url, name) => {
    const store = openStore(url)
    expect(store.name).toBe(name)
    await store.close?.()
  })

  it.each([
    [
      '',
      /openStore: the URL is empty, as of a variable that is not set; begin with one of memory: file: .*postgres:/,
    ],
    ['./sessions', /this text is no URL/],
    ['mongodb://localhost/app', /openStore: 'mongodb:' names no store; begin with one of/],
    ['layered:?cache=memory:', /this URL has no database; it must be like layered:/],
    ['migrating:?to=memory:', /this URL has no from/],
    [
      'migrating:?from=memory:&to=mysql://u:p@a/b?table=x&ssl=true',
      /has more than from, to, moves; .*encoded$/,
    ],
    ['layered:?cache=memory:&database=postgres://u:pa&ss@a/b', /has more than cache, database; .*encoded$/],
    [undefined as never, /the URL is undefined, as of a variable that is not set/],
    [{ url: 'redis://h' } as never, /a URL must be text, not an object of class Object/],
  ])('refuses %s', (url, message) => {
    expect(() => openStore(url)).toThrow(message)
  })

  it('passes options on, refuses those that are none, and repeats no password', () => {
    expect(() => openStore('postgres://u:secret@localhost/app?table=a-b')).toThrow(/table/)
    expect(() => openStore('redis://u:secret@localhost/x')).toThrow(TypeError)
    for (const url of ['redis://u:secret@localhost/x', 'postgres://u:secret@localhost/app?table=a-b']) {
      expect(() => openStore(url)).not.toThrow(/secret/)
    }
  })

  it('keeps what the same URL opens again', async () => {
    const url = `sqlite:${folder}/b.db?table=web`
    const first = createSessions<{ n?: number }>({ secret: SECRET, store: openStore(url) })
    const jar = browser(first)
    await jar.visit((session) => void (session.data.n = 7))
    await first.close()
    const second = createSessions<{ n?: number }>({ secret: SECRET, store: openStore(url) })
    expect(await browser(second, jar.cookie).visit((session) => session.data.n)).toBe(7)
    await second.close()
  })
})
