import { styleText } from 'node:util'
import ms from 'ms'
import { NEVER } from '../store.ts'
import { format } from './progress.ts'

/** On a terminal longer cells are cut, but for those of the first column, which are to be copied. */
const LONGEST_CELL = 40

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

export function printLine(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Columns as wide as what is in them, two blanks between. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const cut = process.stdout.isTTY ? shortened : (cell: string) => cell
  const cells = [head, ...rows].map((row) => row.map((cell, i) => (i === 0 ? cell : cut(cell))))
  const widths = head.map((_, i) => Math.max(...cells.map((row) => lengthOf(row[i] ?? ''))))
  for (const [n, row] of cells.entries()) {
    const line = row.map((cell, i) => cell + ' '.repeat(widths[i]! - lengthOf(cell)))
    const text = line.join('  ').trimEnd()
    printLine(n === 0 ? emphasized(text) : text)
  }
}

/** One fact a line, the names in a column. */
export function printFacts(facts: readonly (readonly [name: string, value: string])[]): void {
  const width = Math.max(...facts.map(([name]) => lengthOf(name)))
  for (const [name, value] of facts) {
    printLine(`${emphasized(name)}${' '.repeat(width - lengthOf(name))}  ${value}`)
  }
}

/** In bold, on a terminal that wants it (https://no-color.org). */
export function emphasized(text: string): string {
  const { NO_COLOR, TERM } = process.env
  return process.stdout.isTTY && !NO_COLOR && TERM !== 'dumb'
    ? styleText('bold', text, { validateStream: false })
    : text
}

/** What visitors have chosen, user agents for instance, must not command the terminal, nor look like another line. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  )
}

export function ago(time: number): string {
  return `${ms(Math.max(0, Date.now() - time))} ago`
}

export function ahead(time: number): string {
  return time >= NEVER ? 'never' : `in ${ms(Math.max(0, time - Date.now()))}`
}

export function sizeOf(bytes: number): string {
  return bytes === 1 ? '1 byte' : `${format(bytes)} bytes`
}

export function countOf(count: number, one = 'session'): string {
  return `${format(count)} ${one}${count === 1 ? '' : 's'}`
}

function shortened(cell: string): string {
  return lengthOf(cell) > LONGEST_CELL ? `${[...cell].slice(0, LONGEST_CELL - 1).join('')}…` : cell
}

function lengthOf(text: string): number {
  return [...text].length
}
