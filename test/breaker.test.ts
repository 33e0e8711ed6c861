import { AsyncLocalStorage } from 'node:async_hooks'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Breaker, type Limit, NoAnswerError, NotAskedError } from '../src/breaker.ts'

const LIMIT: Limit = { name: 'deadlines.load', milliseconds: 500 }
const BULK: Limit = { name: 'deadlines.request', milliseconds: 500, isBulk: true }
/** A deadline, and what its timer may be late by. */
const DEADLINE = 600

interface Asked {
  answer(value?: unknown): void
  fail(error?: unknown): void
}
let asked: Asked[]
let events: [name: string, what: unknown][]
let breaker: Breaker

beforeEach(() => {
  vi.useFakeTimers()
  vi.spyOn(Math, 'random').mockReturnValue(0.5) // a rest of 200 ms
  asked = []
  events = []
  breaker = new Breaker('redis', {
    outage: (error) => events.push(['outage', error.message]),
    recovered: (milliseconds) => events.push(['recovered', milliseconds]),
  })
})
afterEach(() => {
  vi.advanceTimersByTime(10_000) // the timer of all deadlines ends
  vi.restoreAllMocks()
  vi.useRealTimers()
})

/** Asks the store, and says how that ended so far. */
function ask(limit = LIMIT) {
  const outcome = { end: undefined as unknown }
  breaker
    .ask(limit, () => new Promise((answer, fail) => asked.push({ answer, fail })))
    .then(
      (value) => (outcome.end = value),
      (error) => (outcome.end = error),
    )
  return outcome
}

const wait = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)
const notAsked = expect.any(NotAskedError)

/** One that was asked and got no answer. */
async function outage(): Promise<Asked> {
  ask()
  await wait(DEADLINE)
  expect(events).toHaveLength(1)
  return asked.pop()!
}

