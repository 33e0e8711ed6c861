import { mysqlStore } from 'holdfast/stores/sql'
import mariadb from 'mariadb'
import mysql2 from 'mysql2'
import { afterAll, describe, it } from 'vitest'
import { storeSuite } from '../src/testing/store-suite.ts'
import { runOn, startMariadb } from './servers/mariadb.ts'

const OPENER = new URL('./openers/mysql.ts', import.meta.url).href
const server = await startMariadb()
const pool = mysql2.createPool({ uri: server.url, connectionLimit: 20 })
const mariadbPool = mariadb.createPool(server.url.replace('mysql:', 'mariadb:'))

afterAll(async () => {
  await Promise.all([pool.promise().end(), mariadbPool.end()])
  await server.stop()
})

let tables = 0
const newTable = () => `sessions_${process.pid}_${++tables}`

for (const [name, handle] of [
  ['mysql2', pool],
  ['mariadb', mariadbPool],
] as const) {
  storeSuite(
    { describe, it },
    {
      name: `mysql, with ${name}`,
      async open() {
        const table = newTable()
        return {
          store: mysqlStore(handle, { table }),
          config: { url: server.url, table },
          dispose: async () => {
            await runOn(server.url, `DROP TABLE IF EXISTS ${table}`)
          },
        }
      },
      opener: OPENER,
    },
  )
}
