/**
 * Servers that die, restart, fail over and move their data while people use the site: through the core, as an application does. Prints what was lost.
 */
import { createSessions, type SessionOptions, StoreUnavailableError } from 'holdfast'
import { type RedisClient, type RedisStoreOptions, redisStore } from 'holdfast/stores/redis'
import { mysqlStore, postgresStore } from 'holdfast/stores/sql'
import { fakeClock } from 'holdfast/testing'
import { Cluster } from 'ioredis'
import { createCluster, createSentinel } from 'redis'
import { afterEach, describe, expect, it } from 'vitest'
import { browser, SECRET } from './helpers/browser.ts'
import { Crowd, type CrowdData, type Losses } from './helpers/crowd.ts'
import { linkTo } from './helpers/link.ts'
import { startOwnMariadb } from './servers/mariadb.ts'
import { type OwnServer, startOwnPgBouncer, startOwnPostgres } from './servers/postgres.ts'
import {
  type RedisServer,
  startCluster,
  startLaggingSentinels,
  startRedis,
  startReplica,
  until,
} from './servers/redis.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** Tokens change every second, so that a failover meets rotations at every stage. */
function open<Data extends object = CrowdData>(options: SessionOptions<Data>) {
  const sessions = createSessions<Data>({
    secret: SECRET,
    sweepEvery: false,
    lifetime: { rotateEvery: '1s', grace: '0.5s' },
    ...options,
  })
  closing.push(() => sessions.close())
  return sessions
}

function tell(what: string, { of, ...lost }: Losses): void {
  console.log(
    `${what}: lost ${lost.visits} of ${of.visits} changes, ${lost.logins} of ${of.logins} logins, ${lost.logouts} of ${of.logouts} logouts; ` +
      `${lost.refused} answers were 503, ${lost.unsureLogouts} of them to a logout that may have been done, ${lost.undone} of which was not`,
  )
}

describe('Redis Sentinel, the primary killed under load', () => {
  const ways: Record<string, (ports: readonly number[], name: string) => string | Promise<RedisClient>> = {
    'a URL': (ports, name) => `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`)}/${name}`,
    async 'node-redis'(ports, name) {
      const client = await createSentinel({
        name,
        sentinelRootNodes: ports.map((port) => ({ host: '127.0.0.1', port })),
      })
        .on('error', () => {})
        .connect()
      closing.push(() => client.destroy())
      return client
    },
  }

  async function killThePrimary(way: string, options: RedisStoreOptions): Promise<Losses> {
    const sentinels = await startLaggingSentinels()
    closing.push(() => sentinels.stop())
    const source = await ways[way]!(sentinels.ports, sentinels.primaryName)
    const sessions = open({ store: redisStore(source, options) })
    const crowd = new Crowd(sessions)
    await crowd.start()
    await crowd.servedSince(performance.now() + 1_000)
    await sentinels.primary.kill()
    const served = await crowd.servedSince(performance.now())
    // Until the other replica follows the new primary nothing is durable, and nobody is told that it is.
    await until(async () => {
      await browser(sessions).visit((session) => session.login('somebody'))
      return true
    })
    await crowd.stop()
    const losses = await crowd.losses()
    tell(`Sentinel by ${way}${options.wait ? ' with wait' : ''}, back after ${served.toFixed(0)} ms`, losses)
    return losses
  }

  it('loses without `wait` what had not reached the replica, and is back by itself', async () => {
    const losses = await killThePrimary('a URL', {})
    expect(losses.visits).toBeGreaterThan(0)
    expect(losses.visits).toBeLessThan(losses.of.visits / 10)
  }, 60_000)

  for (const way of Object.keys(ways)) {
    it(`loses with \`wait\` no login and no logout, with ${way}`, async () => {
      const losses = await killThePrimary(way, { wait: { replicas: 1 } })
      expect(losses).toMatchObject({ logins: 0, logouts: 0 })
      expect(losses.of.logins).toBeGreaterThan(10)
      expect(losses.of.logouts).toBeGreaterThan(10)
    }, 60_000)
  }
})

