// Installs the servers and the browser that the tests start, where it may: as root on Debian. HOLDFAST_INSTALL=0 forbids it. What is then missing is said
// in one line, and the tests that need it fail.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

/**
 * By Debian package: a program that it brings, and the variable that names a server which is running already. The others are
 * killed, frozen and filled by the tests, which therefore start their own.
 */
const PACKAGES = {
  'redis-server': { program: 'redis-server' },
  'redis-tools': { program: 'redis-cli' },
  memcached: { program: 'memcached' },
  'mariadb-server': { program: 'mariadbd', url: 'HOLDFAST_MYSQL_URL' },
  postgresql: { folder: '/usr/lib/postgresql', url: 'HOLDFAST_POSTGRES_URL' },
  pgbouncer: { program: 'pgbouncer', url: 'HOLDFAST_PGBOUNCER_URL' },
  chromium: { program: 'chromium' },
  openssl: { program: 'openssl' },
}

const isThere = ({ program, folder }) =>
  folder ? existsSync(folder) : PATH.split(':').some((directory) => existsSync(`${directory}/${program}`))
const missing = Object.entries(PACKAGES).filter(([, one]) => !isThere(one) && !process.env[one.url])

if (missing.length > 0) {
  const packages = missing.map(([name]) => name)
  const mayInstall =
    process.env.HOLDFAST_INSTALL !== '0' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')
  if (mayInstall) install(packages)
  else {
    const urls = missing.flatMap(([, { url }]) => url ?? [])
    const orName = urls.length > 0 ? `, or name running ones in ${urls.join(', ')}` : ''
    console.error(`Tests need programs: install ${packages.join(' ')}${orName}.`)
  }
}

function install(packages) {
  console.log(`Installing ${packages.join(' ')} …`)
  const apt = (...args) =>
    spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', '-qq', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      // No service is started: RUNLEVEL 1 is what invoke-rc.d asks for that.
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
    }).status
  if (apt('install', '-y', '--no-install-recommends', ...packages) === 0) return
  if (apt('update') !== 0 || apt('install', '-y', '--no-install-recommends', ...packages) !== 0)
    process.exit(1)
}
