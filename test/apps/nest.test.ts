/** A real application of NestJS in a process of its own, on both of its platforms. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, client } from '../helpers/client.ts'
import { startRedis } from '../servers/redis.ts'

const program = fileURLToPath(new URL('./nest/server.ts', import.meta.url))

interface Running {
  readonly url: string
  /** SIGTERM; resolves with the exit code, or the signal that ended it. */
  stop(): Promise<unknown>
}

async function start(platform: string, store: string): Promise<Running> {
  const child: ChildProcess = fork(program, [platform], {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, SESSION_STORE: store },
    silent: true,
  })
  let printed = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk: Buffer) => (printed += chunk))
  const ended = once(child, 'exit').then(() => {
    throw new Error(`the server has ended:\n${printed}`)
  })
  ended.catch(() => {})
  const [url] = await Promise.race([once(child, 'message'), ended])
  return {
    url: url as string,
    async stop() {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      const [code, signal] = await exited
      return signal ?? code
    },
  }
}

describe.each(['express', 'fastify'])('an application of NestJS on %s', (platform) => {
  let folder: string
  let store: string
  let server: Running

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-nest-'))
    store = `file:${folder}`
    server = await start(platform, store)
  }, 60_000)
  afterAll(async () => {
    await server?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const send = (tab: Client, path: string, body: object = {}, headers: Record<string, string> = {}) =>
    tab.post(path, {
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
  const me = async (tab: Client) => JSON.parse((await tab.get('/me')).text) as Record<string, unknown>
  async function loggedIn(): Promise<Client> {
    const tab = client(server.url)
    await send(tab, '/login', { user: 'ann' })
    return tab
  }

  it('gives no cookie to who only looks', async () => {
    const tab = client(server.url)
    expect(await me(tab)).toEqual({ user: 'nobody', generation: 1 })
    expect(tab.setCookies).toEqual([])
  })

  it('logs in with a new token that keeps the data, and lets a guard see it', async () => {
    const tab = client(server.url)
    await send(tab, '/count')
    const before = tab.copy()
    expect((await tab.get('/account')).status).toBe(401)
    expect((await send(tab, '/login', { user: 'bob' })).status).toBe(200)
    expect(tab.cookie).not.toBe(before.cookie)
    expect(await me(tab)).toMatchObject({ user: 'bob', visits: 1 })
    expect(await me(before)).toMatchObject({ user: 'nobody' })
    expect(JSON.parse((await tab.get('/account')).text)).toEqual({ devices: 1 })
  })

  it('merges what two tabs write at the same time, and counts all of 50 parallel requests', async () => {
    const first = await loggedIn()
    const second = client(server.url, first.cookie)
    await Promise.all([
      send(first, '/cart', { item: 'tea', after: 100 }),
      send(second, '/cart', { item: 'milk', after: 100 }),
      ...Array.from({ length: 50 }, (_, i) => send(i % 2 ? first : second, '/count')),
    ])
    expect(await me(first)).toMatchObject({ user: 'ann', visits: 50, cart: { tea: 1, milk: 1 } })
  })

  it('signs out in one tab, and so in the other, and revives nothing by a request that ends later', async () => {
    const first = await loggedIn()
    const second = client(server.url, first.cookie)
    const slow = send(second, '/cart', { item: 'late', after: 400 })
    expect((await send(first, '/logout')).status).toBe(204)
    expect(first.cookie).toBeUndefined()
    const { status, headers } = await slow
    expect([status, headers.getSetCookie()]).toEqual([409, []])
    expect(await me(second)).toEqual({ user: 'nobody', generation: 1 })
    expect((await second.get('/account')).status).toBe(401)
  })

  it('keeps logins over a restart, which ends by itself', async () => {
    const tab = await loggedIn()
    await send(tab, '/cart', { item: 'tea', after: 0 })
    // Or the server would wait for more on that connection.
    const slow = send(tab, '/cart', { item: 'milk', after: 300 }, { connection: 'close' })
    await new Promise((resume) => setTimeout(resume, 100))
    expect(await server.stop()).toBe('SIGTERM')
    expect((await slow).status).toBe(201)
    server = await start(platform, store)
    expect(await me(client(server.url, tab.cookie))).toMatchObject({
      user: 'ann',
      cart: { tea: 1, milk: 1 },
    })
  })

  it('saves what a handler changed that answers 404, and nothing of one that answers 500', async () => {
    const tab = await loggedIn()
    for (const status of [404, 500]) {
      const answer = await send(tab, `/count-and-fail/${status}`)
      expect([answer.status, JSON.parse(answer.text)]).toEqual([
        status,
        { statusCode: status, message: 'as asked for' },
      ])
    }
    expect(await me(tab)).toMatchObject({ visits: 1_000 })
  })

  it('answers with the status of what a session throws', async () => {
    const { status, text } = await (await loggedIn()).get('/vault')
    expect([status, JSON.parse(text)]).toEqual([
      401,
      { statusCode: 401, message: 'this needs the level "2fa"' },
    ])
  })

  it('answers 503 with Retry-After while the store is away, and has everybody back', async () => {
    const redis = await startRedis()
    const running = await start(platform, `redis://127.0.0.1:${redis.port}`)
    try {
      const tab = client(running.url)
      await send(tab, '/login', { user: 'ann' })
      const { cookie } = tab
      const slow = send(tab, '/cart', { item: 'tea', after: 500 }) // loaded, and then not to be saved
      await new Promise((resume) => setTimeout(resume, 250))
      redis.freeze()
      for (const { status, headers, text } of [await slow, await tab.get('/me')]) {
        expect([status, headers.get('retry-after'), headers.getSetCookie()]).toEqual([503, '1', []])
        expect(JSON.parse(text)).toEqual({ statusCode: 503, message: 'Service Unavailable' })
      }
      expect(tab.cookie).toBe(cookie)
      redis.thaw()
      await expect.poll(async () => (await tab.get('/me')).status, { timeout: 10_000 }).toBe(200)
      expect(await me(tab)).toMatchObject({ user: 'ann' })
    } finally {
      redis.thaw()
      await running.stop()
      await redis.stop()
    }
  })
})
