import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const at = (path: string) => new URL(`../../${path}`, import.meta.url)
const read = (path: string) => readFileSync(at(path), 'utf8')

interface Row {
  readonly ids: readonly string[]
  readonly kind: string | undefined
  readonly tests: readonly string[]
}

/** The rows of the tables in docs/security.md: their ids as tests say them, and the tests that they name. */
const rows: readonly Row[] = read('docs/security.md')
  .split('\n')
  .filter((line) => /^\| (?!id|#|---)/.test(line))
  .map((line) => {
    const cells = line.split('|').map((cell) => cell.trim())
    return {
      ids: idsIn(cells[1]!.replace(/^(?=\d+\.)/, 'ASVS ').replace(/^(?=\d+$)/, 'attacker ')),
      kind: cells.find((cell) => /^[DOA]$/.test(cell)),
      tests: [...cells.at(-2)!.matchAll(/`([a-z0-9/-]+)`/g)].map(([, name]) => name!),
    }
  })

/** `ASVS 3.3.1, 3.3.2 and attackers 5 and 7` names four; `ASVS 9.1.1 to 9.1.3` three. */
function idsIn(text: string): string[] {
  const numbered = /\b(ASVS|NIST|attackers?) (\d[\d.]*(?:\(\d\))?(?:(?:, | and | to )\d[\d.]*(?:\(\d\))?)*)/g
  const named = text.match(/\bCS-[a-z]+|\bWSTG-SESS-\d+|\bRFC 6265bis/g) ?? []
  const numbers = [...text.matchAll(numbered)].flatMap(([, list, all]) =>
    all!.split(/, | and /).flatMap((part) => range(part).map((each) => `${list!.replace(/s$/, '')} ${each}`)),
  )
  return [...named, ...numbers]
}

function range(part: string): string[] {
  const [from, to] = part.replace(/\.$/, '').split(' to ')
  if (to === undefined) return [from!]
  const [chapter, first] = [from!.replace(/\d+$/, ''), Number(from!.match(/\d+$/))]
  return Array.from({ length: Number(to.match(/\d+$/)) - first + 1 }, (_, n) => chapter + (first + n))
}

/** What a file of tests says that it shows, in the names of its tests. */
function idsOf(name: string): string[] {
  const strings = read(`test/${name}.test.ts`).matchAll(/(['`])((?:(?!\1).)+)\1/g)
  return [...strings].flatMap(([, , text]) => idsIn(text!))
}

const files = ['security', 'frameworks', 'browser']
  .flatMap((folder) => readdirSync(at(`test/${folder}`)).map((file) => `${folder}/${file}`))
  .filter((file) => file.endsWith('.test.ts') && file !== 'security/document.test.ts')
  .map((file) => file.replace('.test.ts', ''))

describe('docs/security.md', () => {
  it('has every requirement and attacker once', () => {
    const ids = rows.flatMap((row) => row.ids)
    expect(ids.filter((id, n) => ids.indexOf(id) !== n)).toEqual([])
    expect(rows.filter((row) => row.ids.length === 0)).toEqual([])
    expect(ids.filter((id) => id.startsWith('attacker'))).toEqual(
      Array.from({ length: 35 }, (_, n) => `attacker ${n + 1}`),
    )
    expect(ids.length).toBeGreaterThan(90)
  })

  it('has a test for each row that is not the application’s alone', () => {
    expect(rows.filter(({ kind, tests }) => kind !== 'A' && tests.length === 0)).toEqual([])
  })

  it('names tests that are there', () => {
    const names = new Set(rows.flatMap(({ tests }) => tests))
    expect([...names].filter((name) => !existsSync(at(`test/${name}.test.ts`)))).toEqual([])
  })

  it('has each id in the name of a test, in a file that its row names', () => {
    const unshown = rows.flatMap(({ ids, kind, tests }) => {
      const shown = new Set(tests.flatMap(idsOf))
      return kind === 'A' ? [] : ids.filter((id) => !shown.has(id))
    })
    expect(unshown).toEqual([])
  })

  it('has a row for each id that a test names', () => {
    const ids = new Set(rows.flatMap((row) => row.ids))
    const unknown = files.flatMap((name) => idsOf(name).filter((id) => !ids.has(id)))
    expect(unknown).toEqual([])
  })
})
