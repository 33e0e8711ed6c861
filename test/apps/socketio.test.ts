import { once } from 'node:events'
import { io as connect, type Socket } from 'socket.io-client'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type App, startApp } from '../helpers/app.ts'
import { type Client, client } from '../helpers/client.ts'
import { writeApp } from '../helpers/documented-app.ts'

let folder: string
let app: App

beforeAll(async () => {
  folder = await writeApp('socketio', 'docs/socketio.md')
  app = await startApp(['--import', 'tsx', `${folder}/server.ts`], { CHECK_EVERY: '3600000' })
})
afterAll(() => app?.stop())

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.disconnect()
})

async function signedIn(name: string): Promise<Client> {
  const tab = client(app.url)
  expect((await tab.post('/login', { body: new URLSearchParams({ name }) })).status).toBe(302)
  return tab
}

function open(
  tab: Client,
  transports: string[] = ['websocket'],
  headers: Record<string, string> = {},
): Socket {
  const extraHeaders = tab.cookie === undefined ? headers : { cookie: tab.cookie, ...headers }
  const socket = connect(tab.url, { transports, extraHeaders, forceNew: true, reconnectionDelay: 50 })
  sockets.push(socket)
  return socket
}

async function opened(...given: Parameters<typeof open>): Promise<Socket> {
  const socket = open(...given)
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('connect_error', reject)
  })
  return socket
}

const disconnected = (socket: Socket) => new Promise<string>((resolve) => socket.once('disconnect', resolve))
const say = (socket: Socket) => socket.timeout(5_000).emitWithAck('say', undefined)
const put = (socket: Socket, item: string) => socket.timeout(5_000).emitWithAck('put', item)
const dataOf = async (tab: Client) => JSON.parse((await tab.get('/')).text).data

describe('a server with Express and Socket.IO, as docs/socketio.md has it', () => {
  it.each([[['websocket']], [['polling']], [['polling', 'websocket']]])(
    'has the session of the handshake in each event, over %s',
    async (transports) => {
      const tab = await signedIn('ann')
      const socket = await opened(tab, transports)
      expect(await say(socket)).toEqual({ answer: 1 })
      expect(await put(socket, 'tea')).toEqual({ answer: ['tea'] })
      expect(await dataOf(tab)).toEqual({ said: 1, cart: ['tea'] })
    },
  )

  it('refuses who is not logged in, and pages of other sites', async () => {
    await expect(opened(client(app.url))).rejects.toThrow()
    const tab = await signedIn('ann')
    await expect(opened(tab, ['websocket'], { origin: 'https://elsewhere.example' })).rejects.toThrow()
    expect((await opened(tab)).connected).toBe(true)
  })

  it('loses nothing of the sockets of two tabs at work at once', async () => {
    const tab = await signedIn('ann')
    const [first, second] = [await opened(tab), await opened(tab)]
    const work = Array.from({ length: 20 }, (_, i) => [say(first), say(second), put(second, `item ${i}`)])
    await Promise.all(work.flat())
    const { said, cart } = await dataOf(tab)
    expect([said, new Set(cart).size]).toEqual([40, 20])
  })

  it('sees in an event what a request has changed since the handshake', async () => {
    const tab = await signedIn('ann')
    const [first, second] = [await opened(tab), await opened(tab)]
    await put(first, 'tea')
    expect(await put(second, 'milk')).toEqual({ answer: ['tea', 'milk'] })
  })

  it('answers an event when its change is saved, or says that it is not', async () => {
    const tab = await signedIn('ann')
    const socket = await opened(tab)
    const unlock = app.lock()
    try {
      expect(await say(socket)).toEqual({ error: 'try again' })
    } finally {
      unlock()
    }
    expect(await dataOf(tab)).toEqual({})
    expect(socket.connected).toBe(true)
    expect(await say(socket)).toEqual({ answer: 1 })
  })

  it('closes the sockets of a session that is logged out, and no others', async () => {
    const [tab, elsewhere] = [await signedIn('ann'), await signedIn('ann')]
    const [first, second, other] = [await opened(tab), await opened(tab), await opened(elsewhere)]
    const gone = [disconnected(first), disconnected(second)]
    const old = tab.copy()
    await tab.post('/logout')
    expect(await Promise.all(gone)).toEqual(['io server disconnect', 'io server disconnect'])
    expect(await say(other)).toEqual({ answer: 1 })
    await expect(opened(old)).rejects.toThrow()
  })

  it('closes the sockets of a token that another login has replaced', async () => {
    const tab = await signedIn('ann')
    const socket = await opened(tab)
    const gone = disconnected(socket)
    await tab.post('/login', { body: new URLSearchParams({ name: 'bob' }) })
    expect(await gone).toBe('io server disconnect')
    expect(await say(await opened(tab))).toEqual({ answer: 1 })
  })

  it('takes its clients back after a restart, with their sessions', async () => {
    const tab = await signedIn('ann')
    const socket = await opened(tab)
    await put(socket, 'tea')
    const gone = disconnected(socket)
    const back = once(socket as never, 'connect')
    await app.restart()
    await gone
    await back
    expect(await put(socket, 'milk')).toEqual({ answer: ['tea', 'milk'] })
  })

  it('closes a socket within the time of its checks, when another process ends the session', async () => {
    const env = { CHECK_EVERY: '100', SESSION_DB: app.database }
    const other = await startApp(['--import', 'tsx', `${folder}/server.ts`], env)
    try {
      const tab = await signedIn('ann')
      const socket = await opened(client(other.url, tab.cookie))
      expect(await say(socket)).toEqual({ answer: 1 })
      const gone = disconnected(socket)
      await tab.post('/logout') // in the first process
      expect(await gone).toBe('io server disconnect')
    } finally {
      await other.stop()
    }
  })
})
