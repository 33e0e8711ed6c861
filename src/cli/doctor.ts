import { randomBytes, randomUUID } from 'node:crypto'
import { checkDeployment } from '../deployment-check.ts'
import { OptionsError } from '../errors.ts'
import { guardStore } from '../guard.ts'
import type { SessionOptions } from '../options.ts'
import { MAKE_ONE } from '../settings/secrets.ts'
import { resolveOptions, type Settings } from '../settings.ts'
import type { Finding, Store } from '../store.ts'
import { inTime, noAnswerWithin } from '../stores/in-time.ts'
import { memoryStore } from '../stores/memory.ts'
import { StoreError } from '../stores/store-error.ts'
import { type Command, DONE, FAILED, messageOf } from './command.ts'
import { type Config, readConfig } from './config.ts'
import { checkInstallation } from './installation.ts'
import { emphasized, printJson, printLine } from './output.ts'
import {
  DEADLINES,
  JSON_HELP,
  NAME_HELP,
  nameOf,
  open,
  refuseMissingPath,
  refusePositionals,
  SITE_OPTIONS,
  STORE_HELP,
  storeOf,
} from './site.ts'

export const doctor: Command = {
  summary: 'says what is wrong with the store, the secret and the settings of a site',
  options: SITE_OPTIONS,
  help: `Usage: holdfast doctor [options]

Looks at the store as sessions.check() does, changing no session, at the secret, the environment and what is installed. Prints each finding
with where it is and its cure, the gravest first, and how long a load takes; one line when all is well. Run it where the site runs, with its
environment and as its user.

  holdfast doctor --store redis://localhost
  HOLDFAST_SECRET="$SESSION_SECRET" holdfast doctor          # the secret too (the store is in HOLDFAST_STORE)
  holdfast doctor --json | jq -r '.findings[].id'

It looks at cookie, lifetimes and all other options too if holdfast.config.ts or .js exports what the site gives to createSessions:

  export default { store: process.env.SESSION_STORE, secret: process.env.SESSION_SECRET, lifetime: 'aal2', csrf: true }

Options:
${STORE_HELP}
${NAME_HELP}
${JSON_HELP}

JSON: { store, secretChecked, optionsChecked, findings: [{ id, severity, where, finding, cure }], latency: { first, median, slowest, loads } },
in milliseconds; latency is null if the store could not be reached, or its table is not as it should be. The ids are in docs/command-line.md, and stay.

Exit codes: 0 nothing worse than a warning, 1 there is an error among the findings, 2 wrong usage.
`,

  async run(given) {
    refusePositionals(given)
    const config = await readConfig()
    const name = nameOf(given.values, config)
    const source = storeOf(given.values, config)
    if (typeof source === 'string')
      refuseMissingPath(source, '--store (or HOLDFAST_STORE, or holdfast.config)')
    const { store, problem } = openOrSayWhy(source)
    try {
      const found = [...problem, ...(await examine(store ?? nowhere(), name, config))]
      if (typeof source === 'string') found.push(...checkInstallation(store?.name ?? ''))
      const latency =
        store && !found.some(({ id }) => SPOILS_LOADS.includes(id)) && (await measure(store, name))
      if (latency) found.push(...('id' in latency ? [latency] : checkLatency(latency)))
      const times = latency && 'median' in latency ? latency : undefined
      report(found, store?.name ?? null, times, config, given.values.json === true)
      return found.some(({ severity }) => severity === 'error') ? FAILED : DONE
    } finally {
      await store?.close?.().catch(() => {})
    }
  },
}

const SEVERITIES: readonly Finding['severity'][] = ['error', 'warning', 'info']

/** A load would fail, or make what is missing, which is not for this command to do. */
const SPOILS_LOADS = ['store.unreachable', 'sql.wrong-table', 'sql.missing-index']

/** A file that is not to be opened is a finding too. */
function openOrSayWhy(source: string | Store): { store?: Store; problem: Finding[] } {
  try {
    return { store: typeof source === 'string' ? open(source) : source, problem: [] }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    return { problem: [unreachable(`The store could not be opened: ${error.message}`)] }
  }
}

/** In place of a store that could not be opened, to look at the rest. */
function nowhere(): Store {
  return Object.create(memoryStore(), { check: { value: undefined } })
}

/** What no manager would take is a finding as well, each option for itself. What is not known of the site is taken for good. */
async function examine(store: Store, name: string, config: Config): Promise<Finding[]> {
  const refused: Finding[] = []
  const given: Record<string, unknown> = knowsOptions(config) ? { ...config.options } : { csrf: true }
  if (config.secrets.length > 0) given.secret = config.secrets
  for (;;) {
    try {
      const settings = resolve(given, store, name)
      const guarded = guardStore(store, DEADLINES, { outage() {}, recovered() {} })
      return [...refused, ...(await checkDeployment(settings, guarded))]
    } catch (error) {
      const [option] = /^\w+/.exec((error as Error).message) ?? []
      if (!(error instanceof OptionsError) || option === undefined || !(option in given)) throw error
      refused.push(refusedOption(option, error.message, config))
      delete given[option]
    }
  }
}

