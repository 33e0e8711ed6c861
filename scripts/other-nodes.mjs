// Runs the tests of the embedded stores, of what watches and of Express on other versions of Node: `node scripts/other-nodes.mjs 22 24 26`. Those of the core,
// the web adapter and Redis run there by scripts/runtimes.mjs.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const TESTS = [
  ...['stores', 'sqlite-store', 'every-store', 'node-response', 'frameworks/behaviour'],
  ...['testing', 'channels', 'otel'],
].map((name) => `test/${name}.test.ts`)

for (const version of process.argv.slice(2)) {
  const folder = `${root}.cache/node-${version}`
  const node = `${folder}/node_modules/node/bin/node`
  if (!existsSync(node)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}/package.json`, '{ "private": true }')
    must(spawnSync('npm', ['install', `node@${version}`], { cwd: folder, stdio: 'inherit' }))
  }
  console.log(`\nNode ${spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout}`)
  const env = {
    ...process.env,
    PATH: `${folder}/node_modules/node/bin:${process.env.PATH}`,
    HOLDFAST_FRAMEWORKS: 'express 5',
  }
  must(
    spawnSync(node, ['node_modules/vitest/vitest.mjs', 'run', ...TESTS], {
      cwd: root,
      stdio: 'inherit',
      env,
    }),
  )
}

function must({ status, error }) {
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}
