import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { type OwnServer, serverAt, type TestServer } from './postgres.ts'
import { find, freePort, restartable, startServer } from './process.ts'

/** Starts MariaDB in a folder of its own, or takes the server that HOLDFAST_MYSQL_URL names. */
export async function startMariadb(): Promise<TestServer> {
  const { HOLDFAST_MYSQL_URL: given } = process.env
  return given ? serverAt(given, async () => {}) : startOwnMariadb()
}

/** Starts MariaDB in a folder of its own, to be stopped at will. What does not fit into `bufferPool` is read from disk. */
export async function startOwnMariadb({ bufferPool = '64M' } = {}): Promise<OwnServer> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-mariadb-'))
  const data = join(folder, 'data')
  const user = `--user=${userInfo().username}`
  const install = [
    '--no-defaults',
    `--datadir=${data}`,
    `--tmpdir=${folder}`,
    user,
    '--skip-test-db',
    '--auth-root-authentication-method=normal',
  ]
  // Two that install at once must not take each other's temporary tables away.
  const env = { ...process.env, TMPDIR: folder }
  const made = spawnSync(find('mariadb-install-db'), install, { encoding: 'utf8', env })
  if (made.status !== 0) throw new Error(`mariadb-install-db: ${made.error ?? made.stderr + made.stdout}`)
  const port = await freePort()
  const root = `mysql://root@127.0.0.1:${port}/mysql`
  const args = [
    '--no-defaults',
    `--datadir=${data}`,
    `--tmpdir=${folder}`,
    user,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--tmpdir=${folder}`,
    '--innodb-flush-log-at-trx-commit=2',
    `--innodb-buffer-pool-size=${bufferPool}`,
    '--performance-schema=off',
  ]
  const server = await restartable(() => startServer('mariadbd', args, () => runOn(root, 'SELECT 1')))
  await runOn(
    root,
    'CREATE DATABASE holdfast',
    `CREATE USER holdfast@'%' IDENTIFIED BY 'p@ss/w:rd'`,
    `GRANT ALL ON *.* TO holdfast@'%' WITH GRANT OPTION`,
  )
  const stop = async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  const url = `mysql://holdfast:${encodeURIComponent('p@ss/w:rd')}@127.0.0.1:${port}/holdfast`
  return { ...server, ...serverAt(url, stop) }
}

/** Runs statements on a connection of their own. */
export async function runOn(url: string, ...statements: readonly string[]): Promise<true> {
  const connection = await createConnection(url)
  try {
    for (const statement of statements) await connection.query(statement)
  } finally {
    await connection.end()
  }
  return true
}
