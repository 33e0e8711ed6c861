import { defineConfig } from 'vitest/config'
import everything from './vitest.config.ts'

/** The tests that mutants of the pure modules are tried on: those that are about these modules and wait for nothing. */
const ABOUT = [
  'admission',
  'breaker',
  'codec',
  'cookie',
  'csrf',
  'csrf-token',
  'dashboard-series',
  'dbsc-binding',
  'dbsc-proof',
  'deadline',
  'frameworks/headers',
  'frameworks/read-only',
  'layered-entry',
  'lifetime-rules',
  'memcached-ring',
  'merge',
  'migrating-stages',
  'operations',
  'options',
  'record',
  'redis-value',
  'revision',
  'schema',
  'seal',
  'token',
]

export default defineConfig({
  ...everything,
  test: { ...everything.test, include: ABOUT.map((name) => `test/${name}.test.ts`) },
})
