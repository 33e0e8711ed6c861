/**
 * A server that ends when it is told to, as the README says, or in another order: `tsx graceful-server.ts sqlite:./a.db server-first`.
 * `/set?key=k` sets a key after some milliseconds. Tells its URL over IPC.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions } from 'holdfast'
import { nodeSessions } from 'holdfast/node'
import { openStore } from 'holdfast/stores'
import { SECRET } from './browser.ts'

const [, , url, order] = process.argv
const sessions = createSessions<Record<string, number>>({ secret: SECRET, store: openStore(url!) })

const server = createServer(
  nodeSessions(
    sessions,
    async ({ url }, response, session) => {
      await sleep(Math.random() * 30)
      session.data[new URL(url!, 'http://localhost').searchParams.get('key')!] = 1
      await sleep(Math.random() * 30)
      response.end('saved')
    },
    {
      onError(error, _request, response) {
        response.statusCode = (error as { status: number }).status
        response.end((error as Error).message)
      },
    },
  ),
).listen(0, '127.0.0.1', () => process.send!(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))

process.once('SIGTERM', () => {
  if (order === 'server-first') {
    server.close(() => sessions.close())
  } else {
    server.close()
    void sessions.close()
  }
  setTimeout(() => server.closeAllConnections(), 2_000).unref()
  process.disconnect()
})
