import { type Command, DONE, type Given, UsageError } from './command.ts'
import { ago, ahead, printable, printJson, printLine, printTable, sizeOf } from './output.ts'
import { describe, type Found, type FoundPage, SessionReader, warnOfUnreadable } from './reading.ts'
import {
  JSON_HELP,
  NAME_HELP,
  refusePositionals,
  SECRET_HELP,
  SITE_OPTIONS,
  STORE_HELP,
  withSite,
} from './site.ts'

export const list: Command = {
  summary: 'lists the live sessions: all, of a user, the last used, the longest idle',
  options: {
    ...SITE_OPTIONS,
    user: { type: 'string' },
    recent: { type: 'boolean' },
    idle: { type: 'boolean' },
    limit: { type: 'string' },
    cursor: { type: 'string' },
  },
  help: `Usage: holdfast list [options]

Lists live sessions. No token is shown, since the store has none: a handle is a session's public name.

  holdfast list --store redis://localhost              # the first 50, and how to see more
  holdfast list --store redis://localhost --user ann   # where ann is logged in, the last used first
  holdfast list --recent --limit 10                    # who was here last (the store is in HOLDFAST_STORE)
  holdfast list --idle --json | jq -r '.sessions[].handle'

--recent and --idle read all sessions to find those.

Options:
${STORE_HELP}
${NAME_HELP}
      --user <id>         only the sessions of this user, the last used first
      --recent            the last used first
      --idle              the longest unused first
      --limit <n>         at most so many; 50 by default
      --cursor <cursor>   goes on where a page ended
${JSON_HELP}
${SECRET_HELP}

JSON: { sessions: [{ handle, userId, createdAt, lastSeenAt, expiresAt, authenticatedAt, level, externalId, generation, about, bytes }],
cursor, unreadable }. What a session does not have is null, and so is the cursor on the last page.

Exit codes: 0 done, 1 failed, 2 wrong usage.
`,

  async run(given) {
    refusePositionals(given)
    const { values } = given
    const limit = limitOf(values)
    const cursor = cursorOf(values)
    refuseContradictions(values)
    return withSite(given, async (site) => {
      const reader = new SessionReader(site)
      const page = await read(reader, values, cursor, limit)
      const next = page.cursor === undefined ? null : Buffer.from(page.cursor).toString('base64url')
      if (values.json) {
        const { unreadable } = reader
        printJson({ sessions: page.sessions.map(describe), cursor: next, unreadable: unreadable.size })
      } else if (page.sessions.length === 0) {
        printLine('No sessions.')
      } else {
        printTable(HEAD, page.sessions.map(rowOf))
        if (next !== null) process.stderr.write(`There are more: --cursor ${next}\n`)
      }
      warnOfUnreadable(reader)
      return DONE
    })
  },
}

const USUAL_LIMIT = '50'
const HEAD = ['HANDLE', 'USER', 'LAST USED', 'EXPIRES', 'LOGGED IN', 'DATA', 'ABOUT']

function rowOf({ handle, record, data, lastSeen, expires }: Found): string[] {
  return [
    printable(handle),
    printable(record.user ?? '-'),
    ago(lastSeen),
    ahead(expires),
    record.authenticatedAt === undefined ? '-' : ago(record.authenticatedAt),
    sizeOf(Buffer.byteLength(data)),
    printable(Object.values(record.about ?? {}).join(', ')),
  ]
}

async function read(
  reader: SessionReader,
  { user, recent, idle }: Given['values'],
  cursor: string | undefined,
  limit: number,
): Promise<FoundPage> {
  if (user === undefined && !recent && !idle) return reader.page(cursor, limit)
  const sessions = user === undefined ? reader.all() : reader.ofUser(String(user))
  return { sessions: await first(sessions, limit, idle ? byLongestIdle : byLastUse) }
}

const byLastUse = (a: Found, b: Found) => b.lastSeen - a.lastSeen
const byLongestIdle = (a: Found, b: Found) => a.lastSeen - b.lastSeen

/** Holds little more than it returns, however many there are. A store may give one twice, and then it counts once. */
async function first(
  sessions: AsyncIterable<Found>,
  limit: number,
  order: (a: Found, b: Found) => number,
): Promise<Found[]> {
  let best = new Map<string, Found>()
  const ordered = () => [...best.values()].sort(order).slice(0, limit)
  for await (const session of sessions) {
    best.set(session.handle, session)
    if (best.size >= 2 * limit + 1000) best = new Map(ordered().map((each) => [each.handle, each]))
  }
  return ordered()
}

function limitOf({ limit = USUAL_LIMIT }: Given['values']): number {
  if (/^[1-9]\d{0,6}$/.test(String(limit))) return Number(limit)
  throw new UsageError(`--limit: ${JSON.stringify(limit)} is no whole number from 1 up: --limit 50`)
}

function cursorOf({ cursor }: Given['values']): string | undefined {
  if (cursor === undefined) return undefined
  if (/^[\w-]+$/.test(String(cursor))) return Buffer.from(String(cursor), 'base64url').toString()
  throw new UsageError('--cursor: this is none; give what the page before it ended with')
}

function refuseContradictions({ user, recent, idle, cursor }: Given['values']): void {
  if (user === '') throw new UsageError('--user: the id is empty; give the one that login was given')
  if (recent && idle) throw new UsageError('--recent and --idle are opposites; give one of them')
  if (cursor !== undefined && (recent || idle || user !== undefined)) {
    throw new UsageError('--cursor goes on through all sessions; leave out --user, --recent and --idle')
  }
}
