import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
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
  readonly nodes: readonly RedisServer[]
  stop(): Promise<void>
}

export interface RedisSentinels {
  readonly primaryName: string
  readonly ports: readonly number[]
  readonly primary: RedisServer
  readonly replica: RedisServer
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

/** Three primaries that share the slots. */
export async function startCluster(): Promise<RedisCluster> {
  const nodes: RedisServer[] = []
  for (let i = 0; i < 3; i++) nodes.push(await startClusterNode())
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
  await execute(find('redis-cli'), ['--cluster', 'create', ...addresses, '--cluster-yes'])
  await until(async () => {
    const states = await Promise.all(nodes.map((node) => node.cli('CLUSTER', 'INFO')))
    return states.every(
      (state) => state.includes('cluster_state:ok') && state.includes('cluster_known_nodes:3'),
    )
  })
  return {
    nodes,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()))
    },
  }
}

/** The bus of a Cluster has by default the port + 10,000, which may be none. */
async function startClusterNode(): Promise<RedisServer> {
  const bus = await freePort()
  return startRedis(
    ...['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '2000'],
  )
}

/** A primary with a replica, watched by three Sentinels that promote it after a second. */
export async function startSentinels(): Promise<RedisSentinels> {
  const primaryName = 'main'
  const primary = await startRedis()
  const replica = await startRedis('--replicaof', '127.0.0.1', String(primary.port))
  await until(async () => (await replica.cli('INFO', 'replication')).includes('master_link_status:up'))
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
sentinel failover-timeout ${primaryName} 5000
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
    return states.every(({ stdout }) => /num-slaves\n1\nnum-other-sentinels\n2/.test(stdout))
  })
  return {
    primaryName,
    ports,
    primary,
    replica,
    async stop() {
      await Promise.all(sentinels.map((sentinel) => sentinel.stop()))
      await Promise.all([primary.stop(), replica.stop()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** @throws after 20 seconds */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > deadline) throw new Error('it did not come about in 20 s')
    await sleep(50)
  }
}
