import { randomUUID } from 'node:crypto'
import { OptionsError } from '../errors.ts'
import { MAKE_ONE } from '../settings/secrets.ts'
import type { Finding } from '../store.ts'
import { inTime, noAnswerWithin } from '../stores/in-time.ts'
import { type Command, DONE, FAILED, messageOf } from './command.ts'
import { emphasized, printJson, printLine } from './output.ts'
import {
  DEADLINES,
  JSON_HELP,
  managerOf,
  NAME_HELP,
  refusePositionals,
  SITE_OPTIONS,
  type Site,
  STORE_HELP,
  withSite,
} from './site.ts'

export const doctor: Command = {
  summary: 'says what is wrong with a store and its secret, and how quick it answers',
  options: SITE_OPTIONS,
  help: `Usage: holdfast doctor [options]

Connects to the store and looks at it as sessions.check() does, changing no session: eviction, clocks, weak secrets. Prints each finding with
its cure, the gravest first, and how long a load takes; one line when all is well. Run it where the site runs, with its environment.

  holdfast doctor --store redis://localhost
  HOLDFAST_SECRET="$SESSION_SECRET" holdfast doctor          # the secret too (the store is in HOLDFAST_STORE)
  holdfast doctor --json | jq -r '.findings[].id'

Cookie, lifetimes and csrf are in the code of the site, where only its own sessions.check() sees them.

Options:
${STORE_HELP}
${NAME_HELP}
${JSON_HELP}

JSON: { store, secretChecked, findings: [{ id, severity, finding, cure }], latency: { first, median, slowest, loads } }, in milliseconds;
latency is null if the store could not be reached.

Exit codes: 0 nothing worse than a warning, 1 there is an error among the findings, 2 wrong usage.
`,

  async run(given) {
    refusePositionals(given)
    return withSite(given, async (site) => {
      const secret = process.env.HOLDFAST_SECRET || undefined
      const findings = await examine(site, secret)
      const isReached = !findings.some(({ id }) => id === 'store.unreachable')
      const latency = isReached
        ? await measure(site).catch((error) => void findings.unshift(failed(error)))
        : undefined
      if (given.values.json) {
        printJson({
          store: site.store.name,
          secretChecked: secret !== undefined,
          findings,
          latency: latency ?? null,
        })
      } else {
        findings.forEach(printFinding)
        const well = findings.length === 0 ? 'All is well: the' : 'The'
        const unchecked =
          secret === undefined ? ' Its secret was not looked at: HOLDFAST_SECRET is not set.' : ''
        if (latency) printLine(`${well} ${site.store.name} store ${inWords(latency)}.${unchecked}`)
      }
      return findings.some(({ severity }) => severity === 'error') ? FAILED : DONE
    })
  },
}

const LOADS = 50

interface Latency {
  /** With what only a first operation does: it looks for the table, and connects if nothing has yet. */
  readonly first: number
  readonly median: number
  readonly slowest: number
  readonly loads: number
}

/** A secret that no manager would take is a finding as well. What is in the code of the site is taken for good. */
async function examine(site: Site, secret: string | undefined): Promise<Finding[]> {
  const csrf = true
  try {
    return await check(site, secret === undefined ? { csrf } : { csrf, secret })
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    const refused: Finding = {
      id: 'secret.refused',
      severity: 'error',
      finding: `No site starts with what HOLDFAST_SECRET holds: ${error.message
        .replace(/^secret: /, '')
        .replace(MAKE_ONE, '')
        .trim()}`,
      cure: MAKE_ONE,
    }
    return [refused, ...(await check(site, { csrf }))]
  }
}

/** What the store reports meanwhile is among the findings. */
async function check(site: Site, options: Parameters<typeof managerOf>[1]): Promise<Finding[]> {
  return managerOf(site, options, () => {}).check()
}

/** One load after the other, of a session that is not there. */
async function measure({ store, name }: Site): Promise<Latency> {
  const times: number[] = []
  for (let i = 0; i <= LOADS; i++) {
    const start = performance.now()
    await inTime(DEADLINES.load, store.load(`${name}:${randomUUID()}`), () => noAnswerWithin(DEADLINES.load))
    times.push(performance.now() - start)
  }
  const [first, ...others] = times as [number, ...number[]]
  others.sort((a, b) => a - b)
  return { first, median: others[LOADS / 2]!, slowest: others.at(-1)!, loads: LOADS }
}

/** Of a store that has nothing to check about itself. */
function failed(error: unknown): Finding {
  return {
    id: 'store.unreachable',
    severity: 'error',
    finding: `A session could not be loaded: ${messageOf(error)}`,
    cure: 'See whether the store is there, and may be read from here with these credentials.',
  }
}

function inWords({ median, slowest, loads }: Latency): string {
  return `answers a load in ${milliseconds(median)} (the median of ${loads}; the slowest took ${milliseconds(slowest)})`
}

function milliseconds(time: number): string {
  return `${time < 10 ? time.toFixed(2) : Math.round(time)} ms`
}

function printFinding({ id, severity, finding, cure }: Finding): void {
  printLine(emphasized(`${severity}: ${id}`))
  printLine(`  ${finding}`)
  printLine(`  Cure: ${cure}`)
}
