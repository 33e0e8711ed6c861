import { Redis } from 'ioredis'
import { afterAll } from 'vitest'
import { port, redisSuite } from './redis.ts'

let client: Redis | undefined
afterAll(() => client?.disconnect())

redisSuite('ioredis', async () => {
  client ??= new Redis(port, '127.0.0.1')
  return client
})
