/** What is written to: `process.stderr`. */
export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** How often the line of a terminal is rewritten, and how often a line is added elsewhere. */
const REDRAW_MS = 100
const LINE_MS = 5_000

/** What the speed is measured over, so that neither a pause nor a slow start counts for ever. */
const WINDOW_MS = 10_000
/** Below that it says little. */
const SHORTEST_WINDOW_MS = 1_000
const BETWEEN_SAMPLES_MS = 200

const LONGEST_BAR = 30
const SHORTEST_BAR = 5

interface Sample {
  readonly at: number
  readonly seen: number
}

/** How far a long command is: one line rewritten in place on a terminal, a line every few seconds elsewhere. `end` must be called. */
export class Progress {
  readonly #output: Output
  readonly #timer: NodeJS.Timeout
  readonly #samples: Sample[] = []
  #seen = 0
  #total: number | undefined

  /** @param before what is being done until the first `show` */
  constructor(output: Output, before: string) {
    this.#output = output
    const draw = () => this.#draw(this.#total === undefined ? before : this.#text(this.#total))
    this.#timer = setInterval(draw, output.isTTY ? REDRAW_MS : LINE_MS)
    draw()
  }

  show(seen: number, total: number): void {
    this.#seen = seen
    // What is counted can grow meanwhile.
    this.#total = Math.max(total, seen)
    const at = performance.now()
    const last = this.#samples.at(-1)
    if (last === undefined || at - last.at >= BETWEEN_SAMPLES_MS) this.#samples.push({ at, seen })
  }

  /** A line of its own, which stays. */
  note(line: string): void {
    this.#output.write(`${this.#output.isTTY ? CLEAR_LINE : ''}${line}\n`)
  }

  /** Leaves the terminal's line as it is at last. */
  end(): void {
    clearInterval(this.#timer)
    if (!this.#output.isTTY) return
    if (this.#total === undefined) this.#output.write(CLEAR_LINE)
    else this.#draw(this.#text(this.#total), '\n')
  }

  #draw(text: string, ending = ''): void {
    if (!this.#output.isTTY) return void this.#output.write(`${text}\n`)
    // A terminal that does not know its width says 0.
    const width = (this.#output.columns || 80) - 1
    const room = Math.min(width - text.length - '[]'.length, LONGEST_BAR)
    const line = this.#total === undefined || room < SHORTEST_BAR ? text : `${this.#bar(room)}${text}`
    this.#output.write(CLEAR_LINE + line.slice(0, width) + ending)
  }

  #bar(room: number): string {
    const filled = Math.floor(room * this.#share())
    return `[${'#'.repeat(filled)}${'.'.repeat(room - filled)}]`
  }

  #text(total: number): string {
    const speed = this.#speed()
    return [
      `${Math.floor(this.#share() * 100)}%`.padStart(5),
      `${format(this.#seen)} of ${format(total)} sessions`,
      ...(speed === undefined ? [] : [`${format(Math.round(speed))}/s`]),
      ...(speed && this.#seen < total ? [`${formatDuration((total - this.#seen) / speed)} left`] : []),
    ].join('  ')
  }

  #share(): number {
    return this.#total ? this.#seen / this.#total : 1
  }

  /** A second. */
  #speed(): number | undefined {
    const now = performance.now()
    while (this.#samples[1] !== undefined && this.#samples[1].at < now - WINDOW_MS) this.#samples.shift()
    const [first] = this.#samples
    if (first === undefined || now - first.at < SHORTEST_WINDOW_MS) return undefined
    return ((this.#seen - first.seen) / (now - first.at)) * 1000
  }
}

const CLEAR_LINE = '\r\x1b[K'

export function format(count: number): string {
  return count.toLocaleString('en-US')
}

/** Whole units, of which there are at least two: 119 s, 2 min, 119 min, 2 h. */
function formatDuration(seconds: number): string {
  if (seconds < 120) return `${Math.ceil(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`
}
