import type { SessionIndex, Store } from 'holdfast'
import type { Random } from '../random.ts'
import type { Timeline } from '../timeline.ts'
import { Traffic } from '../traffic.ts'
import { dice } from '../virtual-time.ts'
import type { Weather } from './program.ts'

/** One life of a process. */
export class Life {
  isOver = false
  #end!: () => void
  readonly over = new Promise<void>((resolve) => (this.#end = resolve))

  end(): void {
    this.isOver = true
    this.#end()
  }
}

/** What becomes of one operation. `never`: whoever asked hears nothing. */
type Fate = 'done' | 'refused' | 'lost' | 'late' | 'dropped'

/** All that stands between the processes and their stores. */
export class Climate {
  /** Operations that a store was asked for. */
  operations = 0
  readonly traffic = new Traffic()
  readonly #timeline: Timeline
  #weather: Weather = 'calm'
  readonly #changes: (() => void)[] = []
  /** Called with each session key that has been created. */
  readonly #created: (key: string) => void

  constructor(timeline: Timeline, created: (key: string) => void) {
    this.#timeline = timeline
    this.#created = created
  }

  get weather(): Weather {
    return this.#weather
  }

  change(weather: Weather): void {
    this.#weather = weather
    for (const resume of this.#changes.splice(0)) resume()
  }

  disturb(life: Life, store: Store, part?: 'cache'): Store {
    const ask =
      <Args extends unknown[], T>(work: (...args: Args) => Promise<T>) =>
      (...args: Args): Promise<T> =>
        this.#ask(life, part, () => work.apply(store, args))
    const index = (of: SessionIndex): SessionIndex => ({
      list: ask(of.list.bind(of)),
      destroy: ask(of.destroy.bind(of)),
    })
    const create: Store['create'] = async (key, record, options) => {
      const isCreated = await store.create(key, record, options)
      if (isCreated && part === undefined) this.#created(key)
      return isCreated
    }
    return {
      name: store.name,
      compareAndSet: store.compareAndSet,
      load: ask(store.load),
      create: ask(create),
      update: ask(store.update),
      touch: ask(store.touch),
      destroy: ask(store.destroy),
      ...(store.users && { users: index(store.users) }),
      ...(store.externalIds && { externalIds: index(store.externalIds) }),
      ...(store.scan && { scan: ask(store.scan) }),
      ...(store.sweep && { sweep: ask(store.sweep) }),
    }
  }

  async #ask<T>(life: Life, part: 'cache' | undefined, work: () => Promise<T>): Promise<T> {
    this.operations++
    const random = dice()
    const wait = (low: number, high: number) => this.#timeline.wait(random.between(low, high))
    const isSlow = this.weather === 'slow'
    const fate = this.#fateOf(part, random)
    await wait(0, isSlow ? 180 : 3)
    if (fate === 'refused') throw new Error('refused by the model')
    if (fate === 'dropped') return never()
    while (this.#weather === 'frozen') await new Promise<void>((resume) => this.#changes.push(resume))
    if (fate === 'late') await wait(300, 20_000)
    // What a process had not sent when it was killed is not done; what it had sent is.
    if (life.isOver) return never()
    const result = await this.traffic.run(work)
    if (fate === 'lost') return never()
    await wait(0, isSlow ? 180 : 3)
    return life.isOver ? never() : result
  }

  #fateOf(part: 'cache' | undefined, random: Random): Fate {
    const { weather } = this
    switch (weather) {
      case 'calm':
      case 'slow':
        return 'done'
      case 'late':
        return random.chance(0.3) ? 'late' : 'done'
      case 'lossy':
        return random.chance(0.3) ? 'lost' : 'done'
      case 'refusing':
        return random.chance(0.4) ? 'refused' : 'done'
      case 'frozen':
        return random.chance(0.4) ? 'late' : 'dropped'
      case 'down':
        return 'refused'
      case 'without cache':
        return part === 'cache' ? random.pick(['refused', 'dropped', 'lost'] as const) : 'done'
    }
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}
