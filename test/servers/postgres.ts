import { spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import {
  find,
  freePort,
  type RestartableServer,
  restartable,
  type ServerProcess,
  startServer,
} from './process.ts'

export interface TestServer {
  readonly url: string
  readonly port: number
  /** The same URL with other parts. */
  with(parts: UrlParts): string
  /** Ends the server and every connection to it, unless it was running before. */
  stop(): Promise<void>
}

/** One of its own, that a test may put out of action. */
export type OwnServer = TestServer & RestartableServer

export interface UrlParts {
  readonly user?: string
  readonly password?: string
  readonly database?: string
  readonly port?: number
}

const PASSWORD = 'p@ss/w:rd'

/** Starts PostgreSQL in a folder of its own, or takes the one that HOLDFAST_POSTGRES_URL names. */
export async function startPostgres(): Promise<TestServer> {
  const { HOLDFAST_POSTGRES_URL: given } = process.env
  return given ? serverAt(given, async () => {}) : startOwnPostgres()
}

/** Starts PostgreSQL in a folder of its own, to be stopped at will. It flushes its log only when a commit asks for it. */
export async function startOwnPostgres(): Promise<OwnServer> {
  const owner = unprivileged()
  const folder = folderFor(owner)
  const passwordFile = join(folder, 'password')
  writeFileSync(passwordFile, PASSWORD, { mode: 0o644 })
  const data = join(folder, 'data')
  const port = await freePort()
  const url = `postgres://holdfast:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/postgres`
  const options = { ...owner, cwd: folder, encoding: 'utf8' } as const
  const login = ['-U', 'holdfast', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`]
  const initdb = ['-D', data, '-E', 'UTF8', '--locale=C.UTF-8', '-N', ...login]
  const made = spawnSync(program('initdb'), initdb, options)
  if (made.status !== 0) throw new Error(`initdb: ${made.error ?? made.stderr}`)
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    fsync: 'off',
    wal_writer_delay: '10s',
    max_connections: 120,
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const isReady = () => runOn(url, 'SELECT 1')
  const server = await restartable(async () => {
    const started = await startServer(program('postgres'), ['-D', data, ...args], isReady, options)
    // Unlike SIGTERM it does not wait for clients to leave.
    return { ...started, stop: () => started.stop('SIGINT') }
  })
  await runOn(url, 'CREATE DATABASE holdfast')
  const stop = async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  return { ...server, ...serverAt(url.replace(/postgres$/, 'holdfast'), stop) }
}

/** Starts PgBouncer in transaction mode in front of a server, or takes the one that HOLDFAST_PGBOUNCER_URL names. */
export async function startPgBouncer(server: TestServer): Promise<TestServer> {
  const { HOLDFAST_PGBOUNCER_URL: given } = process.env
  return given ? serverAt(given, async () => {}) : startOwnPgBouncer(server)
}

/** Starts PgBouncer in transaction mode in front of a server. */
export async function startOwnPgBouncer(server: TestServer): Promise<TestServer> {
  const owner = unprivileged()
  const folder = folderFor(owner)
  const port = await freePort()
  const { hostname, port: serverPort, username, password } = new URL(server.url)
  const login = [username, password].map((part) => decodeURIComponent(part))
  const file = (name: string, lines: readonly string[]) => {
    const path = join(folder, name)
    writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o644 })
    return path
  }
  const users = file('users.txt', [`"${login[0]}" "${login[1]}"`])
  const config = file('pgbouncer.ini', [
    '[databases]',
    `* = host=${hostname} port=${serverPort}`,
    '[pgbouncer]',
    'pool_mode = transaction',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = scram-sha-256',
    `auth_file = ${users}`,
    // Fewer than clients, so that consecutive statements of one client do meet different servers.
    'default_pool_size = 4',
    'max_client_conn = 200',
    'ignore_startup_parameters = extra_float_digits',
    // By default it leaves a server alone for 15 seconds after it could not connect to it.
    'server_login_retry = 0.2',
  ])
  const url = withParts(server.url, { port })
  const options = { ...owner, cwd: folder }
  const bouncer = await startServer('pgbouncer', [config], () => runOn(url, 'SELECT 1'), options)
  return serverAt(url, async () => {
    // SIGTERM ends it at once, unlike SIGINT.
    await bouncer.stop()
    rmSync(folder, { recursive: true, force: true })
  })
}

/** Runs statements on a connection of their own. */
export async function runOn(url: string, ...statements: readonly string[]): Promise<true> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 20_000 })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
  return true
}

export function serverAt(url: string, stop: ServerProcess['stop']): TestServer {
  return { url, port: Number(new URL(url).port), with: (parts) => withParts(url, parts), stop }
}

function withParts(base: string, { user, password, database, port }: UrlParts): string {
  const url = new URL(base)
  if (user !== undefined) url.username = user
  if (password !== undefined) url.password = encodeURIComponent(password)
  if (database !== undefined) url.pathname = database
  if (port !== undefined) url.port = String(port)
  return url.href
}

/** PostgreSQL and PgBouncer refuse to run as root. */
function unprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const idOf = (flag: string) => Number(spawnSync('id', [flag, 'nobody'], { encoding: 'utf8' }).stdout)
  return { uid: idOf('-u'), gid: idOf('-g') }
}

function folderFor(owner: { uid: number; gid: number } | undefined): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-postgres-'))
  if (owner) chownSync(folder, owner.uid, owner.gid)
  return folder
}

/** Debian keeps them apart by version, off the path. */
function program(name: string): string {
  const versions = '/usr/lib/postgresql'
  try {
    return find(name)
  } catch (error) {
    const numbers = numberedFolders(versions)
    if (numbers.length === 0) throw error
    return find(`${versions}/${Math.max(...numbers)}/bin/${name}`)
  }
}

function numberedFolders(folder: string): number[] {
  try {
    return readdirSync(folder).map(Number).filter(Boolean)
  } catch {
    return []
  }
}
