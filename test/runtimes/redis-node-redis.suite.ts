import { createClient } from 'redis'
import { afterAll } from 'vitest'
import { port, redisSuite } from './redis.ts'

let connecting: ReturnType<typeof connect> | undefined
afterAll(async () => (await connecting)?.destroy())

redisSuite('node-redis', () => {
  connecting ??= connect()
  return connecting
})

async function connect() {
  const client = createClient({ socket: { host: '127.0.0.1', port } })
  client.on('error', () => {})
  await client.connect()
  return client
}