describe('a primary whose replica is behind', () => {
  /** A site before and after its failover, which happens by hand. */
  async function site(options?: RedisStoreOptions) {
    const primary = await startRedis()
    closing.push(() => primary.stop())
    const link = await linkTo(primary.port)
    closing.push(() => link.close())
    const replica = await startReplica(primary, link.port)
    closing.push(() => replica.stop())
    const clock = fakeClock()
    const on = (server: RedisServer, more?: RedisStoreOptions) =>
      open<{ visits?: number; page?: string }>({
        store: redisStore(`redis://127.0.0.1:${server.port}`, more),
        lifetime: {},
        clock,
      })
    return {
      clock,
      link,
      before: on(primary, options),
      /** Another instance, with a connection of its own. */
      beside: on(primary, options),
      async caughtUp() {
        const offset = /master_repl_offset:(\d+)/.exec(await primary.cli('INFO', 'replication'))![1]
        const has = async () =>
          (await replica.cli('INFO', 'replication')).includes(`slave_repl_offset:${offset}`)
        await until(has)
      },
      async failOver() {
        await primary.kill()
        await replica.cli('REPLICAOF', 'NO', 'ONE')
        return on(replica)
      },
    }
  }

  it('and then dies, with a rotation: the new token is ahead of the record, and stays good', async () => {
    const { before, clock, link, caughtUp, failOver } = await site()
    const jar = browser(before)
    await jar.visit((session) => session.login('ada'))
    await caughtUp()
    link.hold()
    clock.advance('16m')
    const old = jar.cookie
    await jar.visit((session) => void (session.data.page = 'lost'))
    expect(jar.cookie).not.toBe(old)

    const after = await failOver()
    const reused: unknown[] = []
    after.on('reuse', (event) => reused.push(event))
    const same = browser(after, jar.cookie)
    const generation = async () => (await after.list('ada'))[0]!.generation
    expect(await same.visit(({ userId, data }) => [userId, data])).toEqual(['ada', {}])
    expect(await generation()).toBe(2)
    await same.visit((session) => void (session.data.page = 'found'))
    expect(await same.visit(({ data }) => data)).toEqual({ page: 'found' })
    expect(await generation()).toBe(3)
    // Another tab, whose request left before the rotation.
    expect(await browser(after, old).visit(({ userId }) => userId)).toBe('ada')
    clock.advance('16m')
    await same.visit((session) => void (session.data.page = 'rotated'))
    expect(same.setCookies).toHaveLength(1)
    clock.advance('6m')
    expect(await same.visit(({ userId }) => userId)).toBe('ada')
    expect(await generation()).toBe(4)
    expect(reused).toEqual([])
  })

  it('and then dies, with a login: its token is ahead of the record, which is the visitor’s as before', async () => {
    const { before, link, caughtUp, failOver } = await site()
    const jar = browser(before)
    await jar.visit((session) => void (session.data.visits = 7))
    const old = jar.cookie
    await caughtUp()
    link.hold()
    await jar.visit((session) => session.login('ada'))

    const after = await failOver()
    const same = browser(after, jar.cookie)
    expect(await same.visit(({ userId, presented, data }) => [userId, presented, data.visits])).toEqual([
      ...[undefined, 'live', 7],
    ])
    await same.visit((session) => session.login('ada'))
    expect(await same.visit(({ userId, data }) => [userId, data.visits])).toEqual(['ada', 7])
    expect(await browser(after, old).visit(({ userId }) => userId)).toBeUndefined()
    expect(await browser(after, jar.cookie).visit(({ userId }) => userId)).toBeUndefined()
    expect(await after.list('ada')).toHaveLength(1)
  })

  it('refuses with `wait` to say that a session is ended, however often it is asked, until the replica knows', async () => {
    const { before, beside, link, caughtUp, failOver } = await site({ wait: { replicas: 1, timeout: 400 } })
    const [one, two, three] = [browser(before), browser(before), browser(before)]
    for (const jar of [one, two, three]) await jar.visit((session) => session.login('ada'))
    const { handle } = (await before.list('ada'))[0]!
    await caughtUp()
    link.hold()
    const unsure = (work: Promise<unknown>) => expect(work).rejects.toMatchObject(UNSURE)
    const session = await before.open(one.header)
    await unsure(session.logout())
    await unsure(session.logout())
    for (const node of [before, beside]) {
      await unsure(browser(node, one.cookie).visit((again) => again.logout()))
      await unsure(node.revoke({ handle }))
      await unsure(node.revoke({ userId: 'ada' }))
    }

    link.release()
    await one.visit((again) => again.logout())
    await before.revoke({ userId: 'ada' })
    const after = await failOver()
    for (const jar of [one, two, three]) {
      expect(await browser(after, jar.cookie).visit(({ userId }) => userId)).toBeUndefined()
    }
    expect(await after.list('ada')).toEqual([])
  })

  it('refuses with `wait` a login and a step-up that only it knows, and the client keeps its token', async () => {
    const { before, link, caughtUp, failOver } = await site({ wait: { replicas: 1, timeout: 400 } })
    const [entering, rising, joining] = [browser(before), browser(before), browser(before)]
    await entering.visit((session) => void (session.data.visits = 1))
    await joining.visit((session) => void (session.data.visits = 1))
    await rising.visit((session) => session.login('ada'))
    await caughtUp()
    link.hold()
    const unsure = (work: Promise<unknown>) => expect(work).rejects.toMatchObject(UNSURE)
    await unsure(entering.visit((session) => session.login('bob')))
    await unsure(rising.visit((session) => session.elevate('2fa')))
    for (let i = 0; i < 2; i++) await unsure(joining.visit((session) => session.login('cyd')))

    const after = await failOver()
    expect(await browser(after, entering.cookie).visit(({ data }) => data)).toEqual({ visits: 1 })
    expect(await browser(after, rising.cookie).visit(({ userId, level }) => [userId, level])).toEqual([
      ...['ada', undefined],
    ])
  })

  it('says that a logout may have been done, which its death then undoes', async () => {
    const { before, link, caughtUp, failOver } = await site({ wait: { replicas: 1, timeout: 400 } })
    const jar = browser(before)
    await jar.visit((session) => session.login('ada'))
    await caughtUp()
    link.hold()
    const { cookie } = jar
    const error = await jar.visit((session) => session.logout()).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(StoreUnavailableError)
    expect(error).toMatchObject(UNSURE)
    expect(((error as Error).cause as Error).message).toMatch(
      /0 of 1 replicas confirmed.*Look after the replicas/,
    )
    expect(jar.cookie).toBe(cookie)
    const after = await failOver()
    expect(await browser(after, cookie).visit(({ userId }) => userId)).toBe('ada')
  })
})

