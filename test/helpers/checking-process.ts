/** Tells what the check finds about a memory store: `tsx checking-process.ts`, or in a worker of node:cluster with `cluster`. */
import cluster from 'node:cluster'
import { createSessions } from 'holdfast'
import { SECRET } from './browser.ts'

if (process.argv[2] === 'cluster' && cluster.isPrimary) {
  cluster.fork()
} else {
  const sessions = createSessions({ csrf: true, secret: SECRET })
  const findings = await sessions.check()
  process.stdout.write(JSON.stringify(findings), () => process.exit())
}
