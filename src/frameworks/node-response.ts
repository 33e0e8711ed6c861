/**
 * Holds a Node response back until the session is committed: no byte of it leaves before.
 *
 * A response has four ways out: `writeHead`, `write`, `end` and `flushHeaders` (pipes, implicit headers and all that frameworks
 * do come through these). The first call asks the gate. If there is something to wait for, that call and what follows is queued,
 * while the response looks as if it had been done; then the calls are made in order, and `writeHead` adds the gate's headers.
 *
 * Informational answers (1xx) are no part of the response and pass at once; newer Node refuses them once it has begun, waiting
 * or not. What bypasses the response object cannot be held: `res.socket`, `res.stream` of HTTP/2, and the deprecated alias
 * `writeHeader`.
 */
import type { ServerResponse } from 'node:http'
import type { HeaderChange } from '../cookie.ts'
import { appended, strengthened } from './headers.ts'
import { headersSentError, type Mask, putOnMask } from './response-mask.ts'

/** What decides when a response may leave, and what it carries. */
export interface Gate {
  /**
   * Called once, with the status that is about to leave. Returns the headers that must go along: at once when there is nothing
   * to wait for, else a promise. If it throws or rejects, the application's headers and body are dropped and `failed` is called.
   * If the client is gone, it is called only by `end`: an answer that is given up commits nothing.
   */
  beforeHeaders(status: number): readonly HeaderChange[] | Promise<readonly HeaderChange[]>

  /**
   * The commit failed, or the application's answer turned out not to be one that Node can send. The response is as new (status
   * 200, no headers, nothing written), for the framework's error path to answer, now or later. That answer does not come
   * through `beforeHeaders` again; it carries what is `stillDue`, or what a commit that went well had asked for.
   *
   * If the application was still writing, what it goes on to write is dropped: every call while the response still is as new,
   * but for those made in `failed` itself. So an error path that answers later must set a status or a header first.
   * If `failed` throws or rejects, the connection is closed.
   */
  failed(error: unknown): void | Promise<void>

  /** The headers that must go along although the commit failed: a cookie that an earlier commit made due. Must not throw. */
  stillDue?(): readonly HeaderChange[]

  /** The response has ended, or the connection is gone. Called exactly once, and must not throw. */
  closed?(): void
}

/**
 * Lets the response wait for the gate. Call it before anything is written; several gates on one response wait for each other,
 * the latest first. Other middleware may patch the same methods, before or after.
 */
export function holdResponse(res: ServerResponse, gate: Gate): void {
  new Hold(res, gate)
}

/** The ways out, without their overloads. */
interface Exits {
  writeHead(...args: unknown[]): unknown
  write(...args: unknown[]): unknown
  end(...args: unknown[]): unknown
  flushHeaders(...args: unknown[]): unknown
}

interface Deferred {
  readonly exit: keyof Exits
  readonly args: unknown[]
}

interface Source {
  unpipe?(res: ServerResponse): void
  destroy?(): void
  listenerCount(event: string): number
}

const NONE: readonly HeaderChange[] = []

class Hold {
  private readonly res: ServerResponse
  private readonly gate: Gate
  /** As they were before us, patched or not. */
  private readonly below: Exits
  private readonly exits: Exits

  private phase: 'held' | 'waiting' | 'open' | 'failed' = 'held'
  private changes = NONE
  private queue: Deferred[] = []
  private mask: Mask | undefined
  /** The application has called `end`. */
  private isEnded = false
  private isClosed = false

  private error: unknown
  private isInFailed = false
  private source: Source | undefined

  constructor(res: ServerResponse, gate: Gate) {
    const exits = res as Exits
    this.res = res
    this.gate = gate
    this.below = {
      writeHead: exits.writeHead,
      write: exits.write,
      end: exits.end,
      flushHeaders: exits.flushHeaders,
    }
    this.exits = {
      writeHead: (...args) => this.writeHead(args),
      write: (...args) => this.leave('write', args, false),
      end: (...args) => this.leave('end', args, res),
      flushHeaders: (...args) => this.leave('flushHeaders', args, undefined),
    }
    this.patch()
    res.on('pipe', (source) => {
      this.source = source
    })
    if (res.closed) process.nextTick(() => this.close())
    else res.once('close', () => this.close())
  }

