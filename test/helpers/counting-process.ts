/** A counting site in a process of its own: `tsx counting-process.ts redis://127.0.0.1:6379`. Tells its URL over IPC, and closes itself when the channel is closed. */
import { openStore } from 'holdfast/stores'
import { startCountingSite } from './counting-site.ts'

const site = await startCountingSite(openStore(process.argv[2]!))
process.on('disconnect', () => void site.close())
process.send!(site.url)
