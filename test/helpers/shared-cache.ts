import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface SharedCache {
  readonly url: string
  /** How many requests were answered from it. */
  readonly hits: number
  close(): Promise<void>
}

interface Stored {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
  /** The request's values of the headers that the response varies with. */
  readonly varies: ReadonlyMap<string, string>
}

/**
 * A proxy with a shared cache, which keeps whatever RFC 9111 lets it: an answer to GET with a final status, in which nothing forbids it, for as long as the
 * test lasts. It is as greedy as a cache may be: what has no explicit freshness is taken for fresh (section 4.2.2), a Set-Cookie keeps nothing out
 * (section 7.3), and a request that brings a cookie is answered like any other.
 */
export async function sharedCache(origin: string): Promise<SharedCache> {
  const kept = new Map<string, Stored[]>()
  let hits = 0

  const server = createServer(async (incoming, outgoing) => {
    const found =
      incoming.method === 'GET' && kept.get(incoming.url!)?.find((stored) => fits(stored, incoming))
    if (found) {
      hits++
      return respond(outgoing, found)
    }
    const fetched = await forward(origin, incoming)
    if (incoming.method === 'GET' && mayBeKept(fetched)) {
      kept.set(incoming.url!, [fetched, ...(kept.get(incoming.url!) ?? [])])
    }
    respond(outgoing, fetched)
  }).listen(0, '127.0.0.1')
  await new Promise((ready) => server.once('listening', ready))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get hits() {
      return hits
    },
    close() {
      server.closeAllConnections()
      return new Promise((closed) => server.close(() => closed()))
    },
  }
}

/** Section 4.1: each header that the kept answer varies with has to be what it was. */
function fits({ varies }: Stored, incoming: IncomingMessage): boolean {
  return [...varies].every(([name, value]) => requestValue(incoming, name) === value)
}

function mayBeKept({ status, headers, varies }: Stored): boolean {
  if (varies.has('*') || !KEPT_BY_DEFAULT.has(status)) return false
  const directives = valuesOf(headers, 'cache-control').map((one) => one.split('=')[0])
  return !['no-store', 'private', 'no-cache'].some((one) => directives.includes(one))
}

/** RFC 9110, section 15.1. */
const KEPT_BY_DEFAULT = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])

function valuesOf(headers: Stored['headers'], wanted: string): string[] {
  return headers
    .filter(([name]) => name.toLowerCase() === wanted)
    .flatMap(([, value]) => value.split(','))
    .map((one) => one.trim().toLowerCase())
    .filter((one) => one !== '')
}

function requestValue({ headers }: IncomingMessage, name: string): string {
  return String(headers[name] ?? '')
}

async function forward(origin: string, incoming: IncomingMessage): Promise<Stored> {
  const { connection: _, host: __, ...headers } = incoming.headers
  const sent = request(origin + incoming.url, { method: incoming.method!, headers, agent: false })
  incoming.pipe(sent)
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    sent.once('response', resolve).once('error', reject),
  )
  const { rawHeaders } = response
  const received = Array.from(
    { length: rawHeaders.length / 2 },
    (_, i) => [rawHeaders[2 * i]!, rawHeaders[2 * i + 1]!] as const,
  )
  const varies = valuesOf(received, 'vary').map((name) => [name, requestValue(incoming, name)] as const)
  return {
    status: response.statusCode!,
    headers: received.filter(([name]) => !HOP_BY_HOP.test(name)),
    body: await buffer(response),
    varies: new Map(varies),
  }
}

const HOP_BY_HOP = /^(connection|keep-alive|transfer-encoding|content-length)$/i

function respond(outgoing: ServerResponse, { status, headers, body }: Stored): void {
  outgoing.writeHead(status, headers.flat()).end(body)
}
