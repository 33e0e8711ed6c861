import ms from 'ms'
import { OptionsError } from './errors.ts'

/** Milliseconds, or text as the `ms` package reads it: `'15m'`, `'14d'`. */
export type Duration = number | string

/** Milliseconds of a duration. @throws OptionsError naming the option */
export function duration(option: string, value: Duration): number {
  // Text without a unit is a number of seconds in one configuration, and of milliseconds in another.
  const isText = typeof value === 'string' && /[a-z]/i.test(value)
  const milliseconds = isText ? (ms(value as ms.StringValue) as number | undefined) : value
  if (typeof milliseconds !== 'number' || !Number.isFinite(milliseconds) || milliseconds < 0) {
    throw new OptionsError(
      `${option}: ${JSON.stringify(value)} is not a duration. Use milliseconds, or text such as '15m' or '14d'.`,
    )
  }
  return milliseconds
}

/** As `duration`, but more than zero, or false for no limit. */
export function limit(
  option: string,
  value: Duration | false | undefined,
  byDefault: Duration | false,
): number | false {
  const given = value ?? byDefault
  return given === false ? false : positive(option, duration(option, given))
}

export function positive(option: string, value: number): number {
  if (!(value > 0)) throw new OptionsError(`${option}: ${value} must be more than 0`)
  return value
}
