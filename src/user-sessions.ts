import type { Codec } from './codec.ts'
import type { Core } from './core.ts'
import { expiry, isPersistent } from './lifetime.ts'
import type { FlashMessage } from './session.ts'
import type { Kept, Vault } from './vault.ts'

/** Everything that is kept of a user, as data for JSON: times in ISO 8601. */
export interface UserExport {
  readonly userId: string
  readonly sessions: readonly ExportedSession[]
}

/** All that is kept of one session, as `exportUser` gives it. Times are ISO 8601. */
export interface ExportedSession {
  readonly handle: string
  readonly createdAt: string
  readonly lastSeenAt: string
  readonly expiresAt: string
  readonly authenticatedAt?: string
  readonly level?: string
  readonly levelUntil?: string
  readonly externalId?: string
  readonly persistent: boolean
  readonly generation: number
  /** What `describe` said at the login. */
  readonly about: Readonly<Record<string, string>>
  /** A hash of what `login` was given as `stamp`. */
  readonly stamp?: string
  /** What `watchClient` remembers: words that lead back to nothing. */
  readonly client?: { readonly browser?: string; readonly network?: string }
  /** What an extension keeps of this login: the public key of its device, of `holdfast/dbsc`. */
  readonly bound?: string
  readonly flashes: readonly FlashMessage[]
  /** The application's data. What JSON has no form for: Map and Set as arrays, bytes in base64, BigInt and odd numbers as text. */
  readonly data: unknown
}

const PAGE = 200

/** All sessions of a user that are kept, those included that have expired and are not yet removed. */
export async function* sessionsOf(
  vault: Vault,
  userId: string,
): AsyncGenerator<{ readonly handle: string; readonly kept: Kept }> {
  let cursor: string | undefined
  do {
    const page = await vault.list(
      'users',
      userId,
      cursor === undefined ? { limit: PAGE } : { cursor, limit: PAGE },
    )
    yield* page.items
    cursor = page.cursor
  } while (cursor !== undefined)
}

export async function exportUser(userId: string, { vault, settings }: Core): Promise<UserExport> {
  const { codec, lifetime } = settings
  const sessions: ExportedSession[] = []
  for await (const { handle, kept } of sessionsOf(vault, userId)) {
    const { record, lastSeen, data } = kept
    const { level, externalId, stamp, client, bound, generation, about = {}, flashes } = record
    const time = (at: number | undefined) => (at === undefined ? undefined : new Date(at).toISOString())
    const session = {
      handle,
      createdAt: time(record.createdAt),
      lastSeenAt: time(lastSeen),
      expiresAt: time(expiry(record, lastSeen, lifetime)),
      authenticatedAt: time(record.authenticatedAt),
      level,
      levelUntil: time(record.levelUntil),
      externalId,
      persistent: isPersistent(record, lifetime),
      generation,
      about,
      stamp,
      client,
      bound,
      flashes: flashes.map(({ category, message }) => ({ category, message })),
      data: decoded(data, codec),
    }
    sessions.push(
      Object.fromEntries(Object.entries(session).filter(([, value]) => value !== undefined)) as never,
    )
  }
  return { userId, sessions }
}

/** What cannot be read is kept all the same, and given as it is. */
function decoded(text: string, codec: Codec): unknown {
  try {
    return forJson(codec.decode(text))
  } catch {
    return text
  }
}

/** What JSON has no form for in the nearest that it has. */
export function forJson(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number')
    return Number.isFinite(value) && !Object.is(value, -0) ? value : inWords(value)
  if (value === undefined) return null
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? String(value) : value.toISOString()
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (value instanceof Map || value instanceof Set || Array.isArray(value)) return Array.from(value, forJson)
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, forJson(each)]))
}

function inWords(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}
