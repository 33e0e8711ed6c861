import { AsyncLocalStorage } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import timersPromises from 'node:timers/promises'
import type { Random } from './random.ts'
import type { Timeline } from './timeline.ts'

/** Where time is virtual, and chance can be had again. */
export interface Surroundings {
  readonly timeline: Pick<Timeline, 'now' | 'wait'>
  readonly random: Random
}

const surroundings = new AsyncLocalStorage<Surroundings | undefined>()

/** All that `work` begins lives in virtual time: `Date.now`, `performance.now`, `setTimeout`, `setInterval` and `Math.random` are the timeline's. */
export function inVirtualTime<T>(here: Surroundings, work: () => T): T {
  return surroundings.run(here, work)
}

/** For drivers, which talk to a real server. */
export function inRealTime<T>(work: () => T): T {
  return surroundings.run(undefined, work)
}

/** The dice of whoever is at work. */
export function dice(): Random {
  return surroundings.getStore()!.random
}

class VirtualTimer {
  isOver = false
  ref = () => this
  unref = () => this
}

/** For those who import it by name. */
function setSleep(sleep: typeof timersPromises.setTimeout): void {
  timersPromises.setTimeout = sleep
  syncBuiltinESMExports()
}

/** Puts virtual time in place, for those who live in it; the others keep theirs. The result takes it away again. */
export function installVirtualTime(): () => void {
  const real = { setTimeout, clearTimeout, setInterval, clearInterval, now: Date.now, random: Math.random }
  const realPerformanceNow = performance.now
  const realSleep = timersPromises.setTimeout
  const clear = (original: (timer: never) => void) => (timer: unknown) => {
    if (timer instanceof VirtualTimer) timer.isOver = true
    else original(timer as never)
  }

  function timeout(work: (...args: unknown[]) => void, milliseconds = 0, ...args: unknown[]): unknown {
    const here = surroundings.getStore()
    if (!here) return real.setTimeout(work, milliseconds, ...args)
    const timer = new VirtualTimer()
    void here.timeline.wait(milliseconds).then(() => {
      if (!timer.isOver) work(...args)
    })
    return timer
  }

  function interval(work: () => void, milliseconds: number): unknown {
    const here = surroundings.getStore()
    if (!here) return real.setInterval(work, milliseconds)
    const timer = new VirtualTimer()
    void (async () => {
      for (;;) {
        await here.timeline.wait(milliseconds)
        if (timer.isOver) return
        work()
      }
    })()
    return timer
  }

  Object.assign(globalThis, {
    setTimeout: timeout,
    clearTimeout: clear(real.clearTimeout),
    setInterval: interval,
    clearInterval: clear(real.clearInterval),
  })
  const sleep: typeof realSleep = async (milliseconds, value, options) => {
    const here = surroundings.getStore()
    if (!here) return realSleep(milliseconds, value, options)
    await here.timeline.wait(milliseconds ?? 0)
    return value as never
  }
  setSleep(sleep)
  const wholeNow = () => {
    const here = surroundings.getStore()
    return here && Math.floor(here.timeline.now)
  }
  Date.now = () => wholeNow() ?? real.now()
  performance.now = () => surroundings.getStore()?.timeline.now ?? realPerformanceNow.call(performance)
  Math.random = () => surroundings.getStore()?.random.next() ?? real.random()

  return () => {
    const { now, random, ...timers } = real
    Object.assign(globalThis, timers)
    Date.now = now
    Math.random = random
    performance.now = realPerformanceNow
    setSleep(realSleep)
  }
}
