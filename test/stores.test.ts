import { createSessions, type StoreReport } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { describe, expect, it, vi } from 'vitest'
import { storeSuite } from '../src/testing/store-suite/index.ts'

storeSuite({ describe, it }, { name: 'memory', open: async () => ({ store: memoryStore() }) })

it('what a store reports of itself is an event of each manager on it', () => {
  const reports: StoreReport[] = []
  const store = Object.assign(memoryStore(), { reportTo: (report: StoreReport) => void reports.push(report) })
  const listeners = ['shop', 'admin'].map((name) => {
    const sessions = createSessions({
      secret: 'a secret of the tests that is long enough',
      store,
      name,
      sweepEvery: false,
    })
    const listener = vi.fn()
    sessions.on('error', listener)
    return listener
  })
  const error = new Error('the cache is down')
  for (const report of reports) report('load', error)
  for (const listener of listeners) {
    expect(listener.mock.calls).toEqual([[{ operation: 'load of the memory store', error }]])
  }
})
