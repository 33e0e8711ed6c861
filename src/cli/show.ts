import { defaultCodec } from '../codec.ts'
import { forJson } from '../user-sessions.ts'
import { type Command, DONE, UsageError } from './command.ts'
import { ago, ahead, countOf, printable, printFacts, printJson, sizeOf } from './output.ts'
import { describe, type Found, SessionReader } from './reading.ts'
import { JSON_HELP, NAME_HELP, SECRET_HELP, SITE_OPTIONS, STORE_HELP, withSite } from './site.ts'

export const show: Command = {
  summary: 'shows one session by its handle; its data only with --reveal',
  options: { ...SITE_OPTIONS, reveal: { type: 'boolean' } },
  help: `Usage: holdfast show [options] <handle>

Shows what is kept of one session. Of its data only the keys and their sizes, of its messages only how many: what visitors have
left with you is shown with --reveal, and then also lands where the output goes.

  holdfast show --store sqlite:./sessions.db oVAtUbLXALhBRCUuzyy_7jCYMDUPOZxu5ROGRYL1OYs
  holdfast show --json --reveal HANDLE | jq .data     # the store is in HOLDFAST_STORE

Options:
${STORE_HELP}
${NAME_HELP}
      --reveal            the values of the data, and the messages
${JSON_HELP}
${SECRET_HELP}

JSON: what list prints of a session, and keys (sizes in bytes by key), messages (how many), data and flashes (null without --reveal).

Exit codes: 0 done, 1 failed (there is no such session), 2 wrong usage.
`,

  async run(given) {
    const { positionals, values } = given
    const [handle] = positionals
    if (handle === undefined || positionals.length > 1) {
      throw new UsageError(
        `one handle is expected, and there are ${positionals.length || 'no'} arguments; holdfast list has them`,
      )
    }
    return withSite(given, async (site) => {
      const found = await new SessionReader(site).find(handle)
      if (!found) {
        throw new Error(
          `there is no session of ${site.name} with this handle in the ${site.store.name} store: it has ended, or --store or --name is another one.`,
        )
      }
      const isRevealed = values.reveal === true
      if (values.json) printJson(inFull(found, isRevealed))
      else printFacts(factsOf(found, isRevealed))
      return DONE
    })
  },
}

function inFull(found: Found, isRevealed: boolean) {
  const data = dataOf(found)
  const { flashes } = found.record
  return {
    ...describe(found),
    keys: data ? Object.fromEntries(sizesOf(data)) : null,
    messages: flashes.length,
    data: isRevealed ? (data ?? found.data) : null,
    flashes: isRevealed ? flashes.map(({ category, message }) => ({ category, message })) : null,
  }
}

function factsOf(found: Found, isRevealed: boolean): [string, string][] {
  const { handle, record, lastSeen, expires, data: text } = found
  const data = dataOf(found)
  const time = (at: number) => `${new Date(at).toISOString()} (${ago(at)})`
  const { userId, level, externalId, about, expiresAt } = describe(found)
  const bytes = sizeOf(Buffer.byteLength(text))
  const hidden = isRevealed ? '' : '; --reveal shows the values'
  const facts: [string, string | null][] = [
    ['handle', handle],
    ['user', userId],
    ['created', time(record.createdAt)],
    ['logged in', record.authenticatedAt === undefined ? null : time(record.authenticatedAt)],
    ['last used', time(lastSeen)],
    ['expires', expiresAt === null ? 'never' : `${expiresAt} (${ahead(expires)})`],
    ['level', level],
    ['external id', externalId],
    ['generation', String(record.generation)],
    ...Object.entries(about).map(([name, value]): [string, string] => [`about ${name}`, value]),
    [
      'data',
      data
        ? `${countOf(Object.keys(data).length, 'key')}, ${bytes}${hidden}`
        : `${bytes} of a codec that only the site has${hidden}`,
    ],
    ...(data ? valuesOf(data, isRevealed) : isRevealed ? [['  encoded', text] as [string, string]] : []),
    ['messages', record.flashes.length === 0 ? null : String(record.flashes.length)],
    ...(isRevealed ? record.flashes : []).map(({ category, message }): [string, string] => [
      `  ${category}`,
      message,
    ]),
  ]
  return facts.flatMap(([name, value]) => (value === null ? [] : [[printable(name), printable(value)]]))
}

function valuesOf(data: Record<string, unknown>, isRevealed: boolean): [string, string][] {
  return sizesOf(data).map(([key, bytes]) => [
    `  ${key}`,
    isRevealed ? JSON.stringify(data[key]) : sizeOf(bytes),
  ])
}

function sizesOf(data: Record<string, unknown>): [key: string, bytes: number][] {
  return Object.entries(data).map(([key, value]) => [key, Buffer.byteLength(JSON.stringify(value))])
}

/** As JSON has it. Undefined if the site writes its data with a codec of its own. */
function dataOf({ data }: Found): Record<string, unknown> | undefined {
  try {
    return forJson(defaultCodec.decode(data)) as Record<string, unknown>
  } catch {
    return undefined
  }
}
