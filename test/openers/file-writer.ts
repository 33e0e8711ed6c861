/**
 * The other process of the file store's tests. It adds one to its own counter in each session, over and over,
 * and reports each addition that was acknowledged, until it is killed or told to stop.
 */

import { isTombstone } from '../../src/store.ts'
import { fileStore } from '../../src/stores/file.ts'

export interface Added {
  readonly key: string
  readonly count: number
}

const [folder = '', writer = '', keys = '[]'] = process.argv.slice(2)
const store = fileStore(folder)
let stopped = false

process.on('message', () => {
  stopped = true
})

let turn = 0
while (!stopped) {
  for (const key of JSON.parse(keys) as string[]) {
    const found = await store.load(key)
    if (found === undefined || isTombstone(found)) throw new Error(`${key} has gone`)
    const counts = JSON.parse(found.text) as Record<string, number>
    const count = (counts[writer] ?? 0) + 1
    const next = {
      ...found,
      rev: `${writer}.${++turn}`,
      text: JSON.stringify({ ...counts, [writer]: count }),
    }
    if ((await store.update(key, next, found.rev)) === 'ok') process.send?.({ key, count } satisfies Added)
  }
}
process.disconnect()
