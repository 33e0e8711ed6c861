// One visit counter in Python, behind gunicorn: one worker with eight threads, which makes it a gthread one. The default, a sync worker,
// closes the connection after each answer.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const INSTALL =
  'apt-get install --no-install-recommends gunicorn python3-flask-session python3-redis python3-django-redis python3-psycopg2'
const APPS = { flask: 'flask_app', django: 'django_app' }
/** What Linux counts CPU time in, in microseconds. */
const TICK = 10_000

const at = ['--chdir', fileURLToPath(new URL('./apps', import.meta.url))]

export function isOnGunicorn(framework) {
  return framework in APPS
}

/** Whether there is what INSTALL brings, on Linux: CPU time is read from its /proc. */
export function areInstalled() {
  const loads = (app) =>
    spawnSync('gunicorn', [...at, '--check-config', `${app}:create_app('bare', '')`]).status === 0
  return process.platform === 'linux' && Object.values(APPS).every(loads)
}

export async function startGunicorn(framework, layer, url) {
  const child = spawn(
    'gunicorn',
    [
      ...at,
      ...['--bind', '127.0.0.1:0', '--workers', '1', '--threads', '8', '--keep-alive', '60'],
      // An application that does not load ends it before it listens.
      ...['--preload', `${APPS[framework]}:create_app('${layer}', '${url}')`],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const kill = () => child.kill()
  process.on('exit', kill)
  const { port, worker } = await started(child)
  return {
    port,
    cpu: async () => cpuTimeOf(child.pid) + cpuTimeOf(worker),
    async stop() {
      process.off('exit', kill)
      kill()
      await once(child, 'exit')
    },
  }
}

/** What its log says. */
function started(child) {
  return new Promise((resolve, reject) => {
    let log = ''
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      log += chunk
      const port = /Listening at: http:\/\/127\.0\.0\.1:(\d+)/.exec(log)?.[1]
      const worker = /Booting worker with pid: (\d+)/.exec(log)?.[1]
      if (port && worker) resolve({ port, worker })
    })
    child.on('close', (code) => reject(new Error(`gunicorn ended with ${code}: ${log}`)))
  })
}

/** User and system time of a process, in microseconds: after its name, the 12th and the 13th field. */
function cpuTimeOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK
}
