/** One reply of the server: a line and, after `VA`, the value. */
export interface Reply {
  /** The first word: `HD`, `VA`, `EN`, … */
  readonly status: string
  /** The whole line, without its end. */
  readonly line: string
  readonly value?: Buffer
}

/** What follows the one-letter flag in a reply: `'7'` for `c` in `HD c7`. */
export function flagOf({ line }: Reply, flag: string): string | undefined {
  const [, found] = new RegExp(` ${flag}(\\S*)`).exec(line) ?? []
  return found
}

/** No line that memcached sends is nearly as long. */
const LONGEST_LINE = 16_384

/** Cuts what arrives, in chunks of any size, into replies. */
export class ReplyReader {
  readonly #onReply: (reply: Reply) => void
  #chunks: Buffer[] = []
  #length = 0
  /** Fewer bytes than these hold no whole reply, so they are only kept: a big value is put together once. */
  #needed = 0

  constructor(onReply: (reply: Reply) => void) {
    this.#onReply = onReply
  }

  /** @throws Error if what arrives is not the protocol of memcached. */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    if (this.#length < this.#needed) return
    const arrived = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    let start = 0
    for (let end = this.#read(arrived, start); end !== undefined; end = this.#read(arrived, start))
      start = end
    const rest = arrived.subarray(start)
    this.#chunks = rest.length > 0 ? [rest] : []
    this.#length = rest.length
  }

  /** Reports the reply that starts at `start`, if all of it is there; where it ends. */
  #read(arrived: Buffer, start: number): number | undefined {
    const lineEnd = arrived.indexOf('\r\n', start)
    if (lineEnd < 0) {
      if (arrived.length - start > LONGEST_LINE) throw new Error('it sent a line without an end')
      this.#needed = arrived.length - start + 1
      return undefined
    }
    const line = arrived.toString('latin1', start, lineEnd)
    const status = line.split(' ', 1)[0] as string
    if (status !== 'VA') {
      this.#onReply({ status, line })
      return lineEnd + 2
    }
    const [, size] = /^VA (\d{1,10})(?: |$)/.exec(line) ?? []
    if (size === undefined) throw new Error(`it sent the line ${JSON.stringify(line.slice(0, 80))}`)
    const valueEnd = lineEnd + 2 + Number(size)
    if (arrived.length < valueEnd + 2) {
      this.#needed = valueEnd + 2 - start
      return undefined
    }
    if (arrived[valueEnd] !== 0x0d || arrived[valueEnd + 1] !== 0x0a) {
      throw new Error(`it sent a value that is not ${size} bytes long`)
    }
    this.#onReply({ status, line, value: arrived.subarray(lineEnd + 2, valueEnd) })
    return valueEnd + 2
  }
}
