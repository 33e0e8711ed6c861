// What live sessions hold on the heap: the memory stores of Holdfast and its peers, each filled through its library.
//
//   node --expose-gc bench/heap.mjs <kind> <sessions>
//
// kinds: holdfast, 'holdfast, logged in', express-session, @fastify/session, hono-sessions. Prints JSON: the bytes that a session holds
// beyond its key and the JSON of its data.
import { randomBytes } from 'node:crypto'
import { Agent, get } from 'node:http'
import { createSessions, memoryStore } from 'holdfast'

const [kind, amount] = process.argv.slice(2)
const data = { visits: 1 }
const secret = randomBytes(32)

/** Each gives `add`, which makes one more session, how many at a time, and how long its keys are. */
const kinds = {
  async holdfast() {
    const sessions = createSessions({ secret, store: memoryStore({ maxSessions: Number.POSITIVE_INFINITY }) })
    return {
      keyLength: 'id:'.length + 43,
      async add() {
        const session = await sessions.open(undefined)
        Object.assign(session.data, data)
        await sessions.commit(session)
      },
      close: () => sessions.close(),
    }
  },

  async 'holdfast, logged in'() {
    const sessions = createSessions({ secret, store: memoryStore({ maxSessions: Number.POSITIVE_INFINITY }) })
    return {
      keyLength: 'id:'.length + 43,
      async add(i) {
        const session = await sessions.open(undefined)
        Object.assign(session.data, data)
        await session.login(`user-${i}`)
        await sessions.commit(session)
      },
      close: () => sessions.close(),
    }
  },

  async 'express-session'() {
    const { default: session } = await import('express-session')
    const store = new session.MemoryStore()
    return {
      keyLength: 32,
      add() {
        // It keeps the JSON of this, whatever else the session is.
        const cookie = { originalMaxAge: null, expires: null, httpOnly: true, path: '/' }
        store.set(randomBytes(24).toString('base64url'), { cookie, ...data })
      },
      close: () => store.all(() => {}),
    }
  },

  async '@fastify/session'() {
    const [fastify, cookie, session] = await Promise.all(
      ['fastify', '@fastify/cookie', '@fastify/session'].map(async (name) => (await import(name)).default),
    )
    const app = fastify()
    await app.register(cookie)
    await app.register(session, { secret: secret.toString('base64url'), cookie: { secure: false } })
    app.get('/', (request, reply) => {
      Object.assign(request.session, data)
      reply.send('')
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    return {
      keyLength: 32,
      add: () =>
        new Promise((resolve, reject) => {
          get(url, { agent }, (response) => response.resume().on('end', resolve)).on('error', reject)
        }),
      async close() {
        agent.destroy()
        await app.close()
      },
    }
  },

  async 'hono-sessions'() {
    const { Hono } = await import('hono')
    const { MemoryStore, sessionMiddleware } = await import('hono-sessions')
    const app = new Hono()
    app.use('*', sessionMiddleware({ store: new MemoryStore(), expireAfterSeconds: 86_400 }))
    app.get('/', (c) => {
      c.var.session.set('visits', data.visits)
      return c.text('')
    })
    return { keyLength: 36, add: () => app.request('/'), close: () => app.request('/') }
  },
}

/** Of a string in V8: two words, then a byte a character, up to a whole word. */
function stringBytes(length) {
  return 16 + Math.ceil(length / 8) * 8
}

function heapUsed() {
  globalThis.gc()
  globalThis.gc()
  return process.memoryUsage().heapUsed
}

if (!globalThis.gc) throw new Error('start node with --expose-gc')
const { add, close, keyLength } = await kinds[kind]()
const WARM_UP = 1_000
for (let i = 0; i < WARM_UP; i++) await add(i)
const before = heapUsed()
const count = Number(amount)
for (let i = 0; i < count; i++) await add(WARM_UP + i)
const held = (heapUsed() - before) / count
await close() // and not earlier, or the store might be collected before it is measured
const bytes = held - stringBytes(keyLength) - stringBytes(JSON.stringify(data).length)
console.log(JSON.stringify({ kind, sessions: count, bytes: Math.round(bytes) }))
process.exit()
