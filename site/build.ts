/** Builds the documentation into .cache/docs, and fails if anything is the matter with it, a warning included. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { brokenLinks, misspellings } from './prose.ts'

const site = fileURLToPath(new URL('.', import.meta.url))
const built = fileURLToPath(new URL('../.cache/docs', import.meta.url))

rmSync(fileURLToPath(new URL('../docs/api', import.meta.url)), { recursive: true, force: true })
run('typedoc', 'bin/typedoc', ['--options', 'typedoc.mjs'])
run('vitepress', 'bin/vitepress.js', ['build'])
report('Loaded from outside', outsideAssets())
report('Links', brokenLinks() + brokenLinks('docs/api'))
report('Spelling', misspellings())
console.log('The documentation is in .cache/docs.')

function run(name: string, file: string, parameters: readonly string[]): void {
  const program = fileURLToPath(new URL(`./${file}`, import.meta.resolve(`${name}/package.json`)))
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [program, ...parameters], {
    cwd: site,
    encoding: 'utf8',
  })
  if (error) throw error
  const printed = stripVTControlCharacters(stdout + stderr)
  console.log(printed.trim())
  // VitePress has no option for it, and ends with 0.
  const warnings = printed.split('\n').filter((line) => /\bwarn|\(!\)|deprecated/i.test(line))
  if (status !== 0 || warnings.length > 0)
    report(`${name} (exit code ${status})`, warnings.join('\n') || printed)
}

/** What a browser would fetch from another host. Links that a reader may follow are none of it. */
function outsideAssets(): string {
  const asset =
    /<(?:script|img|iframe|source|video)\b[^>]*\bsrc="(?:https?:)?\/\/[^"]*|<link\b[^>]*\bhref="(?:https?:)?\/\/[^"]*|(?:url\(|@import )["']?(?:https?:)?\/\/[^)]*/g
  return readdirSync(built, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(html|css)$/.test(file))
    .flatMap((file) =>
      (readFileSync(`${built}/${file}`, 'utf8').match(asset) ?? []).map((found) => `${file}: ${found}`),
    )
    .join('\n')
}

function report(what: string, complaints: string): void {
  if (complaints === '') return
  console.error(`\n${what}:\n${complaints}`)
  process.exit(1)
}
