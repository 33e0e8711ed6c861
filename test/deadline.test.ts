import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Deadline } from '../src/deadline.ts'

class Waiting extends Deadline {
  readonly #giveUp: () => void

  constructor(milliseconds: number, giveUp: () => void) {
    super(milliseconds)
    this.#giveUp = giveUp
  }

  keep(): void {
    this.met()
  }

  protected override expired(): void {
    this.#giveUp()
  }
}

/** Calls `giveUp` when it passes, unless the result is called first. */
function deadline(milliseconds: number, giveUp: () => void): () => void {
  const waiting = new Waiting(milliseconds, giveUp)
  return () => waiting.keep()
}

beforeEach(() => vi.useFakeTimers())
afterEach(() => {
  vi.advanceTimersByTime(10_000)
  expect(vi.getTimerCount(), 'timers left').toBe(0)
  vi.useRealTimers()
})

describe('a deadline', () => {
  it.each([
    [0, 50],
    [1, 100],
    [50, 100],
    [51, 150],
    [500, 550],
  ])('of %i ms comes a tick of the timer later at the latest, and once: after %i', (milliseconds, late) => {
    const giveUp = vi.fn()
    deadline(milliseconds, giveUp)
    vi.advanceTimersByTime(late - 1)
    expect(giveUp).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1 + 1) // and the loop's next turn
    expect(giveUp).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(1_000)
    expect(giveUp).toHaveBeenCalledTimes(1)
  })

  it('is never early, also if the timer ticks the moment after it was set', () => {
    deadline(1_000, () => {})
    vi.advanceTimersByTime(49)
    const giveUp = vi.fn()
    deadline(100, giveUp)
    vi.advanceTimersByTime(99)
    expect(giveUp).not.toHaveBeenCalled()
    vi.advanceTimersByTime(53)
    expect(giveUp).toHaveBeenCalledTimes(1)
  })

  it('that is kept does not come', () => {
    const giveUp = vi.fn()
    const keep = deadline(100, giveUp)
    vi.advanceTimersByTime(100)
    keep()
    vi.advanceTimersByTime(1_000)
    expect(giveUp).not.toHaveBeenCalled()
  })

  it('does not come if the answer is read in the turn in which it is late', () => {
    const giveUp = vi.fn()
    const keep = deadline(0, giveUp)
    vi.advanceTimersToNextTimer() // the tick
    keep()
    vi.advanceTimersByTime(1_000)
    expect(giveUp).not.toHaveBeenCalled()
  })

  it('leaves the others waiting', () => {
    const order: string[] = []
    for (const [name, milliseconds] of Object.entries({ late: 300, soon: 100, never: 200 })) {
      const keep = deadline(milliseconds, () => order.push(name))
      if (name === 'never') keep()
    }
    vi.advanceTimersByTime(1_000)
    expect(order).toEqual(['soon', 'late'])
  })
})

describe('the timer', () => {
  it('is one for all who wait, and runs only while somebody does', () => {
    expect(vi.getTimerCount()).toBe(0)
    const kept = [deadline(500, () => {}), deadline(100, () => {}), deadline(900, () => {})]
    expect(vi.getTimerCount()).toBe(1)
    for (const keep of kept) keep()
    vi.advanceTimersByTime(50)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('has nothing done at a tick at which nobody is late', () => {
    deadline(500, () => {})
    vi.advanceTimersToNextTimer()
    expect(vi.getTimerCount()).toBe(1)
  })

  it('starts again for who comes later', () => {
    deadline(0, () => {})
    vi.advanceTimersByTime(500)
    expect(vi.getTimerCount()).toBe(0)
    const giveUp = vi.fn()
    deadline(100, giveUp)
    vi.advanceTimersByTime(200)
    expect(giveUp).toHaveBeenCalledTimes(1)
  })
})

// As workerd has it; test/runtimes runs the whole there.
describe('where a timer ends with the request that made it, each deadline', () => {
  let giveUp: ReturnType<typeof vi.fn<() => void>>
  let begin: (milliseconds: number) => Waiting

  beforeEach(async () => {
    vi.stubGlobal('navigator', { userAgent: 'Cloudflare-Workers' })
    vi.resetModules()
    const there = await import('../src/deadline.ts')
    giveUp = vi.fn<() => void>()
    class There extends there.Deadline {
      keep = () => this.met()
      protected override expired = () => giveUp()
    }
    begin = (milliseconds) => new There(milliseconds) as unknown as Waiting
  })
  afterEach(() => vi.unstubAllGlobals())

  it('has a timer of its own, which comes at its time and once', () => {
    begin(100)
    begin(200)
    expect(vi.getTimerCount()).toBe(2)
    vi.advanceTimersByTime(99)
    expect(giveUp).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(giveUp).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(1_000)
    expect(giveUp).toHaveBeenCalledTimes(2)
  })

  it('leaves no timer when it is met, and the others theirs', () => {
    const met = begin(100)
    begin(100)
    met.keep()
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(1_000)
    expect(giveUp).toHaveBeenCalledTimes(1)
  })
})
