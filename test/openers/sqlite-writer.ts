/**
 * A process that writes to the store until it is killed, and tells of each write once it is acknowledged. It also can
 * hold the write lock for a while.
 */
import { randomUUID } from 'node:crypto'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import Libsql from 'libsql'
import type { StoredRecord } from '../../src/store.ts'
import open from './sqlite.ts'

/** To hold the lock for so many milliseconds, or to write until it is killed. */
export type Order = 'write' | { readonly block: number }

export type Report =
  | { readonly ready: true }
  | { readonly blocking: boolean }
  | { readonly failure: string }
  /** `state`: the revision that was written at least, or that the session was destroyed. `ends`: it is going to be. */
  | { readonly key: string; readonly state: number | 'destroyed'; readonly ends: boolean }

const config = JSON.parse(process.argv[2] as string) as { path: string }

process.on('message', (order: Order) => {
  const performed = order === 'write' ? write() : block(order.block)
  performed.catch((error: unknown) => tell({ failure: String(error) }))
})
tell({ ready: true })

async function write(): Promise<never> {
  const store = open(config)
  for (let n = 0; ; n++) {
    const key = randomUUID()
    const ends = n % 3 === 0
    await store.create(key, recordOf(1))
    tell({ key, state: 1, ends })
    for (let rev = 2; rev <= 5; rev++) {
      const result = await store.update(key, recordOf(rev), String(rev - 1))
      if (result !== 'ok') throw new Error(`update: ${result}`)
      tell({ key, state: rev, ends })
    }
    if (ends) {
      await store.destroy(key, Date.now() + 3_600_000)
      tell({ key, state: 'destroyed', ends })
    }
    await setImmediate()
  }
}

async function block(milliseconds: number): Promise<void> {
  const database = new Libsql(config.path)
  database.exec('BEGIN IMMEDIATE')
  tell({ blocking: true })
  await sleep(milliseconds)
  database.exec('COMMIT')
  database.close()
  tell({ blocking: false })
}

function recordOf(rev: number): StoredRecord {
  const now = Date.now()
  return {
    rev: String(rev),
    text: String(rev).repeat(500),
    user: 'ada',
    lastSeen: now,
    expires: now + 60_000,
  }
}

function tell(report: Report): void {
  process.send?.(report)
}
