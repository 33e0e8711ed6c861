import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, client } from './helpers/client.ts'

const PROCESSES = 3
const REQUESTS = 200
const worker = fileURLToPath(new URL('./helpers/server-process.ts', import.meta.url))

describe.each(['sqlite', 'file'])('three processes on one %s store', (kind) => {
  let folder: string
  let children: ChildProcess[]
  let urls: string[]

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
    const path = join(folder, kind === 'sqlite' ? 'sessions.db' : 'sessions')
    children = Array.from({ length: PROCESSES }, () =>
      fork(worker, [kind, path], { execArgv: ['--import', 'tsx'] }),
    )
    urls = await Promise.all(children.map(async (child) => (await once(child, 'message'))[0] as string))
  })
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  })

  /** As one browser whose requests a load balancer spreads. */
  async function spread(path: (i: number) => string): Promise<Client> {
    const visitor = client(urls[0]!)
    await visitor.get('/visits')
    const replies = await Promise.all(
      Array.from({ length: REQUESTS }, (_, i) => client(urls[i % PROCESSES]!, visitor.cookie).get(path(i))),
    )
    expect(replies.filter(({ status }) => status !== 200)).toEqual([])
    return visitor
  }
  const dataOf = async (visitor: Client) => JSON.parse((await visitor.get('/data')).text)

  it('keep 200 of 200 items that parallel requests put into one object', async () => {
    const { cart } = await dataOf(await spread((i) => `/cart?item=${i}`))
    expect(Object.keys(cart)).toHaveLength(REQUESTS)
  }, 60_000)

  it('keep 200 of 200 keys that parallel requests set', async () => {
    const data = await dataOf(await spread((i) => `/set?key=k${i}&value=v&ms=5`))
    expect(Object.keys(data)).toHaveLength(REQUESTS + 1)
  }, 60_000)

  it('count 200 of 200 visits', async () => {
    expect((await dataOf(await spread(() => '/slow-visits'))).visits).toBe(REQUESTS + 1)
  }, 60_000)

  it('count 200 of 200 updates', async () => {
    expect((await dataOf(await spread(() => '/update'))).visits).toBe(REQUESTS + 1)
  }, 60_000)

  it('end a session for all of them', async () => {
    for (let n = 0; n < 20; n++) {
      const [first, second, third] = urls.map((url) => client(url))
      await first!.get('/login?user=ann')
      second!.cookie = third!.cookie = first!.cookie
      const slow = second!.get('/set?key=a&value=b&ms=30')
      await third!.get('/me')
      await third!.get('/leave')
      expect([200, 409]).toContain((await slow).status) // 200 if it was saved before the logout
      expect((await first!.get('/me')).text).toBe('nobody')
      expect((await second!.get('/me')).text).toBe('nobody')
    }
  }, 60_000)
})
