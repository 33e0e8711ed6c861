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

export function evictionError(policy: string): StoreError {
  return new StoreError('redis', 'eviction', `the server's ${whatEvictionDoes(policy)} ${EVICTION_CURE}`, {
    retryable: false,
  })
}

export function whatEvictionDoes(policy: string): string {
  return `maxmemory-policy is ${policy}, so when its memory is full it throws sessions away, and their users are logged out.`
}

export const EVICTION_CURE =
  'Set `maxmemory-policy noeviction`, and give sessions a server of their own if it also holds a cache.'

/** Whether the server keeps the answer from this user. */
export function isForbidden(error: unknown): boolean {
  return /NOPERM|unknown command/i.test(String(error))
}
