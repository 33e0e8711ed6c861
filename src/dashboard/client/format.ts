import { h } from './dom.ts'

const numbers = new Intl.NumberFormat('en-GB')
const distance = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })

const UNITS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const

/** How far this computer's clock is behind the server's, in milliseconds. */
let behind = 0

export function setClock(serverNow: number): void {
  behind = serverNow - Date.now()
}

export const number = (value: number) => numbers.format(value)

export const count = (value: number, one = 'session') => `${number(value)} ${one}${value === 1 ? '' : 's'}`

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`
  const [amount, unit] =
    value < 1e6 ? [value / 1e3, 'kB'] : value < 1e9 ? [value / 1e6, 'MB'] : [value / 1e9, 'GB']
  return `${amount < 10 ? amount.toFixed(1) : number(Math.round(amount))} ${unit}`
}

export function milliseconds(value: number): string {
  if (value >= 1000) return `${(value / 1000).toPrecision(2)} s`
  return `${value >= 10 ? Math.round(value) : Number(value.toPrecision(2))} ms`
}

export const timeOfDay = (at: number) => clock.format(at)

/** In words; the exact time, in the time zone of this computer, when it is pointed at. */
export function moment(when: string | number): HTMLTimeElement {
  const date = new Date(when)
  const seconds = (date.getTime() - Date.now() - behind) / 1000
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ['second', 1]
  const words = Math.abs(seconds) < 1 ? 'now' : distance.format(Math.round(seconds / length), unit)
  return h('time', { datetime: date.toISOString(), title: exact.format(date) }, words)
}

/** The words by which a device was described at its login. */
export const device = (about: Readonly<Record<string, string>>) => Object.values(about).join(', ')

/** Enough of a handle to tell it from others. */
export const short = (handle: string) => (handle.length > 12 ? `${handle.slice(0, 10)}…` : handle)
