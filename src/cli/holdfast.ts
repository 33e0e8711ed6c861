#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { bench } from './bench.ts'
import { type Command, DONE, FAILED, type Given, messageOf, UsageError, WRONG_USAGE } from './command.ts'
import { doctor } from './doctor.ts'
import { init } from './init.ts'
import { ownPackage } from './installation.ts'
import { list } from './list.ts'
import { migrate } from './migrate.ts'
import { revoke } from './revoke.ts'
import { show } from './show.ts'
import { stats } from './stats.ts'
import { sweep } from './sweep.ts'

const COMMANDS: ReadonlyMap<string, Command> = new Map(
  Object.entries({ list, show, stats, revoke, sweep, doctor, bench, init, migrate }),
)

const HANDLE_WITH_DASH = /^-[\w-]{42}$/

const HELP = `Usage: holdfast <command> [options]

Commands:
${[...COMMANDS].map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`).join('\n')}

Options:
  -h, --help     this text, or after a command, that command's
      --verbose  after a command: where an error comes from
      --version  the version of holdfast

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C (143 by SIGTERM).
`

// Whoever reads no further (head, less) has what they wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

process.exitCode = await main(process.argv.slice(2))
// What a configuration has opened, a pool for instance, is closed by nobody.
setTimeout(() => process.exit(), 500).unref()

async function main([first, ...rest]: readonly string[]): Promise<number> {
  const command = COMMANDS.get(first ?? '')
  if (command) return perform(`holdfast ${first}`, command, rest)
  if (first === '--help' || first === '-h') {
    process.stdout.write(HELP)
    return DONE
  }
  if (first === '--version') {
    process.stdout.write(`${ownPackage().version}\n`)
    return DONE
  }
  // What is no plain word may be a URL, and so hold a password.
  const what = first === undefined ? 'a command is missing' : 'there is no such command or option'
  const named = /^-{0,2}[a-z]+$/i.test(first ?? '') ? `: ${first}` : ''
  const known = [...COMMANDS.keys()].join(', ')
  process.stderr.write(`holdfast: ${what}${named}. Commands: ${known}. See holdfast --help\n`)
  return WRONG_USAGE
}

async function perform(name: string, command: Command, args: readonly string[]): Promise<number> {
  try {
    const given = parse(command, args)
    if (!given.values.help) return await command.run(given)
    process.stdout.write(command.help)
    return DONE
  } catch (error) {
    const isUsage = error instanceof UsageError
    const message = messageOf(error).replace(/\s*\n\s*/g, ' ')
    process.stderr.write(`${name}: ${message}${isUsage ? `. See ${name} --help` : ''}\n`)
    if (isUsage) process.stderr.write(`${command.help.split('\n', 1)[0]}\n`)
    if (args.includes('--verbose')) process.stderr.write(stacksOf(error))
    return isUsage ? WRONG_USAGE : FAILED
  }
}

function parse({ options }: Command, args: readonly string[]): Given {
  const common = { help: { type: 'boolean', short: 'h' }, verbose: { type: 'boolean' } } as const
  try {
    return parseArgs({
      args: besideHandles(args),
      options: { ...options, ...common },
      allowPositionals: true,
    })
  } catch (error) {
    // What follows is how to escape a dash.
    throw new UsageError(messageOf(error).replace(/\.\s.*/s, ''), { cause: error })
  }
}

/** One handle in 64 begins with a dash. Whoever pastes it does not mean an option. */
function besideHandles(args: readonly string[]): string[] {
  const others: string[] = []
  const handles: string[] = []
  for (const arg of args) {
    if (!HANDLE_WITH_DASH.test(arg)) others.push(arg)
    else if (others.at(-1) === '--handle') others.push(`${others.pop()}=${arg}`)
    else handles.push(arg)
  }
  if (handles.length === 0) return others
  return [...others, ...(others.includes('--') ? [] : ['--']), ...handles]
}

/** Stacks alone: drivers add to their errors what they were sent. */
function stacksOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  return `${error.stack}\n${error.cause === undefined ? '' : `caused by ${stacksOf(error.cause)}`}`
}
