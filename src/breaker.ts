import { AsyncResource } from 'node:async_hooks'
import { Deadline } from './deadline.ts'

/** The store gave no answer in time. A write may have been done all the same, or may still be. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError'
}

/** The store was not asked, since it answers nobody at the moment. */
export class NotAskedError extends Error {
  override readonly name = 'NotAskedError'
}

/** How long an operation may take, in milliseconds, by the name of the option that says so. */
export interface Limit {
  readonly name: string
  readonly milliseconds: number
  /** Reads or writes many records: takes too long to tell by it whether the store is gone, or back. */
  readonly isBulk?: boolean
}

export interface BreakerEvents {
  /** From now on nobody waits for the store but one probe at a time. */
  outage(error: Error): void
  /** The store answers again, after so many milliseconds. */
  recovered(milliseconds: number): void
}

/** Between two probes; a quarter more or less, so that instances do not probe in step. */
const REST_MS = 200
/** When nobody has asked for so long since a probe was due, nobody knows whether the store is still gone. */
const SILENCE_MS = 1_000
/** How many operations may be under way when the store has just come back; each that is answered lets one more in. */
const FIRST_AFTER_OUTAGE = 4
/** From here on there is no limit. */
const ENOUGH = 256

/**
 * Gives each operation a deadline, and spares the others the wait when the store is gone: when a deadline passes, and nothing at all has
 * been answered since that operation was sent, all are refused at once but for a probe now and then. Once one succeeds the others follow, the
 * more of them the more succeed, so that a store which has just come back is not run over.
 *
 * After a silence the others wait for the probe: a store that answered nobody last night is no reason to refuse anybody this morning.
 *
 * A quick error is an answer: it holds nobody up. A late success is one too, and ends an outage.
 */
export class Breaker {
  readonly #name: string
  readonly #events: BreakerEvents
  #outage: Outage | undefined
  /** How many operations may be under way at once. */
  #room = Number.POSITIVE_INFINITY
  #underWay = 0
  #answers = 0
  readonly #queue: Asked[] = []

  /** `name` is the store's. */
  constructor(name: string, events: BreakerEvents) {
    this.#name = name
    this.#events = events
  }

  /** @throws NoAnswerError or NotAskedError, or what `work` throws */
  ask<T>(limit: Limit, work: () => Promise<T>): Promise<T> {
    const isProbe = this.#outage !== undefined && this.#mayProbe(this.#outage, limit)
    if (this.#outage && !isProbe && !this.#outage.isAwaited) return Promise.reject(this.notAsked())
    return new Promise((resolve, reject) => {
      const isSent = isProbe || (!this.#outage && this.#underWay < this.#room)
      // Whoever lets it in later must not be taken for its request, by a tracer or by an AsyncLocalStorage of the application's.
      const own = isSent ? work : AsyncResource.bind(work)
      const asked = new Asked(this, limit, own, resolve as (value: unknown) => void, reject)
      if (isSent) asked.send()
      else this.#queue.push(asked)
    })
  }

  /** An operation is sent. Returns how many have been answered before. */
  sent(): number {
    this.#underWay++
    return this.#answers
  }

  /** `isLate`: it had been given up. */
  succeeded(isLate: boolean): void {
    if (!isLate) this.#underWay--
    this.#answers++
    if (this.#outage) {
      const { since } = this.#outage
      this.#outage = undefined
      this.#room = FIRST_AFTER_OUTAGE
      this.#events.recovered(performance.now() - since)
    } else if (this.#room < ENOUGH) {
      this.#room++
    } else {
      this.#room = Number.POSITIVE_INFINITY
    }
    if (this.#queue.length > 0) this.#letIn()
  }

  failed(isLate: boolean): void {
    if (!isLate) this.#underWay--
    this.#answers++
    if (this.#outage) this.#rest(this.#outage)
    this.#letIn()
  }

  /** One was given up that had been sent after so many answers. */
  unanswered({ isBulk = false }: Limit, answersBefore: number, error: NoAnswerError): void {
    this.#underWay--
    if (this.#answers === answersBefore && !isBulk) {
      if (this.#outage) {
        this.#rest(this.#outage)
      } else {
        const now = performance.now()
        this.#outage = { since: now, isProbed: false, isAwaited: false, probeAt: now + rest() }
        this.#events.outage(error)
      }
    }
    this.#letIn()
  }

  notAsked(): NotAskedError {
    return new NotAskedError(
      `not asked: the ${this.#name} store answers nobody at the moment. It is tried again every ${REST_MS} ms`,
    )
  }

  #mayProbe(outage: Outage, { isBulk = false }: Limit): boolean {
    const now = performance.now()
    if (outage.isProbed || now < outage.probeAt) return false
    const isSilent = now > outage.probeAt + SILENCE_MS
    if (!isBulk) {
      outage.isProbed = true
      outage.isAwaited = isSilent
    } else if (!isSilent) {
      outage.probeAt = now + rest()
    }
    return true
  }

  #rest(outage: Outage): void {
    outage.isProbed = false
    outage.isAwaited = false
    outage.probeAt = performance.now() + rest()
  }

  /** What waits while the store comes back, or may; if it does not, that ends with each one's deadline. */
  #letIn(): void {
    while (!this.#outage && this.#queue.length > 0 && this.#underWay < this.#room) this.#queue.shift()!.send()
  }
}

interface Outage {
  readonly since: number
  isProbed: boolean
  /** Others wait for what becomes of the probe. */
  isAwaited: boolean
  probeAt: number
}

/** A store of somebody's own may answer without a promise, or throw. */
export function begin<T>(work: () => Promise<T>): Promise<T> {
  try {
    return Promise.resolve(work())
  } catch (error) {
    return Promise.reject(error)
  }
}

function rest(): number {
  return REST_MS * (0.75 + Math.random() / 2)
}

/** An operation, from when it is asked for until it is answered or given up. */
class Asked extends Deadline {
  private state: 'waiting' | 'sent' | 'over' = 'waiting'
  private answersBefore = 0
  private readonly breaker: Breaker
  private readonly limit: Limit
  private readonly work: () => Promise<unknown>
  private readonly resolve: (value: unknown) => void
  private readonly reject: (error: unknown) => void

  constructor(
    breaker: Breaker,
    limit: Limit,
    work: () => Promise<unknown>,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    super(limit.milliseconds)
    this.breaker = breaker
    this.limit = limit
    this.work = work
    this.resolve = resolve
    this.reject = reject
  }

  send(): void {
    if (this.state === 'over') return
    this.state = 'sent'
    this.answersBefore = this.breaker.sent()
    begin(this.work).then(
      (value) => {
        this.breaker.succeeded(this.isOver())
        this.resolve(value)
      },
      (error) => {
        this.breaker.failed(this.isOver())
        this.reject(error)
      },
    )
  }

  /** Whether it had been given up; if not, it is over now. */
  private isOver(): boolean {
    if (this.state === 'over') return true
    this.state = 'over'
    this.met()
    return false
  }

  protected override expired(): void {
    const wasSent = this.state === 'sent'
    this.state = 'over'
    if (wasSent) {
      const { milliseconds, name } = this.limit
      const error = new NoAnswerError(`no answer within ${milliseconds} ms (${name})`)
      this.breaker.unanswered(this.limit, this.answersBefore, error)
      this.reject(error)
    } else {
      this.reject(this.breaker.notAsked())
    }
  }
}
