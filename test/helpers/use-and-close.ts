/**
 * Uses the sessions of a store, closes them and must then end by itself: `tsx use-and-close.ts redis://127.0.0.1:6379`.
 * Says over IPC what has kept the process alive before and after; with the argument `freeze` it says `ready` first, and
 * goes on when it is told, whatever has become of the server.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { SECRET } from './browser.ts'
import { edit, signIn } from './sign-in.ts'

const [, , url, freeze] = process.argv
const alive = () => process.getActiveResourcesInfo().sort()
const before = alive()

const sessions = createSessions<{ visits?: number }>({
  secret: SECRET,
  store: openStore(url!),
  sweepEvery: '20ms',
  lifetime: { touchEvery: 0 },
})
const cookie = await signIn(sessions, 'ann', { visits: 1 })
await Promise.all(
  Array.from({ length: 20 }, () => edit(sessions, cookie, ({ data }) => void (data.visits = Math.random()))),
)
if (freeze) {
  process.send!('ready')
  await once(process, 'message')
  const failures = await Promise.allSettled(
    Array.from({ length: 20 }, () => edit(sessions, cookie, () => {})),
  )
  process.send!(failures.map((each) => each.status === 'rejected' && each.reason.code))
}
const start = performance.now()
await sessions.close()
const took = performance.now() - start
// The timer of the deadlines ticks once more, and sockets close when the server has heard of it.
for (let left = 40; left > 0 && alive().length > before.length; left--) await sleep(50)
process.send!({ before, after: alive(), took })
process.disconnect()
