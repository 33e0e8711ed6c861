import { open, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { FILE_MODE, hasCode, ifThere, makeFolders, nameFor, namesIn, removeFile, shardOf } from './disk.ts'

/**
 * Which sessions may carry a value: empty files, `<2 letters>/<hash of the value>/<name of the session>`.
 *
 * An entry is a hint: what a session carries is in its own file, and whoever lists looks there. So an entry too many does no
 * harm; one too few would hide a session. Therefore an entry is made before the state that needs it *and again
 * after*, and whoever removes one looks afterwards whether the session needs it, and if so puts it back: either
 * he sees the new state, or that state came later, and its second entry later still.
 */
export class IndexFolder {
  readonly #root: string
  #nextToCollect = 0

  constructor(root: string) {
    this.#root = root
  }

  async add(value: string, session: string): Promise<void> {
    await this.#add(nameFor(value), session)
  }

  async remove(value: string, session: string, isNeeded: () => Promise<boolean>): Promise<void> {
    await this.#remove(nameFor(value), session, isNeeded)
  }

  /** The sessions that may carry the value, sorted. */
  async sessions(value: string): Promise<string[]> {
    return namesIn(this.#folder(nameFor(value)))
  }

  /**
   * Removes entries of sessions that are no more. Only a process that is killed at the wrong moment leaves one, so a part of the
   * index at each call is enough.
   */
  async collect(isThere: (session: string) => Promise<boolean>): Promise<void> {
    const shards = await namesIn(this.#root)
    const shard = shards[this.#nextToCollect++ % shards.length]
    if (shard === undefined) return
    for (const folder of await namesIn(join(this.#root, shard))) {
      for (const session of await namesIn(this.#folder(folder))) {
        if (!(await isThere(session))) await this.#remove(folder, session, () => isThere(session))
      }
    }
  }

  async #add(folder: string, session: string): Promise<void> {
    for (;;) {
      const entry = await ifThere(open(join(this.#folder(folder), session), 'a', FILE_MODE))
      if (entry !== undefined) return entry.close()
      // The value is new, or another process has just removed its last entry and the folder with it.
      await makeFolders(this.#root, shardOf(folder), folder)
    }
  }

  async #remove(folder: string, session: string, isNeeded: () => Promise<boolean>): Promise<void> {
    await removeFile(join(this.#folder(folder), session))
    await removeIfEmpty(this.#folder(folder))
    if (await isNeeded()) await this.#add(folder, session)
  }

  #folder(name: string): string {
    return join(this.#root, shardOf(name), name)
  }
}

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder)
  } catch (error) {
    // Windows says EPERM or EBUSY of a folder that somebody lists. An empty folder more does no harm.
    if (!hasCode(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST', 'EPERM', 'EBUSY')) throw error
  }
}
