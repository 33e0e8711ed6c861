import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { find, freePort, type RestartableServer, restartable, startServer } from './process.ts'

/** Started again it is empty. */
export interface Memcached extends RestartableServer {
  readonly port: number
  /** One command of one line, and all that comes back until a quiet moment. */
  ask(command: string): Promise<string>
}

/** Starts a memcached of its own; `args` are added to the command line. */
export async function startMemcached(args: readonly string[] = []): Promise<Memcached> {
  const port = await freePort()
  const asUser = process.getuid?.() === 0 ? ['-u', 'root'] : []
  const all = ['-l', '127.0.0.1', '-p', String(port), '-U', '0', ...asUser, ...args]
  const isReady = async () => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    return true
  }
  const server = await restartable(() => startServer('memcached', all, isReady))
  return { ...server, port, ask: (command) => ask(port, command) }
}

async function ask(port: number, command: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(`${command}\r\nmn\r\n`)
  let answer = ''
  for await (const chunk of socket) {
    answer += chunk
    if (answer.endsWith('MN\r\n')) break
  }
  socket.destroy()
  return answer.slice(0, -'MN\r\n'.length)
}

/** Makes a certificate for 127.0.0.1 and localhost that signs itself; the paths of both files. */
export function makeCertificate(folder: string): { readonly key: string; readonly certificate: string } {
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  const made = spawnSync(find('openssl'), [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
    ...['-keyout', key, '-out', certificate],
  ])
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`)
  return { key, certificate }
}

/** A file for `-Y`. */
export function makeAuthFile(folder: string, username: string, password: string): string {
  const file = join(folder, 'auth')
  writeFileSync(file, `${username}:${password}\n`, { mode: 0o600 })
  return file
}
