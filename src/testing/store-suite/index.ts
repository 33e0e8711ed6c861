import assert from 'node:assert/strict'
import type { Store } from '../../store.ts'
import { checkTests } from './check.ts'
import { copyTests } from './copies.ts'
import { destroyTests } from './destroy.ts'
import { processTests } from './processes.ts'
import { raceTests } from './races.ts'
import { recordTests } from './records.ts'
import { scanTests } from './scan.ts'
import { INDEXES, indexTests } from './session-indexes.ts'
import type { Runner, StoreUnderTest, Suite } from './suite.ts'
import { sweepTests } from './sweep.ts'
import { touchTests } from './touch.ts'

/** For races between processes on a busy machine; a test alone takes a second or two. */
const TIMEOUT = 60_000

/**
 * Defines the tests that every store must pass: one for each line of the `Store` contract.
 *
 * @example
 * ```ts
 * import { memoryStore } from 'holdfast/stores/memory'
 * import { storeSuite } from 'holdfast/testing'
 * import { describe, it } from 'vitest'
 *
 * storeSuite({ describe, it }, { name: 'mine', open: async () => ({ store: memoryStore() }) }) // your own
 * ```
 */
export function storeSuite(runner: Runner, underTest: StoreUnderTest): void {
  const lacks = new Set(underTest.lacks)
  const suite: Suite = {
    group: (name, body) => runner.describe(name, body),
    test(name, body) {
      runner.it(
        name,
        async () => {
          const opened = await underTest.open()
          try {
            await body(opened.store, opened.config)
          } finally {
            await opened.store.close?.()
            await opened.dispose?.()
          }
        },
        TIMEOUT,
      )
    },
  }

  suite.group(`${underTest.name}: the store contract`, () => {
    recordTests(suite)
    touchTests(suite)
    destroyTests(suite)
    copyTests(suite)
    checkTests(suite)
    for (const kind of INDEXES) {
      if (!lacks.has(kind.capability)) indexTests(suite, kind)
      else says(suite, `it cannot list by ${kind.noun}`, (store) => kind.of(store))
    }
    if (!lacks.has('scan')) scanTests(suite)
    else says(suite, 'it cannot scan', (store) => store.scan)
    if (!lacks.has('sweep')) sweepTests(suite, lacks)
    else says(suite, 'its server expires by itself', (store) => store.sweep)
    if (!lacks.has('compareAndSet')) raceTests(suite, lacks)
    else says(suite, 'it cannot compare and set', (store) => store.compareAndSet || undefined)
    if (underTest.opener !== undefined) processTests(suite, underTest.opener, lacks)
  })
}

function says(suite: Suite, what: string, capability: (store: Store) => unknown): void {
  suite.test(`says that ${what}`, async (store) => assert.equal(capability(store), undefined))
}
