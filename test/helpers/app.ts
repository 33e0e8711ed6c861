import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import { freePort, type RestartableServer, restartable, startServer } from '../servers/process.ts'
import { SECRET } from './browser.ts'

/** An application in a process of its own, on a port of its own, with its sessions in a SQLite file that outlives it. */
export interface App extends RestartableServer {
  readonly url: string
  /** The SQLite file. */
  readonly database: string
  /** As another process that writes to the same file: until the result is called, nothing can be saved. */
  lock(): () => void
}

/** Runs `node` with these arguments. The application finds its port in `PORT`, its store in `SESSION_DB`, a path, or `SESSION_STORE`, a URL, and its secret in `SESSION_SECRET`. */
export async function startApp(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<App> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-app-'))
  const file = `${folder}/sessions.db`
  const port = await freePort()
  const url = `http://localhost:${port}`
  const isReady = async () => (await fetch(`${url}/`)).ok
  const given = {
    ...process.env,
    PORT: String(port),
    ORIGIN: url,
    NODE_ENV: 'production' as const,
    SESSION_SECRET: SECRET,
    SESSION_DB: file,
    SESSION_STORE: `sqlite:${file}`,
    ...env,
  }
  const server = await restartable(() => startServer(process.execPath, args, isReady, { env: given }))
  return {
    ...server,
    url,
    database: file,
    lock() {
      const database = new Database(file)
      database.exec('BEGIN IMMEDIATE')
      return () => void database.close()
    },
    async stop() {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
