import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { brokenLinks, misspellings } from '../site/prose.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

describe('what is written', () => {
  it('has no link that leads nowhere', () => {
    expect(brokenLinks()).toBe('')
  }, 60_000)

  it('has no misspelling', () => {
    expect(misspellings()).toBe('')
  }, 120_000)
})

describe('the checks of what is written', () => {
  const folder = `${root}examples/prose-with-mistakes`
  beforeAll(() => {
    mkdirSync(folder, { recursive: true })
    writeFileSync(
      `${folder}/page.md`,
      '# A page\n\nA sesion. [A file](../../src/nothing.ts), [a heading](../../docs/stores.md#nothing), [one of its own](#nothing)\n',
    )
    writeFileSync(`${folder}/source.ts`, "/** What it recieves. */\nexport const notaword = 'notaword'\n")
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('find files, headings of other files, and headings of the same file that are not there', () => {
    const found = brokenLinks('examples/prose-with-mistakes')
    expect(found).toContain('Cannot find file `../../src/nothing.ts`')
    expect(found).toContain('Cannot find heading for `#nothing` in `../../docs/stores.md`')
    expect(found).toContain('Cannot find heading for `#nothing`  ')
  }, 60_000)

  it('find misspelt words of documents and of comments', () => {
    const found = misspellings(`${folder}/page.md`, `${folder}/source.ts`)
    expect(found).toContain('sesion')
    expect(found).toContain('recieves')
    expect(found).not.toContain('notaword')
  }, 60_000)
})
