import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export type Direction = 'toServer' | 'toClient'

/** A connection of a client, and the one to the server that was made for it: where what goes in each direction arrives. */
export type Link = Readonly<Record<Direction, Socket>>

/** What becomes of the bytes between a client and a server. */
export interface Relaying {
  /** They have arrived, and are to be handed on by `link[direction].write(chunk)`. */
  data(link: Link, direction: Direction, chunk: Buffer): void
  /** None will follow in this direction. With an error the connection broke. */
  end(link: Link, direction: Direction, error?: Error): void
}

export interface Relay {
  readonly port: number
  readonly links: ReadonlySet<Link>
  /** Takes connections again after `deaf`, on the same port. */
  listen(): Promise<void>
  /** Takes no connection any more: who tries is refused. */
  deaf(): void
  close(): Promise<void>
}

/** A TCP proxy on 127.0.0.1, which hands nothing on by itself. */
export async function relayTo(serverPort: number, { data, end }: Relaying): Promise<Relay> {
  const links = new Set<Link>()
  let port = 0

  const serve = (client: Socket) => {
    const server = connect(serverPort, '127.0.0.1')
    const link: Link = { toServer: server, toClient: client }
    links.add(link)
    for (const [socket, direction] of [
      [client, 'toServer'],
      [server, 'toClient'],
    ] as const) {
      socket.setNoDelay(true)
      let error: Error | undefined
      let isOver = false
      const over = () => {
        if (!isOver) end(link, direction, error)
        isOver = true
      }
      socket.on('data', (chunk) => data(link, direction, chunk))
      socket.on('end', over)
      socket.on('error', (thrown) => (error = thrown))
      socket.on('close', () => {
        over()
        if (client.destroyed && server.destroyed) links.delete(link)
      })
    }
  }
  let server = createServer({ allowHalfOpen: true }, serve)
  const listen = async () => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (typeof address !== 'object' || address === null) throw new Error('no port')
    port = address.port
  }
  await listen()

  return {
    get port() {
      return port
    },
    links,
    async listen() {
      if (server.listening) return
      server = createServer({ allowHalfOpen: true }, serve)
      await listen()
    },
    deaf() {
      if (server.listening) server.close()
    },
    async close() {
      for (const { toServer, toClient } of links) {
        toServer.destroy()
        toClient.destroy()
      }
      if (!server.listening) return
      server.close()
      await once(server, 'close')
    },
  }
}
