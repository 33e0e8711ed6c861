// npm run bench [-- --quick]: everything, as tables. About twenty minutes, or ten with --quick, whose figures are rougher.
import { execFile } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { areInstalled, INSTALL } from './gunicorn.mjs'

const isQuick = process.argv.includes('--quick')

/** Runs a script of this folder in a process of its own and reads the JSON that it prints. */
async function run(script, args, flags = []) {
  const file = fileURLToPath(new URL(script, import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, file, ...args], {
    maxBuffer: 2 ** 24,
  })
  return JSON.parse(stdout)
}

function table(title, head, rows) {
  const lines = [head, ...rows].map((row) => row.map(String))
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const text = lines.map((line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('   '),
  )
  console.log(`\n${title}\n\n${text.join('\n')}`)
}

async function inProcess() {
  const result = await run('in-process.mjs', [isQuick ? '5' : '25'])
  table(
    'In process: open, handler, commit. Microseconds of CPU time',
    ['', 'floor', 'holdfast', 'difference'],
    Object.entries(result).map(([name, { floor, holdfast, difference }]) => [
      name,
      ...[floor, holdfast, difference].map((us) => us.toFixed(1)),
    ]),
  )
}

async function overHttp() {
  const args = isQuick ? ['--rounds', '3', '--ms', '40'] : []
  for (const framework of ['express', 'fastify', 'koa', 'hono']) {
    const layers = (await run('http.mjs', ['--frameworks', framework, ...args]))[framework]
    const scenarios = Object.keys(layers.bare)
    const columns = (what, digits) => (scenario) => (result) => result[scenario][what].toFixed(digits)
    const cells = [
      ...scenarios.map(columns('perSecond', 0)),
      ...scenarios.map(columns('added', 1)),
      ...scenarios.map(columns('p99', 1)),
    ]
    table(
      `${framework}: requests/s; CPU microseconds that the session layer adds; p99 in milliseconds`,
      [
        '',
        ...scenarios.map((s) => `${s}/s`),
        ...scenarios.map((s) => `+ ${s}`),
        ...scenarios.map((s) => `p99 ${s}`),
      ],
      Object.entries(layers).map(([layer, result]) => [layer, ...cells.map((cell) => cell(result))]),
    )
  }
}

async function onServers() {
  if (!areInstalled()) console.log(`\nFlask and Django are left out. To have them, on Debian: ${INSTALL}`)
  const args = isQuick ? ['--rounds', '2', '--processes', '1', '--ms', '100'] : []
  const backings = await run('stores.mjs', args, ['--import', 'tsx'])
  for (const [backing, frameworks] of Object.entries(backings)) {
    for (const [framework, layers] of Object.entries(frameworks)) {
      const share = (result, scenario) =>
        layers.floor
          ? ((result[scenario].perSecond / layers.floor[scenario].perSecond) * 100).toFixed(0)
          : '-'
      table(
        `${framework} on ${backing}: requests/s, also as a share of the hand-written handler's; CPU microseconds that the session layer adds`,
        ['', 'read/s', 'write/s', 'read %', 'write %', '+ read', '+ write'],
        Object.entries(layers).map(([layer, result]) => [
          layer,
          ...['read', 'write'].map((scenario) => result[scenario].perSecond.toFixed(0)),
          ...['read', 'write'].map((scenario) => share(result, scenario)),
          ...['read', 'write'].map((scenario) => result[scenario].added.toFixed(1)),
        ]),
      )
    }
  }
}

async function heap() {
  const fillings = [
    ['holdfast', 100_000],
    ['holdfast, logged in', 100_000],
    ...(isQuick
      ? []
      : [
          ['holdfast', 1_000_000],
          ['holdfast, logged in', 1_000_000],
        ]),
    ['express-session', 100_000],
    ['@fastify/session', 5_000],
    ['hono-sessions', 100_000],
  ]
  const rows = []
  for (const [kind, sessions] of fillings) {
    const flags = ['--expose-gc', '--max-old-space-size=4096']
    const { bytes } = await run('heap.mjs', [kind, String(sessions)], flags)
    rows.push([kind, sessions.toLocaleString('en'), bytes])
  }
  table('Heap of a live session, beyond its key and the JSON of its data', ['', 'sessions', 'bytes'], rows)
}

console.log(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0].model}`)
await inProcess()
await overHttp()
await onServers()
await heap()
