// Checks the package as users get it: what npm packs, installed into an empty project with no optional peer, on this Node.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'holdfast-package-'))
const run = (command, args, cwd) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })

// All but what extends the types of a framework or needs an optional peer to load.
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const entries = Object.keys(exports)
  .map((path) => path.slice(2))
  .filter((entry) => entry !== '' && entry !== 'package.json' && !/types$|^otel$/.test(entry))

try {
  const [{ filename, size, files }] = JSON.parse(
    run('npm', ['pack', '--json', '--pack-destination', work], root).replace(/^[^[]*/, ''),
  )
  const tarball = join(work, filename)
  console.log(`${filename}: ${files.length} files, ${Math.round(size / 1024)} KiB packed`)

  console.log(run('npx', ['publint', 'run', tarball, '--strict'], root))
  console.log(run('npx', ['attw', tarball, '--profile', 'esm-only'], root))

  writeFileSync(join(work, 'package.json'), '{ "type": "module", "private": true }')
  run('npm', ['install', '--omit=optional', tarball], work)
  writeFileSync(
    join(work, 'try.js'),
    `
    import assert from 'node:assert/strict'
    import { createSessions } from 'holdfast'
    import { webSessions } from 'holdfast/web'
    for (const entry of ${JSON.stringify(entries)}) {
      await import('holdfast/' + entry)
    }
    const sessions = createSessions({ secret: 'q5vXx0Tn2yq8W1ZbJ4uR7sKd3fHgLmPc' })
    const handle = webSessions(sessions, (_request, session) => {
      session.data.visits = (session.data.visits ?? 0) + 1
      return new Response(String(session.data.visits))
    })
    const first = await handle(new Request('https://example.org/'))
    const cookie = first.headers.getSetCookie()[0].split(';')[0]
    const second = await handle(new Request('https://example.org/', { headers: { cookie } }))
    assert.equal(await second.text(), '2')

    const { dashboard } = await import('holdfast/dashboard')
    const board = dashboard({ sessions, authorize: () => true })
    const page = await (await board.handle(new Request('https://example.org/sessions/'))).text()
    for (const [, path] of page.matchAll(/"\\.\\/(assets\\/[^"]+)"/g)) {
      const file = await board.handle(new Request('https://example.org/sessions/' + path))
      assert.equal(file.status, 200)
      assert.ok((await file.text()).length > 1000)
    }
    assert.match(page, /assets\\/.*js/)
    await sessions.close()

    const { openStore } = await import('holdfast/stores')
    const urls = { 'redis://127.0.0.1': 'ioredis', 'postgres://127.0.0.1/a': 'pg', 'mysql://127.0.0.1/a': 'mysql2' }
    for (const [url, driver] of Object.entries(urls)) {
      await assert.rejects(async () => openStore(url).load('k'), new RegExp('npm install ' + driver))
    }
    `,
  )
  run('node', ['try.js'], work)
  run('npm', ['install', '@opentelemetry/api'], work)
  run('node', ['-e', "import('holdfast/otel').then(({ instrument }) => instrument()())"], work)
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  assert.equal(run('npx', ['--no-install', 'holdfast', '--version'], work), `${version}\n`)
  mkdirSync(join(work, 'a'))
  const moved = run(
    join(work, 'node_modules/.bin/holdfast'),
    ['migrate', '--from', 'file:a', '--to', 'file:b'],
    work,
  )
  assert.match(moved, /^Done: no sessions are left/)
  console.log(
    'installed without any optional peer: counts visits, says how to install a driver, and runs its command',
  )
} finally {
  rmSync(work, { recursive: true, force: true })
}
