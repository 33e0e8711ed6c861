/**
 * A room to talk in, for who has signed in: `npx tsx examples/websocket/server.ts`, then http://localhost:3000.
 * Open it in two tabs, and sign out in one.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { createSessions, type Session } from 'holdfast'
import { nodeSessions } from 'holdfast/node'
import { page } from './page.ts'
import { openSockets } from './sockets.ts'

interface Talker {
  /** Messages so far, on all sockets of the session. */
  said?: number
}

const sessions = createSessions<Talker>({
  secret: process.env.SESSION_SECRET,
  cookie: { secure: false },
  csrf: true,
})

const server = createServer(
  nodeSessions(sessions, async (request, response, session) => {
    const redirect = () => response.writeHead(303, { Location: '/' }).end()
    switch (`${request.method} ${request.url}`) {
      case 'GET /':
        return response.setHeader('Content-Type', 'text/html; charset=utf-8').end(page(session.userId))
      case 'POST /login':
        await session.login(new URLSearchParams(await text(request)).get('name') || 'Somebody')
        return redirect()
      case 'POST /logout':
        await session.logout()
        return redirect()
      default:
        return response.writeHead(404).end()
    }
  }),
)

const sockets = openSockets(server, sessions, {
  opened: (socket, session) => socket.send(`Welcome, ${session.userId}`),
  async message(words, _socket, session: Session<Talker>) {
    // In one step, and on whatever the store holds now: the socket may have been open for hours. It is a use of the session, too.
    const said = await session.update((data) => {
      data.said = (data.said ?? 0) + 1
      return data.said
    })
    for (const client of sockets.clients()) client.send(`${session.userId} (${said}): ${words}`)
  },
})

server.listen(Number(process.env.PORT ?? 3000), () => {
  console.log(`http://localhost:${(server.address() as AddressInfo).port}/`)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    sockets.close() // or the server would wait for them
    server.close(() => sessions.close())
  })
}
