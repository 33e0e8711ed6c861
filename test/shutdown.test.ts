import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createSessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { afterEach, describe, expect, it } from 'vitest'
import { SECRET } from './helpers/browser.ts'
import { edit } from './helpers/sign-in.ts'
import { sharedStores } from './helpers/stores.ts'

const script = fileURLToPath(new URL('./helpers/graceful-server.ts', import.meta.url))
const VISITORS = 8
const TABS = 4

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanUp.splice(0).reverse()) await clean()
})

/** Visitors with several tabs each set one key after the other, and note which were acknowledged, while the server is told to end. */
async function endUnderLoad(storeName: string, order: 'server-first' | 'together') {
  const store = await sharedStores[storeName]!()
  cleanUp.push(() => store.stop())
  const here = () => createSessions<Record<string, number>>({ secret: SECRET, store: openStore(store.url) })

  const before = here()
  const cookies = await Promise.all(
    Array.from({ length: VISITORS }, () => edit(before, undefined, ({ data }) => void (data.start = 1))),
  )
  await before.close()

  const child = fork(script, [store.url, order], { execArgv: ['--import', 'tsx'] })
  cleanUp.push(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const [url] = (await once(child, 'message')) as [string]

  const acknowledged = new Map(cookies.map((cookie) => [cookie, [] as string[]]))
  const answers: { status: number; text: string; cookies: string[] }[] = []
  let isEnding = false
  let cutShort = 0
  async function visit(cookie: string, tab: number): Promise<void> {
    for (let n = 0; ; n++) {
      const key = `tab${tab}-${n}`
      const answer = await fetch(`${url}/set?key=${key}`, { headers: { cookie } })
        .then(async (response) => ({
          status: response.status,
          text: await response.text(),
          cookies: response.headers.getSetCookie(),
        }))
        .catch(() => undefined)
      if (!answer) {
        if (!isEnding) throw new Error('the server was gone before it was told to end')
        cutShort++
        return
      }
      answers.push(answer)
      if (answer.status === 200) acknowledged.get(cookie)!.push(key)
    }
  }
  const visits = cookies.flatMap((cookie) => Array.from({ length: TABS }, (_, tab) => visit(cookie, tab)))
  await sleep(700)
  isEnding = true
  const told = performance.now()
  child.kill('SIGTERM')
  expect(await exit).toEqual([0, null])
  const took = performance.now() - told
  await Promise.all(visits)

  const after = here()
  const kept = await Promise.all(
    cookies.map(async (cookie) => [cookie, Object.keys((await after.open(cookie)).data)] as const),
  )
  await after.close()
  return { answers, acknowledged, kept: new Map(kept), took, cutShort }
}

describe.each(['sqlite', 'redis'])('a server over %s that is told to end under load', (storeName) => {
  it('has kept all that it acknowledged, and refused nothing, if it closes itself and then the sessions', async () => {
    const { answers, acknowledged, kept, took, cutShort } = await endUnderLoad(storeName, 'server-first')
    expect(answers.length).toBeGreaterThan(VISITORS * TABS)
    expect(answers.filter(({ status }) => status !== 200)).toEqual([])
    for (const [cookie, keys] of acknowledged) expect(kept.get(cookie)).toEqual(expect.arrayContaining(keys))
    expect(cutShort).toBe(VISITORS * TABS)
    expect(took).toBeLessThan(8_000)
  }, 60_000)

  it('has kept all that it acknowledged, and said so of the rest, if it closes both at once', async () => {
    const { answers, acknowledged, kept, took } = await endUnderLoad(storeName, 'together')
    const refused = answers.filter(({ status }) => status !== 200)
    expect(refused.length).toBeGreaterThan(0)
    for (const { status, text, cookies } of refused) {
      expect([status, cookies]).toEqual([503, []])
      expect(text).toMatch(
        /^the sessions of 'id' have been closed.*server\.close\(\(\) => sessions\.close\(\)\)$/,
      )
    }
    for (const [cookie, keys] of acknowledged) expect(kept.get(cookie)).toEqual(expect.arrayContaining(keys))
    expect(took).toBeLessThan(8_000)
  }, 60_000)
})
