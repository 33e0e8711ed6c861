import { access, type FileHandle, link, open, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  FILE_MODE,
  hasCode,
  ifThere,
  makeFolders,
  namesIn,
  readWhole,
  removeFile,
  renameOver,
  shardOf,
  syncFile,
  syncFolder,
} from './disk.ts'
import { type Damage, DamagedFileError, decode, encode, endOf, isDamaged, type State } from './state.ts'

/** What is to be done around each change of a session's state, in whichever process completes the change; perhaps in two. */
export interface Attendant {
  beforeChange(name: string, from: State | Damage, to: State | undefined): Promise<void>
  afterChange(name: string, from: State | Damage, to: State | undefined): Promise<void>
}

const SEPARATOR = '~'
const NO_STATE = 'none'

/** No process is stopped for so long between two steps, and goes on then. */
const DRAFT_KEPT_MS = 60 * 60_000

/** Most claimants are alive and about to finish. Two at the same work would slow each other down. */
const CLAIMANT_FIRST_MS = 5

/** Every file system knows times up to this one (the year 2100), and none needs later ones. */
const LATEST_FILE_TIME = 4_102_444_800_000

/**
 * The states of sessions in files. Each is replaced in one step by one process, without a lock that somebody could die with.
 *
 * In the folder `<2 letters>`, where `name` is the session's:
 * - `name`: the present state. A file never changes once it has this name.
 * - `name~ID~NEW`: a draft: the state NEW, written whole, meant to follow the state ID.
 * - `name~ID`: a claim: a link to the draft that follows the state ID. The first to make it has decided that.
 *
 * To replace ID: write the draft, link the claim, bring the draft to the disk, read the present state again; if it still is ID,
 * rename the draft to `name` and remove the claim. Who finds another's claim does these last steps for him, so that a process
 * that is stopped or killed anywhere is in nobody's way.
 *
 * Why nothing acknowledged is overwritten, however long a process is stopped between two steps:
 * 1. An id names one state for ever. Once ID is not the present state, it never is again.
 * 2. A claim on ID is removed only by those who have seen ID not present. So if a claim was there at one moment and ID
 *    was present at a later one, that claim is the first on ID, and the only one: nothing but its draft follows ID. This is why
 *    claimant and helper alike read the present state after they saw the claim. What they learn stays true.
 * 3. A draft has a name of its own and is renamed once. A late rename finds either the draft, and then ID is still
 *    present, as nothing else can follow it; or nothing, and then somebody else has made the same rename.
 * 4. A claimant who finds ID replaced looks for his draft. If it is there, his claim came too late: he removes both. If not, a
 *    helper had found his claim in time and has renamed it. (So a draft that was left behind is removed when ID is not
 *    present any more, and only after an hour: a stopped claimant must not mistake that for a rename.)
 *
 * A loss of power may leave a claim on a draft that never reached the disk. Whoever made it died with the power, and nobody can
 * say what should follow. It is void, stays void, and stays where it is, by rule 2; what follows ID is decided by the next
 * claim, `name~ID.1`, in the same way.
 *
 * A state is removed likewise, its claim being a link to itself: of a removal and an update, one happens. What this assumes
 * is that a key is not used again within moments of its removal, as keys made of random bytes are not.
 */
export class SessionFiles {
  readonly #root: string
  readonly #attendant: Attendant

  constructor(root: string, attendant: Attendant) {
    this.#root = root
    this.#attendant = attendant
  }

