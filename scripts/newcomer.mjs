// A newcomer's path, from an empty folder: install what npm packs, paste the README's Express example, run it, visit twice. Timed.
// Then the same in TypeScript: strict, checked with the types of all packages, as an ES module, as CommonJS, and through a bundler.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from './free-port.mjs'

/** With npm's cache warm. Most of it is npm's. */
const LIMIT_SECONDS = 60

const root = fileURLToPath(new URL('..', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'holdfast-newcomer-'))
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const dev = (...names) => names.map((name) => `${name}@${devDependencies[name]}`)

const example = /^\*\*Express\*\*.*?\n+```ts\n(.*?)^```/ms.exec(
  readFileSync(join(root, 'README.md'), 'utf8'),
)[1]
assert.ok(example.includes('app.listen(3000)'))
const onPort = (code, port) => code.replace('3000', String(port))

function run(command, args, cwd) {
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}\n${error.stdout}${error.stderr}`)
  }
}

try {
  const packed = run('npm', ['pack', '--json', '--pack-destination', work], root)
  const tarball = join(work, JSON.parse(packed.replace(/^[^[]*/, ''))[0].filename)

  const start = performance.now()
  const plain = folder('javascript')
  run('npm', ['init', '-y'], plain)
  run('npm', ['install', '--no-audit', '--no-fund', tarball, 'express'], plain)
  await counts(plain, 'server.mjs', inJavaScript(example))
  const seconds = (performance.now() - start) / 1000
  console.log(`JavaScript: from an empty folder to the second visit in ${seconds.toFixed(1)} s`)
  assert.ok(seconds < LIMIT_SECONDS, `a newcomer waits ${seconds.toFixed(1)} s, more than ${LIMIT_SECONDS}`)

  // As npm init makes it: CommonJS.
  await counts(plain, 'server.js', inCommonJs(inJavaScript(example)))
  console.log('JavaScript: through require()')

  const typed = folder('typescript')
  run('npm', ['init', '-y'], typed)
  const tools = dev('typescript', '@types/express', '@types/node', 'tsx', 'rolldown')
  run('npm', ['install', '--no-audit', '--no-fund', tarball, 'express', ...tools], typed)
  await counts(typed, 'pasted.ts', example, ['--import', 'tsx'])
  console.log('TypeScript: pasted as it stands, with tsx')

  for (const { name, type, options } of [
    { name: 'node16, ES modules', type: 'module', options: { module: 'node16', moduleResolution: 'node16' } },
    {
      name: 'node20, CommonJS through require()',
      type: 'commonjs',
      // TypeScript's module: node16 lets no CommonJS file import an ES module, as Node 16 did not (TS1479).
      options: { module: 'node20', moduleResolution: 'node16' },
    },
    { name: 'bundler', type: 'module', options: { module: 'esnext', moduleResolution: 'bundler' } },
  ]) {
    const here = folder(`typescript/${name.split(',')[0]}`)
    const compilerOptions = {
      strict: true,
      skipLibCheck: false,
      target: 'es2023',
      types: ['node'],
      rootDir: '.',
      outDir: 'out',
      ...options,
    }
    writeFileSync(join(here, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['server.ts'] }))
    writeFileSync(join(here, 'package.json'), JSON.stringify({ type }))
    const port = await freePort()
    writeFileSync(join(here, 'server.ts'), onPort(example, port))
    run(join(typed, 'node_modules/.bin/tsc'), ['-p', '.'], here)
    let file = join(here, 'out/server.js')
    if (name === 'bundler') {
      // Several files: what only sessions.check() needs is imported when it is called.
      file = join(here, 'bundle/server.js')
      run(
        join(typed, 'node_modules/.bin/rolldown'),
        ['server.ts', '--platform', 'node', '--format', 'esm', '--dir', 'bundle'],
        here,
      )
    } else if (type === 'commonjs') {
      assert.match(readFileSync(file, 'utf8'), /require\("holdfast"\)/)
      const node16 = ['-p', '.', '--noEmit', '--module', 'node16']
      assert.throws(() => run(join(typed, 'node_modules/.bin/tsc'), node16, here), /TS1479/)
    }
    await visitTwice(here, [file], port)
    console.log(`TypeScript: strict, ${name}`)
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}

function folder(name) {
  const path = join(work, name)
  mkdirSync(path, { recursive: true })
  return path
}

/** What the README says to leave out. */
function inJavaScript(code) {
  return code
    .replace("import 'holdfast/express/types'\n", '')
    .replace('<{ visits?: number }>', '')
    .replace(/^declare module [\s\S]*?^}\n/m, '')
}

function inCommonJs(code) {
  return code
    .replace(/^import (\w+) from ('.*')$/gm, 'const $1 = require($2)')
    .replace(/^import (\{.*\}) from ('.*')$/gm, 'const $1 = require($2)')
}

async function counts(cwd, name, code, args = []) {
  const port = await freePort()
  writeFileSync(join(cwd, name), onPort(code, port))
  await visitTwice(cwd, [...args, name], port)
}

/** Runs the program, and visits it with a cookie jar. It is to print nothing that a newcomer would wonder about. */
async function visitTwice(cwd, args, port) {
  const env = { ...process.env, SESSION_SECRET: 'q5vXx0Tn2yq8W1ZbJ4uR7sKd3fHgLmPc' }
  const child = spawn(process.execPath, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (printed += chunk))
  const exited = new Promise((done) => child.once('exit', done))
  try {
    const url = `http://127.0.0.1:${port}`
    let first
    for (let tries = 0; first === undefined; tries++) {
      first = await fetch(url).catch(() => undefined)
      if (first === undefined && (tries > 300 || child.exitCode !== null))
        throw new Error(`no answer: ${printed}`)
      if (first === undefined) await sleep(50)
    }
    assert.equal(await first.text(), 'Total visits: 1')
    const cookie = first.headers.getSetCookie()[0].split(';', 1)[0]
    const second = await fetch(url, { headers: { cookie } })
    assert.equal(await second.text(), 'Total visits: 2')
  } finally {
    child.kill('SIGKILL')
    await exited
  }
  assert.equal(printed, '')
}
