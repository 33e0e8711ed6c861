// Runs the suites of the core, the web adapter and the stores in memory and in Redis on the built package, and the samples of
// docs/runtimes.md, on every runtime that installs here: `node scripts/runtimes.mjs`, or `node scripts/runtimes.mjs deno codec` for one
// runtime and the files whose names hold a word. Nodes other than this one are those that scripts/other-nodes.mjs has installed.
import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'
import { freePort } from './free-port.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, '.cache/runtimes')
const bundles = join(folder, 'bundles')
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const [wanted, only = ''] = process.argv.slice(2)

const COMPATIBILITY = { compatibilityDate: '2026-04-26', compatibilityFlags: ['nodejs_compat'] }
const docs = readFileSync(join(root, 'docs/runtimes.md'), 'utf8')

/** The versions that are run: newer ones are taken on purpose, with the table in the README. */
const VERSIONS = { bun: '1.4.5', deno: '2.9.6', miniflare: '4.20260426.0' }

/**
 * The tests as they stand, and in the place of: the package, by its names and by its sources, what has been built; Vitest, its parts;
 * the servers of the frameworks, that of the runtime. A worker gets all in one piece.
 */
const asBuilt = (isWorker) => {
  const inDist = (path) =>
    isWorker ? join(root, path) : { id: pathToFileURL(join(root, path)).href, external: true }
  return {
    name: 'as-built',
    resolveId(id, importer) {
      if (id === 'vitest') return join(root, 'test/runtimes/vitest.ts')
      if (id === './servers.ts' && importer?.startsWith(join(root, 'test/frameworks/')))
        return join(root, 'test/runtimes/servers.ts')
      if (/^holdfast(\/|$)/.test(id)) return inDist(exports[`.${id.slice('holdfast'.length)}`])
      if (importer && id.startsWith('.')) {
        const file = resolve(dirname(importer), id)
        const isSource = file.startsWith(join(root, 'src/'))
        return isSource ? inDist(file.replace(join(root, 'src'), 'dist').replace(/\.ts$/, '.js')) : null
      }
      return isWorker || id.startsWith('/') ? null : { id, external: true }
    },
    transform(code, file) {
      if (!file.startsWith(join(root, 'test/'))) return null
      const located = code.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(file).href))
      return isWorker && /\.(test|suite)\.ts$/.test(file) ? asFunction(located) : located
    },
    // Modules of a worker have no URL; Node's `createRequire` takes any.
    renderChunk: (code) => (isWorker ? code.replaceAll('import.meta.url', "'file:///worker.mjs'") : null),
  }
}