  async read(name: string): Promise<State | Damage | undefined> {
    const content = await ifThere(readWhole(this.#path(name)))
    if (content !== undefined) return decode(content)
    // A session that is not there logs somebody out; a disk that is not there must not.
    await access(this.#root)
    return undefined
  }

  /** @throws DamagedFileError */
  async readIntact(name: string): Promise<State | undefined> {
    const found = await this.read(name)
    if (isDamaged(found)) throw new DamagedFileError(this.#path(name), found)
    return found
  }

  /** As `readIntact`, with what another process, dead or alive, has decided and not finished. */
  async readSettled(name: string): Promise<State | undefined> {
    const found = await this.readIntact(name)
    if (found === undefined) return undefined
    for (let voidOnes = 0; ; voidOnes++) {
      const helped = await this.#help(name, found.id, this.#claimPath(name, found.id, voidOnes))
      if (helped !== 'void') return this.readIntact(name)
    }
  }

  async isThere(name: string): Promise<boolean> {
    return (await ifThere(stat(this.#path(name)))) !== undefined
  }

  /** Makes this the first state. False if there is one already. */
  async insert(name: string, state: State, durable = false): Promise<boolean> {
    const draft = this.#draftPath(name, NO_STATE, state.id)
    try {
      const file = await this.#write(draft, state)
      await file.datasync().finally(() => file.close())
      await link(draft, this.#path(name))
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false
      throw error
    } finally {
      await removeFile(draft)
    }
    if (durable) await syncFolder(this.#folder(name))
    return true
  }

  /** Makes `to` the successor of `from`. False if that is not the present state, or somebody was quicker: read again. */
  async replace(name: string, from: State | Damage, to: State, durable = false): Promise<boolean> {
    const draft = this.#draftPath(name, from.id, to.id)
    const file = await this.#write(draft, to)
    let claim: string | undefined
    try {
      claim = await this.#claim(name, from.id, draft)
      // Not before: of many who try, one need wait for the disk.
      if (claim !== undefined) await file.datasync()
    } finally {
      await file.close()
      if (claim === undefined) await removeFile(draft)
    }
    if (claim === undefined) return false
    const present = await this.read(name)
    if (present?.id !== from.id && (await removeFile(draft))) {
      await removeFile(claim)
      return false
    }
    await this.#complete(name, claim, from, to)
    if (durable) await syncFolder(this.#folder(name))
    return true
  }

  /** Removes the state. False if that is not the present one, or somebody was quicker: read again. */
  async remove(name: string, state: State): Promise<boolean> {
    const claim = await this.#claim(name, state.id, this.#path(name))
    if (claim === undefined) return false
    const present = await this.read(name)
    if (present !== undefined && present.id !== state.id) {
      await removeFile(claim)
      return false
    }
    await this.#complete(name, claim, state, undefined)
    return true
  }

  async shards(): Promise<string[]> {
    await access(this.#root)
    return namesIn(this.#root)
  }

  /** The sessions in a shard, sorted; and drafts and claims, of work in progress or left by processes that died. */
  async list(shard: string): Promise<{ names: string[]; leftovers: string[] }> {
    const files = await namesIn(join(this.#root, shard))
    const isLeftover = (file: string) => file.includes(SEPARATOR)
    return { names: files.filter((file) => !isLeftover(file)), leftovers: files.filter(isLeftover) }
  }

  /** Whether it is worth reading the session to see if it has ended by then. */
  async mayHaveEnded(name: string, now: number): Promise<boolean> {
    const stats = await ifThere(stat(this.#path(name)))
    return stats !== undefined && Math.floor(stats.mtimeMs) <= now
  }

  /** Does what is left to do. If a process is still at it, it will notice. */
  async tidy(leftover: string): Promise<void> {
    const [name = '', id = '', draft] = leftover.split(SEPARATOR)
    const path = this.#path(leftover)
    if (draft === undefined) {
      await this.#help(name, id.replace(/\..*/, ''), path)
      return
    }
    const stats = await ifThere(stat(path))
    if (stats === undefined || Date.now() - stats.ctimeMs < DRAFT_KEPT_MS) return
    if ((await this.read(name))?.id !== id) await removeFile(path)
  }

  /** The claim, if it could be made. */
  async #claim(name: string, id: string, draft: string): Promise<string | undefined> {
    for (let voidOnes = 0; ; voidOnes++) {
      const claim = this.#claimPath(name, id, voidOnes)
      try {
        await link(draft, claim)
        return claim
      } catch (error) {
        // The session has just been removed.
        if (hasCode(error, 'ENOENT')) return undefined
        if (!hasCode(error, 'EEXIST')) throw error
      }
      await sleep(CLAIMANT_FIRST_MS)
      if ((await this.#help(name, id, claim)) !== 'void') return undefined
    }
  }

  /** Completes what another has claimed, or removes his claim if it came too late. */
  async #help(name: string, id: string, claim: string): Promise<'void' | undefined> {
    const content = await ifThere(readWhole(claim))
    if (content === undefined) return
    const to = decode(content)
    const present = await this.read(name)
    if (present?.id !== id) await removeFile(claim)
    else if (isDamaged(to)) return 'void'
    else if (to.id === id) await this.#complete(name, claim, present, undefined)
    else {
      await ifThere(syncFile(claim))
      await this.#complete(name, claim, present, to)
    }
  }

  async #complete(name: string, claim: string, from: State | Damage, to: State | undefined): Promise<void> {
    await this.#attendant.beforeChange(name, from, to)
    if (to === undefined) await removeFile(this.#path(name))
    else await ifThere(renameOver(this.#draftPath(name, from.id, to.id), this.#path(name)))
    await this.#attendant.afterChange(name, from, to)
    await removeFile(claim)
  }

  async #write(path: string, state: State): Promise<FileHandle> {
    try {
      return await writeNew(path, state)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      await makeFolders(this.#root, shardOf(basename(path)))
      await syncFolder(this.#root)
      return writeNew(path, state)
    }
  }

  #folder(name: string): string {
    return join(this.#root, shardOf(name))
  }

  #path(file: string): string {
    return join(this.#root, shardOf(file), file)
  }

  #claimPath(name: string, id: string, voidOnes: number): string {
    return this.#path([name, voidOnes === 0 ? id : `${id}.${voidOnes}`].join(SEPARATOR))
  }

  #draftPath(name: string, from: string, to: string): string {
    return this.#path([name, from, to].join(SEPARATOR))
  }
}

async function writeNew(path: string, state: State): Promise<FileHandle> {
  const file = await open(path, 'wx', FILE_MODE)
  try {
    await file.writeFile(encode(state))
    // So that a sweep need not read what has not ended.
    const end = Math.min(endOf(state), LATEST_FILE_TIME) / 1000
    await file.utimes(end, end)
    return file
  } catch (error) {
    await file.close()
    await removeFile(path)
    throw error
  }
}
