import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Makes the static files of the dashboard unless they are those of its sources. */
export function buildPage(): void {
  const script = fileURLToPath(new URL('../../scripts/dashboard.mjs', import.meta.url))
  const { status, stderr, error } = spawnSync(process.execPath, [script], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`the page of the dashboard was not built: ${error?.message ?? stderr}`)
}
