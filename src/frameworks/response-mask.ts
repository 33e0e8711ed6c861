/**
 * How a response looks while its bytes wait: as Node shows it after the calls that were made.
 *
 * Of an HTTP/1 response Node tells all of that from its fields, which are set, and set back. An HTTP/2 response has no such fields: there
 * another prototype covers its own.
 */
import type { ServerResponse } from 'node:http'

export interface Mask {
  /** `write` was called: who writes more is to wait for 'drain'. */
  full(): void
  /** `end` was called. */
  ended(): void
  takeOff(): void
}

/** From now on the headers seem to have left, with this status. */
export function putOnMask(res: ServerResponse, status: number): Mask {
  return Object.hasOwn(res, '_header')
    ? new FieldMask(res as Http1Response, status)
    : new CoverMask(res, status)
}

/** Node's own error, which it does not export. */
export function headersSentError(verb: string): Error {
  const error = new Error(`Cannot ${verb} headers after they are sent to the client`)
  return Object.assign(error, { code: 'ERR_HTTP_HEADERS_SENT' })
}

/** What older middleware asks in place of `headersSent`. */
const HEADER = 'waiting for the session'

interface Http1Response extends ServerResponse {
  /** `headersSent`, and whether headers may still be set. */
  _header: string | null
  /** `writableEnded` */
  finished: boolean
  /** Bytes that no socket has taken yet; while there are some, an ended response is not `writableFinished`. */
  outputSize: number
  /** `writableNeedDrain` is in a field that only this symbol opens. */
  [key: symbol]: unknown
}

let needDrain: symbol | undefined

class FieldMask implements Mask {
  private readonly res: Http1Response
  private readonly statusCode: number
  private readonly statusMessage: string

  constructor(res: Http1Response, status: number) {
    this.res = res
    this.statusCode = res.statusCode
    this.statusMessage = res.statusMessage
    res.statusCode = status
    res._header = HEADER
  }

  full(): void {
    needDrain ??= Object.getOwnPropertySymbols(this.res).find(
      ({ description }) => description === 'kNeedDrain',
    )
    if (needDrain) this.res[needDrain] = true
  }

  ended(): void {
    this.res.finished = true
    this.res.outputSize = 1
  }

  takeOff(): void {
    const { res } = this
    res.statusCode = this.statusCode
    if (res.statusMessage !== this.statusMessage) res.statusMessage = this.statusMessage
    res._header = null
    res.finished = false
    res.outputSize = 0
    if (needDrain) res[needDrain] = false
  }
}

interface CoveredResponse extends ServerResponse {
  [COVER]: CoverMask
}

const COVER = Symbol('holdfast: covered by')

/** Not a dozen properties of the response: to redefine and remove them would cost more than all else about a write. */
class CoverMask implements Mask {
  private readonly res: CoveredResponse
  private readonly statusCode: number
  private readonly face: object
  private readonly cover: object
  isEnded = false
  needsDrain = false

  constructor(res: ServerResponse, status: number) {
    this.res = res as CoveredResponse
    this.statusCode = res.statusCode
    this.face = Object.getPrototypeOf(res)
    this.cover = coverOf(this.face)
    this.res[COVER] = this
    Object.setPrototypeOf(res, this.cover)
    res.statusCode = status
  }

  full(): void {
    this.needsDrain = true
  }

  ended(): void {
    this.isEnded = true
    this.needsDrain = false
  }

  takeOff(): void {
    // Express gives a response another prototype when it enters or leaves a mounted application.
    if (Object.getPrototypeOf(this.res) === this.cover) Object.setPrototypeOf(this.res, this.face)
    this.res.statusCode = this.statusCode
  }
}

const covers = new WeakMap<object, object>()

function coverOf(face: object): object {
  const known = covers.get(face)
  if (known) return known
  const get = (look: (mask: CoverMask) => unknown) => ({
    get(this: CoveredResponse) {
      return look(this[COVER])
    },
  })
  const refused = (verb: string) => ({ value: refuse(verb), writable: true })
  const cover: object = Object.create(face, {
    headersSent: get(() => true),
    _header: { value: HEADER },
    writableEnded: get((mask) => mask.isEnded),
    finished: get((mask) => mask.isEnded),
    writableFinished: get(() => false),
    writableNeedDrain: get((mask) => mask.needsDrain),
    setHeader: refused('set'),
    setHeaders: refused('set'),
    appendHeader: refused('append'),
    removeHeader: refused('remove'),
  })
  covers.set(face, cover)
  return cover
}

function refuse(verb: string): () => never {
  return () => {
    throw headersSentError(verb)
  }
}
