import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** The rows of the tables in docs/security.md: their ids, and the tests that they name. */
const rows = read('docs/security.md')
  .split('\n')
  .filter((line) => /^\| (?!id|#|---)/.test(line))
  .map((line) => {
    const cells = line.split('|').map((cell) => cell.trim())
    return {
      id: cells[1]!,
      kind: cells.find((cell) => /^[DOA]$/.test(cell)),
      tests: [...cells.at(-2)!.matchAll(/`([a-z0-9/-]+)`/g)].map(([, name]) => name!),
    }
  })

describe('docs/security.md', () => {
  it('has a test for each row that is not the application’s alone', () => {
    expect(rows.length).toBeGreaterThan(70)
    expect(rows.filter(({ kind, tests }) => kind !== 'A' && tests.length === 0)).toEqual([])
  })

  it('names tests that are there', () => {
    const names = new Set(rows.flatMap(({ tests }) => tests))
    const missing = [...names].filter((name) => !existsSync(new URL(`../${name}.test.ts`, import.meta.url)))
    expect(missing).toEqual([])
  })

  it('finds each requirement by its id where it says that it is shown over HTTP', () => {
    const isOver = (name: string) => name.startsWith('security/') && name !== 'security/dbsc'
    const unnamed = rows.flatMap(({ id, kind, tests }) => {
      const files = tests.filter(isOver)
      if (files.length === 0) return []
      const text = files.map((name) => read(`test/${name}.test.ts`)).join()
      const ids = kind === undefined ? [] : id.split(', ')
      return ids.filter((each) => !text.includes(each.replace(/ to .*/, '')))
    })
    expect(unnamed).toEqual([])
  })
})
