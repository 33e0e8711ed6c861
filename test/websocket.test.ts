import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Answer, createSessions, SessionEndedError, type SessionOptions, type Store } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { fakeClock } from 'holdfast/testing'
import { Server as SocketIo } from 'socket.io'
import { io as connectSocketIo } from 'socket.io-client'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { openSockets, SIGNED_OUT } from '../examples/websocket/sockets.ts'
import { SECRET } from './helpers/browser.ts'
import { faulty } from './helpers/faults.ts'
import { edit, signIn } from './helpers/sign-in.ts'

interface Data {
  said?: number
  theme?: string
}

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanUp.splice(0).reverse()) await clean()
})

/** Two instances on one store, of which the first one takes sockets; it looks after them every `checkEvery` milliseconds. */
async function start(checkEvery = 3_600_000, options: SessionOptions<Data> = {}) {
  const clock = fakeClock()
  const store = faulty(memoryStore())
  const manager = (on: Store) =>
    createSessions<Data>({ secret: SECRET, store: on, clock, sweepEvery: false, csrf: true, ...options })
  const sessions = manager(store)
  const elsewhere = manager(Object.create(store)) // as in another process, where it would be another object too
  const server = createServer((_request, response) => response.end()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets = openSockets(
    server,
    sessions,
    {
      opened: (socket, session) => socket.send(`welcome ${session.userId}`),
      async message(words, socket, session) {
        if (words === 'look') await session.commit()
        else await session.update((data) => void (data.said = (data.said ?? 0) + 1))
        socket.send(`${session.data.said} ${session.data.theme}`)
      },
    },
    checkEvery,
  )
  cleanUp.push(async () => {
    sockets.close()
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
    await Promise.all([sessions.close(), elsewhere.close()])
  })
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`
  return { clock, store, sessions, elsewhere, sockets, server, url }
}

/** A client that has been welcomed. */
async function connect(url: string, cookie: string) {
  const socket = new WebSocket(url, { headers: { cookie } })
  cleanUp.push(() => socket.terminate())
  const upgrade = once(socket, 'upgrade') as Promise<[IncomingMessage]>
  const closed = once(socket, 'close').then(([code]) => code as number)
  const [welcome] = await once(socket, 'message')
  const [{ headers }] = await upgrade
  const heard: string[] = []
  socket.on('message', (text) => heard.push(String(text)))
  return {
    /** What has come after the welcome. */
    heard,
    welcome: String(welcome),
    setCookie: headers['set-cookie'],
    closed,
    async say(words: string) {
      socket.send(words)
      const answer = once(socket, 'message').then(([text]) => String(text))
      return Promise.race([answer, closed])
    },
    isOpen: () => socket.readyState === WebSocket.OPEN,
  }
}

async function refusal(url: string, headers: Record<string, string>): Promise<number> {
  const socket = new WebSocket(url, { headers })
  socket.on('error', () => {})
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
  response.destroy()
  return response.statusCode!
}

describe('a WebSocket', () => {
  it('is refused to who is not logged in, to a forged cookie, and to a page of another site', async () => {
    const { sessions, url } = await start()
    const visitor = await edit(sessions, undefined, ({ data }) => void (data.said = 1))
    const cookie = await signIn(sessions, 'ann')
    expect(await refusal(url, {})).toBe(401)
    expect(await refusal(url, { cookie: visitor })).toBe(401)
    expect(await refusal(url, { cookie: `${cookie.slice(0, -3)}abc` })).toBe(401)
    expect(await refusal(url, { cookie, origin: 'https://elsewhere.example' })).toBe(403)
    expect((await connect(url, cookie)).welcome).toBe('welcome ann')
  })

  it('is refused with 503 while the store is away', async () => {
    const { sessions, store, url } = await start()
    const cookie = await signIn(sessions, 'ann')
    store.error = new Error('connection refused')
    expect(await refusal(url, { cookie })).toBe(503)
    store.error = undefined
  })

  it('is answered with the cookie of a rotation that was due', async () => {
    const { sessions, clock, url } = await start()
    const cookie = await signIn(sessions, 'ann')
    await edit(sessions, cookie, () => {})
    await sleep(20)
    clock.advance('1h')
    const { setCookie, say } = await connect(url, cookie)
    expect(setCookie).toEqual([expect.stringMatching(/^__Host-id=/)])
    const { handle } = await sessions.open(setCookie![0]!.split(';', 1)[0]!)
    expect(handle).toBe((await sessions.open(cookie)).handle)
    expect(await say('hello')).toBe('1 undefined')
  })

  it('sees and keeps, hours later, what requests have changed meanwhile', async () => {
    const { sessions, elsewhere, clock, url } = await start()
    const cookie = await signIn(sessions, 'ann')
    const { say } = await connect(url, cookie)
    expect(await say('hello')).toBe('1 undefined')
    let inBrowser = cookie
    for (let hour = 0; hour < 30; hour++) {
      clock.advance('1h')
      inBrowser = await edit(elsewhere, inBrowser, ({ data }) => void (data.theme = `of hour ${hour}`))
    }
    expect(await say('hello')).toBe('2 of hour 29')
  })
})

describe('use of a session through a WebSocket', () => {
  const afterTouch = () => sleep(20)

  it('keeps it alive: each message that updates or commits it, whether or not it changes anything', async () => {
    for (const words of ['hello', 'look']) {
      const { sessions, clock, url } = await start()
      const cookie = await signIn(sessions, 'ann')
      const { say, isOpen } = await connect(url, cookie)
      for (let hour = 0; hour < 48; hour += 12) {
        clock.advance('12h')
        expect(await say(words)).toBeTypeOf('string')
        await afterTouch()
      }
      expect(isOpen()).toBe(true)
      expect((await sessions.list('ann')).length).toBe(1)
    }
  })

  it('is written at most once in touchEvery, however many messages come', async () => {
    const { sessions, clock, store, url } = await start()
    const { say } = await connect(url, await signIn(sessions, 'ann'))
    await afterTouch()
    clock.advance('2m')
    const before = store.asked
    for (let i = 0; i < 20; i++) await say('look')
    await afterTouch()
    expect(store.asked - before).toBe(1)
  })

  it('is not that it is open, nor that it is looked after: without a message it ends with the idle timeout', async () => {
    const { sessions, clock, url } = await start(20)
    const { closed, isOpen } = await connect(url, await signIn(sessions, 'ann'))
    clock.advance('23h')
    await sleep(100)
    expect(isOpen()).toBe(true)
    clock.advance('2h')
    expect(await closed).toBe(SIGNED_OUT)
  })

  it('after the idle timeout is refused, before anybody has looked after it', async () => {
    const { sessions, clock, url } = await start()
    const { say } = await connect(url, await signIn(sessions, 'ann'))
    clock.advance('25h')
    expect(await say('hello')).toBe(SIGNED_OUT)
  })

  it('leaves nothing behind in the visit, however long it lasts, also where nobody called sessions.commit()', async () => {
    const { sessions } = await start()
    const session = await sessions.open(await signIn(sessions, 'ann'))
    const done: WeakRef<object>[] = []
    for (let i = 0; i < 100; i++) {
      const update = session.update((data) => void (data.said = i))
      done.push(new WeakRef(update))
      await update
    }
    await sleep(1)
    setFlagsFromString('--expose-gc')
    runInNewContext('gc')()
    expect(done.filter((one) => one.deref() !== undefined).length).toBeLessThan(5)
    expect(session.data.said).toBe(99)
  })
})

describe('a session that ends closes its WebSockets', () => {
  const endings: Record<
    string,
    (part: Awaited<ReturnType<typeof start>>, cookie: string) => Promise<unknown>
  > = {
    'by a logout in another tab': ({ sessions }, cookie) =>
      edit(sessions, cookie, (session) => session.logout()),
    'by another login in the same browser': ({ sessions }, cookie) =>
      edit(sessions, cookie, (session) => session.login('bob')),
    'by its handle': async ({ sessions }, cookie) =>
      sessions.revoke({ handle: (await sessions.open(cookie)).handle }),
    'with all of its user': ({ sessions }) => sessions.revoke({ userId: 'ann' }),
    'from another device of the user': async ({ sessions }) =>
      sessions.revokeOthers(await sessions.open(await signIn(sessions, 'ann'))),
    'with all that there are': ({ sessions }) => sessions.revokeAll(),
    'by a stamp that is no longer right': ({ sessions }, cookie) =>
      edit(sessions, cookie, (session) => session.verifyStamp('new password')),
  }
  it.each(Object.entries(endings))('at once, %s', async (_name, end) => {
    const part = await start()
    const { sessions, url } = part
    const cookie = await signIn(sessions, 'ann')
    const other = await connect(url, await signIn(sessions, 'carl'))
    const { closed } = await connect(url, cookie)
    const began = performance.now()
    await end(part, cookie)
    expect(await closed).toBe(SIGNED_OUT)
    expect(performance.now() - began).toBeLessThan(5_000)
    await sleep(20)
    expect(other.isOpen()).toBe(_name !== 'with all that there are')
  })

  it('within the time of its checks, when another process ends it', async () => {
    const { sessions, elsewhere, url } = await start(50)
    const cookie = await signIn(sessions, 'ann')
    const { closed } = await connect(url, cookie)
    await elsewhere.revoke({ userId: 'ann' })
    expect(await closed).toBe(SIGNED_OUT)
  })

  it('and not because the store is away for a moment', async () => {
    const { sessions, store, url } = await start(20)
    const { isOpen, say } = await connect(url, await signIn(sessions, 'ann'))
    store.error = new Error('connection refused')
    await sleep(100)
    store.error = undefined
    expect(isOpen()).toBe(true)
    expect(await say('hello')).toBe('1 undefined')
  })

  it('but those of other sessions of the user stay, if one was meant', async () => {
    const { sessions, url } = await start()
    const [one, other] = [await signIn(sessions, 'ann'), await signIn(sessions, 'ann')]
    const [first, second] = [await connect(url, one), await connect(url, other)]
    await edit(sessions, one, (session) => session.logout())
    expect(await first.closed).toBe(SIGNED_OUT)
    expect(await second.say('hello')).toBe('1 undefined')
  })
})

describe('Socket.IO', () => {
  async function startSocketIo() {
    const sessions = createSessions<Data>({ secret: SECRET, clock: fakeClock() })
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')

    const answers = new WeakMap<IncomingMessage, Answer>()
    async function admit(request: IncomingMessage): Promise<boolean> {
      const session = await sessions.open(request)
      if (session.userId === undefined) return false
      answers.set(request, await sessions.commit(session))
      return true
    }
    const io = new SocketIo(server, {
      allowRequest: (request, decide) => {
        admit(request).then(
          (isAdmitted) => decide(null, isAdmitted),
          () => decide('try again', false),
        )
      },
    })
    io.engine.on('initial_headers', (headers: Record<string, string>, request: IncomingMessage) => {
      for (const [name, value] of answers.get(request)?.headers ?? []) headers[name] = value
    })
    io.on('connection', (socket) => {
      const session = sessions.of(socket.request)
      void socket.join(session.handle)
      socket.on('say', async (answer) =>
        answer(await session.update((data) => (data.said = (data.said ?? 0) + 1))),
      )
    })
    sessions.on('logout', ({ handle }) => io.in(handle).disconnectSockets(true))
    sessions.on('revoked', async () => {
      for (const socket of io.sockets.sockets.values()) {
        await sessions
          .of(socket.request)
          .reload()
          .catch((error: unknown) => {
            if (error instanceof SessionEndedError) socket.disconnect(true)
          })
      }
    })
    cleanUp.push(async () => {
      await io.close()
      await sessions.close()
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const open = (cookie: string, transports: string[]) => {
      const socket = connectSocketIo(url, {
        transports,
        extraHeaders: { cookie },
        reconnection: false,
        forceNew: true,
      })
      cleanUp.push(() => socket.disconnect())
      return socket
    }
    return { sessions, open }
  }

  const settled = (socket: ReturnType<typeof connectSocketIo>) =>
    new Promise<string>((resolve) => {
      socket.on('connect', () => resolve('connected'))
      socket.on('connect_error', () => resolve('refused'))
    })

  it.each([['websocket'], ['polling'], ['polling', 'websocket']])(
    'over %s %s: takes who is logged in, updates the session, and ends with it',
    async (...transports) => {
      const { sessions, open } = await startSocketIo()
      expect(await settled(open('', transports))).toBe('refused')
      const cookie = await signIn(sessions, 'ann')
      const [first, second] = [open(cookie, transports), open(await signIn(sessions, 'ann'), transports)]
      expect(await Promise.all([settled(first), settled(second)])).toEqual(['connected', 'connected'])
      expect(await first.emitWithAck('say')).toBe(1)
      expect(await first.emitWithAck('say')).toBe(2)
      expect((await sessions.open(cookie)).data.said).toBe(2)

      const gone = new Promise((resolve) => first.on('disconnect', resolve))
      await edit(sessions, cookie, (session) => session.logout())
      await gone
      expect(await second.emitWithAck('say')).toBe(1)
      const alsoGone = new Promise((resolve) => second.on('disconnect', resolve))
      await sessions.revoke({ userId: 'ann' })
      await alsoGone
    },
  )
})

describe('a long job', () => {
  it('reads a session by its handle and commits hours later, onto what its visitor did meanwhile', async () => {
    const { sessions, elsewhere, clock } = await start(1000, { lifetime: { rotateEvery: false } })
    const cookie = await signIn(sessions, 'ann', { said: 1 })
    const { handle } = await sessions.open(cookie)
    const job = (await elsewhere.find(handle))!
    expect([job.userId, job.data.said]).toEqual(['ann', 1])
    for (let hour = 0; hour < 30; hour += 10) {
      clock.advance('10h')
      await edit(sessions, cookie, ({ data }) => void (data.theme = `after ${hour} hours`))
    }
    job.data.said = 42
    await job.commit()
    expect((await sessions.open(cookie)).data).toEqual({ said: 42, theme: 'after 20 hours' })
  })

  it('is no use of the session, and hears that it has ended', async () => {
    const { sessions, elsewhere, clock } = await start()
    const cookie = await signIn(sessions, 'ann')
    const { handle } = await sessions.open(cookie)
    const job = (await elsewhere.find(handle))!
    clock.advance('23h')
    await job.update((data) => void (data.said = 1))
    await job.commit()
    clock.advance('2h')
    await expect(job.update((data) => void (data.said = 2))).rejects.toThrow(SessionEndedError)
    expect(await elsewhere.find(handle)).toBeUndefined()
  })
})

describe('the example', () => {
  it('takes who signs in, lets them talk, signs out both tabs, and ends on SIGTERM though sockets are open', async () => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', fileURLToPath(new URL('../examples/websocket/server.ts', import.meta.url))],
      {
        env: { ...process.env, PORT: '0' },
      },
    )
    cleanUp.push(() => child.kill('SIGKILL'))
    child.stderr.resume()
    const [line] = await once(child.stdout, 'data')
    const url = String(line).trim()
    const post = async (path: string, body = '', headers = {}) => {
      const answer = await fetch(url + path, { method: 'POST', body, headers, redirect: 'manual' })
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
      return answer.headers.getSetCookie()[0]!.split(';', 1)[0]!
    }
    expect(await (await fetch(url)).text()).toContain('Your name')
    const [ann, bob] = [await post('login', 'name=ann'), await post('login', 'name=bob')]
    expect(await (await fetch(url, { headers: { cookie: ann } })).text()).toContain('Sign out')
    const ws = url.replace('http', 'ws')
    expect(await refusal(ws, {})).toBe(401)
    const [first, second, other] = [await connect(ws, ann), await connect(ws, ann), await connect(ws, bob)]
    expect(first.welcome).toBe('Welcome, ann')
    for (const [socket, words] of [
      [first, 'hello'],
      [second, 'again'],
    ] as const)
      await socket.say(words)
    const talk = ['ann (1): hello', 'ann (2): again']
    for (const { heard } of [first, second, other]) await expect.poll(() => heard).toEqual(talk)
    await post('logout', '', { cookie: ann })
    expect([await first.closed, await second.closed]).toEqual([SIGNED_OUT, SIGNED_OUT])
    expect(other.isOpen()).toBe(true)
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(await other.closed).toBe(1001)
  })
})
