import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, client } from './helpers/client.ts'
import { type Processes, startProcesses } from './helpers/processes.ts'
import { type RunningStore, sharedStores } from './helpers/stores.ts'

const REQUESTS = 200

describe.each(Object.keys(sharedStores))('three processes on one store: %s', (name) => {
  let store: RunningStore
  let processes: Processes
  let urls: readonly string[]

  beforeAll(async () => {
    store = await sharedStores[name]!()
    processes = await startProcesses(store.url)
    urls = processes.urls
  }, 60_000)
  afterAll(async () => {
    await processes?.stop()
    await store?.stop()
  })

  /** As one browser whose requests a load balancer spreads. */
  async function spread(path: (i: number) => string): Promise<Client> {
    const visitor = client(urls[0]!)
    await visitor.get('/visits')
    const replies = await Promise.all(
      Array.from({ length: REQUESTS }, (_, i) => client(processes.anyUrl(), visitor.cookie).get(path(i))),
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

  it('show what was written to whoever follows a redirect to another process', async () => {
    for (let n = 0; n < 60; n++) {
      const visitor = client(urls[n % 3]!)
      const reply = await visitor.get(`/redirect?value=v${n}`)
      expect(reply.status).toBe(302)
      const elsewhere = client(urls[(n + 1) % 3]!, visitor.cookie)
      expect((await dataOf(elsewhere)).last).toBe(`v${n}`)
    }
  }, 60_000)

  it('keep one session through a rotation, whatever comes beside it', async () => {
    const visitor = client(urls[0]!)
    await visitor.get('/login?user=ann')
    const handle = (await visitor.get('/handle')).text
    const beside = Array.from({ length: 10 }, () => client(processes.anyUrl(), visitor.cookie))
    const [rotation, ...others] = await Promise.all([
      client(urls[1]!, visitor.cookie).get('/rotate'),
      ...beside.map((one, n) => one.get(`/set?key=k${n}&value=v&ms=5`)),
    ])
    expect(rotation!.text).toBe('true')
    expect(others.map(({ status }) => status)).toEqual(Array(10).fill(200))
    const cookie = rotation!.headers.getSetCookie()[0]!.split(';', 1)[0]!
    for (const one of [...beside, client(urls[2]!, cookie)]) {
      expect((await one.get('/handle')).text).toBe(handle)
      expect(Object.keys(await dataOf(one))).toHaveLength(10)
    }
  }, 60_000)
})
