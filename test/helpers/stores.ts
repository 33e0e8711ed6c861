import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startMariadb } from '../servers/mariadb.ts'
import { startMemcached } from '../servers/memcached.ts'
import { startPostgres } from '../servers/postgres.ts'
import { startCluster, startRedis, startSentinels } from '../servers/redis.ts'

/** A store that a test has started, by its URL. */
export interface RunningStore {
  readonly url: string
  stop(): Promise<void>
}

/** Stores on a server of their own, by name. */
export const serverStores = {
  async redis() {
    const server = await startRedis()
    return { url: `redis://127.0.0.1:${server.port}`, stop: server.stop }
  },
  async memcached() {
    const server = await startMemcached()
    return { url: `memcached://127.0.0.1:${server.port}`, stop: server.stop }
  },
  postgres: () => startPostgres(),
  mariadb: () => startMariadb(),
} satisfies Record<string, () => Promise<RunningStore>>

/** Every store that several processes can share, by name. */
export const sharedStores: Record<string, () => Promise<RunningStore>> = {
  file: () => inFolder((folder) => `file:${join(folder, 'sessions')}`),
  sqlite: () => inFolder((folder) => `sqlite:${join(folder, 'sessions.db')}`),
  ...serverStores,
  async 'redis cluster'() {
    const { nodes, stop } = await startCluster()
    return { url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`)}`, stop }
  },
  async 'redis sentinels'() {
    const { ports, primaryName, stop } = await startSentinels()
    return { url: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`)}/${primaryName}`, stop }
  },
  async 'redis in front of postgres'() {
    const [cache, database] = await Promise.all([serverStores.redis(), startPostgres()])
    return {
      url: `layered:?${new URLSearchParams({ cache: cache.url, database: database.url })}`,
      stop: async () => void (await Promise.all([cache.stop(), database.stop()])),
    }
  },
}

async function inFolder(urlOf: (folder: string) => string): Promise<RunningStore> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
  return { url: urlOf(folder), stop: () => rm(folder, { recursive: true, force: true }) }
}
