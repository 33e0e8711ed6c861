import { existsSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { InvalidRecordError } from '../errors.ts'
import type { Secret } from '../options.ts'
import type { Store } from '../store.ts'
import { isSeal } from '../stores/migrating/stages.ts'
import { DONE } from './command.ts'
import { printFacts, printJson, printLine } from './output.ts'
import { format } from './progress.ts'
import { isSealed, unpacker } from './reading.ts'
import { open, pathIn } from './site.ts'
import { refuseWrongWay } from './wrong-way.ts'

const PAGE = 1000

/** `holdfast migrate --dry-run`: says what would move, and changes nothing. */
export async function rehearse(
  from: string,
  to: string,
  secrets: readonly Secret[],
  json: boolean,
): Promise<number> {
  const stores = { from: open(from), to: openIfThere(to) }
  try {
    if (stores.to) await refuseWrongWay(stores.from, stores.to)
    const counted = await count(stores.from, secrets)
    for (const { finding, cure } of (await stores.to?.check?.(Date.now)) ?? []) {
      process.stderr.write(`Warning: ${finding} ${cure}\n`)
    }
    // The names of schemes, where that of a store is not to be had.
    const toName = stores.to?.name ?? to.slice(0, to.indexOf(':'))
    if (json) printJson({ from: stores.from.name, to: toName, ...counted })
    else printRehearsal(counted)
    return DONE
  } finally {
    await Promise.allSettled([stores.from.close?.(), stores.to?.close?.()])
  }
}

/** What would make a file or a folder is left alone. */
function openIfThere(url: string): Store | undefined {
  const path = pathIn(url)
  return path === undefined || existsSync(path) ? open(url) : undefined
}

interface Rehearsal {
  sessions: number
  expired: number
  begun: number
  unreadable: number
  unchecked: number
  /** Of the last one that could not be read. */
  reason: string | null
}

async function count(store: Store, secrets: readonly Secret[]): Promise<Rehearsal> {
  if (!store.scan) {
    throw new Error(
      `the ${store.name} store cannot list its sessions. They move when they are next seen: keep the migrating: URL for as long as a session lives.`,
    )
  }
  const counted: Rehearsal = {
    sessions: 0,
    expired: 0,
    begun: 0,
    unreadable: 0,
    unchecked: 0,
    reason: null,
  }
  const unpack = unpacker(secrets)
  let cursor: string | undefined
  do {
    const page = await store.scan(cursor, PAGE)
    for (const [key, stored] of page.items) {
      counted.sessions++
      const isBegun: boolean = isSeal(stored)
      if (isBegun) counted.begun++
      else if (stored.expires <= Date.now()) counted.expired++
      else if (isSealed(stored) && secrets.length === 0) counted.unchecked++
      else {
        try {
          unpack(key, stored)
        } catch (error) {
          if (!(error instanceof InvalidRecordError)) throw error
          counted.unreadable++
          counted.reason = error.message
        }
      }
    }
    cursor = page.cursor
    await turn()
  } while (cursor !== undefined)
  return counted
}

function printRehearsal({ sessions, expired, begun, unreadable, unchecked, reason }: Rehearsal): void {
  printLine('Nothing has been changed. What would move:')
  printFacts([
    ['sessions', format(sessions)],
    ...(expired > 0 ? [['expired among them', format(expired)] as const] : []),
    ...(begun > 0 ? [['begun by a move that was interrupted', format(begun)] as const] : []),
    ['cannot be read', unreadable > 0 ? `${format(unreadable)} (${reason})` : '0'],
    ...(unchecked > 0
      ? [['sealed, not looked into', `${format(unchecked)} (HOLDFAST_SECRET is not set)`] as const]
      : []),
  ])
}
