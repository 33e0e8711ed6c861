import { type Command, DONE } from './command.ts'
import { printFacts, printJson, sizeOf } from './output.ts'
import { format } from './progress.ts'
import { SessionReader, warnOfUnreadable } from './reading.ts'
import {
  JSON_HELP,
  NAME_HELP,
  refusePositionals,
  SECRET_HELP,
  SITE_OPTIONS,
  STORE_HELP,
  withSite,
} from './site.ts'

export const stats: Command = {
  summary: 'counts the live sessions, those with a user, and their data',
  options: SITE_OPTIONS,
  help: `Usage: holdfast stats [options]

Counts live sessions, which reads them all.

  holdfast stats --store postgres://db/app
  holdfast stats --json | jq .sessions     # the store is in HOLDFAST_STORE

Options:
${STORE_HELP}
${NAME_HELP}
${JSON_HELP}
${SECRET_HELP}

JSON: { sessions, loggedIn, usedLastHour, bytes, largest, unreadable }; bytes is the encoded data of all, largest that of the largest one.

Exit codes: 0 done, 1 failed, 2 wrong usage.
`,

  async run(given) {
    refusePositionals(given)
    return withSite(given, async (site) => {
      const reader = new SessionReader(site)
      const counted = await count(reader)
      if (given.values.json) printJson({ ...counted, unreadable: reader.unreadable.size })
      else {
        printFacts([
          ['sessions', format(counted.sessions)],
          ['logged in', format(counted.loggedIn)],
          ['used within the last hour', format(counted.usedLastHour)],
          ['data', sizeOf(counted.bytes)],
          ['data of the largest', sizeOf(counted.largest)],
        ])
      }
      warnOfUnreadable(reader)
      return DONE
    })
  },
}

const HOUR = 3_600_000

async function count(reader: SessionReader) {
  const counted = { sessions: 0, loggedIn: 0, usedLastHour: 0, bytes: 0, largest: 0 }
  const hourAgo = Date.now() - HOUR
  for await (const { record, data, lastSeen } of reader.all()) {
    const bytes = Buffer.byteLength(data)
    counted.sessions++
    if (record.user !== undefined) counted.loggedIn++
    if (lastSeen > hourAgo) counted.usedLastHour++
    counted.bytes += bytes
    counted.largest = Math.max(counted.largest, bytes)
  }
  return counted
}
