import { createHash } from 'node:crypto'
import { mkdir, open, readdir, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Only the user that the server runs as may look: a session's data is nobody else's business. */
export const FOLDER_MODE = 0o700
export const FILE_MODE = 0o600

/** A shard, a hash, or a hash and more. */
const OUR_NAME = /^([0-9a-f]{2}|[0-9a-f]{64}(~.+)?)$/

/** Nearly every session is read at once. */
const FIRST_READ = 16 * 1024

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

/** Does it unless what it needs is not there. */
export async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** A name that no value can lead out of its folder, and that differs where only the case of a letter does. */
export function nameFor(value: string): string {
  return createHash('sha256').update(value).digest('hex')
}

/** Each folder is split in 256, by the first two letters of the names in it. */
export function shardOf(name: string): string {
  return name.slice(0, 2)
}

/** False if there was none. */
export async function removeFile(path: string): Promise<boolean> {
  return (await ifThere(unlink(path).then(() => true))) ?? false
}

/** Those that our own names look like, sorted; none if there is no such folder. What others have put there is left alone. */
export async function namesIn(folder: string): Promise<string[]> {
  return ((await ifThere(readdir(folder))) ?? []).filter((name) => OUR_NAME.test(name)).sort()
}

/** Makes the folders one in the other. Not the root: if that is gone, a disk is missing, and an empty store is no cure. */
export async function makeFolders(root: string, ...names: string[]): Promise<void> {
  let path = root
  for (const name of names) {
    path = join(path, name)
    try {
      await mkdir(path, FOLDER_MODE)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
  }
}

/** Fewer system calls than `readFile`, which asks for the size first. */
export async function readWhole(path: string): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const parts: Buffer[] = []
    for (let size = FIRST_READ; ; size *= 2) {
      const part = Buffer.allocUnsafe(size)
      const { bytesRead } = await file.read(part, 0, size, null)
      parts.push(part.subarray(0, bytesRead))
      if (bytesRead < size) return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
    }
  } finally {
    await file.close()
  }
}

/** Windows does not replace a file while another process reads it, which takes but a moment. */
export async function renameOver(from: string, to: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await rename(from, to)
    } catch (error) {
      const passing = process.platform === 'win32' && hasCode(error, 'EPERM', 'EACCES', 'EBUSY')
      if (!passing || attempt === 10) throw error
      await sleep(attempt * 5)
    }
  }
}

/** Brings what is in a file to the disk. */
export async function syncFile(path: string): Promise<void> {
  await sync(path, 'r+')
}

/** Brings the names in a folder to the disk. Windows cannot, and need not: its file system keeps changes in order. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform !== 'win32') await sync(path, 'r')
}

async function sync(path: string, flags: string): Promise<void> {
  const handle = await open(path, flags)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
