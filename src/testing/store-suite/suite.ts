import type { Store } from '../../store.ts'

/** What a store can leave out, and says so by leaving it out. */
export type OptionalCapability = 'compareAndSet' | 'users' | 'externalIds' | 'scan' | 'sweep'

/** A store as the suite needs it. */
export interface StoreUnderTest {
  /** Shown in the names of the tests. */
  readonly name: string
  /**
   * Opens a fresh, empty store. `config` is what another process needs to open the same one (JSON). After each test
   * the store is closed, then `dispose` is called.
   */
  open(): Promise<{ store: Store; config?: unknown; dispose?: () => Promise<void> }>
  /**
   * For stores that several processes share: the URL of a module whose default export, a `StoreOpener`, opens the
   * store again from `config`. With it, races between processes are tested.
   */
  readonly opener?: string
  /** What this store cannot do. None by default. Its absence is then asserted, so a store that learns it must say so. */
  readonly lacks?: readonly OptionalCapability[]
}

/**
 * Opens, in another process, the store that `config` describes. It is closed at the end of the test, and that process opens the store of the next test,
 * unless it is killed: what the opener opens besides the store stays until then.
 */
export type StoreOpener = (config: unknown) => Store | Promise<Store>

/** The two functions of a test runner that the suite needs. Those of vitest, jest and `node:test` fit. */
export interface Runner {
  describe(name: string, body: () => void): void
  it(name: string, body: () => Promise<void>, timeout?: number): void
}

/** What the groups of tests are defined with. */
export interface Suite {
  group(name: string, body: () => void): void
  test(name: string, body: (store: Store, config: unknown) => Promise<void>): void
}
