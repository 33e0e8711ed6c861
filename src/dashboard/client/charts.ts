import uPlot from 'uplot'
import { h, say } from './dom.ts'
import { number, timeOfDay } from './format.ts'

export interface Line {
  readonly name: string
  /** A custom property of the style sheet. */
  readonly color: string
  /** So that the lines are told apart without colours too. */
  readonly isDashed?: boolean
}

export interface Chart {
  readonly element: HTMLElement
  /** `each`: how much time one value is of, in words, where values are counts. */
  show(times: readonly number[], values: readonly (readonly (number | null)[])[], each?: string): void
}

const HEIGHT = 150
/** Seconds that a chart shows at least, so that a server that has just begun has no curve as wide as the page. */
const LEAST = 300

/** A chart with a legend that says the values where the pointer is, in all charts of the page at once. Without a pointer it says `sum`. */
export function chart(
  title: string,
  lines: readonly Line[],
  format: (value: number) => string,
  sum: (values: readonly (number | null)[]) => string,
): Chart {
  const readings = lines.map(() => h('b'))
  const legend = h(
    'p',
    { class: 'legend' },
    ...lines.map(({ name, color, isDashed }, i) =>
      h('span', {}, swatch(color, isDashed), `${name} `, readings[i]!),
    ),
  )
  const at = h('span', { class: 'at' })
  const plot = h('div', { class: 'plot', 'aria-hidden': 'true' })
  const element = h(
    'figure',
    { class: 'panel chart' },
    h('figcaption', {}, h('h2', {}, title, at), legend),
    plot,
  )
  let note = ''
  let shown: uPlot.AlignedData = [[], ...lines.map(() => [])]

  const read = (index: number | null | undefined) => {
    for (const [i, reading] of readings.entries()) {
      const values = shown[i + 1] as (number | null)[]
      const value = typeof index === 'number' ? values[index] : undefined
      say(reading, typeof index !== 'number' ? sum(values) : typeof value === 'number' ? format(value) : '–')
    }
    say(at, typeof index === 'number' ? ` at ${timeOfDay(shown[0][index]! * 1000)}` : note)
  }

  const axis = (size: number): uPlot.Axis => ({
    size,
    gap: 4,
    font: '11px system-ui, sans-serif',
    stroke: () => color('--soft'),
    grid: { stroke: () => color('--grid'), width: 1 },
    ticks: { show: false },
  })
  const drawing = new uPlot(
    {
      width: 300,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 16, 0, 0],
      cursor: { drag: { x: false, y: false }, y: false, sync: { key: 'time' } },
      scales: {
        x: { range: (_, first, last) => [Math.min(first ?? 0, (last ?? 0) - LEAST), last ?? 0] },
        y: { range: (_, _low, high) => [0, Math.max((high ?? 0) * 1.1, format === number ? 1 : 0.1)] },
      },
      axes: [
        { ...axis(22), values: (_, times) => times.map((time) => timeOfDay(time * 1000)) },
        {
          ...axis(52),
          values: (_, values) =>
            values.map((value) => (format !== number || Number.isInteger(value) ? format(value) : '')),
        },
      ],
      series: [
        {},
        ...lines.map(
          ({ name, color: property, isDashed }): uPlot.Series => ({
            label: name,
            stroke: () => color(property),
            width: 1.75,
            ...(isDashed && { dash: [5, 4] }),
            spanGaps: true,
            points: { show: (self, index) => hasFew(self.data[index] as (number | null)[]) },
          }),
        ),
      ],
      hooks: { setCursor: [({ cursor }) => read(cursor.left! < 0 ? null : cursor.idx)] },
    },
    shown,
    plot,
  )

  new ResizeObserver(() => drawing.setSize({ width: plot.clientWidth, height: HEIGHT })).observe(plot)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => drawing.redraw())

  return {
    element,
    show(times, values, each) {
      note = each === undefined ? '' : ` each ${each}`
      shown = [times as number[], ...values.map((each) => each as (number | null)[])]
      drawing.setData(shown)
      read(null)
    },
  }
}

const hasFew = (values: readonly (number | null)[]) => values.filter((value) => value !== null).length < 40

const color = (property: string) => getComputedStyle(document.documentElement).getPropertyValue(property)

function swatch(property: string, isDashed = false): HTMLElement {
  const element = h('i', { class: isDashed ? 'swatch dashed' : 'swatch', 'aria-hidden': 'true' })
  element.style.borderTopColor = `var(${property})`
  return element
}
