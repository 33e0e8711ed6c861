import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** What has passed since the last `reset`. A round trip is a stretch of bytes towards the server that is followed by bytes back. */
export interface Traffic {
  readonly roundTrips: number
  readonly sent: number
  readonly received: number
}

export interface Wire {
  readonly port: number
  reset(): void
  traffic(): Traffic
  close(): Promise<void>
}

/** A TCP proxy that counts what passes between a client and a server on this machine. */
export async function wireTo(serverPort: number): Promise<Wire> {
  let roundTrips = 0
  let sent = 0
  let received = 0
  const sockets = new Set<Socket>()

  const server = createServer((client) => {
    const upstream = connect(serverPort, '127.0.0.1')
    let isAsking = false
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true)
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
    }
    client.on('data', (chunk) => {
      if (!isAsking) roundTrips++
      isAsking = true
      sent += chunk.length
    })
    upstream.on('data', (chunk) => {
      isAsking = false
      received += chunk.length
    })
    client.pipe(upstream).pipe(client)
    client.on('error', () => upstream.destroy())
    upstream.on('error', () => client.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('no port')

  return {
    port: address.port,
    reset() {
      roundTrips = sent = received = 0
    },
    traffic: () => ({ roundTrips, sent, received }),
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
