// One visit counter in a process of its own: `server.mjs <framework> <layer> [<backing> <url>]`. Tells its parent the port, and its CPU time when asked.
import { randomBytes } from 'node:crypto'
import { openBacking } from './backing.mjs'

process.env.NODE_ENV = 'production'
const [framework, layer, backing, url] = process.argv.slice(2)
const { listen } = await import(`./apps/${framework}.mjs`)
const port = await listen(layer, randomBytes(32).toString('base64url'), await openBacking(backing, url))

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send(user + system)
})
process.on('disconnect', () => process.exit())
process.send(port)
