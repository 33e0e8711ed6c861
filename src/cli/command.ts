import type { ParseArgsConfig } from 'node:util'
import { StoreUnavailableError } from '../errors.ts'

/** A command of `holdfast`; each has a file of its own and a line in holdfast.ts. */
export interface Command {
  /** Its line in the list of commands. */
  readonly summary: string
  /** What `--help` prints. */
  readonly help: string
  /** Beside `--help` and `--verbose`, which all have. */
  readonly options: NonNullable<ParseArgsConfig['options']>
  /**
   * What it prints on stdout is its outcome; progress and warnings go to stderr.
   * @returns the exit code
   * @throws UsageError, and what else makes it fail
   */
  run(given: Given): Promise<number>
}

/** What stood on the command line. */
export interface Given {
  readonly positionals: readonly string[]
  readonly values: Readonly<Record<string, unknown>>
}

export const DONE = 0
export const FAILED = 1
export const WRONG_USAGE = 2

/** What was asked for makes no sense. The message never repeats what may be a URL: it may hold a password. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Of a store that fails, what the store itself says of it: that has the cure. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof StoreUnavailableError && thrown.cause instanceof Error) return thrown.cause.message
  return thrown instanceof Error ? thrown.message : String(thrown)
}
