import { redisStore } from '../../src/stores/redis/index.ts'

/** Opens, in another process, the store of `test/redis-store.test.ts`. */
export default (config: unknown) => {
  const { url, prefix } = config as { url: string; prefix: string }
  return redisStore(url, { prefix })
}
