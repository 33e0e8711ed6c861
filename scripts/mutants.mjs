// Tries on the tests whether they notice changes of the pure modules, and fails below 85 % in any of them: `npm run test:mutants`, or
// `npm run test:mutants -- --mutate src/merge.ts` for one. Stryker is installed when it is missing, and saved nowhere: see docs/mutation-testing.md.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const VERSION = '9.6.1'
const LEAST = 85
const root = fileURLToPath(new URL('..', import.meta.url))

const manifest = `${root}node_modules/@stryker-mutator/vitest-runner/package.json`
if (!existsSync(manifest) || JSON.parse(readFileSync(manifest, 'utf8')).version !== VERSION) {
  const packages = ['core', 'vitest-runner'].map((name) => `@stryker-mutator/${name}@${VERSION}`)
  run('npm', ['install', '--no-save', '--loglevel=error', ...packages])
}
run('npx', ['stryker', 'run', ...process.argv.slice(2)])

const report = JSON.parse(readFileSync(`${root}.cache/mutants/report.json`, 'utf8'))
const scores = Object.entries(report.files).map(([module, { mutants }]) => {
  const count = (...statuses) => mutants.filter(({ status }) => statuses.includes(status)).length
  const noticed = count('Killed', 'Timeout')
  const missed = count('Survived', 'NoCoverage')
  return { module, noticed, missed, score: (100 * noticed) / (noticed + missed) }
})
console.log('\n| module | noticed | missed | % |\n| --- | --- | --- | --- |')
for (const { module, noticed, missed, score } of scores) {
  console.log(`| \`${module}\` | ${noticed} | ${missed} | ${score.toFixed(1)} |`)
}
const low = scores.filter(({ score }) => score < LEAST)
if (low.length > 0) {
  console.error(`\nBelow ${LEAST} %: ${low.map(({ module }) => module).join(', ')}`)
  process.exit(1)
}

function run(command, args) {
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (status !== 0) process.exit(status ?? 1)
}
