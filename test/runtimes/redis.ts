import { redisStore } from 'holdfast/stores/redis'
import { storeSuite } from 'holdfast/testing'
import { describe, it } from 'vitest'

/** The server is started outside, since not every runtime can. */
export const url = process.env.HOLDFAST_REDIS_URL!
export const port = Number(new URL(url).port)

let tests = 0

/** The suite of all stores on a client, or on the URL, which other processes can open too. */
export function redisSuite(name: string, client: () => Promise<Parameters<typeof redisStore>[0]>): void {
  const opener = name === 'URL' ? process.env.HOLDFAST_REDIS_OPENER : undefined
  storeSuite(
    { describe, it },
    {
      name: `redis, ${name}`,
      async open() {
        const prefix = `${process.env.HOLDFAST_REDIS_PREFIX}-${++tests}`
        return { store: redisStore(await client(), { prefix }), config: { url, prefix } }
      },
      lacks: ['sweep'],
      ...(opener !== undefined && { opener }),
    },
  )
}