const UNSURE = { status: 503, maybeApplied: true, retryable: true }

describe('Redis Cluster', () => {
  it('loses nothing when slots move under load, and with `wait` no login and no logout when a primary is killed', async () => {
    const cluster = await startCluster(1)
    closing.push(() => cluster.stop())
    const rootNodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
    const ioredis = new Cluster(rootNodes)
    const nodeRedis = await createCluster({ rootNodes: rootNodes.map((node) => ({ socket: node })) })
      .on('error', () => {})
      .connect()
    closing.push(
      () => ioredis.disconnect(),
      () => nodeRedis.destroy(),
    )
    const crowds = await Promise.all(
      Object.entries({ ioredis, nodeRedis }).map(async ([prefix, client]) => {
        const sessions = open({ store: redisStore(client as RedisClient, { prefix, wait: { replicas: 1 } }) })
        const crowd = new Crowd(sessions)
        await crowd.start({ regulars: 9, guests: 3 })
        return { prefix, crowd }
      }),
    )
    const all = <T>(act: (each: (typeof crowds)[0]) => Promise<T>) => Promise.all(crowds.map(act))

    const moved = await moveSlots(
      cluster.nodes,
      (
        await all(async ({ prefix, crowd }) =>
          (
            await crowd.regulars()
          ).flatMap(({ handle, name }) => [
            `${prefix}:id:${handle}`,
            `${prefix}@id:${encodeURIComponent(name)}`,
          ]),
        )
      ).flat(),
    )
    expect(moved).toBeGreaterThan(4)
    await all(({ crowd }) => crowd.servedSince(performance.now()))
    for (const { prefix, crowd } of crowds) {
      const losses = await crowd.losses()
      tell(`Cluster by ${prefix}, ${moved} slots moved`, losses)
      expect(losses).toMatchObject({ visits: 0, logins: 0, logouts: 0 })
    }

    await cluster.nodes[1]!.kill()
    const killed = performance.now()
    const back = await all(({ crowd }) => crowd.servedSince(killed))
    await all(({ crowd }) => crowd.stop())
    for (const [i, { prefix, crowd }] of crowds.entries()) {
      const losses = await crowd.losses()
      tell(`Cluster by ${prefix}, a primary killed, back after ${back[i]!.toFixed(0)} ms`, losses)
      expect(losses).toMatchObject({ logins: 0, logouts: 0 })
      expect(losses.visits).toBeLessThan(losses.of.visits / 10)
    }
  }, 90_000)
})

