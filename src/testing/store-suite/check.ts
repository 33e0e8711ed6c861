import assert from 'node:assert/strict'
import { assertSame } from './found.ts'
import { newKey, record } from './samples.ts'
import type { Suite } from './suite.ts'

export function checkTests({ group, test }: Suite): void {
  group('check', () => {
    test('gives findings that say what is so and what to do, and changes nothing', async (store) => {
      const [key, made] = [newKey(), record()]
      await store.create(key, made)
      for (const finding of (await store.check?.(Date.now)) ?? []) {
        assert.match(finding.id, /^[a-z][a-z-]*\.[a-z][a-z-]*$/)
        assert.ok(['error', 'warning', 'info'].includes(finding.severity), finding.severity)
        assert.ok(finding.finding.length > 0 && finding.cure.length > 0, finding.id)
      }
      assertSame(await store.load(key), made)
    })
  })
}
