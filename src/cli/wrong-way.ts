import { isTombstone, type Store } from '../store.ts'
import { inTime } from '../stores/in-time.ts'
import { isSeal } from '../stores/migrating/stages.ts'
import { format } from './progress.ts'

const SAMPLE = 100
/** What a crash has brought back is far less. */
const TOO_MANY = 0.1
const LOOK = 10_000

/** A session that has moved leaves a tombstone. Moved back onto it, it would have ended. What a store fails with, the move says better. */
export async function refuseWrongWay(from: Store, to: Store): Promise<void> {
  const there = await inTime(LOOK, sample(from, to), () => new Error()).catch(() => [])
  const ended = there.filter((found) => found !== SAME && isTombstone(found)).length
  if (ended > 0 && ended >= there.length * TOO_MANY) {
    throw new Error(
      `of the first ${format(there.length)} sessions of the old store ${format(ended)} have ended in the new one, as those have that were moved from there. ` +
        'Moved onto that they would be lost; nothing has been changed. Exchange --from and --to; or, to move back, give --to an empty store.',
    )
  }
  // A crash can bring that back too, so that the move looks for itself.
  if (there.length > 0 && there.every((found) => found === SAME))
    process.stderr.write('Warning: the new store has the same sessions as the old one. Are they two?\n')
}

const SAME = 'same'

/** What the new store has of the first sessions in the old one. */
async function sample(from: Store, to: Store) {
  const items = (await from.scan?.(undefined, SAMPLE))?.items ?? []
  const live = items.filter(([, stored]) => !(isSeal(stored) as boolean) && stored.expires > Date.now())
  return Promise.all(
    live.map(async ([key, { rev }]) => {
      const found = await to.load(key, { fresh: true })
      return found !== undefined && 'rev' in found && found.rev === rev ? SAME : found
    }),
  )
}
