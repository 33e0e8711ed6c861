import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Link, linkTo } from '../helpers/link.ts'
import {
  find,
  freePort,
  type RestartableServer,
  restartable,
  type ServerProcess,
  startServer,
} from './process.ts'

const execute = promisify(execFile)

export interface RedisServer extends RestartableServer {
  readonly port: number
  /** What redis-cli prints for this command. */
  cli(...args: string[]): Promise<string>
}

export interface RedisCluster {
  /** The primaries first. */
  readonly nodes: readonly RedisServer[]
  stop(): Promise<void>
}

export interface RedisSentinels {
  readonly primaryName: string
  readonly ports: readonly number[]
  readonly primary: RedisServer
  stop(): Promise<void>
}

/** A redis-server on a free port of 127.0.0.1 and in a private folder, with these arguments besides. */
export async function startRedis(...args: string[]): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'))
  const port = await freePort()
  const cli = async (...command: string[]) => {
    const password = args.includes('--requirepass') ? ['-a', args[args.indexOf('--requirepass') + 1]!] : []
    const { stdout } = await execute(find('redis-cli'), [
      ...['-p', String(port), '--no-auth-warning', ...password],
      ...command,
    ])
    return stdout.trim()
  }
  const start = () =>
    startServer(
      'redis-server',
      [
        '--bind',
        '127.0.0.1',
        '--port',
        String(port),
        '--dir',
        folder,
        '--save',
        '',
        '--repl-diskless-sync-delay',
        '0',
        '--repl-ping-replica-period',
        '1',
        ...args,
      ],
      async () => (await cli('PING')) === 'PONG',
    )
  const server = await restartable(start)
  return {
    ...server,
    port,
    cli,
    async stop() {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Three primaries that share the slots, each with so many replicas. */
export async function startCluster(replicas = 0): Promise<RedisCluster> {
  const count = 3 * (1 + replicas)
  const nodes = await Promise.all(Array.from({ length: count }, startClusterNode))
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
  await execute(find('redis-cli'), [
    ...['--cluster', 'create', ...addresses, '--cluster-replicas', String(replicas), '--cluster-yes'],
  ])
  await until(async () => {
    const states = await Promise.all(nodes.map((node) => node.cli('CLUSTER', 'INFO')))
    const followed = await Promise.all(nodes.slice(0, 3).map(replicasOf))
    return (
      states.every(
        (state) => state.includes('cluster_state:ok') && state.includes(`cluster_known_nodes:${count}`),
      ) && followed.every((found) => found === replicas)
    )
  })
  return {
    nodes,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()))
    },
  }
}

/** How many have confirmed that they have all that it has. */
async function replicasOf(server: RedisServer): Promise<number> {
  const states = await server.cli('INFO', 'replication')
  // Each second it sends them something. Before that they have nothing to confirm, and may not be able to.
  const [, offset] = /master_repl_offset:([1-9]\d*)/.exec(states) ?? []
  return states.split(`state=online,offset=${offset},`).length - 1
}

/** One that has all that the primary has, which it follows at its port, or at that of a way there. */
export async function startReplica(primary: RedisServer, port = primary.port): Promise<RedisServer> {
  const before = await replicasOf(primary)
  const replica = await startRedis('--replicaof', '127.0.0.1', String(port))
  await until(async () => (await replicasOf(primary)) > before)
  return replica
}

/** The bus of a Cluster has by default the port + 10,000, which may be none. */
async function startClusterNode(): Promise<RedisServer> {
  const bus = await freePort()
  return startRedis(
    ...['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '2000'],
  )
}

/** A primary with a replica, and three Sentinels that promote the replica a second after the primary has gone. */
export const startSentinels = () => watch([0])

/** The same with two replicas, which are 20 and 40 milliseconds behind. Sentinel connects them itself ten seconds later, and then they are not. */
export const startLaggingSentinels = () => watch([20, 40])

async function watch(lags: readonly number[]): Promise<RedisSentinels> {
  const primaryName = 'main'
  const primary = await startRedis()
  const links: Link[] = []
  const replicas: RedisServer[] = []
  for (const lag of lags) {
    const link = await linkTo(primary.port, lag)
    links.push(link)
    replicas.push(await startReplica(primary, lag === 0 ? primary.port : link.port))
  }
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-sentinel-'))
  const sentinels: ServerProcess[] = []
  const ports: number[] = []
  for (let i = 0; i < 3; i++) {
    const port = await freePort()
    const file = join(folder, `${i}.conf`)
    writeFileSync(
      file,
      `port ${port}
bind 127.0.0.1
dir ${folder}
sentinel monitor ${primaryName} 127.0.0.1 ${primary.port} 2
sentinel down-after-milliseconds ${primaryName} 1000
sentinel failover-timeout ${primaryName} 10000
`,
    )
    const ask = async (...args: string[]) =>
      (await execute(find('redis-cli'), ['-p', String(port), ...args])).stdout
    sentinels.push(
      await startServer(
        'redis-server',
        [file, '--sentinel'],
        async () => (await ask('PING')).trim() === 'PONG',
      ),
    )
    ports.push(port)
  }
  await until(async () => {
    const states = await Promise.all(
      ports.map((port) =>
        execute(find('redis-cli'), ['-p', String(port), 'SENTINEL', 'MASTER', primaryName]),
      ),
    )
    return states.every(({ stdout }) => stdout.includes(`num-slaves\n${lags.length}\nnum-other-sentinels\n2`))
  })
  return {
    primaryName,
    ports,
    primary,
    async stop() {
      await Promise.all(sentinels.map((sentinel) => sentinel.stop()))
      await Promise.all([primary, ...replicas].map((server) => server.stop()))
      await Promise.all(links.map((link) => link.close()))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** @throws after so many seconds */
export async function until(isSo: () => Promise<boolean>, seconds = 20): Promise<void> {
  const deadline = performance.now() + seconds * 1000
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`it did not come about in ${seconds} s`)
    await sleep(50)
  }
}