  private patch(): void {
    const { writeHead, write, end, flushHeaders } = this.exits
    const exits = this.res as Exits
    exits.writeHead = writeHead
    exits.write = write
    exits.end = end
    exits.flushHeaders = flushHeaders
  }

  private writeHead(args: unknown[]): unknown {
    if (this.phase === 'waiting') throw headersSentError('write')
    if (this.phase === 'held' && !this.isGone() && this.knock(Number(args[0]))) {
      return this.defer('writeHead', args.map(shallowCopy), this.res)
    }
    return this.sendHead(args)
  }

  /** `write`, `end` and `flushHeaders`; `meanwhile` is what the call returns if it has to wait. */
  private leave(exit: 'write' | 'end' | 'flushHeaders', args: unknown[], meanwhile: unknown): unknown {
    if (this.phase === 'held' && (exit === 'end' || !this.isGone())) this.knock(this.res.statusCode)
    if (this.phase === 'waiting') return this.defer(exit, args, meanwhile)
    if (this.phase === 'failed' && this.isLeftover()) {
      if (exit === 'write') rejectWrite(args, this.error)
      return meanwhile
    }
    return this.below[exit].apply(this.res, args)
  }

  /** HTTP/2 responses have no `destroyed`. */
  private isGone(): boolean {
    return this.res.destroyed || this.isClosed
  }

  /** Asks the gate. True if there is something to wait for. */
  private knock(status: number): boolean {
    const answer = this.ask(status)
    if (!('then' in answer)) {
      this.changes = answer
      this.phase = 'open'
      return false
    }
    this.phase = 'waiting'
    this.mask = putOnMask(this.res, status)
    answer.then(
      (changes) => this.open(changes),
      (error: unknown) => this.fail(error),
    )
    return true
  }

