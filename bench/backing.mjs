// Where sessions are kept in a benchmark: for the hand-written handler (floor.mjs), for Holdfast, and for the usual libraries. Everybody
// has the same driver. Without a name it is the memory of the process.
import { createHash } from 'node:crypto'

export async function openBacking(name, url) {
  if (name === 'redis') return redis(url)
  if (name === 'postgres') return postgres(url)
  return {}
}

async function redis(url) {
  const { createClient } = await import('redis')
  const { redisStore } = await import('holdfast/stores/redis')
  const { RedisStore } = await import('connect-redis')
  const client = await createClient({ url }).connect()
  const json = {
    async get(key) {
      const text = await client.get(`peer:${key}`)
      return text && JSON.parse(text)
    },
    set: (key, data) => client.set(`peer:${key}`, JSON.stringify(data), { EX: 86_400 }),
    destroy: (key) => client.del(`peer:${key}`),
  }
  return {
    store: redisStore(client),
    kept: redisByHand(client),
    express: () => new RedisStore({ client }),
    koa: json,
    hono: {
      getSessionById: json.get,
      createSession: json.set,
      persistSessionData: json.set,
      deleteSession: json.destroy,
    },
  }
}

const COMPARE_AND_SET = `
local kept = redis.call('GET', KEYS[1])
if (kept and string.match(kept, '^(%d+) ') or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', 86400)
return 1`

/** One GET to read, one EVALSHA to compare and set. */
function redisByHand(client) {
  const sha = createHash('sha1').update(COMPARE_AND_SET).digest('hex')
  const loaded = client.scriptLoad(COMPARE_AND_SET)
  return {
    async get(id) {
      const text = await client.get(`floor:${id}`)
      if (text === null) return undefined
      const space = text.indexOf(' ')
      return { rev: Number(text.slice(0, space)), text: text.slice(space + 1) }
    },
    async compareAndSet(id, text, expectedRev) {
      await loaded
      const value = `${(expectedRev ?? 0) + 1} ${text}`
      const options = { keys: [`floor:${id}`], arguments: [String(expectedRev ?? ''), value] }
      return (await client.evalSha(sha, options)) === 1
    },
  }
}

async function postgres(url) {
  const { default: pg } = await import('pg')
  const { default: session } = await import('express-session')
  const { default: connectPg } = await import('connect-pg-simple')
  const { postgresStore } = await import('holdfast/stores/sql')
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  await pool.query(
    'CREATE TABLE IF NOT EXISTS by_hand (id text PRIMARY KEY, rev int NOT NULL, data text NOT NULL)',
  )
  const PgStore = connectPg(session)
  const store = postgresStore(pool, { prepare: true })
  await store.createTables()
  return {
    store,
    kept: postgresByHand(pool),
    express: () => new PgStore({ pool, createTableIfMissing: true, pruneSessionInterval: false }),
  }
}

/** One prepared statement each. */
function postgresByHand(pool) {
  return {
    async get(id) {
      const text = 'SELECT rev, data FROM by_hand WHERE id = $1'
      const { rows } = await pool.query({ name: 'get', text, values: [id] })
      return rows[0] && { rev: rows[0].rev, text: rows[0].data }
    },
    async compareAndSet(id, data, expectedRev) {
      const statement =
        expectedRev === undefined
          ? { name: 'create', text: 'INSERT INTO by_hand VALUES ($1, 1, $2)', values: [id, data] }
          : {
              name: 'update',
              text: 'UPDATE by_hand SET data = $2, rev = rev + 1 WHERE id = $1 AND rev = $3',
              values: [id, data, expectedRev],
            }
      return (await pool.query(statement)).rowCount === 1
    },
  }
}
