import { checkSize } from './codec.ts'
import type { Core } from './core.ts'
import { ConflictError, DataError } from './errors.ts'
import { MergeRejectedError, merge } from './merge.ts'
import type { Opener } from './open.ts'
import type { SessionRecord } from './record.ts'
import { validate } from './schema.ts'
import type { Kept } from './vault.ts'
import type { Visit } from './visit.ts'
import { adopt, handleOf, loginOf, putData } from './visit.ts'

/** Brings what others committed into a visit, and says whether what came of it may be kept. */
export interface Rebaser {
  /** Makes `current` the base: what others committed goes into the data, and what this visit changed stays. @throws ConflictError */
  rebase(visit: Visit, current: Kept): Promise<void>
  /** @throws DataError or SchemaError */
  check(text: string, data: object): Promise<object> | undefined
  /** @throws DataError */
  checkFlashes(record: SessionRecord): void
}

export function createRebaser({ settings }: Core, opener: Opener): Rebaser {
  const { clock, codec, schema, lifetime } = settings

  async function rebase(visit: Visit, current: Kept): Promise<void> {
    const theirs = await opener.readData(current)
    const login = loginOf(visit)
    const isAnotherUsers =
      login !== undefined && current.record.user !== undefined && current.record.user !== login.user
    try {
      if (!isAnotherUsers) await mergeData(visit, theirs.data)
    } catch (cause) {
      if (cause instanceof MergeRejectedError) {
        throw new ConflictError(`session ${handleOf(visit)}: another request changed ${cause.path} as well`, {
          cause,
        })
      }
      throw new ConflictError(
        `session ${handleOf(visit)}: what two requests made of it together cannot be kept`,
        { cause },
      )
    }
    visit.touched = true
    visit.base = theirs.base
    adopt(visit, current, clock(), lifetime)
  }

  async function mergeData(visit: Visit, theirs: object): Promise<void> {
    const mergeNow = () => merge(codec.decode(visit.base), visit.data, theirs, settings.mergeRules)
    const candidate = mergeNow().value
    await check(codec.encode(candidate), candidate)
    const merged = mergeNow() // again: the handler may have gone on during the check
    putData(visit, merged.value)
    if (merged.overwritten.length > 0)
      visit.overwritten = new Set([...(visit.overwritten ?? []), ...merged.overwritten])
  }

  function check(text: string, data: object): Promise<object> | undefined {
    checkSize(text, data, settings.maxBytes)
    return schema && validate(schema, data)
  }

  /** Messages that nobody takes add up. */
  function checkFlashes({ flashes }: SessionRecord): void {
    const size = flashes.reduce(
      (sum, { category, message }) => sum + category.length + message.length + 24,
      0,
    )
    if (size <= settings.maxBytes) return
    throw new DataError(
      `${flashes.length} flash messages take about ${size} bytes, over the limit of ${settings.maxBytes} (maxBytes): ` +
        'show them with takeFlashes()',
    )
  }

  return { rebase, check, checkFlashes }
}
