import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** A minute or more each, longest first. Begun last, one would run while the other cores have nothing left to do. */
const LONG = ['model', 'generations', 'close', 'cli-sessions', 'processes', 'races', 'redis-clients'].map(
  (name) => `/test/${name}.test.ts`,
)

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(name))
      return at < 0 ? LONG.length : at
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}

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
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    pool: 'forks',
    sequence: { sequencer: LongFirst },
  },
})
