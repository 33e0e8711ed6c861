import ms from 'ms'
import { duration, limit } from '../duration.ts'
import { OptionsError } from '../errors.ts'
import { checkTypes, refuseUnknown } from '../given.ts'
import type { LifetimePolicy } from '../lifetime.ts'
import type { LifetimeOptions, LifetimePreset } from '../options.ts'

const PRESETS = {
  aal1: { absolute: '30d', idle: false },
  aal2: { absolute: '24h', idle: '1h' },
  aal3: { absolute: '12h', idle: '15m' },
} as const satisfies Record<LifetimePreset, LifetimeOptions>
export function resolveLifetime(given: LifetimeOptions | LifetimePreset): LifetimePolicy {
  if (typeof given === 'string' && !Object.hasOwn(PRESETS, given)) {
    throw new OptionsError(
      `lifetime: there is no preset ${JSON.stringify(given)}. There are: ${Object.keys(PRESETS).join(', ')}`,
    )
  }
  const options: LifetimeOptions = typeof given === 'string' ? PRESETS[given] : given
  refuseUnknown('lifetime.', options, [
    'idle',
    'absolute',
    'anonymous',
    'rotateEvery',
    'grace',
    'touchEvery',
    'persistent',
  ])
  checkTypes('lifetime.', options, { persistent: 'boolean' })
  const idle = limit('lifetime.idle', options.idle, '24h')
  const absolute = limit('lifetime.absolute', options.absolute, '14d')
  const anonymous = options.anonymous ?? {}
  refuseUnknown('lifetime.anonymous.', anonymous, ['idle', 'absolute'])
  const policy: LifetimePolicy = {
    idle,
    absolute,
    anonymous: {
      idle: limit('lifetime.anonymous.idle', anonymous.idle, idle),
      absolute: limit('lifetime.anonymous.absolute', anonymous.absolute, absolute),
    },
    rotateEvery: limit('lifetime.rotateEvery', options.rotateEvery, '15m'),
    grace: duration('lifetime.grace', options.grace ?? '5m'),
    touchEvery: duration('lifetime.touchEvery', options.touchEvery ?? '60s'),
    persistent: options.persistent ?? false,
  }
  refuseIdleOverAbsolute('lifetime', policy)
  refuseIdleOverAbsolute('lifetime.anonymous', policy.anonymous)
  return policy
}

/** @throws OptionsError for an idle timeout that the absolute one would never let count */
export function refuseIdleOverAbsolute(where: string, { idle, absolute }: LifetimePolicy['anonymous']): void {
  if (idle !== false && absolute !== false && idle > absolute) {
    throw new OptionsError(
      `${where}: idle (${ms(idle)}) is longer than absolute (${ms(absolute)}), so it would never count`,
    )
  }
}
