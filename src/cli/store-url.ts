import { UsageError } from './command.ts'

/** For the help of commands that take a URL. */
export const URL_HELP = `The URL comes from the environment variable HOLDFAST_STORE if it is not on the command line. Use that for a URL with
a password in it: everybody on this machine can read the command lines of running programs.`

/** The one on the command line, or in the environment. */
export function storeUrl(positionals: readonly string[]): string {
  if (positionals.length > 1) {
    throw new UsageError(
      `one URL is expected, and there are ${positionals.length} arguments; quote it for the shell`,
    )
  }
  const url = positionals[0] ?? process.env.HOLDFAST_STORE
  if (url) return url
  throw new UsageError('a URL is missing: give one, or set HOLDFAST_STORE')
}

/** Whether what is kept there ends with this process, or is not kept at all. */
export function endsWithTheProcess(url: string): boolean {
  if (/^(memory:|sqlite::memory:|cookie:)/i.test(url)) return true
  if (!/^(migrating|layered):/i.test(url)) return false
  const parts = new URLSearchParams(url.slice(url.indexOf('?') + 1))
  return endsWithTheProcess(parts.get('to') ?? parts.get('database') ?? '')
}
