import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The files that a page of the documentation shows: a path in backticks on a line of its own, then a fenced block. */
export async function documentedFiles(page: string): Promise<Map<string, string>> {
  const text = await readFile(join(root, page), 'utf8')
  const shown = text.matchAll(/^`([\w$.+/[\]-]+)`\n+```\w+\n(.*?)^```$/gms)
  return new Map([...shown].map(([, path, code]) => [path!, code!]))
}

/**
 * Writes an application of the files that a page of the documentation shows, and of those in `test/apps` that the page leaves out. Its types come from the sources.
 * @returns where it is
 */
export async function writeApp(name: string, page: string): Promise<string> {
  const folder = join(root, '.cache/apps', name)
  await mkdir(folder, { recursive: true })
  for (const file of await readdir(folder)) {
    if (file !== 'node_modules') await rm(join(folder, file), { recursive: true })
  }
  const rest = join(root, 'test/apps', name)
  if (existsSync(rest)) await cp(rest, folder, { recursive: true })
  for (const [path, code] of await documentedFiles(page)) {
    const file = join(folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, code, { flag: 'wx' })
  }
  const config = join(folder, 'tsconfig.json')
  if (!existsSync(config)) return folder
  const given = JSON.parse(await readFile(config, 'utf8'))
  Object.assign(given.compilerOptions.paths, await sourcesByName())
  await writeFile(config, JSON.stringify(given))
  return folder
}

/** Where the package's entry points are written, for a tsconfig.json anywhere. */
async function sourcesByName(): Promise<Record<string, string[]>> {
  const { paths } = JSON.parse(await readFile(join(root, 'tsconfig.json'), 'utf8')).compilerOptions
  return Object.fromEntries(
    Object.entries(paths as Record<string, [string]>).map(([name, [file]]) => [name, [join(root, file)]]),
  )
}

/** Installs what the application's own package-lock.json names, unless that has been done: for packages that only its test needs. */
export async function installIn(folder: string): Promise<void> {
  const stamp = join(folder, 'node_modules/.holdfast-lock')
  const lock = await readFile(join(folder, 'package-lock.json'), 'utf8')
  if ((await readFile(stamp, 'utf8').catch(() => '')) === lock) return
  await runIn(folder, 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--include=dev'])
  await writeFile(stamp, lock)
}

/** Runs a program, of the packages that are installed if it is one. @throws with what it printed, unless it ends well */
export async function runIn(folder: string, program: string, args: readonly string[]): Promise<string> {
  const binaries = [join(root, 'node_modules/.bin'), join(folder, 'node_modules/.bin')].join(delimiter)
  const env = {
    ...process.env,
    PATH: `${binaries}${delimiter}${process.env.PATH}`,
    NODE_ENV: 'production' as const,
    ASTRO_TELEMETRY_DISABLED: '1',
  }
  const child = spawn(program, args, { cwd: folder, env })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (printed += chunk))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${printed}`)
  return printed
}
