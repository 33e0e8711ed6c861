import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = `${root}.cache/doc-examples`

interface Example {
  readonly place: string
  readonly code: string
}

/** The ts blocks of all documents, and of doc comments in the sources. */
function examples(): Example[] {
  const below = (path: string) =>
    readdirSync(root + path, { recursive: true, encoding: 'utf8' }).map((file) => `${path}/${file}`)
  const listed = [...readdirSync(root), ...below('docs'), ...below('src')]
  const documents = listed.filter((path) => /\.(md|ts)$/.test(path))
  return documents.flatMap((path) => {
    const text = readFileSync(root + path, 'utf8')
    const plain = path.endsWith('.ts') ? text.replace(/^ *\* ?/gm, '') : text
    return [...plain.matchAll(/^```ts\n(.*?)^```/gms)].map(({ 1: code, index }) => ({
      place: `${path}:${plain.slice(0, index).split('\n').length}`,
      code: code!,
    }))
  })
}

function compile(name: string, group: readonly Example[]): string {
  const target = `${folder}/${name}`
  mkdirSync(target, { recursive: true })
  for (const [i, { place, code }] of group.entries()) {
    writeFileSync(`${target}/${i}.ts`, `// ${place}\n${code}\nexport {}\n`)
  }
  const paths = JSON.parse(readFileSync(`${root}tsconfig.json`, 'utf8')).compilerOptions.paths as Record<
    string,
    string[]
  >
  const absolute = Object.fromEntries(
    Object.entries(paths).map(([from, [to]]) => [from, [root + to!.slice(2)]]),
  )
  const tsconfig = {
    extends: `${root}tsconfig.json`,
    compilerOptions: { noEmit: true, paths: absolute, noUnusedLocals: false },
    include: ['*.ts'],
  }
  writeFileSync(`${target}/tsconfig.json`, JSON.stringify(tsconfig))
  const { stdout } = spawnSync('npx', ['tsc', '-p', target], { cwd: root, encoding: 'utf8' })
  return stdout.replace(/\S*\/(\d+)\.ts/g, (_, i) => group[Number(i)]!.place)
}

describe('every example in the documentation', () => {
  const all = examples()
  rmSync(folder, { recursive: true, force: true })

  it('is there', () => {
    expect(all.filter(({ place }) => place.startsWith('README')).length).toBeGreaterThan(10)
    expect(all.filter(({ place }) => place.startsWith('src/')).length).toBeGreaterThan(5)
  })

  it('compiles', () => {
    const plain = all.filter(({ code }) => !code.includes('interface Register'))
    expect(compile('plain', plain)).toBe('')
  }, 60_000)

  // A declaration holds for a whole program, so each of these is one of its own.
  it.each(all.filter(({ code }) => code.includes('interface Register')))(
    'compiles with types registered: $place',
    (example) => {
      expect(compile(example.place.replace(/\W/g, '-'), [example])).toBe('')
    },
    60_000,
  )
})