/** Moves the slots of those keys that the first server has to the second one, as `redis-cli --cluster reshard` does; how many. */
async function moveSlots(nodes: readonly RedisServer[], keys: readonly string[]): Promise<number> {
  const [from, to] = nodes.slice(0, 2) as [RedisServer, RedisServer]
  const idOf = (node: RedisServer) => node.cli('CLUSTER', 'MYID')
  const [fromId, toId] = await Promise.all([idOf(from), idOf(to)])
  let moved = 0
  for (const key of keys) {
    if (!(await from.cli('KEYS', key))) continue
    const slot = await from.cli('CLUSTER', 'KEYSLOT', key)
    await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
    await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
    const inSlot = (await from.cli('CLUSTER', 'GETKEYSINSLOT', slot, '1000')).split('\n').filter(Boolean)
    // One at a time, so that the slot is in two places for a while.
    for (const each of inSlot) await from.cli('MIGRATE', '127.0.0.1', String(to.port), each, '0', '5000')
    for (const node of [to, from, ...nodes.slice(2, 3)])
      await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
    moved++
  }
  return moved
}

describe('a database that is restarted under load loses nothing, and everybody is served within a second of its return', () => {
  async function throughRestarts(name: string, server: OwnServer, sessions: ReturnType<typeof open>) {
    const crowd = new Crowd(sessions)
    await crowd.start()
    for (const how of ['restart', 'crash'] as const) {
      await crowd.servedSince(performance.now() + 300)
      await (how === 'crash' ? server.kill() : server.end())
      await server.restart()
      const served = await crowd.servedSince(performance.now())
      console.log(`${name}, ${how}: everybody served ${served.toFixed(0)} ms after its return`)
      // Room for a busy machine, on which a request itself takes its time.
      expect(served).toBeLessThan(2_000)
    }
    await crowd.stop()
    const losses = await crowd.losses()
    tell(name, losses)
    expect(losses).toMatchObject({ visits: 0, logins: 0, logouts: 0 })
    expect(losses.refused).toBeGreaterThan(0)
  }

  it('PostgreSQL', async () => {
    const server = await startOwnPostgres()
    closing.push(() => server.stop())
    await throughRestarts('PostgreSQL', server, open({ store: postgresStore(server.url) }))
  }, 60_000)

  it('PostgreSQL behind PgBouncer', async () => {
    const server = await startOwnPostgres()
    closing.push(() => server.stop())
    const bouncer = await startOwnPgBouncer(server)
    closing.push(() => bouncer.stop())
    await throughRestarts('PgBouncer', server, open({ store: postgresStore(bouncer.url) }))
  }, 60_000)

  it('MariaDB', async () => {
    const server = await startOwnMariadb()
    closing.push(() => server.stop())
    await throughRestarts('MariaDB', server, open({ store: mysqlStore(server.url) }))
  }, 60_000)
})
