/**
 * A process that drains and serves at once, until it is killed: it adds one to sessions, destroys those whose key says so, and tells of
 * each write once it is acknowledged.
 */
import { setImmediate } from 'node:timers/promises'
import { isTombstone } from '../../src/store.ts'
import open, { type MigratingConfig } from './migrating.ts'

export type Report =
  | { readonly ready: true }
  | { readonly failure: string }
  | { readonly key: string; readonly count: number }
  | { readonly key: string; readonly destroyed: true }

const [config = '{}', keys = '[]'] = process.argv.slice(2)
const store = open(JSON.parse(config) as MigratingConfig)
const writer = String(process.pid)

tell({ ready: true })
Promise.all([
  (JSON.parse(config) as MigratingConfig).moves === false ? undefined : store.drain({ batch: 3 }),
  serve(JSON.parse(keys) as string[]),
]).catch((error: unknown) => tell({ failure: String(error) }))

async function serve(all: string[]): Promise<never> {
  for (let turn = 0; ; turn++) {
    const key = all[Math.floor(Math.random() * all.length)]!
    const found = await store.load(key)
    if (found === undefined) throw new Error(`${key} is lost`)
    if (isTombstone(found)) continue
    if (key.startsWith('ends') && Math.random() < 0.3) {
      await store.destroy(key, Date.now() + 3_600_000)
      tell({ key, destroyed: true })
      continue
    }
    const count = Number(found.text) + 1
    const next = { ...found, rev: `${count + 1}.${writer}.${turn}`, text: String(count) }
    const result = await store.update(key, next, found.rev)
    if (result === 'ok') tell({ key, count })
    if (result === 'gone' && !key.startsWith('ends')) throw new Error(`${key} has gone`)
    await setImmediate()
  }
}

function tell(report: Report): void {
  process.send?.(report)
}
