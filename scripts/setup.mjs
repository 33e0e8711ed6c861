// Installs the dependencies, and those of the documentation beside them, when they are missing or their lock file has changed, so that `npm start` and `npm test` work in a fresh clone.
// (A peer in the benchmark says that it wants a newer Node, and works on 20.)
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

for (const folder of ['..', '../site']) install(fileURLToPath(new URL(`${folder}/`, import.meta.url)))

function install(folder) {
  const stamp = `${folder}node_modules/.holdfast-lock`
  const lock = readFileSync(`${folder}package-lock.json`, 'utf8')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  console.log('Installing dependencies …')
  const { status } = spawnSync('npm', ['ci', '--loglevel=error'], {
    cwd: folder,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (status !== 0) process.exit(status ?? 1)
  writeFileSync(stamp, lock)
}
