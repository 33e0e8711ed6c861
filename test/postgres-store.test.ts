import { PGlite } from '@electric-sql/pglite'
import { postgresStore } from 'holdfast/stores/sql'
import pg from 'pg'
import postgres from 'postgres'
import { afterAll, describe, it } from 'vitest'
import { storeSuite } from '../src/testing/store-suite.ts'
import { runOn, startPgBouncer, startPostgres } from './servers/postgres.ts'

const OPENER = new URL('./openers/postgres.ts', import.meta.url).href
const server = await startPostgres()
const bouncer = await startPgBouncer(server)
const pool = new pg.Pool({ connectionString: server.url, max: 20 })
const pooled = new pg.Pool({ connectionString: bouncer.url, max: 20 })
const sql = postgres(server.url, { onnotice: () => undefined })
const pglite = new PGlite()

afterAll(async () => {
  await Promise.all([pool.end(), pooled.end(), sql.end(), pglite.close()])
  await bouncer.stop()
  await server.stop()
})

let tables = 0
const newTable = () => `sessions_${process.pid}_${++tables}`

for (const [name, handle, url] of [
  ['pg', pool, server.url],
  ['pg through PgBouncer in transaction mode', pooled, bouncer.url],
  ['postgres', sql, undefined],
  ['PGlite', pglite, undefined],
] as const) {
  storeSuite(
    { describe, it },
    {
      name: `postgres, with ${name}`,
      async open() {
        const table = newTable()
        const drop = `DROP TABLE IF EXISTS ${table}`
        return {
          store: postgresStore(handle, { table }),
          config: { url, table },
          dispose: async () => {
            await (handle === pglite ? pglite.query(drop) : runOn(server.url, drop))
          },
        }
      },
      ...(url && { opener: OPENER }),
    },
  )
}
