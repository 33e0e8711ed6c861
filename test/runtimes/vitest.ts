/**
 * Vitest's parts that need no Node (its runner, matchers and spies), put together under its name, so that the test files run as they
 * stand where Vitest itself does not start.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  ChaiStyleAssertions,
  chai,
  customMatchers,
  GLOBAL_EXPECT,
  getState,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from '@vitest/expect'
import { fn, isMockFunction, restoreAllMocks, spyOn } from '@vitest/spy'

export { afterAll, afterEach, beforeAll, beforeEach, describe, it, test } from '@vitest/runner'

for (const plugin of [JestExtend, JestChaiExpect, ChaiStyleAssertions, JestAsymmetricMatchers])
  chai.use(plugin)

const globals = globalThis as unknown as Record<symbol, object>

export const expect = Object.assign((value: unknown, message?: string) => chai.expect(value, message), {
  ...chai.expect,
  ...globals[ASYMMETRIC_MATCHERS_OBJECT],
  getState: () => getState(expect as never),
  setState: (state: object) => setState(state, expect as never),
  extend: (matchers: object) => (chai.expect as unknown as Extendable).extend(expect, matchers),
})
interface Extendable {
  extend(expect: unknown, matchers: object): void
}
Object.defineProperty(globals, GLOBAL_EXPECT, { value: expect, configurable: true })
expect.setState({ assertionCalls: 0 })
expect.extend(customMatchers)

/** What it says is checked by `tsc`, not by running. */
export const expectTypeOf = () => new Proxy({}, { get: () => () => {} })

const stubbed = new Map<string, string | undefined>()

export const vi = {
  fn,
  spyOn,
  isMockFunction,
  restoreAllMocks,
  mocked: <T>(value: T) => value,
  stubEnv(name: string, value: string | undefined) {
    if (!stubbed.has(name)) stubbed.set(name, process.env[name])
    setEnv(name, value)
  },
  unstubAllEnvs() {
    for (const [name, value] of stubbed) setEnv(name, value)
    stubbed.clear()
  },
  async waitFor<T>(check: () => T | Promise<T>, options: number | { timeout?: number } = {}): Promise<T> {
    const timeout = typeof options === 'number' ? options : (options.timeout ?? 1000)
    const end = Date.now() + timeout
    for (;;) {
      try {
        return await check()
      } catch (error) {
        if (Date.now() > end) throw error
        await new Promise((resume) => setTimeout(resume, 50))
      }
    }
  },
}

function setEnv(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}
