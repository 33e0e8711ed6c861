/**
 * Deadlines from one coarse timer for all of them: a timer for each operation would cost more than all else that is done about it.
 *
 * Time that this process was busy does not count: what the server has long answered, and nobody has read yet, is not late. So a
 * deadline is a number of ticks, a tick that came late is still one, and the loop reads once more before anything is given up.
 */
const TICK_MS = 50

interface Waiting {
  ticks: number
  readonly giveUp: () => void
}

const waiting = new Set<Waiting>()
let timer: NodeJS.Timeout | undefined

/**
 * Calls `giveUp` once, `milliseconds` from now at the earliest and about 50 later at the latest, unless the result is called first.
 * The timer runs only while somebody waits.
 */
export function after(milliseconds: number, giveUp: () => void): () => void {
  const mine: Waiting = { ticks: Math.ceil(milliseconds / TICK_MS) + 1, giveUp }
  waiting.add(mine)
  timer ??= setInterval(tick, TICK_MS)
  return () => void waiting.delete(mine)
}

function tick(): void {
  if (waiting.size === 0) {
    clearInterval(timer)
    timer = undefined
    return
  }
  const late: Waiting[] = []
  for (const one of waiting) if (--one.ticks <= 0) late.push(one)
  if (late.length > 0) setImmediate(giveUpOn, late) // after the poll for what has arrived
}

function giveUpOn(late: readonly Waiting[]): void {
  for (const one of late) if (waiting.delete(one)) one.giveUp()
}
