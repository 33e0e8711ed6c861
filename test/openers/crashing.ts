import { Redis } from 'ioredis'
import type { Store } from '../../src/store.ts'
import { fileStore } from '../../src/stores/file.ts'
import { layeredStore } from '../../src/stores/layered.ts'
import { migratingStore } from '../../src/stores/migrating.ts'
import { redisStore } from '../../src/stores/redis/index.ts'
import { sqliteStore } from '../../src/stores/sql/index.ts'

/** Called before and after each step that may be the last one of its process. */
export type Step = () => void

/** What is opened: `path` is a folder, `port` a Redis server's. */
export interface Place {
  readonly kind: Kind
  readonly path: string
  readonly port: number
}

export interface Opened {
  readonly store: Store
  /** Where sessions are begun: the old store, if the store moves them. */
  readonly first: Store
  close(): Promise<void>
}

export type Kind = 'sqlite' | 'file' | 'layered' | 'migrating' | 'redis'

/** Opens a store whose steps can be counted: its own operations, or those of the parts that it is made of. */
export function open({ kind, path, port }: Place, step: Step = () => {}): Opened {
  return stores[kind](path, step, port)
}

const stores: Record<Kind, (path: string, step: Step, port: number) => Opened> = {
  sqlite: (path, step) => alone(stepping(sqliteStore(`${path}/sessions.db`), step)),
  /** Its steps are those of the file system: see `test/helpers/stepping-files.ts`. */
  file: (path) => alone(fileStore(`${path}/sessions`)),
  layered: (path, step) => {
    const cache = stepping(sqliteStore(`${path}/cache.db`), step)
    const database = stepping(sqliteStore(`${path}/sessions.db`), step)
    const store = layeredStore({ cache, database, cacheFor: 300 })
    return { ...alone(store), close: () => closeAll(cache, database) }
  },
  migrating: (path, step) => {
    const old = fileStore(`${path}/sessions`)
    const to = stepping(sqliteStore(`${path}/sessions.db`), step)
    return {
      ...alone(migratingStore({ from: stepping(old, step), to })),
      first: old,
      close: () => closeAll(old, to),
    }
  },
  redis: (_path, step, port) => {
    const client = new Redis(port)
    const call = client.call.bind(client) as (...args: unknown[]) => Promise<unknown>
    const stepped = steppingCall(call, step)
    const store = redisStore(
      Object.assign(client, {
        call: (...args: unknown[]) => (READS.includes(String(args[0])) ? call(...args) : stepped(...args)),
      }),
    )
    return { ...alone(store), close: async () => client.disconnect() }
  },
}

function alone(store: Store): Opened {
  return { store, first: store, close: async () => store.close?.() }
}

async function closeAll(...parts: Store[]): Promise<void> {
  for (const part of parts) await part.close?.()
}

const READS = ['GET', 'INFO', 'ZRANGE']
const WRITES = ['create', 'update', 'touch', 'destroy']

function stepping<S extends Store>(store: S, step: Step): S {
  const wrapped = (target: object): object =>
    new Proxy(target, {
      get(_, name) {
        const value = Reflect.get(target, name, target) as unknown
        if (name === 'users' && value) return wrapped(value)
        if (typeof value !== 'function') return value
        const call = value.bind(target) as (...args: unknown[]) => Promise<unknown>
        return WRITES.includes(String(name)) ? steppingCall(call, step) : call
      },
    })
  return wrapped(store) as S
}

function steppingCall(call: (...args: unknown[]) => Promise<unknown>, step: Step) {
  return async (...args: unknown[]) => {
    step()
    const result = await call(...args)
    step()
    return result
  }
}
