import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startMemcached } from '../servers/memcached.ts'
import { startCluster, startRedis, startSentinels } from '../servers/redis.ts'

/** A store that a test has started, by its URL. */
export interface RunningStore {
  readonly url: string
  stop(): Promise<void>
}

/** Stores on a server of their own, by name. */
export const serverStores = {
  redis: () => startRedis(),
  async memcached() {
    const server = await startMemcached()
    return { url: `memcached://127.0.0.1:${server.port}`, stop: server.stop }
  },
} satisfies Record<string, () => Promise<RunningStore>>

/** Every store that several processes can share, by name. */
export const sharedStores: Record<string, () => Promise<RunningStore>> = {
  file: () => inFolder((folder) => `file:${join(folder, 'sessions')}`),
  sqlite: () => inFolder((folder) => `sqlite:${join(folder, 'sessions.db')}`),
  ...serverStores,
  'redis cluster': startCluster,
  'redis sentinels': startSentinels,
}

async function inFolder(urlOf: (folder: string) => string): Promise<RunningStore> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
  return { url: urlOf(folder), stop: () => rm(folder, { recursive: true, force: true }) }
}
