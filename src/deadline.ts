import { timersEndWithRequest } from './runtime.ts'

/*
 * Deadlines from one coarse timer for all of them: a timer for each operation would cost more than all else that is done about it.
 *
 * Time that this process was busy does not count: what the server has long answered, and nobody has read yet, is not late. So a
 * deadline is a number of ticks, a tick that came late is still one, and the loop reads once more before anything is given up.
 */
const TICK_MS = 50

interface Link {
  previous: Link
  next: Link
}

/**
 * Something that waits until it is `met`, or `expired`: no sooner than that, and about 50 ms later at the latest. A link in
 * the list of all that wait, which costs a tenth of what a Set does. The timer runs only while somebody waits.
 */
export abstract class Deadline implements Link {
  previous: Link
  next: Link
  private ticks: number
  private own: NodeJS.Timeout | undefined

  constructor(milliseconds: number) {
    this.ticks = Math.ceil(milliseconds / TICK_MS) + 1
    if (timersEndWithRequest) {
      // One that several requests share would end with the first of them, and the others would wait for ever.
      this.previous = this.next = ownTimer
      this.own = setTimeout(() => this.expire(), milliseconds)
      return
    }
    this.previous = ends.previous
    this.next = ends
    this.previous.next = this
    ends.previous = this
    timer ??= setInterval(tick, TICK_MS)
  }

  protected abstract expired(): void

  /** Nobody waits any more. */
  protected met(): void {
    if (this.own !== undefined) clearTimeout(this.own)
    this.previous.next = this.next
    this.next.previous = this.previous
    this.previous = this.next = this
  }

  /** Whether its time has come. */
  tick(): boolean {
    return --this.ticks <= 0
  }

  /** Unless it has been met meanwhile. */
  expire(): void {
    if (this.next === this) return
    this.met()
    this.expired()
  }
}

/** Before the first and behind the last that waits. */
const ends: Link = {} as Link
ends.previous = ends.next = ends

/** In the place of its neighbours, for one that is in no list. */
const ownTimer: Link = {} as Link
ownTimer.previous = ownTimer.next = ownTimer

let timer: NodeJS.Timeout | undefined

function tick(): void {
  if (ends.next === ends) {
    clearInterval(timer)
    timer = undefined
    return
  }
  const late: Deadline[] = []
  for (let one = ends.next; one !== ends; one = one.next) {
    if ((one as Deadline).tick()) late.push(one as Deadline)
  }
  if (late.length > 0) setImmediate(expireAll, late) // after the poll for what has arrived
}

function expireAll(late: readonly Deadline[]): void {
  for (const one of late) one.expire()
}
