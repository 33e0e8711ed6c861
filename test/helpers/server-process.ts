/** One of several processes that serve the same sessions: `tsx server-process.ts sqlite ./sessions.db`. Tells its URL over IPC. */
import { createSessions } from 'holdfast'
import { fileStore } from 'holdfast/stores/file'
import { sqliteStore } from 'holdfast/stores/sql'
import type { Data } from '../frameworks/app.ts'
import { servers } from '../frameworks/servers.ts'
import { SECRET } from './browser.ts'

const [kind, path] = process.argv.slice(2)
const store = kind === 'sqlite' ? sqliteStore(path!) : fileStore(path!)
// On a busy machine 200 requests to one session may take longer than an application would let them.
const deadlines = { request: '30s' }
const sessions = createSessions<Data>({ secret: SECRET, store, merge: { visits: 'sum' }, deadlines })
const { url } = await servers['express 5']!(sessions)
process.send!(url)
process.on('disconnect', () => process.exit())
