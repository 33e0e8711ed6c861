import { setTimeout as sleep } from 'node:timers/promises'
import type { Core } from '../core.ts'
import { isLive } from '../management.ts'
import type { Kept } from '../vault.ts'

/** What there is, counted by going through the store. Plain data for the page. */
export interface Count {
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly milliseconds: number
  readonly sessions: number
  readonly loggedIn: number
  readonly unreadable: number
  /** Encoded data of all of them. */
  readonly bytes: number
  /** The users with the most sessions, the first of them first. */
  readonly users: readonly Share[]
  /** The devices, by what `describe` said at the login, and how many logged-in sessions it said nothing of. */
  readonly devices: readonly Share[]
  readonly undescribed: number
  /** There was not the time to read all of them. */
  readonly isPart: boolean
}

export interface Share {
  readonly name: string
  readonly sessions: number
}

export interface Census {
  /** Counts, unless it does or has just done so. What is known is in `latest` meanwhile. */
  begin(): void
  /** The last count that is over. */
  readonly latest: Count | undefined
  /** The one that is under way. */
  readonly progress: Count | undefined
  /** Why the last one has failed. */
  readonly problem: unknown
  /** Counts no more. What has begun is left where it is, and `latest` as it was. */
  stop(): void
}

const PAGE = 500
/** A count stays good for this long, and for ten times as long as it took: reading everything again and again would be a load of its own. */
const GOOD_FOR = 30_000
/** Each record that cannot be read is an `invalid` event each time. */
const GOOD_WITH_UNREADABLE = 10 * 60_000
const LONGEST = 10 * 60_000
const SHOWN = 10
/** Names are texts of the application, so that there may be as many of them as there are sessions. */
const MOST_NAMES = 100_000

/** Goes through the sessions a page at a time, and rests after each for as long as it took, so that requests have the store for half of the time. */
export function createCensus(core: Core, counted: (count: Count) => void): Census {
  const { vault, settings, work } = core
  const { clock } = settings
  let latest: Count | undefined
  let tally: Tally | undefined
  let problem: unknown
  let over = Number.NEGATIVE_INFINITY
  let isStopped = false

  async function run(into: Tally): Promise<void> {
    let cursor: string | undefined
    while (!isStopped) {
      const began = performance.now()
      const page = await work.run(() => vault.scan(cursor, PAGE))
      for (const { kept } of page.items) if (isLive(kept, settings)) into.add(kept)
      into.unreadable += page.unreadable.length
      cursor = page.cursor
      if (cursor === undefined) return
      if (into.age() > LONGEST) {
        into.isPart = true
        return
      }
      await sleep(performance.now() - began, undefined, { ref: false })
    }
  }

  return {
    begin() {
      const least = latest && latest.unreadable > 0 ? GOOD_WITH_UNREADABLE : GOOD_FOR
      const goodFor = Math.max(least, 10 * (latest?.milliseconds ?? 0))
      if (isStopped || tally !== undefined || clock() - over < goodFor) return
      const current = (tally = createTally(clock()))
      run(current)
        .then(
          () => {
            if (isStopped) return
            latest = current.read()
            problem = undefined
            counted(latest)
          },
          (error) => (problem = error),
        )
        .finally(() => {
          tally = undefined
          over = clock()
        })
    },
    get latest() {
      return latest
    },
    get progress() {
      return tally?.read()
    },
    get problem() {
      return problem
    },
    stop() {
      isStopped = true
    },
  }
}

interface Tally {
  unreadable: number
  isPart: boolean
  age(): number
  add(kept: Kept): void
  read(): Count
}

function createTally(startedAt: number): Tally {
  const began = performance.now()
  const users = createNames()
  const devices = createNames()
  let [sessions, loggedIn, bytes, undescribed] = [0, 0, 0, 0]
  const tally: Tally = {
    unreadable: 0,
    isPart: false,
    age: () => performance.now() - began,
    add({ record, data }) {
      sessions++
      bytes += Buffer.byteLength(data)
      if (record.user === undefined) return
      loggedIn++
      users.add(record.user)
      const device = Object.values(record.about ?? {}).join(', ')
      if (device === '') undescribed++
      else devices.add(device)
    },
    read: () => ({
      startedAt,
      milliseconds: Math.round(tally.age()),
      sessions,
      loggedIn,
      unreadable: tally.unreadable,
      bytes,
      users: users.most(),
      devices: devices.most(),
      undescribed,
      isPart: tally.isPart,
    }),
  }
  return tally
}

/**
 * Counts names, and when there are too many forgets those that it has seen the fewest times: none of them is near the top. A tenth goes at once,
 * since going through all of them for each new one would hold requests up.
 */
function createNames() {
  const counts = new Map<string, number>()
  return {
    add(name: string) {
      const count = counts.get(name)
      if (count === undefined && counts.size >= MOST_NAMES)
        for (let fewest = 1; counts.size > 0.9 * MOST_NAMES; fewest++)
          for (const [known, times] of counts) if (times <= fewest) counts.delete(known)
      counts.set(name, (count ?? 0) + 1)
    },
    /** The first ten, without sorting them all. */
    most(): Share[] {
      const best: Share[] = []
      for (const [name, sessions] of counts) {
        if (best.length === SHOWN && sessions <= best[SHOWN - 1]!.sessions) continue
        const place = best.findIndex((one) => one.sessions < sessions)
        best.splice(place < 0 ? best.length : place, 0, { name, sessions })
        if (best.length > SHOWN) best.pop()
      }
      return best
    },
  }
}