function resolve(given: SessionOptions<object>, store: Store, name: string): Settings {
  const logger = { warn() {}, error() {} }
  return resolveOptions({ secret: randomBytes(32), ...given, store, name, logger })
}

function knowsOptions({ options }: Config): boolean {
  return Object.keys(options).length > 0
}

function refusedOption(option: string, message: string, { secretsFrom, file }: Config): Finding {
  const isSecret = option === 'secret'
  const reason = message
    .replace(/^secret: /, '')
    .replace(MAKE_ONE, '')
    .trim()
  return {
    id: `${['secret', 'cookie', 'lifetime', 'csrf'].includes(option) ? option : 'options'}.refused`,
    severity: 'error',
    finding: `No site starts with what ${isSecret ? secretsFrom : file} holds: ${reason}`,
    cure: isSecret
      ? MAKE_ONE
      : `Correct ${option} in ${file}, and where the site has it if that is elsewhere.`,
  }
}

/** Where to look for it. */
function whereOf(id: string, store: string | null, { secretsFrom, file }: Config): string {
  const [part] = id.split('.') as [string]
  if (part === 'secret') return secretsFrom
  if (part === 'environment') return 'the environment'
  if (part === 'node' || part === 'driver') return 'what is installed'
  if (['cookie', 'lifetime', 'csrf', 'reuse', 'options'].includes(part)) return file ?? 'the options'
  return `the ${store === null ? '' : `${store} `}store`
}

const LOADS = 50
/** A tenth of the deadline that a load has by default. */
const SLOW_MS = 50

interface Latency {
  /** With what only a first operation does: it looks for the table, and connects if nothing has yet. */
  readonly first: number
  readonly median: number
  readonly slowest: number
  readonly loads: number
}

/** One load after the other, of a session that is not there. Of a store that has nothing to check about itself, the first may fail. */
async function measure(store: Store, name: string): Promise<Latency | Finding> {
  const times: number[] = []
  try {
    for (let i = 0; i <= LOADS; i++) {
      const start = performance.now()
      const load = store.load(`${name}:${randomUUID()}`)
      await inTime(DEADLINES.load, load, () => noAnswerWithin(DEADLINES.load))
      times.push(performance.now() - start)
    }
  } catch (error) {
    return unreachable(`A session could not be loaded: ${messageOf(error)}`)
  }
  const [first, ...others] = times as [number, ...number[]]
  others.sort((a, b) => a - b)
  return { first, median: others[LOADS / 2]!, slowest: others.at(-1)!, loads: LOADS }
}

function checkLatency({ median }: Latency): Finding[] {
  if (median < SLOW_MS) return []
  return [
    {
      id: 'store.slow',
      severity: 'warning',
      finding: `A load takes ${milliseconds(median)} (the median of ${LOADS}), and every page waits for one.`,
      cure: 'Put site and store into one network, or a cache in front: layeredStore({ cache, database }).',
    },
  ]
}

function unreachable(finding: string): Finding {
  return {
    id: 'store.unreachable',
    severity: 'error',
    finding,
    cure: 'See whether the store is there, and may be read from here with these credentials.',
  }
}

function report(
  found: readonly Finding[],
  store: string | null,
  latency: Latency | undefined,
  config: Config,
  json: boolean,
): void {
  const findings = [...found]
    .sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
    .map(({ id, severity, finding, cure }) => ({
      id,
      severity,
      where: whereOf(id, store, config),
      finding,
      cure,
    }))
  const [secretChecked, optionsChecked] = [config.secrets.length > 0, knowsOptions(config)]
  if (json) {
    printJson({ store, secretChecked, optionsChecked, findings, latency: latency ?? null })
    return
  }
  for (const { id, severity, where, finding, cure } of findings) {
    printLine(emphasized(`${severity}: ${id}, in ${where}`))
    printLine(`  ${finding}`)
    printLine(`  Cure: ${cure}`)
  }
  if (!latency) return
  const well = found.length === 0 ? 'All is well: the' : 'The'
  printLine(
    [
      `${well} ${store} store ${inWords(latency)}.`,
      ...(secretChecked ? [] : ['Its secret was not looked at: HOLDFAST_SECRET is not set.']),
      ...(optionsChecked
        ? []
        : ['Cookie and lifetimes were not looked at: there is no holdfast.config with them.']),
    ].join(' '),
  )
}

function inWords({ median, slowest, loads }: Latency): string {
  return `answers a load in ${milliseconds(median)} (the median of ${loads}; the slowest took ${milliseconds(slowest)})`
}

function milliseconds(time: number): string {
  return `${time < 10 ? time.toFixed(2) : Math.round(time)} ms`
}
