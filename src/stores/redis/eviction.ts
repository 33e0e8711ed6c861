import type { Finding } from '../../store.ts'
import { StoreError } from '../store-error.ts'
import { type Commander, textOf } from './clients.ts'

/** The policy by which a full server throws live sessions away; nothing if it does not. */
export async function evictionPolicy(commander: Commander): Promise<string | undefined> {
  for (const primary of await commander.primaries()) {
    const info = textOf(await primary.command(['INFO', 'memory']))
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
    if (policy !== undefined && policy !== 'noeviction') return policy
  }
  return undefined
}

export async function evictionFindings(commander: Commander): Promise<Finding[]> {
  try {
    const policy = await evictionPolicy(commander)
    if (policy === undefined) return []
    const finding = `The maxmemory-policy of the server is ${policy}, so ${CONSEQUENCE}.`
    return [{ id: 'redis.evicts', severity: 'error', finding, cure: CURE }]
  } catch (error) {
    if (!isForbidden(error)) throw error
    const finding =
      'The server does not tell its maxmemory-policy (INFO is forbidden): it may evict sessions.'
    return [{ id: 'redis.eviction-unknown', severity: 'info', finding, cure: CURE }]
  }
}

export function evictionError(policy: string): StoreError {
  const problem = `the server's maxmemory-policy is ${policy}, so ${CONSEQUENCE}. ${CURE}`
  return new StoreError('redis', 'eviction', problem, { retryable: false })
}

const CONSEQUENCE = 'when its memory is full it throws sessions away, and their users are logged out'
const CURE =
  'Set `maxmemory-policy noeviction`, and give sessions a server of their own if it also holds a cache.'

/** Whether the server keeps the answer from this user. */
export function isForbidden(error: unknown): boolean {
  return /NOPERM|unknown command/i.test(String(error))
}