/** A worker must not make random values or timers while its modules load, and tests do: what stands behind the imports becomes a function. */
function asFunction(code) {
  const imports = []
  const rest = code.replace(/^import\s(?:[^']*?\sfrom\s)?'[^']+'$/gm, (found) => {
    imports.push(found)
    return ''
  })
  return `${imports.join('\n')}\nexport default async () => {\n${rest}\n}\n`
}

async function bundle(name, file, isWorker) {
  const made = await rolldown({
    input: join(root, file),
    platform: 'node',
    plugins: [asBuilt(isWorker)],
    external: isWorker ? [/^node:/, /^cloudflare:/] : [],
    resolve: isWorker ? { conditionNames: ['workerd', 'import', 'module', 'default'] } : {},
    // Else package.json's word that the package has no side effects would be taken to mean the tests too.
    treeshake: false,
    logLevel: 'silent',
  })
  await made.write({
    dir: join(bundles, name),
    entryFileNames: `${name}.mjs`,
    chunkFileNames: '[name]-[hash].mjs',
    format: 'esm',
  })
  await made.close()
  return join(bundles, name, `${name}.mjs`)
}

install()
rmSync(bundles, { recursive: true, force: true })
const main = await bundle('main', 'test/runtimes/main.ts', false)
const opener = await bundle('opener', 'test/openers/redis.ts', false)
await bundle('worker', 'test/runtimes/worker.ts', true)

const nodeOf = (version) => join(root, `.cache/node-${version}/node_modules/node/bin/node`)
const bin = (name) => join(folder, 'node_modules/.bin', name)
const all = [
  { kind: 'node', program: process.execPath, args: [] },
  ...['22', '24', '26'].map((version) => ({ kind: 'node', program: nodeOf(version), args: [] })),
  { kind: 'bun', program: bin('bun'), args: [] },
  { kind: 'deno', program: bin('deno'), args: ['run', '-A'] },
  { kind: 'workerd', program: bin('workerd'), args: [] },
]
const runtimes = all.filter(({ kind, program }) => existsSync(program) && (!wanted || kind === wanted))

const redis = await startRedis()
const rows = []
let hasFailed = false
try {
  const queue = [...runtimes.entries()]
  const work = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [at, runtime] = next
      const start = performance.now()
      const outcome = await (runtime.kind === 'workerd' ? inWorkerd(at) : asProgram(runtime, at))
      rows[at] = { runtime: nameOf(runtime), ...outcome, seconds: (performance.now() - start) / 1000 }
    }
  }
  await Promise.all([work(), work()])
  if (only === '') for (const runtime of runtimes) await sample(runtime)
} finally {
  await redis.stop()
}

for (const { runtime, passed, failed, exceptions, excepted, seconds } of rows) {
  const count = (pattern) =>
    Object.entries(passed).reduce((sum, [file, tests]) => sum + (pattern.test(file) ? tests : 0), 0)
  const web = count(/^frameworks/)
  const memory = count(/^stores/)
  const inRedis = count(/redis/)
  const core = count(/./) - web - memory - inRedis
  console.log(
    `${runtime}: core ${core}, web adapter ${web}, memory ${memory}, Redis ${inRedis}; ${failed.length} failed; ${seconds.toFixed(0)} s`,
  )
  for (const [i, { test, why, skip }] of exceptions.entries()) {
    if (excepted[i] > 0) console.log(`  ${skip ? 'not run' : 'fails'} (${excepted[i]}): ${test}: ${why}`)
    else if (only === '') failed.push(`${test}: no test has this name any more`)
  }
  for (const each of failed) console.error(`\n${runtime}: ${each}`)
  hasFailed ||= failed.length > 0
}
process.exit(hasFailed ? 1 : 0)

function install() {
  const isThere = Object.entries(VERSIONS).every(([name, version]) => {
    const file = join(folder, 'node_modules', name, 'package.json')
    return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === version
  })
  if (isThere) return
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: VERSIONS }))
  const { status } = spawnSync('npm', ['install', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
}

function nameOf({ kind, program }) {
  const printed = spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0]
  const version = /\d[\w.-]*/.exec(printed)[0]
  return `${{ node: 'Node', bun: 'Bun', deno: 'Deno', workerd: 'workerd' }[kind]} ${version}`
}

function environment(at) {
  return {
    HOLDFAST_FRAMEWORKS: 'web',
    HOLDFAST_REDIS_URL: redis.url,
    HOLDFAST_REDIS_PREFIX: `runtime-${at}`,
  }
}

async function asProgram({ kind, program, args }, at) {
  const env = {
    ...process.env,
    ...environment(at),
    HOLDFAST_REDIS_OPENER: pathToFileURL(opener).href,
    NO_COLOR: '1',
  }
  const { code, printed } = await run(program, [...args, main, kind, only], { cwd: dirname(main), env })
  const last = printed.trim().split('\n').at(-1)
  if (last.startsWith('{"passed"')) return JSON.parse(last)
  return { passed: {}, failed: [`ended with ${code}: ${printed.slice(-4000)}`], exceptions: [], excepted: [] }
}

/** One request for each file: a request has room for some thousand timers, and all tests together make more. */
async function inWorkerd(at) {
  const Miniflare = await miniflareClass()
  const miniflare = new Miniflare({
    ...workerIn('worker'),
    name: 'main',
    bindings: environment(at),
    serviceBindings: { SELF: 'main' },
    handleRuntimeStdio() {},
  })
  const ask = async (path) => {
    const signal = AbortSignal.timeout(120_000)
    return (await miniflare.dispatchFetch(`http://tests.test${path}`, { signal })).json()
  }
  try {
    const { files, exceptions } = await ask('/files')
    const sum = { passed: {}, failed: [], exceptions, excepted: exceptions.map(() => 0) }
    for (const file of files.filter((name) => name.includes(only))) {
      const one = await ask(`/run?file=${encodeURIComponent(file)}`)
      Object.assign(sum.passed, one.passed)
      sum.failed.push(...one.failed)
      for (const [i, count] of one.excepted.entries()) sum.excepted[i] += count
    }
    return sum
  } finally {
    await miniflare.dispose()
  }
}