describe('a store that answers', () => {
  it('is asked each time, and its values and errors are handed on', async () => {
    const [value, error] = [ask(), ask()]
    asked[0]!.answer('v')
    asked[1]!.fail('e')
    await wait(0)
    expect([value.end, error.end]).toEqual(['v', 'e'])
    await wait(DEADLINE)
    expect(events).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('may answer or throw without a promise', async () => {
    const value = breaker.ask(LIMIT, () => 'v' as unknown as Promise<string>)
    const error = breaker.ask(LIMIT, () => {
      throw new Error('e')
    })
    await expect(value).resolves.toBe('v')
    await expect(error).rejects.toThrow('e')
  })

  it('may be asked by any number at once', async () => {
    for (let n = 0; n < 1_000; n++) ask()
    expect(asked).toHaveLength(1_000)
  })

  it('late to one is not gone, while others are answered, be it by errors', async () => {
    for (const end of ['answer', 'fail'] as const) {
      const late = ask()
      await wait(300)
      const quick = ask()
      asked.pop()![end]('quick')
      await wait(DEADLINE)
      expect([late.end, quick.end]).toEqual([expect.any(NoAnswerError), 'quick'])
      expect((late.end as Error).message).toBe('no answer within 500 ms (deadlines.load)')
    }
    expect(events).toEqual([])
    ask()
    expect(asked).toHaveLength(3)
  })

  it('is gone if what it answered came before the one that is late was sent', async () => {
    ask()
    asked.pop()!.answer()
    await wait(0)
    await outage()
    expect(events).toEqual([['outage', 'no answer within 500 ms (deadlines.load)']])
  })
})

describe('a store that is gone', () => {
  it('is an event once, however many wait', async () => {
    const all = [ask(), ask(), ask()]
    await wait(DEADLINE)
    expect(all.map(({ end }) => (end as Error).name)).toEqual(Array(3).fill('NoAnswerError'))
    expect(events).toEqual([['outage', 'no answer within 500 ms (deadlines.load)']])
  })

  it('is not asked, and who would ask is told so at once', async () => {
    await outage()
    const refused = ask()
    await wait(0)
    expect(refused.end).toEqual(notAsked)
    expect(refused.end).toMatchObject({
      name: 'NotAskedError',
      message: 'not asked: the redis store answers nobody at the moment. It is tried again every 200 ms',
    })
    expect(asked).toHaveLength(0)
  })

  it('is asked by one after a rest, and by no other meanwhile', async () => {
    await outage()
    await wait(200)
    const probe = ask()
    const second = ask()
    await wait(0)
    expect(asked).toHaveLength(1)
    expect([probe.end, second.end]).toEqual([undefined, notAsked])
    await wait(300)
    ask()
    expect(asked).toHaveLength(1)
  })

  it('rests again after a probe that got an error or no answer', async () => {
    await outage()
    for (const fails of [true, false]) {
      await wait(200)
      ask()
      expect(asked).toHaveLength(1)
      const probe = asked.pop()!
      if (fails) probe.fail('refused')
      else await wait(DEADLINE) // of which the rest so far is less than 100 ms
      await wait(0)
      ask()
      await wait(50)
      ask()
      expect(asked).toHaveLength(0)
    }
    await wait(200)
    ask()
    expect(asked).toHaveLength(1)
    expect(events).toHaveLength(1)
  })

  it('rests for a quarter less or more at random, so that instances do not ask in step', async () => {
    for (const [random, rest] of [
      [0, 150],
      [0.999, 250],
    ] as const) {
      vi.mocked(Math.random).mockReturnValue(random)
      events = []
      breaker = new Breaker('redis', { outage: () => events.push(['', '']), recovered() {} })
      asked = []
      ask()
      while (events.length === 0) await wait(1)
      asked = []
      await wait(rest - 5)
      ask()
      expect(asked).toHaveLength(0)
      await wait(6)
      ask()
      expect(asked).toHaveLength(1)
    }
  })

  it('is asked by what reads many records as well, which does not hold up the next probe', async () => {
    await outage()
    await wait(200)
    ask(BULK)
    ask(BULK)
    ask()
    expect(asked).toHaveLength(1)
    await wait(200)
    ask()
    ask()
    expect(asked).toHaveLength(2)
  })
})

describe('a store that nobody asked for more than a second since a probe was due', () => {
  async function silence() {
    await outage()
    await wait(1_250)
    const probe = ask()
    const others = [ask(), ask(), ask(), ask(), ask(), ask()]
    expect(asked).toHaveLength(1)
    return { probe, others }
  }
  const ends = (outcomes: { end: unknown }[]) => outcomes.map(({ end }) => end)

  it('is probed by one, and the others wait for that and follow', async () => {
    const { probe, others } = await silence()
    asked.shift()!.answer('probe')
    await wait(0)
    expect(asked).toHaveLength(4)
    while (asked.length > 0) {
      asked.shift()!.answer('other')
      await wait(0)
    }
    expect(ends([probe, ...others])).toEqual(['probe', ...Array(6).fill('other')])
  })

  it('refuses the others at their deadlines if the probe gets no answer, and later ones at once', async () => {
    const { probe, others } = await silence()
    await wait(DEADLINE)
    expect(ends([probe, ...others])).toEqual([expect.any(NoAnswerError), ...Array(6).fill(notAsked)])
    const later = ask()
    await wait(0)
    expect(later.end).toEqual(notAsked)
    expect(asked).toHaveLength(1)
  })

  it('is probed by others while it reads or writes many records for one', async () => {
    await outage()
    await wait(1_250)
    const outcomes = [ask(BULK), ask(), ask()]
    expect(asked).toHaveLength(2)
    asked[1]!.answer('v')
    await wait(0)
    expect(asked).toHaveLength(3)
    asked[0]!.answer('v')
    asked[2]!.answer('v')
    await wait(0)
    expect(ends(outcomes)).toEqual(['v', 'v', 'v'])
  })

  it('refuses later ones at once if the probe gets an error', async () => {
    await silence()
    asked.shift()!.fail('refused')
    await wait(0)
    const later = ask()
    await wait(0)
    expect(later.end).toEqual(notAsked)
  })
})

describe('a store that is back', () => {
  it('has no more room for the late error of one that was given up', async () => {
    const givenUp = await outage()
    await wait(200)
    ask()
    asked.pop()!.answer()
    givenUp.fail('late')
    await wait(0)
    for (let n = 0; n < 10; n++) ask()
    expect(asked).toHaveLength(4)
  })

  it('is an event that says how long it was gone', async () => {
    await outage()
    const from = performance.now()
    await wait(300)
    ask()
    asked.pop()!.answer()
    await wait(0)
    expect(events).toHaveLength(2)
    const [name, milliseconds] = events[1]!
    expect(name).toBe('recovered')
    expect(Math.abs((milliseconds as number) - (performance.now() - from))).toBeLessThanOrEqual(50)
  })

  it('is known by a late answer to what was given up long ago, too', async () => {
    const late = await outage()
    late.answer()
    await wait(0)
    expect(events.map(([name]) => name)).toEqual(['outage', 'recovered'])
    ask()
    expect(asked).toHaveLength(1)
  })

  it('does what waited as part of the request that asked for it', async () => {
    const request = new AsyncLocalStorage<number>()
    ;(await outage()).answer()
    await wait(0)
    const began: (number | undefined)[] = []
    const waiting: (() => void)[] = []
    const work = () => {
      began.push(request.getStore())
      return new Promise<void>((answer) => waiting.push(answer))
    }
    const all = Array.from({ length: 12 }, (_, n) => request.run(n, () => breaker.ask(LIMIT, work)))
    expect(began).toEqual([0, 1, 2, 3])
    while (waiting.length > 0) {
      waiting.shift()!()
      await wait(0)
    }
    await Promise.all(all)
    expect(began).toEqual(Array.from({ length: 12 }, (_, n) => n))
  })

  it('is not known by an error', async () => {
    const late = await outage()
    late.fail()
    await wait(0)
    expect(events).toHaveLength(1)
  })

  it('is asked by four at once, and by one more for each that it answers', async () => {
    ;(await outage()).answer()
    await wait(0)
    for (let n = 0; n < 400; n++) ask()
    expect(asked).toHaveLength(4)
    let answered = 0
    for (let room = 5; room <= 100; room++) {
      asked[answered++]!.answer()
      await wait(0)
      expect(asked.length - answered).toBe(room)
    }
  })

  it('has no limit once 256 were under way', async () => {
    ;(await outage()).answer()
    await wait(0)
    for (let n = 0; n < 252; n++) {
      ask()
      asked.pop()!.answer()
      await wait(0)
    }
    for (let n = 0; n < 300; n++) ask()
    expect(asked).toHaveLength(256)
    asked[0]!.answer()
    await wait(0)
    expect(asked).toHaveLength(300)
    for (let n = 0; n < 300; n++) ask()
    expect(asked).toHaveLength(600)
  })

  it('has room for the next also after an error, which lets in no more', async () => {
    ;(await outage()).answer()
    await wait(0)
    for (let n = 0; n < 10; n++) ask()
    asked[0]!.fail()
    asked[1]!.fail()
    await wait(0)
    expect(asked).toHaveLength(6)
  })

  it('does not do what was given up while it waited its turn, and says that it was not asked', async () => {
    ;(await outage()).answer()
    await wait(0)
    for (let n = 0; n < 4; n++) ask()
    const [short, long] = [ask({ name: 'short', milliseconds: 100 }), ask()]
    await wait(200)
    expect([short.end, long.end]).toEqual([notAsked, undefined])
    expect(asked).toHaveLength(4)
    asked[0]!.answer()
    await wait(0)
    expect(asked).toHaveLength(5)
    asked[4]!.answer('long')
    await wait(0)
    expect(long.end).toBe('long')
  })

  it('and goes again, lets what waits fail at its deadline, unasked', async () => {
    ;(await outage()).answer()
    await wait(0)
    for (let n = 0; n < 4; n++) ask()
    await wait(300)
    const waiting = ask()
    await wait(DEADLINE - 300)
    expect(events.map(([name]) => name)).toEqual(['outage', 'recovered', 'outage'])
    await wait(300)
    expect(waiting.end).toEqual(notAsked)
    expect(asked).toHaveLength(4)
  })
})