  private ask(status: number): readonly HeaderChange[] | Promise<readonly HeaderChange[]> {
    try {
      return this.gate.beforeHeaders(status)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  private defer(exit: keyof Exits, args: unknown[], meanwhile: unknown): unknown {
    this.queue.push({ exit, args })
    if (exit === 'end') {
      this.isEnded = true
      this.mask?.ended()
    } else if (exit === 'write' && !this.isEnded) {
      this.mask?.full()
    }
    return meanwhile
  }

  private open(changes: readonly HeaderChange[]): void {
    this.takeOffMask()
    this.phase = 'open'
    this.changes = changes
    const waiters = this.queue.some(({ exit }) => exit === 'write')
    try {
      const isFlowing = this.sendQueue()
      // Where Node says false, its own 'drain' follows.
      if (waiters && isFlowing && !this.isEnded) process.nextTick(() => this.res.emit('drain'))
    } catch (error) {
      if (this.res.headersSent) {
        this.dropQueue(error)
        this.res.destroy(error as Error)
      } else {
        this.fail(error)
      }
    }
  }

  private takeOffMask(): void {
    this.mask?.takeOff()
    this.mask = undefined
  }

  private sendQueue(): boolean {
    let isFlowing = true
    for (let next = this.queue.shift(); next; next = this.queue.shift()) {
      const { exit, args } = next
      const result = exit === 'writeHead' ? this.sendHead(args) : this.below[exit].apply(this.res, args)
      if (result === false) isFlowing = false
    }
    return isFlowing
  }

  /** The changes stay due until a `writeHead` has gone well: one that throws may be followed by an error page. */
  private sendHead(args: unknown[]): unknown {
    const all = this.changes.reduce((args, change) => withChange(this.res, args, change), args)
    const result = this.below.writeHead.apply(this.res, all)
    this.changes = NONE
    return result
  }

  private fail(error: unknown): void {
    this.takeOffMask()
    this.phase = 'failed'
    this.error = error
    this.dropQueue(error)
    this.source?.unpipe?.(this.res)
    if (!this.res.headersSent) this.renew()
    if (this.changes.length === 0) this.changes = this.gate.stillDue?.() ?? NONE
    const hangUp = (thrown: unknown) => void this.res.destroy(thrown as Error)
    this.isInFailed = true
    try {
      this.gate.failed(error)?.catch(hangUp)
    } catch (thrown) {
      hangUp(thrown)
    } finally {
      this.isInFailed = false
    }
  }

  private dropQueue(error: unknown): void {
    for (const { exit, args } of this.queue) if (exit === 'write') rejectWrite(args, error)
    this.queue = []
  }

  private renew(): void {
    const { res } = this
    // What was put on after us (compression, say) is in the middle of the application's answer, and would swallow another.
    this.patch()
    const { sendDate } = res
    for (const name of res.getHeaderNames()) res.removeHeader(name)
    // Node makes none of these by itself once they have been removed.
    Object.assign(res, { sendDate, _removedContLen: false, _removedTE: false, _removedConnection: false })
    res.addTrailers({})
    res.statusCode = 200
    if (ownValue(res, 'statusMessage')) res.statusMessage = ''
  }

  /**
   * Whether this call goes on with the answer that was dropped. The application may not know yet, and Node would crash the
   * process for a write after the error path's end, or send a 200 if the application's `end` came first.
   */
  private isLeftover(): boolean {
    const { res } = this
    if (this.isInFailed) return false
    return res.writableEnded || (!this.isEnded && res.statusCode === 200 && res.getHeaderNames().length === 0)
  }

  private close(): void {
    this.isClosed = true
    // To a pipeline the error page looks like its own end, and its source would stay open. Unless somebody else reads it.
    if (this.phase === 'failed' && this.source?.listenerCount('data') === 0) this.source.destroy?.()
    this.gate.closed?.()
  }
}

/** As Node does on a destroyed response, where the callbacks of `end` are never called. */
function rejectWrite(args: unknown[], error: unknown): void {
  const callback = args.find((arg) => typeof arg === 'function')
  if (callback) process.nextTick(callback as (error: unknown) => void, error)
}

/** HTTP/2 has a getter instead, which prints a warning. */
function ownValue(res: ServerResponse, name: string): unknown {
  return Object.getOwnPropertyDescriptor(res, name)?.value
}

function shallowCopy(value: unknown): unknown {
  if (Array.isArray(value)) return [...value]
  return typeof value === 'object' && value !== null ? { ...value } : value
}

type Field = [name: string, value: unknown]

/**
 * The arguments of `writeHead` with the change in them. Its own headers replace what was set before, and without any set before
 * Node sends them as they are, so there the change belongs into them; else it is set on the response.
 */
function withChange(res: ServerResponse, args: unknown[], [name, value, how]: HeaderChange): unknown[] {
  const at = [2, 1].find((index) => typeof args[index] === 'object' && args[index] !== null)
  if (at === undefined) {
    const present = res.getHeader(name)
    res.setHeader(name, present === undefined ? value : merge(name, [present], value, how))
    return args
  }
  const fields = fieldsOf(args[at] as object)
  const given = fields.filter((field) => isNamed(field, name)).map(([, value]) => value)
  const merged = merge(name, given.length > 0 ? given : [res.getHeader(name)], value, how)
  const changed: Field[] = [...fields.filter((field) => !isNamed(field, name)), [name, merged]]
  return args.with(at, inTheShapeOf(args[at] as object, changed))
}

/** Node takes an object, `[name, value, name, value]` or `[[name, value], [name, value]]`. */
function fieldsOf(headers: object): Field[] {
  if (!Array.isArray(headers)) return Object.entries(headers)
  if (Array.isArray(headers[0])) return headers
  return headers.flatMap((name, index) =>
    index % 2 === 0 ? [[name, headers[index + 1]] satisfies Field] : [],
  )
}

function inTheShapeOf(headers: object, fields: Field[]): unknown {
  if (!Array.isArray(headers)) return Object.fromEntries(fields)
  return Array.isArray(headers[0]) ? fields : fields.flat()
}

function isNamed([own]: Field, name: string): boolean {
  return String(own).toLowerCase() === name.toLowerCase()
}

/** Cookies get a line of their own, other values join the list. What is there already is not added again. */
function merge(name: string, present: unknown[], value: string, how: 'append' | 'set'): string | string[] {
  const lines = present
    .flat()
    .filter((line) => line !== undefined)
    .map(String)
  if (name.toLowerCase() === 'set-cookie') return lines.includes(value) ? lines : [...lines, value]
  const list = lines.length === 0 ? undefined : lines.join(', ')
  return how === 'append' ? appended(list, value) : strengthened(list, value)
}
