// The visit counter over HTTP with sessions on a server: Redis and PostgreSQL, each started here. Everybody has the same driver, and `floor`
// is a hand-written handler that does the same GET and EVALSHA (or SELECT and UPDATE) and nothing else.
//
//   node --import tsx bench/stores.mjs [--rounds 4] [--processes 2] [--ms 200]
//
// prints JSON: by backing, what http.mjs prints.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { startPostgres } from '../test/servers/postgres.ts'
import { startRedis } from '../test/servers/redis.ts'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    processes: { type: 'string', default: '2' },
    ms: { type: 'string', default: '200' },
  },
})
const http = fileURLToPath(new URL('./http.mjs', import.meta.url))

async function run(backing, url, framework, layers) {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[http, '--backing', backing, '--url', url, '--frameworks', framework, '--layers', layers],
    ...['--scenarios', 'read,write', '--rounds', options.rounds, '--processes', options.processes],
    ...['--ms', options.ms],
  ])
  return JSON.parse(stdout)[framework]
}

const results = { redis: {}, postgres: {} }
const redis = await startRedis()
try {
  const url = `redis://127.0.0.1:${redis.port}`
  const peers = {
    express: 'express-session',
    fastify: '@fastify/session',
    koa: 'koa-session',
    hono: 'hono-sessions',
  }
  for (const [framework, peer] of Object.entries(peers)) {
    results.redis[framework] = await run('redis', url, framework, `bare,floor,holdfast,${peer}`)
  }
} finally {
  await redis.stop()
}
const postgres = await startPostgres()
try {
  results.postgres.express = await run(
    'postgres',
    postgres.url,
    'express',
    'bare,floor,holdfast,express-session',
  )
} finally {
  await postgres.stop()
}
console.log(JSON.stringify(results))
