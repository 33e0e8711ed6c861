/** The other side of the suite's races between processes: does what the suite orders, on a store that it opens itself. */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { isTombstone, type Store } from '../../store.ts'
import { increment, record } from './samples.ts'
import type { StoreOpener } from './suite.ts'

/** What a worker can be told to do; its result, if any, is a list of keys or numbers. */
export type Task =
  | { readonly do: 'open'; readonly opener: string; readonly config: unknown }
  | { readonly do: 'close' }
  | { readonly do: 'increment'; readonly key: string; readonly times: number }
  | { readonly do: 'create'; readonly keys: readonly string[] }
  | { readonly do: 'touch'; readonly keys: readonly string[]; readonly expires: number }
  | { readonly do: 'destroy'; readonly keys: readonly string[]; readonly everyMs: number }
  | { readonly do: 'updateUntilGone'; readonly keys: readonly string[] }
  | { readonly do: 'updateForever'; readonly key: string }
  | { readonly do: 'sweep'; readonly now: number }

export interface Order {
  readonly id: number
  readonly task: Task
}

export interface Answer {
  readonly id: number
  readonly result?: readonly string[]
  readonly error?: string
}

let opened: Store | undefined

// What the opener has opened besides the store, a pool for instance, would keep an idle worker alive.
process.once('disconnect', () => process.exit())
process.on('message', ({ id, task }: Order) => {
  perform(task).then(
    (result) => process.send?.({ id, result } satisfies Answer),
    (error: unknown) => process.send?.({ id, error: describe(error) } satisfies Answer),
  )
})

async function perform(task: Task): Promise<readonly string[]> {
  if (task.do === 'open') {
    const { default: open } = (await import(task.opener)) as { default: StoreOpener }
    opened = await open(task.config)
    return []
  }
  if (opened === undefined) throw new Error(`no store is open to ${task.do} in`)
  if (task.do === 'close') {
    await opened.close?.()
    opened = undefined
    return []
  }
  return performOn(opened, task)
}

async function performOn(
  store: Store,
  task: Exclude<Task, { do: 'open' | 'close' }>,
): Promise<readonly string[]> {
  switch (task.do) {
    case 'increment':
      for (let i = 0; i < task.times; i++) await increment(store, task.key)
      return []
    case 'create':
      return filterAsync(task.keys, (key) => store.create(key, record({ user: `process ${process.pid}` })))
    case 'touch':
      return filterAsync(task.keys, (key) => store.touch(key, Date.now(), task.expires))
    case 'destroy':
      return filterAsync(task.keys, async (key) => {
        await sleep(task.everyMs)
        return store.destroy(key, Date.now() + 3_600_000)
      })
    case 'updateUntilGone':
      for (const key of task.keys) await updateUntilGone(store, key)
      return []
    case 'updateForever':
      await increment(store, task.key)
      // Not awaited: the suite kills this process amid these updates.
      updateForever(store, task.key)
      return []
    case 'sweep':
      return [String(await sweepAll(store, task.now))]
  }
}

async function updateUntilGone(store: Store, key: string): Promise<void> {
  for (;;) {
    const found = await store.load(key, { fresh: true })
    if (found === undefined || isTombstone(found)) return
    await store.touch(key, found.lastSeen + 1, found.expires + 1)
    const next = record({ user: found.user, externalId: found.externalId })
    if ((await store.update(key, next, found.rev)) === 'gone') return
  }
}

async function updateForever(store: Store, key: string): Promise<never> {
  for (;;) {
    await increment(store, key)
    // Where a store answers without I/O, the loop must not starve the channel to the suite.
    await setImmediate()
  }
}

async function sweepAll(store: Store, now: number): Promise<number> {
  const limit = 10
  let total = 0
  for (;;) {
    const removed = (await store.sweep?.(now, limit)) ?? 0
    total += removed
    if (removed < limit) return total
  }
}

async function filterAsync(
  keys: readonly string[],
  test: (key: string) => Promise<boolean>,
): Promise<readonly string[]> {
  const passed: string[] = []
  for (const key of keys) if (await test(key)) passed.push(key)
  return passed
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
