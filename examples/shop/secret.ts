import { randomBytes } from 'node:crypto'
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The secret kept in `folder`, made on the first start. With it and the database a restart keeps everybody. */
export function secretIn(folder: string): string {
  return keptIn(folder, 'secret', 32, 'The secret', 'without it everybody would be signed out')
}

/** The password of the admin, made on the first start too: what everybody could know before would be nobody's. */
export function adminPasswordIn(folder: string): string {
  return keptIn(
    folder,
    'admin-password',
    15,
    'The admin’s password',
    'without it nobody may see the dashboard',
  )
}

function keptIn(folder: string, name: string, bytes: number, what: string, otherwise: string): string {
  const file = join(folder, name)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (!existsSync(file)) makeSecret(file, bytes)
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(
      `${what} in ${file} cannot be read or made: ${reason}. It must be a file of this user; ${otherwise}.`,
      { cause },
    )
  }
}

/** Written beside and then linked, so that of two shops that start at once neither reads half a secret, and both read the same. */
function makeSecret(file: string, bytes: number): void {
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  writeFileSync(draft, randomBytes(bytes).toString('base64url'), { flag: 'wx', mode: 0o600 })
  try {
    linkSync(draft, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(draft)
  }
}
