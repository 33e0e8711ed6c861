// Runs all tests, as many files at a time as there are cores, and then one after the other those that measure time or load a server, which want the machine to themselves.
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

const ALONE = [
  ...['frozen-servers', 'failover', 'mixed-load', 'at-scale', 'dropped', 'outage', 'redis-silent'],
  ...['cli-migrate', 'browser/dashboard', 'security/timing', 'memory-heap', 'speed'],
].map((name) => `test/${name}.test.ts`)

vitest(`--maxWorkers=${availableParallelism()}`, ...ALONE.map((file) => `--exclude=${file}`))
vitest('--no-file-parallelism', ...ALONE)

function vitest(...args) {
  const { status, error } = spawnSync('npx', ['vitest', 'run', ...args], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}
