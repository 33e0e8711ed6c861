import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Direction, type Link, relayTo } from './relay.ts'

/**
 * A TCP proxy on 127.0.0.1 that puts faults between a client and a server. Each fault stays until `heal`, and several can be on at once;
 * all of them concern the connections that are there as well as those that come.
 */
export interface FaultProxy {
  readonly port: number
  /** What the server sends arrives so many milliseconds later. */
  latency(milliseconds: number): void
  /**
   * Connections are accepted, and what is sent on them is swallowed, in both directions: the other side has gone without a word. Those
   * that were there stay so, also after `heal`, as they do when a firewall has forgotten them.
   */
  halfOpen(): void
  /** Breaks all connections, and each that is made, with a reset. */
  reset(): void
  /** Each connection is cut when so many more bytes have passed in that direction, those of its first words included. */
  cutAfter(bytes: number, direction: Direction): void
  /** What the server sends comes byte by byte, one in so many milliseconds. */
  drip(millisecondsPerByte: number): void
  /** Nobody listens any more. Connections that are there stay. */
  refuse(): void
  /** Switches all faults off. What was delayed arrives at once. */
  heal(): Promise<void>
  /** How many bytes clients have sent since the proxy began. */
  readonly sent: number
  /** Ends every connection. */
  close(): Promise<void>
}

export async function faultProxyTo(serverPort: number): Promise<FaultProxy> {
  let latency = 0
  let drip = 0
  let isHalfOpen = false
  let isResetting = false
  let cut: { readonly bytes: number; readonly direction: Direction } | undefined
  let sent = 0
  /** Ends what is waited for when the proxy is healed. */
  let healing = new AbortController()

  /** Connections whose other side has gone without a word. */
  const silent = new WeakSet<Link>()
  /** How many bytes may still pass on a connection that is to be cut. */
  let rooms = new WeakMap<Link, number>()
  const queues: Record<Direction, WeakMap<Link, Promise<void>>> = {
    toServer: new WeakMap(),
    toClient: new WeakMap(),
  }

  const relay = await relayTo(serverPort, {
    data(link, direction, chunk) {
      if (direction === 'toServer') sent += chunk.length
      if (isResetting) return reset(link)
      if (isSilent(link)) return
      const due = performance.now() + (direction === 'toClient' ? latency : 0)
      inTurn(link, direction, async () => {
        await wait(due - performance.now())
        if (direction === 'toClient' && drip > 0) await pass(link, direction, chunk)
        else handOn(link, direction, chunk)
      })
    },
    end(link, direction, error) {
      if (isSilent(link)) return
      inTurn(link, direction, async () => {
        if (error) reset(link)
        else link[direction].end()
      })
    },
  })

  function isSilent(link: Link): boolean {
    if (isHalfOpen) silent.add(link)
    return silent.has(link)
  }

  function inTurn(link: Link, direction: Direction, work: () => Promise<void>): void {
    const queue = queues[direction]
    queue.set(link, (queue.get(link) ?? Promise.resolve()).then(work))
  }

  async function wait(milliseconds: number): Promise<void> {
    if (milliseconds > 0) await sleep(milliseconds, undefined, { signal: healing.signal }).catch(() => {})
  }

  /** Byte by byte, and the rest at once when that is over. */
  async function pass(link: Link, direction: Direction, chunk: Buffer): Promise<void> {
    let passed = 0
    while (drip > 0 && passed < chunk.length && !link[direction].destroyed) {
      handOn(link, direction, chunk.subarray(passed, ++passed))
      await wait(drip)
    }
    if (passed < chunk.length) handOn(link, direction, chunk.subarray(passed))
  }

  function handOn(link: Link, direction: Direction, chunk: Buffer): void {
    if (isSilent(link) || link[direction].destroyed) return
    if (cut?.direction !== direction) {
      link[direction].write(chunk)
      return
    }
    const room = rooms.get(link) ?? cut.bytes
    rooms.set(link, room - chunk.length)
    if (chunk.length <= room) link[direction].write(chunk)
    else link[direction].write(chunk.subarray(0, room), () => end(link))
  }

  return {
    port: relay.port,
    get sent() {
      return sent
    },
    latency(milliseconds) {
      latency = milliseconds
    },
    halfOpen() {
      isHalfOpen = true
      for (const link of relay.links) silent.add(link)
    },
    reset() {
      isResetting = true
      for (const link of relay.links) reset(link)
    },
    cutAfter(bytes, direction) {
      cut = { bytes, direction }
      rooms = new WeakMap()
    },
    drip(millisecondsPerByte) {
      drip = millisecondsPerByte
    },
    refuse() {
      relay.deaf()
    },
    async heal() {
      latency = drip = 0
      isHalfOpen = isResetting = false
      cut = undefined
      healing.abort()
      healing = new AbortController()
      await relay.listen()
    },
    close: () => relay.close(),
  }
}

function reset({ toServer, toClient }: Link): void {
  toClient.resetAndDestroy()
  toServer.destroy()
}

function end({ toServer, toClient }: Link): void {
  toClient.destroy()
  toServer.destroy()
}
