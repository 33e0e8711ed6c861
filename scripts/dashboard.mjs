// Builds the page of the dashboard: src/dashboard/client becomes static files in dist/dashboard/static, each with its compressed copies.
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('..', import.meta.url))
const source = join(root, 'src/dashboard/client')
const target = join(root, 'dist/dashboard/static')
const stamp = join(target, 'source.sha256')

const TYPES = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
}

/** Does nothing if what is there was made of these sources, so that whatever needs the page may call it. */
export async function buildDashboard() {
  const hash = hashOfSources()
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return
  mkdirSync(join(root, 'dist/dashboard'), { recursive: true })
  // Made beside and then renamed: several tests may build at once, and none must serve half of it.
  const draft = mkdtempSync(join(root, 'dist/dashboard/draft-'))
  try {
    const { build } = await import('vite')
    await build({
      configFile: false,
      logLevel: 'error',
      root: source,
      base: './',
      build: {
        outDir: draft,
        target: 'es2022',
        modulePreload: false,
        assetsInlineLimit: 0,
        emptyOutDir: false,
      },
    })
    const files = readdirSync(draft, { recursive: true }).filter((name) => /\.\w+$/.test(name))
    for (const name of files) compress(join(draft, name))
    writeFileSync(join(draft, 'files.json'), JSON.stringify(files.map(listed), null, 2))
    writeFileSync(join(draft, 'source.sha256'), hash)
    // Parts of uPlot are in the script, so its licence goes with them.
    copyFileSync(join(root, 'node_modules/uplot/LICENSE'), join(draft, 'uplot-LICENSE.txt'))
    putInPlace(draft)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

function listed(name) {
  const type = TYPES[name.split('.').at(-1)]
  if (type === undefined) throw new Error(`dashboard: nobody has said what type ${name} is of`)
  return { path: name.replaceAll('\\', '/'), type, isNamedByContent: name !== 'index.html' }
}

function compress(file) {
  const plain = readFileSync(file)
  writeFileSync(`${file}.gz`, gzipSync(plain, { level: 9 }))
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length }
  writeFileSync(`${file}.br`, brotliCompressSync(plain, { params }))
}

function putInPlace(draft) {
  rmSync(target, { recursive: true, force: true })
  try {
    renameSync(draft, target)
  } catch (error) {
    if (!existsSync(stamp)) throw error // else another one has been as quick, with the same sources
  }
}

function hashOfSources() {
  const hash = createHash('sha256')
  const files = readdirSync(source, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())
  const paths = files.map(({ parentPath, name }) => join(parentPath, name)).sort()
  const uplot = join(root, 'node_modules/uplot/package.json')
  for (const path of [fileURLToPath(import.meta.url), uplot, ...paths])
    hash.update(path.slice(root.length)).update(readFileSync(path))
  return hash.digest('hex')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildDashboard()
