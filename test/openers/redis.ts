import { redisStore } from 'holdfast/stores/redis'

/** Opens the store of a test again, in another process. */
export default (config: unknown) => {
  const { url, prefix } = config as { url: string; prefix: string }
  return redisStore(url, { prefix })
}
