import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { HoldfastError, type Session, SessionEndedError, type Sessions } from 'holdfast'
import { type WebSocket, WebSocketServer } from 'ws'

/** What a socket is closed with when its session has ended; 4000 to 4999 are an application's own. */
export const SIGNED_OUT = 4001

export interface SocketHandler<Data extends object> {
  opened(socket: WebSocket, session: Session<Data>): void
  message(text: string, socket: WebSocket, session: Session<Data>): Promise<void>
}

/**
 * Takes the WebSockets of users who are logged in (and, by the manager's `csrf` option, of pages of this site alone), and closes each one when its session ends: at once if this process ends it, after
 * `checkEvery` milliseconds at the latest if another one does, or if it has not been used for too long.
 */
export function openSockets<Data extends object>(
  server: Server,
  sessions: Sessions<Data>,
  handler: SocketHandler<Data>,
  checkEvery = 10_000,
) {
  const sockets = new WebSocketServer({ noServer: true })
  const open = new Map<WebSocket, Session<Data>>()
  /** What the answer to an upgrade must carry for its session: a new cookie, now and then. */
  const headers = new WeakMap<IncomingMessage, string[]>()
  sockets.on('headers', (lines, request) => lines.push(...(headers.get(request) ?? [])))

  server.on('upgrade', async (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    try {
      const session = await sessions.open(request)
      if (session.userId === undefined) return refuse(socket, 401)
      const answer = await sessions.commit(session)
      headers.set(
        request,
        answer.headers.map(([name, value]) => `${name}: ${value}`),
      )
      sockets.handleUpgrade(request, socket, head, (client) => accept(client, session))
    } catch (error) {
      refuse(socket, error instanceof HoldfastError ? error.status : 500)
    }
  })

  function accept(client: WebSocket, session: Session<Data>): void {
    open.set(client, session)
    client.on('error', () => client.terminate())
    client.on('close', () => open.delete(client))
    client.on('message', (message) => {
      handler.message(String(message), client, session).catch((error) => closeFor(error, client))
    })
    handler.opened(client, session)
  }

  /** Asks the store whether the session is still there. That is no use of it: an idle socket keeps nobody logged in. */
  async function check(client: WebSocket, session: Session<Data>): Promise<void> {
    try {
      await session.reload()
    } catch (error) {
      if (error instanceof SessionEndedError) client.close(SIGNED_OUT, 'signed out')
      // Otherwise the store is away for a moment, and the next check will tell.
    }
  }

  function checkAll(which: { handle?: string | undefined; userId?: string | undefined } = {}): void {
    for (const [client, session] of open) {
      if (which.handle !== undefined && which.handle !== session.handle) continue
      if (which.userId !== undefined && which.userId !== session.userId) continue
      void check(client, session)
    }
  }

  const timer = setInterval(checkAll, checkEvery)
  const listening = [
    sessions.on('revoked', checkAll),
    sessions.on('logout', ({ handle }) => checkAll({ handle })),
    sessions.on('login', ({ handle }) => checkAll({ handle })),
    sessions.on('reuse', ({ handle }) => checkAll({ handle })),
  ]

  return {
    clients: () => [...open.keys()],
    /** Ends them all, as "going away", so that they come back to the next process. */
    close(): void {
      clearInterval(timer)
      for (const stop of listening) stop()
      for (const client of open.keys()) client.close(1001)
    },
  }
}

function closeFor(error: unknown, client: WebSocket): void {
  if (error instanceof SessionEndedError) {
    client.close(SIGNED_OUT, 'signed out')
  } else {
    console.error(error)
    client.close(1011, 'that went wrong')
  }
}

function refuse(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`)
}
