import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type FaultProxy, faultProxyTo } from './helpers/fault-proxy.ts'

/** What a busy machine may be late by. */
const LATE = 400

let echo: Server
let proxy: FaultProxy
let clients: Socket[]

beforeEach(async () => {
  echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  proxy = await faultProxyTo((echo.address() as AddressInfo).port)
  clients = []
})

afterEach(async () => {
  for (const client of clients) client.destroy()
  await proxy.close()
  echo.close()
})

/** A connection, what has come on it, and how it ended. */
async function open() {
  const socket = connect(proxy.port, '127.0.0.1')
  clients.push(socket)
  const seen = { text: '', end: undefined as string | undefined }
  socket.on('data', (chunk) => (seen.text += chunk))
  socket.on('end', () => (seen.end ??= 'end'))
  socket.on('error', (error: NodeJS.ErrnoException) => (seen.end ??= error.code))
  await once(socket, 'connect')
  return { socket, seen }
}

const within = { timeout: 2_000, interval: 2 }

it('hands on what comes in both directions, and counts what is sent', async () => {
  const { socket, seen } = await open()
  for (const word of ['one ', 'two ']) {
    socket.write(word)
    await expect.poll(() => seen.text, within).toContain(word)
  }
  expect(seen.text).toBe('one two ')
  expect(proxy.sent).toBe(8)
  socket.end('three')
  await expect.poll(() => seen, within).toEqual({ text: 'one two three', end: 'end' })
})

it('latency: answers come late and in order, none waits for another, and healing ends the wait', async () => {
  const { socket, seen } = await open()
  proxy.latency(200)
  const began = performance.now()
  socket.write('a')
  await sleep(50)
  socket.write('b')
  await expect.poll(() => seen.text, within).toBe('ab')
  expect(performance.now() - began).toBeGreaterThanOrEqual(240)
  expect(performance.now() - began).toBeLessThan(400 + LATE)
  proxy.latency(60_000)
  socket.write('c')
  await sleep(50)
  expect(seen.text).toBe('ab')
  await proxy.heal()
  await expect.poll(() => seen.text, within).toBe('abc')
})

it('half-open: connections are accepted and nothing comes back; those stay dead, new ones work again', async () => {
  const { socket, seen } = await open()
  proxy.halfOpen()
  const other = await open()
  socket.write('lost')
  other.socket.end('lost too')
  await sleep(100)
  await proxy.heal()
  socket.write('and this')
  const third = await open()
  third.socket.write('heard')
  await expect.poll(() => third.seen.text, within).toBe('heard')
  expect([seen, other.seen]).toEqual([
    { text: '', end: undefined },
    { text: '', end: undefined },
  ])
})

it('reset: breaks the connections that are there, and those that come when they ask', async () => {
  const { seen } = await open()
  proxy.reset()
  await expect.poll(() => seen.end, within).toBe('ECONNRESET')
  const other = await open()
  other.socket.write('hello')
  await expect.poll(() => other.seen.end, within).toBe('ECONNRESET')
  await proxy.heal()
  const third = await open()
  third.socket.write('hello')
  await expect.poll(() => third.seen.text, within).toBe('hello')
})

it('cut: a connection ends when so many bytes have passed, in the direction that was named', async () => {
  const { socket, seen } = await open()
  proxy.cutAfter(5, 'toClient')
  socket.write('abc')
  await expect.poll(() => seen.text, within).toBe('abc')
  socket.write('defg')
  await expect.poll(() => seen, within).toEqual({ text: 'abcde', end: expect.any(String) })

  const received: string[] = []
  echo.on('connection', (server: Socket) => server.on('data', (chunk) => received.push(String(chunk))))
  const other = await open()
  proxy.cutAfter(2, 'toServer')
  other.socket.write('xyz')
  await expect.poll(() => other.seen.end, within).toEqual(expect.any(String))
  expect(received.join('')).toBe('xy')
})

it('drip: an answer comes byte by byte, and the rest at once when healed', async () => {
  const { socket, seen } = await open()
  proxy.drip(20)
  socket.write('x'.repeat(1000))
  await sleep(200)
  expect(seen.text.length).toBeGreaterThan(0)
  expect(seen.text.length).toBeLessThan(500)
  await proxy.heal()
  await expect.poll(() => seen.text.length, within).toBe(1000)
})

it('refuse: nobody listens, what is connected stays, and after healing the port is the same', async () => {
  const { socket, seen } = await open()
  const { port } = proxy
  proxy.refuse()
  await expect(open()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  socket.write('still here')
  await expect.poll(() => seen.text, within).toBe('still here')
  await proxy.heal()
  expect(proxy.port).toBe(port)
  const other = await open()
  other.socket.write('hello')
  await expect.poll(() => other.seen.text, within).toBe('hello')
})

it('a server that has gone breaks the connections to it', async () => {
  const { seen } = await open()
  const gone = await faultProxyTo(1)
  const socket = connect(gone.port, '127.0.0.1')
  clients.push(socket)
  const [error] = await once(socket, 'error')
  expect(error).toMatchObject({ code: 'ECONNRESET' })
  expect(seen.end).toBeUndefined()
  await gone.close()
})