/** The sample of docs/runtimes.md, visited twice. */
async function sample({ kind, program }) {
  const permitted = kind === 'deno' ? ['run', '--allow-env', '--allow-net', '--allow-read'] : []
  const fence = kind === 'workerd' ? 'worker' : kind
  const [, code] = new RegExp(`^\`\`\`js ${fence}\\n(.*?)^\`\`\``, 'ms').exec(docs) ?? []
  if (kind === 'node') return // the README's are run by test/readme.test.ts
  // As in a project that has the package installed: Deno does not know a package by its name from inside.
  const project = join(bundles, 'samples')
  mkdirSync(join(project, 'node_modules'), { recursive: true })
  writeFileSync(join(project, 'package.json'), '{ "type": "module", "dependencies": { "holdfast": "*" } }')
  if (!existsSync(join(project, 'node_modules/holdfast')))
    symlinkSync(root, join(project, 'node_modules/holdfast'))
  const file = join(project, `sample-${fence}.js`)
  const port = await freePort()
  writeFileSync(file, code.replace('3000', String(port)))
  const secret = 'q5vXx0Tn2yq8W1ZbJ4uR7sKd3fHgLmPc'
  let ask
  let end
  if (kind === 'workerd') {
    const Miniflare = await miniflareClass()
    await bundle('sample', '.cache/runtimes/bundles/samples/sample-worker.js', true)
    const miniflare = new Miniflare({
      ...workerIn('sample'),
      bindings: { REDIS_URL: redis.url, SESSION_SECRET: secret },
    })
    ask = (headers) => miniflare.dispatchFetch('http://sample.test', { headers })
    end = () => miniflare.dispose()
  } else {
    const env = { ...process.env, SESSION_SECRET: secret }
    const child = spawn(program, [...permitted, file], {
      cwd: project,
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    ask = (headers) => fetch(`http://127.0.0.1:${port}`, { headers })
    end = () => void child.kill('SIGKILL')
    for (let tries = 0; !(await fetch(`http://127.0.0.1:${port}/favicon.ico`).catch(() => false)); tries++) {
      if (tries > 300) throw new Error(`the sample for ${kind} did not come up`)
      await sleep(50)
    }
  }
  try {
    const first = await ask({})
    const [cookie] = first.headers.getSetCookie()[0].split(';')
    const second = await ask({ cookie })
    const said = [await first.text(), await second.text()].join(', ')
    if (said !== 'Total visits: 1, Total visits: 2') throw new Error(`the sample for ${kind} said: ${said}`)
    console.log(`${kind}: the sample of docs/runtimes.md counts`)
  } finally {
    await end()
  }
}

function workerIn(name) {
  const modulesRoot = join(bundles, name)
  const others = readdirSync(modulesRoot).filter((file) => file !== `${name}.mjs`)
  const modules = [`${name}.mjs`, ...others].map((file) => ({
    type: 'ESModule',
    path: join(modulesRoot, file),
  }))
  return { modulesRoot, modules, ...COMPATIBILITY, cf: false }
}

async function miniflareClass() {
  const file = join(folder, 'node_modules/miniflare/dist/src/index.js')
  return (await import(pathToFileURL(file).href)).Miniflare
}

function run(program, args, options) {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let printed = ''
    for (const stream of [child.stderr, child.stdout]) stream.on('data', (chunk) => (printed += chunk))
    const timer = setTimeout(() => child.kill('SIGKILL'), 300_000)
    child.on('error', fail)
    child.on('close', (code) => {
      clearTimeout(timer)
      done({ code, printed })
    })
  })
}

async function startRedis() {
  const port = await freePort()
  const data = mkdtempSync(join(tmpdir(), 'holdfast-runtimes-'))
  const args = ['--bind', '127.0.0.1', '--port', String(port), '--dir', data, '--save', '']
  const child = spawn('redis-server', args, { stdio: 'ignore' })
  const isUp = () =>
    spawnSync('redis-cli', ['-p', String(port), 'PING'], { encoding: 'utf8' }).stdout === 'PONG\n'
  for (let tries = 0; !isUp(); tries++) {
    if (tries > 300) throw new Error('redis-server did not come up')
    await sleep(50)
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      child.kill()
      await new Promise((done) => child.once('exit', done))
      rmSync(data, { recursive: true, force: true })
    },
  }
}
