import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { Measurements } from './memory-heap.ts'

describe('the heap and the pauses of 200,000 sessions in memory', () => {
  it('are at most 300 bytes a session, 450 with a user, and 10 ms', { timeout: 90_000 }, async () => {
    const script = fileURLToPath(new URL('./memory-heap.ts', import.meta.url))
    const flags = ['--expose-gc', '--single-threaded-gc', '--import', 'tsx']
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, script])
    const measured: Measurements = JSON.parse(stdout)
    console.log(stdout.trim())
    expect(measured.sessions).toBe(200_000)
    expect(measured.bytes).toBeLessThanOrEqual(300)
    expect(measured.bytesWithUser).toBeLessThanOrEqual(450)
    for (const [call, ms] of Object.entries(measured.pauses)) expect(ms, call).toBeLessThan(10)
  })
})
