/** One of several processes that serve the same bound sessions: `tsx bound-process.ts sqlite:./sessions.db`. Tells its URL over IPC. */
import { openStore } from 'holdfast/stores'
import { startBoundSite } from './running-site.ts'

const deadlines = { load: '10s', write: '10s', request: '30s' }
const store = openStore(process.argv[2]!)
const { url } = await startBoundSite('Express', { store, deadlines, clock: Date.now })
process.send!(url)
process.on('disconnect', () => process.exit())
