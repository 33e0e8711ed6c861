/** What is wrong for sessions about the servers. Loaded when it is asked for: no request needs it. */
import { randomUUID } from 'node:crypto'
import type { Finding } from '../../store.ts'
import { clockFindings } from '../clock-finding.ts'
import { type Commander, type Primary, textOf } from './clients.ts'
import { remedyFor } from './errors.ts'
import { EVICTION_CURE, isForbidden, whatEvictionDoes } from './eviction.ts'

const OLDEST = [6, 2] as const

const whatItSaid = (error: unknown) => (error instanceof Error ? error.message : String(error))

export async function findingsOf(
  commander: Commander,
  prefix: string,
  now: () => number,
): Promise<Finding[]> {
  const primaries = await commander.primaries()
  const found = await Promise.all(primaries.map((primary) => findingsOfServer(primary, now)))
  // Those of a Cluster are set up alike, as a rule; each kind once.
  const byId = new Map(found.flat().map((finding) => [finding.id, finding]))
  // A replica refuses writes too, and its own finding says more.
  const refusals = byId.has('redis.replica') ? [] : await checkWrites(commander, prefix, primaries.length)
  return [...byId.values(), ...refusals]
}

/** As the store writes, by a script; but to a key that nobody has, and only if it is there. A server that takes no writes refuses it before it looks. */
const NO_CHANGE = "return redis.call('SET', KEYS[1], '', 'XX')"
/** Random keys reach each server of a Cluster by chance: of three, one is missed once in 17,000 times. */
const TRIES_EACH = 8

async function checkWrites(commander: Commander, prefix: string, servers: number): Promise<Finding[]> {
  const tries = Array.from({ length: servers > 1 ? servers * TRIES_EACH : 1 }, () => {
    const key = `${prefix}:${randomUUID()}`
    return commander.command(['EVAL', NO_CHANGE, '1', key], key)
  })
  const problem = await Promise.all(tries).then(() => undefined, whatItSaid)
  if (problem === undefined) return []
  return [
    {
      id: 'redis.refuses-writes',
      severity: 'error',
      finding: `The server refuses writes, so nobody can log in, and no change is saved: ${problem}`,
      cure: remedyFor(problem, prefix)?.cure ?? 'Look at its log.',
    },
  ]
}

async function findingsOfServer(server: Primary, now: () => number): Promise<Finding[]> {
  const info = await infoOf(server)
  return [
    ...(info === undefined ? [UNKNOWN] : [...checkVersion(info), ...checkRole(info), ...checkEviction(info)]),
    ...(info !== undefined && (await keepsNothing(server, info)) ? [NO_PERSISTENCE] : []),
    ...(await clockFindings('redis', now, () => timeOf(server))),
  ]
}

/** Undefined if the server keeps it from this user. */
async function infoOf(server: Primary): Promise<Info | undefined> {
  try {
    const text = textOf(await server.command(['INFO']))
    return (field) => new RegExp(`^${field}:(\\S+)`, 'm').exec(text)?.[1]
  } catch (error) {
    if (isForbidden(error)) return undefined
    throw error
  }
}

type Info = (field: string) => string | undefined

function checkVersion(info: Info): Finding[] {
  const version = info('redis_version') ?? ''
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (!version || major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return []
  return [
    {
      id: 'redis.too-old',
      severity: 'error',
      finding: `The server is Redis ${version}, which lacks commands that sessions are kept with.`,
      cure: `Use Redis ${OLDEST.join('.')} or newer, or Valkey.`,
    },
  ]
}

function checkRole(info: Info): Finding[] {
  if (info('role') !== 'slave') return []
  return [
    {
      id: 'redis.replica',
      severity: 'error',
      finding:
        'The server is a replica: it refuses writes, so nobody can log in or out, and what it has may be behind.',
      cure: 'Give the URL of its primary; or redis+sentinel:, which finds it.',
    },
  ]
}

function checkEviction(info: Info): Finding[] {
  const policy = info('maxmemory_policy')
  if (policy === undefined || policy === 'noeviction') return []
  return [
    {
      id: 'redis.evicts',
      severity: 'error',
      finding: `The server's ${whatEvictionDoes(policy)}`,
      cure: EVICTION_CURE,
    },
  ]
}

const UNKNOWN: Finding = {
  id: 'redis.eviction-unknown',
  severity: 'info',
  finding: 'The server does not tell its maxmemory-policy (INFO is forbidden): it may evict sessions.',
  cure: EVICTION_CURE,
}

const NO_PERSISTENCE: Finding = {
  id: 'redis.no-persistence',
  severity: 'warning',
  finding:
    'The server writes nothing to disk (`appendonly no`, and no `save`), so its restart logs everybody out.',
  cure: 'Set `appendonly yes`, or put a database behind it: layeredStore({ cache, database }).',
}

/** False too if the server does not say. */
async function keepsNothing(server: Primary, info: Info): Promise<boolean> {
  if (info('aof_enabled') !== '0') return false
  try {
    const answer = await server.command(['CONFIG', 'GET', 'save'])
    return textsIn(answer).every((text) => text === 'save' || text === '')
  } catch (error) {
    if (isForbidden(error)) return false
    throw error
  }
}

/** Clients differ in what they make of a map. */
function textsIn(answer: unknown): string[] {
  if (typeof answer === 'string' || Buffer.isBuffer(answer)) return [textOf(answer)]
  if (answer instanceof Map) return [...answer.values()].flatMap(textsIn)
  return Object.values(Object(answer)).flatMap(textsIn)
}

async function timeOf(server: Primary): Promise<number> {
  const [seconds, microseconds] = (await server.command(['TIME'])) as unknown[]
  return Number(textOf(seconds)) * 1000 + Number(textOf(microseconds)) / 1000
}
