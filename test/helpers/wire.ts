import { type Link, relayTo } from './relay.ts'

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
  const asking = new WeakSet<Link>()

  const relay = await relayTo(serverPort, {
    data(link, direction, chunk) {
      if (direction === 'toServer') {
        if (!asking.has(link)) roundTrips++
        asking.add(link)
        sent += chunk.length
      } else {
        asking.delete(link)
        received += chunk.length
      }
      link[direction].write(chunk)
    },
    end(link, direction, error) {
      if (error) link[direction].destroy()
      else link[direction].end()
    },
  })

  return {
    port: relay.port,
    reset() {
      roundTrips = sent = received = 0
    },
    traffic: () => ({ roundTrips, sent, received }),
    close: () => relay.close(),
  }
}
