import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** The way from a server to those who follow it. What is on the way when the server dies never arrives. */
export interface Link {
  readonly port: number
  /** Lets nothing more arrive, until `release`. */
  hold(): void
  release(): void
  close(): Promise<void>
}

/** A TCP proxy on which what the server sends takes so many milliseconds, and what it is sent none. */
export async function linkTo(serverPort: number, milliseconds = 0): Promise<Link> {
  const sockets = new Set<Socket>()
  const deliveries = new Set<() => void>()
  let isHeld = false

  const server = createServer((follower) => {
    const upstream = connect(serverPort, '127.0.0.1')
    for (const socket of [follower, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
    }
    const onTheWay: { chunk: Buffer; due: number }[] = []
    const deliver = () => {
      while (!isHeld && onTheWay[0] && onTheWay[0].due <= performance.now()) {
        follower.write(onTheWay.shift()!.chunk)
      }
    }
    deliveries.add(deliver)
    upstream.on('data', (chunk) => {
      onTheWay.push({ chunk, due: performance.now() + milliseconds })
      setTimeout(deliver, milliseconds + 1)
    })
    follower.pipe(upstream)
    const end = () => {
      deliveries.delete(deliver)
      onTheWay.length = 0
      for (const socket of [follower, upstream]) {
        socket.destroy()
        sockets.delete(socket)
      }
    }
    follower.on('close', end)
    upstream.on('close', end)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('no port')

  return {
    port: address.port,
    hold() {
      isHeld = true
    },
    release() {
      isHeld = false
      for (const deliver of deliveries) deliver()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
