// Requests over raw keep-alive sockets: a client that costs less than the servers it measures.
import { connect } from 'node:net'

/**
 * One connection for each of `cookies` (undefined: none), each with one request under way, for so many milliseconds.
 * @returns {Promise<{ latencies: number[], bodies: string[] }>} milliseconds of each request; the last body on each connection
 */
export async function load({ port, path, cookies, milliseconds }) {
  const latencies = []
  const until = performance.now() + milliseconds
  stayAwake(until)
  const bodies = await Promise.all(
    cookies.map((cookie) => keepAsking({ port, request: requestFor(path, cookie), until, latencies })),
  )
  return { latencies, bodies }
}

/**
 * Never sleeps until then. To wake a client that sleeps costs the server that writes to it ten microseconds and more, which a slow
 * server would pay for nearly every answer and a fast one, whose client is always busy, for none.
 */
function stayAwake(until) {
  if (performance.now() < until) setImmediate(stayAwake, until)
}

/** @returns {Promise<{ body: string, cookie?: string }>} */
export async function ask(port, path, cookie) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: cookie ? { cookie } : {} })
  const body = await response.text()
  if (response.status !== 200) throw new Error(`${path} answered ${response.status}: ${body}`)
  const cookies = response.headers.getSetCookie().map((text) => text.split(';', 1)[0])
  return { body, cookie: cookies.length > 0 ? cookies.join('; ') : undefined }
}

function requestFor(path, cookie) {
  const lines = [`GET ${path} HTTP/1.1`, 'Host: 127.0.0.1', 'Accept: */*']
  if (cookie !== undefined) lines.push(`Cookie: ${cookie}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

function keepAsking({ port, request, until, latencies }) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1').setNoDelay(true).setEncoding('latin1')
    let received = ''
    let askedAt = 0
    const next = () => {
      received = ''
      askedAt = performance.now()
      socket.write(request)
    }
    socket.on('connect', next)
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      received += chunk
      const body = bodyOf(received)
      if (body === undefined) return
      const now = performance.now()
      latencies.push(now - askedAt)
      if (now < until) return next()
      socket.destroy()
      resolve(body)
    })
    socket.on('close', () => reject(new Error(`the server closed the connection after: ${received}`)))
  })
}

/** The body, once all of it is there. */
function bodyOf(response) {
  const end = response.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = response.slice(0, end)
  const length = Number(/\ncontent-length: *(\d+)/i.exec(head)?.[1])
  if (!head.startsWith('HTTP/1.1 200') || Number.isNaN(length)) throw new Error(`unexpected: ${response}`)
  return response.length < end + 4 + length ? undefined : response.slice(end + 4)
}
