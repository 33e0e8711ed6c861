import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const script = fileURLToPath(new URL('./dropped-heap.ts', import.meta.url))

it('240,000 sessions, opened and dropped in every way, and 2,000 clients that went away, leave nothing on the heap', async () => {
  const args = ['--expose-gc', '--import', 'tsx', script, '20000', '2000']
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 150_000 })
  const measured = Object.entries(JSON.parse(stdout) as Record<string, number>)
  expect(measured).toHaveLength(13)
  // The smallest thing that a session could leave behind, a slot in a set, takes more; what belongs to a request takes thousands.
  for (const [name, bytes] of measured) expect(bytes, name).toBeLessThan(name.includes('HTTP') ? 1_000 : 32)
}, 160_000)
