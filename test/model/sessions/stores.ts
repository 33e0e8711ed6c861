import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NEVER, type Store } from 'holdfast'
import { openStore } from 'holdfast/stores'
import { cookieStore } from 'holdfast/stores/cookie'
import { fileStore } from 'holdfast/stores/file'
import { layeredStore } from 'holdfast/stores/layered'
import { memoryStore } from 'holdfast/stores/memory'
import { migratingStore } from 'holdfast/stores/migrating'
import { sqliteStore } from 'holdfast/stores/sql'
import { type RunningStore, serverStores, sharedStores } from '../../helpers/stores.ts'

/** Puts delays and faults between the core (or a composed store) and a store that keeps something. */
export type Disturb = (store: Store, part?: 'cache') => Store

/** What a store disclaims. */
export interface Traits {
  /** False where the answer that arrives last wins. */
  readonly compares: boolean
  /** How old what is loaded may be, for so long after a cache was cut off or a process killed; milliseconds. */
  readonly staleAfterTrouble: number
  /** Whether it lists the sessions of a user. */
  readonly lists: boolean
}

/** A store that stands ready for any number of runs, one after the other. */
export interface ModelStore {
  readonly traits: Traits
  /**
   * As a process opens it. `isFirst`: nobody has been killed there yet. `cacheTimeout`: how long a layered store waits for its cache, in
   * milliseconds; on a busy machine, in real time, the default is soon over.
   */
  open(process: number, isFirst: boolean, disturb: Disturb, cacheTimeout?: number): Store
  /** Forgets what the last run left, where that would add up. */
  tidy(): Promise<void>
  close(): Promise<void>
}

const STRICT: Traits = { compares: true, staleAfterTrouble: 0, lists: true }
const LAYERED: Traits = { compares: true, staleAfterTrouble: 60_000, lists: true }
/** For two processes, a third leaf would only be one more connection. */
const LEAVES = 2

export const modelStores: Record<string, () => Promise<ModelStore>> = {
  memory: async () => kept([memoryStore()]),
  file: () => inFolder((folder) => kept(leavesOf(() => fileStore(join(folder, 'sessions'))))),
  sqlite: () => inFolder((folder) => kept(leavesOf(() => sqliteStore(join(folder, 'sessions.db'))))),
  'memory in front of sqlite': () =>
    inFolder((folder) => {
      const cache = memoryStore()
      const databases = leavesOf(() => sqliteStore(join(folder, 'sessions.db')))
      return {
        traits: LAYERED,
        open: (process, _, disturb, cacheTimeout = 100) =>
          layeredStore({
            cache: disturb(cache, 'cache'),
            database: disturb(leafOf(databases, process)),
            cacheTimeout,
          }),
        tidy: () => sweepAll(cache, databases[0]!),
        close: () => closeAll(databases),
      }
    }),
  'moving from file to sqlite': () =>
    inFolder((folder) => {
      const from = leavesOf(() => fileStore(join(folder, 'sessions')))
      const to = leavesOf(() => sqliteStore(join(folder, 'sessions.db')))
      return {
        traits: STRICT,
        // In two deployments, as its page says: whoever starts again after a kill is of the second.
        open: (process, isFirst, disturb) =>
          migratingStore({
            from: disturb(leafOf(from, process)),
            to: disturb(leafOf(to, process)),
            moves: !isFirst,
          }),
        tidy: () => sweepAll(from[0]!, to[0]!),
        close: () => closeAll([...from, ...to]),
      }
    }),
  cookie: async () => {
    const revocations = memoryStore()
    return {
      traits: { compares: false, staleAfterTrouble: 0, lists: false },
      open: (_process, _isFirst, disturb) => cookieStore({ revocations: disturb(revocations) }),
      tidy: () => sweepAll(revocations),
      close: async () => {},
    }
  },
  redis: () => onServer(serverStores.redis),
  'redis cluster': () => onServer(sharedStores['redis cluster']!),
  memcached: async () => {
    const store = await onServer(serverStores.memcached)
    return { ...store, traits: { ...STRICT, lists: false } }
  },
  postgres: () => onServer(serverStores.postgres),
  mariadb: () => onServer(serverStores.mariadb),
  'redis in front of postgres': async () => {
    const [redis, postgres] = await Promise.all([serverStores.redis(), serverStores.postgres()])
    const caches = leavesOf(() => openStore(redis.url))
    const databases = leavesOf(() => openStore(postgres.url))
    return {
      traits: LAYERED,
      open: (process, _, disturb, cacheTimeout = 100) =>
        layeredStore({
          cache: disturb(leafOf(caches, process), 'cache'),
          database: disturb(leafOf(databases, process)),
          cacheTimeout,
        }),
      tidy: () => sweepAll(databases[0]!),
      async close() {
        await closeAll([...caches, ...databases])
        await Promise.all([redis.stop(), postgres.stop()])
      },
    }
  },
}

function leavesOf(open: () => Store): Store[] {
  return Array.from({ length: LEAVES }, open)
}

function leafOf(leaves: readonly Store[], process: number): Store {
  return leaves[process % leaves.length]!
}

function kept(leaves: readonly Store[]): ModelStore {
  return {
    traits: STRICT,
    open: (process, _, disturb) => disturb(leafOf(leaves, process)),
    tidy: () => sweepAll(leaves[0]!),
    close: () => closeAll(leaves),
  }
}

async function onServer(start: () => Promise<RunningStore>): Promise<ModelStore> {
  const server = await start()
  const store = kept(leavesOf(() => openStore(server.url)))
  return {
    ...store,
    async close() {
      await store.close()
      await server.stop()
    },
  }
}

async function inFolder(open: (folder: string) => ModelStore): Promise<ModelStore> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-model-'))
  const store = open(folder)
  return {
    ...store,
    async close() {
      await store.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function sweepAll(...stores: Store[]): Promise<void> {
  for (const store of stores) while (((await store.sweep?.(NEVER, 1000)) ?? 0) === 1000);
}

async function closeAll(stores: readonly Store[]): Promise<void> {
  await Promise.all(stores.map((store) => store.close?.()))
}
