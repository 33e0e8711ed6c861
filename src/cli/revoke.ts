import { createInterface } from 'node:readline/promises'
import { duration } from '../duration.ts'
import type { Sessions } from '../sessions.ts'
import { type Command, DONE, FAILED, type Given, messageOf, UsageError } from './command.ts'
import { countOf, printJson, printLine } from './output.ts'
import { SessionReader } from './reading.ts'
import {
  JSON_HELP,
  managerOf,
  NAME_HELP,
  refusePositionals,
  SECRET_HELP,
  SITE_OPTIONS,
  type Site,
  STORE_HELP,
  withSite,
} from './site.ts'

export const revoke: Command = {
  summary: "ends sessions now: one, a user's, old ones, everyone's",
  options: {
    ...SITE_OPTIONS,
    handle: { type: 'string' },
    user: { type: 'string' },
    'older-than': { type: 'string' },
    everyone: { type: 'boolean' },
    yes: { type: 'boolean', short: 'y' },
  },
  help: `Usage: holdfast revoke [options]

Ends sessions for good, beside live traffic, and prints how many. The next request of such a visitor is nobody's.

  holdfast revoke --store redis://localhost --user ann    # logs ann out everywhere
  holdfast revoke --handle oVAtUbLXALhBRCUuzyy_7jCYMDUPOZxu5ROGRYL1OYs
  holdfast revoke --older-than 7d                         # whoever logged in longer ago than that
  holdfast revoke --everyone --yes                        # after a leak, from a script (the store is in HOLDFAST_STORE)

Options, exactly one of the first four:
      --handle <handle>   this session
      --user <id>         all sessions of this user
      --older-than <age>  sessions whose login (or beginning, without one) is longer ago: 90m, 12h, 7d
      --everyone          all sessions of the manager; asks before it does, on a terminal
  -y, --yes               do not ask
${STORE_HELP}
${NAME_HELP}
${JSON_HELP}
${SECRET_HELP} Only --older-than has to.

JSON: { revoked, unreadable }

If it fails or is stopped, what has ended has ended; the same command goes on with the rest.
Exit codes: 0 done, also if there was nothing to end; 1 failed, declined, or some could not be read; 2 wrong usage.
`,

  async run(given) {
    refusePositionals(given)
    const end = whichOf(given.values)
    return withSite(given, async (site) => {
      if (given.values.everyone && !given.values.yes && !(await isConfirmed(site))) {
        process.stderr.write('Nothing has been revoked.\n')
        return FAILED
      }
      const sessions = managerOf(site)
      const reader = new SessionReader(site)
      const revoked = await end(sessions, reader).finally(() => sessions.close())
      const unreadable = reader.unreadable.size
      if (given.values.json) printJson({ revoked, unreadable })
      else printLine(`${countOf(revoked)} ${revoked === 1 ? 'has' : 'have'} been revoked.`)
      if (unreadable === 0) return DONE
      process.stderr.write(
        `Warning: ${countOf(unreadable)} could not be read, and so not be told to be old, and may live on: ${reader.reason}\n`,
      )
      return FAILED
    })
  },
}

/** How many are ended at once. */
const BATCH = 20

type End = (sessions: Sessions<object>, reader: SessionReader) => Promise<number>

/** Ends by handle what it finds: what the manager of a command takes for expired, by lifetimes that are not the site's, must end too. */
function whichOf(values: Given['values']): End {
  const { handle, user, everyone, yes } = values
  const age = values['older-than']
  const given = [handle, user, age, everyone].filter((value) => value !== undefined)
  if (given.length !== 1) {
    const found = given.length === 0 ? 'none of them' : String(given.length)
    throw new UsageError(
      `exactly one of --handle, --user, --older-than and --everyone is needed, and there is ${found}`,
    )
  }
  if (handle !== undefined) {
    const one = { handle: filled('--handle', handle) }
    return (sessions) => sessions.revoke(one)
  }
  if (user !== undefined) {
    const all = { userId: filled('--user', user) }
    return (sessions) => sessions.revoke(all)
  }
  if (age !== undefined) {
    const milliseconds = ageOf(String(age))
    return (sessions, reader) => endAll(sessions, oldIn(reader, Date.now() - milliseconds))
  }
  if (!yes && !(process.stdin.isTTY && process.stderr.isTTY)) {
    throw new UsageError(
      '--everyone logs everybody out, and nobody can be asked here; give --yes if that is meant',
    )
  }
  return (sessions, reader) => endAll(sessions, reader.handles())
}

async function* oldIn(reader: SessionReader, before: number): AsyncGenerator<string> {
  for await (const { handle, record } of reader.all()) {
    if ((record.authenticatedAt ?? record.createdAt) < before) yield handle
  }
}

async function endAll(sessions: Sessions<object>, handles: AsyncIterable<string>): Promise<number> {
  let count = 0
  let batch: string[] = []
  const end = async () => {
    for (const ended of await Promise.all(batch.map((handle) => sessions.revoke({ handle })))) count += ended
    batch = []
  }
  for await (const handle of handles) {
    batch.push(handle)
    if (batch.length === BATCH) await end()
  }
  await end()
  return count
}

async function isConfirmed({ store, name }: Site): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(
      `End all sessions of the manager ${name} in this ${store.name} store? Everybody is logged out. [y/N] `,
    )
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}

/** With its unit, since a bare 7 would be milliseconds, and everybody older. */
function ageOf(text: string): number {
  const refuse = (cause?: unknown) =>
    new UsageError(`--older-than: ${JSON.stringify(text)} is no age above 0 with its unit: 90m, 12h, 7d`, {
      cause,
    })
  if (!/^\d.*[a-z]$/i.test(text)) throw refuse()
  try {
    const milliseconds = duration('--older-than', text)
    if (milliseconds > 0) return milliseconds
  } catch (error) {
    throw refuse(messageOf(error))
  }
  throw refuse()
}

function filled(option: string, value: unknown): string {
  if (value !== '') return String(value)
  throw new UsageError(`${option}: it is empty; a variable of the script may not be set`)
}
