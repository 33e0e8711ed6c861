// The visit counter over HTTP with sessions on a server: Redis and PostgreSQL, each started here. On Node everybody has the same driver, and
// `floor` is a hand-written handler that does the same GET and EVALSHA (or SELECT and UPDATE) and nothing else. Flask and Django have no
// floor here, and are left out unless they are installed (gunicorn.mjs says how).
//
//   node --import tsx bench/stores.mjs [--rounds 4] [--processes 2] [--ms 200]
//
// prints JSON: by backing, what http.mjs prints.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { startPostgres } from '../test/servers/postgres.ts'
import { startRedis } from '../test/servers/redis.ts'
import { areInstalled } from './gunicorn.mjs'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    processes: { type: 'string', default: '2' },
    ms: { type: 'string', default: '200' },
  },
})
const http = fileURLToPath(new URL('./http.mjs', import.meta.url))

const results = { redis: {}, postgres: {} }

async function run(backing, url, framework, layers, milliseconds = options.ms) {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[http, '--backing', backing, '--url', url, '--frameworks', framework, '--layers', layers],
    ...['--scenarios', 'read,write', '--rounds', options.rounds, '--processes', options.processes],
    ...['--ms', milliseconds],
  ])
  results[backing][framework] = JSON.parse(stdout)[framework]
}

const hasPython = areInstalled()

/** In longer rounds: the CPU time of gunicorn is known to 10 ms. */
async function runPython(backing, url, framework, layers) {
  if (hasPython) await run(backing, url, framework, layers, String(options.ms * 5))
}

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
    await run('redis', url, framework, `bare,floor,holdfast,${peer}`)
  }
  await runPython('redis', url, 'flask', 'bare,Flask-Session')
  await runPython('redis', url, 'django', 'bare,cached sessions (django-redis)')
} finally {
  await redis.stop()
}
const postgres = await startPostgres()
try {
  await run('postgres', postgres.url, 'express', 'bare,floor,holdfast,express-session')
  await runPython('postgres', postgres.url, 'django', 'bare,database sessions')
} finally {
  await postgres.stop()
}
console.log(JSON.stringify(results))
