import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { find, freePort, type ServerProcess, startServer } from './process.ts'

export interface RedisServer extends ServerProcess {
  readonly port: number
  readonly url: string
  /** Runs redis-cli on it; what it prints, without the last line break. */
  cli(...args: string[]): Promise<string>
}

const run = promisify(execFile)

async function cli(port: number, args: readonly string[]): Promise<string> {
  const { stdout } = await run(find('redis-cli'), ['-p', String(port), ...args])
  return stdout.trimEnd()
}

/** Starts a Redis of its own that keeps nothing on disk; `options` as on its command line. The same `port` again starts it anew. */
export async function startRedis(options: readonly string[] = [], port?: number): Promise<RedisServer> {
  const chosen = port ?? (await freePort())
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'))
  const server = await startServer(
    'redis-server',
    [
      ...[
        '--port',
        String(chosen),
        '--bind',
        '127.0.0.1',
        '--dir',
        folder,
        '--save',
        '',
        '--appendonly',
        'no',
      ],
      ...options,
    ],
    async () => /PONG|NOAUTH/.test(await cli(chosen, ['PING']).catch((error) => String(error.stdout))),
  )
  const cleaningUp = (end: () => Promise<void>) => async () => {
    await end()
    rmSync(folder, { recursive: true, force: true })
  }
  return {
    child: server.child,
    port: chosen,
    url: `redis://127.0.0.1:${chosen}`,
    cli: (...args) => cli(chosen, args),
    stop: cleaningUp(server.stop),
    kill: cleaningUp(server.kill),
  }
}

export interface RedisGroup {
  readonly url: string
  readonly servers: readonly RedisServer[]
  stop(): Promise<void>
}

/** Three primaries that share the slots. */
export async function startCluster(): Promise<RedisGroup> {
  const servers = await Promise.all([1, 2, 3].map(() => startNode()))
  const nodes = servers.map(({ port }) => `127.0.0.1:${port}`)
  await cli(servers[0]!.port, ['--cluster', 'create', ...nodes, '--cluster-replicas', '0', '--cluster-yes'])
  for (const server of servers) {
    while (!(await server.cli('CLUSTER', 'INFO')).includes('cluster_state:ok')) await sleep(50)
  }
  return {
    url: `redis+cluster://${nodes.join(',')}`,
    servers,
    stop: async () => void (await Promise.all(servers.map((server) => server.stop()))),
  }
}

/** Its bus takes a port of its own: the usual one is 10,000 above, which may be too high or taken. */
async function startNode(): Promise<RedisServer> {
  const bus = await freePort()
  return startRedis([
    '--cluster-enabled',
    'yes',
    '--cluster-port',
    String(bus),
    '--cluster-node-timeout',
    '2000',
  ])
}

/** A primary, a replica and three Sentinels that watch them. */
export async function startSentinels(): Promise<RedisGroup> {
  const primary = await startRedis()
  const replica = await startRedis(['--replicaof', '127.0.0.1', String(primary.port)])
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-sentinels-'))
  const sentinels = await Promise.all(
    [1, 2, 3].map(async (n) => {
      const port = await freePort()
      const file = join(folder, `${n}.conf`)
      writeFileSync(
        file,
        `port ${port}\nbind 127.0.0.1\ndir ${folder}\nsentinel monitor primary 127.0.0.1 ${primary.port} 2\n` +
          'sentinel down-after-milliseconds primary 1000\nsentinel failover-timeout primary 5000\n',
      )
      const server = await startServer(
        'redis-server',
        [file, '--sentinel'],
        async () => (await cli(port, ['PING'])) === 'PONG',
      )
      return { ...server, port }
    }),
  )
  const knowsAll = (text: string) => /num-slaves\s+1\b/.test(text) && /num-other-sentinels\s+2\b/.test(text)
  for (const { port } of sentinels) {
    while (!knowsAll(await cli(port, ['SENTINEL', 'MASTER', 'primary']))) await sleep(50)
  }
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/primary`,
    servers: [primary, replica],
    async stop() {
      await Promise.all([...sentinels, primary, replica].map((server) => server.stop()))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
