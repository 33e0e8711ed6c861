import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

// Tests import the package by its own name, as users do; the sources stand in for the build.
const { paths } = JSON.parse(
  readFileSync(new URL('./tsconfig.json', import.meta.url), 'utf8'),
).compilerOptions
const alias = Object.entries(paths as Record<string, string[]>)
  .filter(([name]) => name.startsWith('holdfast'))
  .map(([name, [file]]) => ({
    find: new RegExp(`^${name}$`),
    replacement: new URL(file as string, import.meta.url).pathname,
  }))

export default defineConfig({
  resolve: { alias },
  test: { include: ['test/**/*.test.ts'], testTimeout: 30_000, hookTimeout: 30_000, pool: 'forks' },
})
