/** Draws the pictures of docs/dashboard.md anew: npx tsx --tsconfig tsconfig.json test/browser/dashboard-screenshots.ts */
import { mkdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Store } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { browser } from '../helpers/browser.ts'
import { startDemo } from '../helpers/dashboard-demo.ts'
import { readerOf } from '../helpers/reader.ts'
import { startChromium } from './chromium.ts'

const folder = fileURLToPath(new URL('../../docs/images/', import.meta.url))
const STEP = 10_000
const STEPS = 330

/** As if an hour had passed: what happens in it happens now, under a clock that is set forward. */
const trouble = { isOn: false }
const clock = { ahead: -STEPS * STEP }
const demo = await startDemo({
  store: late(memoryStore({ maxSessions: 300_000 })),
  clock: () => Date.now() + clock.ahead,
  revealData: () => true,
})
await demo.fill(12_000)
const admin = browser(demo.sessions, undefined, 'id')
await admin.visit((session) => session.login('admin'))
for (let step = 0; step < STEPS; step++) {
  clock.ahead += STEP
  await passTenSeconds(step)
}

const chromium = await startChromium({ spki: [] })
const page = await chromium.newPage()
const reader = readerOf(page)
mkdirSync(folder, { recursive: true })
await page.goto(`${demo.origin}/login?user=admin`)

await reader.look({ width: 1180, height: 900, still: true })
await page.goto(demo.origin + demo.path)
await reader.see('Counted at', 20_000)
await draw('overview')
await reader.look({ width: 1180, height: 900, dark: true, still: true })
await draw('overview-dark')

await reader.look({ width: 1180, height: 620, still: true })
await page.evaluate(`location.hash = '#/user/ann'`)
await reader.see('Sessions of ann')
await draw('user')
await page.evaluate(`document.querySelector('th a.code').click()`)
await reader.see('Token generation')
await page.evaluate(`document.querySelector('.head .danger').click()`)
await reader.see('This cannot be undone.')
await draw('session')

await reader.look({ width: 390, height: 780, dark: true, still: true })
await page.evaluate(`document.querySelector('dialog button').click(); location.hash = '#/sessions'`)
await reader.see('Page 1')
await draw('phone')

await chromium.stop()
await demo.close()

async function draw(name: string): Promise<void> {
  await sleep(300)
  const { data } = await page.send('Page.captureScreenshot', { format: 'png' })
  const picture = Buffer.from(data as string, 'base64')
  writeFileSync(`${folder}dashboard-${name}.png`, picture)
  console.log(`dashboard-${name}.png: ${Math.round(picture.length / 1000)} kB`)
}

/** Logins as of an afternoon, some logouts, and a store that was in trouble for a while. */
async function passTenSeconds(step: number): Promise<void> {
  const busy = 4 + 3 * Math.sin(step / 40) + 2 * Math.sin(step / 7)
  const isTrouble = step > 210 && step < 232
  await Promise.all(
    Array.from({ length: Math.max(1, Math.round(busy)) }, async (_, i) => {
      const jar = browser(demo.sessions, undefined, 'id')
      await jar.visit((session) => session.login(i === 0 ? 'ann' : `user-${1_000 + step * 10 + i}`))
      if (i % 3 === 0) await jar.visit((session) => session.logout())
      if (i === 1 && step % 9 === 0) {
        const both = [await demo.sessions.open(jar.header), await demo.sessions.open(jar.header)]
        for (const session of both) {
          session.data.plan = `plan ${step} ${both.indexOf(session)}`
          await session.commit()
        }
      }
      if (isTrouble && i < 2) {
        trouble.isOn = true
        await demo.sessions.find('x').catch(() => undefined)
        trouble.isOn = false
      }
    }),
  )
  if (step === 150) await demo.sessions.revoke({ userId: 'user-1501' })
  if (step % 6 === 0) {
    await fetch(`${demo.origin}${demo.path}api/overview`, {
      headers: { cookie: admin.header!, 'holdfast-dashboard': '' },
    })
    await sleep(60) // for the count, which nobody waits for
  }
}

/** As over a network. */
function late(store: Store): Store {
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return async (...args: unknown[]) => {
        if (trouble.isOn && name === 'load') throw new Error('connection reset')
        if (name !== 'scan') await sleep(trouble.isOn ? 9 : 0.4)
        return value.apply(target, args)
      }
    },
  })
}
