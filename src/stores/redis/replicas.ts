import type { WriteOptions } from '../../store.ts'
import { inBatches } from './batches.ts'
import { type Commander, textOf } from './clients.ts'

/** What a durable write waits for: so many replicas, for so many milliseconds. */
export interface Wait {
  readonly replicas: number
  readonly timeout: number
}

/** The connections that are about to write durably, by name, each with a key that it serves. */
export type Writers = readonly (readonly [key: string, connection: string])[]

/** How often a durable write follows its key to another connection. */
const MOST_MOVES = 5

/**
 * Has durable writes confirmed by replicas, if it was told of some. WAIT counts those that have the last write of its own connection, and
 * all of them on a connection that wrote nothing: after a reconnect, a failover, or when the key has moved to another node. So a write names
 * its connection before, and is done again on the one that has taken its place.
 */
export class Replicas {
  readonly #commander: Commander
  readonly #wait: Wait | undefined

  constructor(commander: Commander, wait: Wait | undefined) {
    this.#commander = commander
    this.#wait = wait
  }

  /** To be asked before the write. Nothing if there is nothing to wait for. */
  async writersOf(keys: readonly string[], options?: WriteOptions): Promise<Writers | undefined> {
    if (!options?.durable || this.#wait === undefined) return undefined
    // One connection: what its last write has reached, the earlier ones have.
    const served = this.#commander.isCluster ? keys : keys.slice(0, 1)
    const connections = await inBatches(served, (key) => this.#connectionTo(key))
    return served.map((key, i) => [key, connections[i] as string])
  }

  /** @param again writes what was written once more. @throws Error if too few have it in time */
  async confirm(writers: Writers | undefined, again: () => Promise<unknown>): Promise<void> {
    for (const [key, writer] of writers ?? []) {
      let connection = writer
      for (let moves = 0; ; moves++) {
        await this.#waitOn(key)
        const now = await this.#connectionTo(key)
        if (now === connection) break
        if (moves === MOST_MOVES) {
          throw new Error(
            'each time that the write was to be confirmed it was on another connection. Give the store a client with one connection, or leave out { wait }',
          )
        }
        connection = now
        await again()
      }
    }
  }

  async #waitOn(key: string): Promise<void> {
    const { replicas, timeout } = this.#wait!
    const reached = Number(await this.#commander.command(['WAIT', String(replicas), String(timeout)], key))
    if (reached >= replicas) return
    throw new Error(
      `${reached} of ${replicas} replicas confirmed the write within ${timeout} ms; the primary has it. ` +
        'Look after the replicas, or ask for fewer in { wait }',
    )
  }

  /** Tells it from every other connection, of other servers too. */
  async #connectionTo(key: string): Promise<string> {
    const info = textOf(await this.#commander.command(['CLIENT', 'INFO'], key))
    return ['id', 'addr', 'laddr'].map((name) => new RegExp(`\\b${name}=\\S+`).exec(info)?.[0]).join(' ')
  }
}
