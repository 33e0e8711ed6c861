import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = `${root}.cache/doc-examples`

interface Example {
  readonly place: string
  /** Marked `ts run`: short enough to be run as it stands. */
  readonly runs: boolean
  /** Where it stands in an application, if it begins with a comment that says so. */
  readonly file: string | undefined
  readonly code: string
}

/** Documents, and doc comments of the sources, as text with its place. The API reference is made from the others. */
function documents(): (readonly [path: string, text: string])[] {
  const below = (path: string) =>
    readdirSync(root + path, { recursive: true, encoding: 'utf8' }).map((file) => `${path}/${file}`)
  return [...readdirSync(root), ...below('docs'), ...below('src')]
    .filter((path) => /\.(md|ts)$/.test(path) && !path.startsWith('docs/api/'))
    .map((path) => {
      const text = readFileSync(root + path, 'utf8')
      return [path, path.endsWith('.ts') ? text.replace(/^ *\* ?/gm, '') : text] as const
    })
}

/** Their ts and tsx blocks. */
function examples(): Example[] {
  return documents().flatMap(([path, text]) =>
    [...text.matchAll(/^```tsx?( run)?\n(.*?)^```/gms)].map(({ 1: run, 2: code, index }) => ({
      place: placeOf(path, text, index),
      runs: run !== undefined,
      code: code!,
      file: /^\/\/ (\S+\.tsx?)\n/.exec(code!)?.[1],
    })),
  )
}

const placeOf = (path: string, text: string, index: number) =>
  `${path}:${text.slice(0, index).split('\n').length}`

function compile(name: string, group: readonly Example[]): string {
  const target = `${folder}/${name}`
  mkdirSync(target, { recursive: true })
  const named: Record<string, string[]> = {}
  for (const [i, { place, file, code }] of group.entries()) {
    const path = `${target}/${file ?? `${i}.ts`}`
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, `// ${place}\n${code}\nexport {}\n`)
    if (file) named[`@/${file.replace(/\.tsx?$/, '')}`] = [path]
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
    compilerOptions: { noEmit: true, paths: { ...absolute, ...named }, noUnusedLocals: false },
    include: ['**/*.ts', '**/*.tsx'],
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

  it('is one that is compiled', () => {
    // Whole applications, which test/apps builds by their frameworks' own compilers; and what scripts/runtimes.mjs runs on each runtime.
    const elsewhere = ['docs/astro.md', 'docs/sveltekit.md', 'docs/runtimes.md']
    const other = /^```(js|mjs|javascript|typescript)\b|^@example\n(?!```ts\n)/gm
    const pages = documents().filter(([path]) => !elsewhere.includes(path))
    const left = pages.flatMap(([path, text]) =>
      [...text.matchAll(other)].map(({ index }) => placeOf(path, text, index)),
    )
    expect(left).toEqual([])
  })

  it('compiles', () => {
    const plain = all.filter(({ code, file }) => !file && !code.includes('interface Register'))
    expect(compile('plain', plain)).toBe('')
  }, 60_000)

  it.each(['docs/next.md'])(
    'compiles as the application that %s shows',
    (page) => {
      const files = all.filter(({ place, file }) => file && place.startsWith(`${page}:`))
      expect(files.length).toBeGreaterThan(2)
      expect(compile(page.replace(/\W/g, '-'), files)).toBe('')
    },
    60_000,
  )

  // A declaration holds for a whole program, so each of these is one of its own.
  it.each(all.filter(({ code }) => code.includes('interface Register')))(
    'compiles with types registered: $place',
    (example) => {
      expect(compile(example.place.replace(/\W/g, '-'), [example])).toBe('')
    },
    60_000,
  )

  it('runs where it is marked so, and prints what its comments say', () => {
    const marked = all.filter(({ runs }) => runs)
    expect(marked.length).toBeGreaterThan(5)
    for (const { place, code } of marked) expect(statements(code), place).not.toEqual([])
    expect(run(marked)).toEqual(marked.map(({ place, code }) => `${place}\n${statements(code).join('\n')}`))
  }, 60_000)
})

/** What a sample says that it prints: the comments behind its `console.log`. */
function statements(code: string): string[] {
  return [...code.matchAll(/^ *console\.log\(.*\) \/\/ (.*)$/gm)].map(([, printed]) => printed!)
}

/** One after the other in one process, which must end by itself: what each printed, after its place. */
function run(marked: readonly Example[]): string[] {
  const target = `${folder}/run`
  mkdirSync(target, { recursive: true })
  const steps = marked.map(({ place, code }, i) => {
    writeFileSync(`${target}/${i}.ts`, code)
    return `console.log(${JSON.stringify(`\0${place}`)})\nawait import('./${i}.ts')\n`
  })
  writeFileSync(`${target}/all.ts`, `${steps.join('')}export {}\n`)
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', `${target}/all.ts`], {
    cwd: root,
    env: { ...process.env, SESSION_SECRET: 'nZ4vKq8TtR1xW6yB3cF9hJ2mL5pS7dGu', NO_COLOR: '1' },
    encoding: 'utf8',
    timeout: 50_000,
  })
  if (status !== 0) throw new Error(`${stdout}${stderr}`)
  return stdout
    .split('\0')
    .slice(1)
    .map((printed) => printed.trim())
}
