import { memcachedStore } from '../../src/stores/memcached/index.ts'

/** Opens, in another process, the store of `test/memcached-store.test.ts`. */
export default (config: unknown) => {
  const { servers, prefix } = config as { servers: string[]; prefix: string }
  // Five processes and their start share two cores here.
  return memcachedStore(servers, { prefix, timeout: 10_000 })
}
