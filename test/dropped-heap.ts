/**
 * Opens many sessions and drops them, in every way in which a request can end, and measures what that leaves on the heap, in a
 * process of its own. Prints JSON: bytes a session, by what was done.
 *
 *   node --expose-gc --import tsx test/dropped-heap.ts [sessions] [connections]
 */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessions, type Sessions } from '../src/index.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { fakeClock } from '../src/testing/index.ts'
import type { Data } from './frameworks/app.ts'
import { servers } from './frameworks/servers.ts'
import { edit, signIn } from './helpers/sign-in.ts'

const count = Number(process.argv[2] ?? 100_000)
const connections = Number(process.argv[3] ?? 5_000)
const collectGarbage = globalThis.gc
if (collectGarbage === undefined) throw new Error('start node with --expose-gc')

const clock = fakeClock()
const sessions = createSessions<Data>({
  secret: 'a secret for tests that is long enough',
  store: memoryStore(),
  clock,
  sweepEvery: false,
})
const cookie = await signIn(sessions, 'ann', { visits: 1 })
await edit(sessions, cookie, () => {})
const request = () => new Request('http://localhost/', { headers: { cookie } })

const ways: Record<string, () => Promise<unknown>> = {
  'opened without a cookie': () => sessions.open(undefined),
  'opened with a cookie': () => sessions.open(cookie),
  'opened with a forged cookie': () => sessions.open('__Host-id=forged'),
  'opened from a request, lazily': () => sessions.open(request(), { lazy: true }),
  'changed and not committed': async () => {
    const session = await sessions.open(request())
    session.data.visits = Math.random()
  },
  'committed, and nothing changed': async () => sessions.commit(await sessions.open(request())),
  'committed and changed': () => edit(sessions, cookie, ({ data }) => void data.visits!++),
  'updated without an answer': async () =>
    (await sessions.open(cookie)).update((data) => void data.visits!++),
  failed: async () => {
    const session = await sessions.open(cookie)
    const refuse = () => {
      throw new Error('no')
    }
    await session.update(refuse).catch(() => {})
    await sessions.commit(session, { status: 500 })
  },
  'changed after the answer': async () => {
    const session = await sessions.open(cookie)
    await sessions.commit(session)
    session.data.visits = Math.random()
    sessions.closed(session)
  },
  'found by its handle': async () => sessions.find((await sessions.open(cookie)).handle),
}

async function heapUsed(): Promise<number> {
  await sleep(20)
  collectGarbage!()
  await sleep(20)
  collectGarbage!()
  return process.memoryUsage().heapUsed
}

/** Bytes that one more leaves behind, once half as many have warmed everything up. */
async function left(times: number, all: (times: number) => Promise<unknown>): Promise<number> {
  await all(times / 2)
  const before = await heapUsed()
  await all(times)
  return Math.round(((await heapUsed()) - before) / times)
}

const measured: Record<string, number> = {}
for (const [name, work] of Object.entries(ways)) {
  measured[name] = await left(count, async (times) => {
    for (let i = 0; i < times; i++) await work()
  })
}

/** As many each time, so that the store's tables have had their size before. */
async function createAndSweep(): Promise<void> {
  for (let i = 0; i < count; i++) await edit(sessions, undefined, ({ data }) => void (data.visits = i))
  clock.advance('15d')
  await sessions.sweep()
}
await createAndSweep()
const before = await heapUsed()
await createAndSweep()
measured['created, expired and swept'] = Math.round(((await heapUsed()) - before) / count)

/** Clients that go away while the handler is at work, before their answer or amid it. */
async function abort(serving: Sessions<Data>): Promise<number> {
  const server = await servers['express 5']!(serving)
  const { port } = new URL(server.url)
  const live = await signIn(serving, 'bob')
  const visit = (i: number) =>
    new Promise<void>((done) => {
      const path = ['/set?key=a&value=b&ms=5', '/stream', '/late', '/update'][i % 4]
      const header = i % 3 === 0 ? '' : `Cookie: ${live}\r\n`
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n${header}\r\n`)
        setTimeout(() => socket.destroy(), Math.random() * 10)
      })
      socket.on('error', () => {})
      socket.on('close', () => done())
      socket.resume()
    })
  const bytes = await left(connections, async (times) => {
    for (let i = 0; i < times; i += 50) await Promise.all(Array.from({ length: 50 }, (_, n) => visit(i + n)))
    await sleep(1_100) // what was changed too late is reported
    clock.advance('15d')
    await serving.sweep()
  })
  await server.close()
  return bytes
}
measured['over HTTP, clients gone'] = await abort(sessions)
await sessions.close()
console.log(JSON.stringify(measured))
