/** One of several processes that serve the same sessions: `tsx server-process.ts sqlite:./sessions.db '{"seal":true}'`. Tells its URL over IPC, and its heap when asked. */
import { createSessions } from 'holdfast'
import { openStore } from 'holdfast/stores'
import type { Data } from '../frameworks/app.ts'
import { servers } from '../frameworks/servers.ts'
import { SECRET } from './browser.ts'

const store = openStore(process.argv[2]!)
// On a busy machine requests, and 200 of them to one session, may take longer than an application would let them.
const deadlines = { load: '10s', write: '10s', request: '30s' }
const options = JSON.parse(process.argv[3]!)
const sessions = createSessions<Data>({
  secret: SECRET,
  store,
  merge: { visits: 'sum' },
  deadlines,
  ...options,
})
const { url } = await servers['express 5']!(sessions)
process.send!(url)
process.on('message', () => {
  globalThis.gc?.()
  process.send!(process.memoryUsage().heapUsed)
})
process.on('disconnect', () => process.exit())
