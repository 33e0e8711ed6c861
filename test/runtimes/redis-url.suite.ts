import { redisSuite, url } from './redis.ts'

redisSuite('URL', async () => url)
