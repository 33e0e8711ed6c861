import { createSessions } from 'holdfast'
import { type RedisClient, redisStore } from 'holdfast/stores/redis'
import { Cluster, Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SECRET } from './helpers/browser.ts'
import { type Relay, relayTo } from './helpers/relay.ts'
import { startCluster, startRedis } from './servers/redis.ts'

interface Data {
  visits?: number
  other?: number
}

/** What one revision tells of others that came before it. */
const REMEMBERED = 3

let closing: (() => unknown)[] = []
/** Done once a write was done and its answer lost with the connection, before the client may send it again. */
let meanwhile: (() => Promise<unknown>) | undefined

beforeEach(() => {
  meanwhile = undefined
})
afterEach(async () => {
  for (const close of closing.reverse()) await close()
  closing = []
})

/** Loses the answer to the next script after `meanwhile` was set. */
async function losingRelayTo(port: number): Promise<Relay> {
  let hold = Promise.resolve()
  const scripts = new WeakSet<object>()
  const relay = await relayTo(port, {
    data(link, direction, chunk) {
      if (direction === 'toServer') {
        if (chunk.includes('evalsha') || chunk.includes('EVALSHA')) scripts.add(link)
        void hold.then(() => link.toServer.write(chunk))
      } else if (meanwhile && scripts.has(link)) {
        hold = meanwhile().then(() => undefined)
        meanwhile = undefined
        link.toClient.destroy()
        link.toServer.destroy()
      } else {
        link.toClient.write(chunk)
      }
    },
    end({ toClient, toServer }) {
      toClient.destroy()
      toServer.destroy()
    },
  })
  closing.push(() => relay.close())
  return relay
}

const OPTIONS = { maxRetriesPerRequest: 1 }

/** What `redisStore` is given, through the relay and past it. */
const topologies: Record<string, () => Promise<{ through: RedisClient | string; past: string }>> = {
  async 'a URL'() {
    const server = await startRedis()
    closing.push(() => server.stop())
    const relay = await losingRelayTo(server.port)
    return { through: `redis://127.0.0.1:${relay.port}`, past: `redis://127.0.0.1:${server.port}` }
  },
  async 'a client of ioredis'() {
    const server = await startRedis()
    closing.push(() => server.stop())
    const relay = await losingRelayTo(server.port)
    const through = new Redis(relay.port, '127.0.0.1', OPTIONS)
    through.on('error', () => {})
    closing.push(() => through.disconnect())
    return { through, past: `redis://127.0.0.1:${server.port}` }
  },
  async 'a Cluster of ioredis'() {
    const cluster = await startCluster()
    closing.push(() => cluster.stop())
    const natMap: Record<string, { host: string; port: number }> = {}
    for (const { port } of cluster.nodes) {
      natMap[`127.0.0.1:${port}`] = { host: '127.0.0.1', port: (await losingRelayTo(port)).port }
    }
    const through = new Cluster(Object.values(natMap), { natMap, redisOptions: OPTIONS })
    through.on('error', () => {})
    closing.push(() => through.disconnect())
    return { through, past: `redis+cluster://${cluster.nodes.map(({ port }) => `127.0.0.1:${port}`)}` }
  },
}

describe.each(Object.entries(topologies))('%s, which sends again what got no answer', (_name, start) => {
  it.each([0, 1, REMEMBERED, REMEMBERED + 1, 8])(
    'counts a change once, with %i writes of others before it comes again',
    async (others) => {
      const { through, past } = await start()
      const common = { secret: SECRET, merge: { visits: 'sum' }, sweepEvery: false } as const
      const here = createSessions<Data>({ ...common, store: redisStore(through) })
      const elsewhere = createSessions<Data>({ ...common, store: redisStore(past) })
      closing.push(
        () => here.close(),
        () => elsewhere.close(),
      )
      const first = await here.open(undefined)
      first.data.visits = 0
      const { cookie } = await here.commit(first)
      const header = `${cookie!.name}=${cookie!.value}`
      const write = async () => {
        const session = await elsewhere.open(header)
        session.data.other = (session.data.other ?? 0) + 1
        await session.commit()
      }
      // So that the server knows the script, and the connections are there.
      for (const sessions of [here, elsewhere])
        await (await sessions.open(header)).update((data) => void (data.other = 0))

      for (const [i, how] of ['commit', 'update'].entries()) {
        const session = await here.open(header)
        meanwhile = async () => {
          for (let n = 0; n < others; n++) await write()
        }
        const change = () => {
          if (how === 'update') return session.update((data) => void data.visits!++)
          session.data.visits!++
          return session.commit()
        }
        const done = change()
        const isTold = others <= REMEMBERED
        if (isTold) await done
        else await expect(done).rejects.toMatchObject({ maybeApplied: true })
        expect(meanwhile).toBeUndefined()
        if (!isTold)
          await expect(session.commit()).rejects.toMatchObject({ maybeApplied: true, retryable: false })
        expect((await elsewhere.open(header)).data.visits).toBe(i + 1)
      }
    },
  )
})
