import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Finding } from '../store.ts'

interface Package {
  readonly version: string
  readonly engines: { readonly node: string }
  readonly peerDependencies: Readonly<Record<string, string>>
}

/** The drivers of stores that are opened by URL, the one first that is taken if there are several. */
const DRIVERS: Readonly<Record<string, readonly string[]>> = {
  redis: ['ioredis', 'redis'],
  postgres: ['pg', 'postgres'],
  mysql: ['mysql2', 'mariadb'],
  sqlite: process.getBuiltinModule('node:sqlite') === undefined ? ['libsql'] : [],
}

/** What is too old of what is installed around Holdfast. @param store its name */
export function checkInstallation(store: string): Finding[] {
  const { engines, peerDependencies } = ownPackage()
  const findings: Finding[] = []
  if (isOlder(process.versions.node, engines.node)) {
    findings.push({
      id: 'node.too-old',
      severity: 'error',
      finding: `This is Node ${process.versions.node}, and Holdfast needs ${engines.node}: older ones lack what it is built on.`,
      cure: `Run the site on Node ${engines.node}.`,
    })
  }
  for (const name of DRIVERS[store] ?? []) {
    const version = versionOf(name)
    if (version === undefined) continue
    const range = peerDependencies[name]
    if (range !== undefined && isOlder(version, range)) {
      findings.push({
        id: 'driver.too-old',
        severity: 'error',
        finding: `The package ${name} is installed as ${version}, and Holdfast needs ${range}: it calls what older ones do not have.`,
        cure: `Run npm install ${name}@latest.`,
      })
    }
    break
  }
  return findings
}

export function ownPackage(): Package {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
}

/** As it would be imported from here. Its own package.json is not always exported. */
function versionOf(name: string): string | undefined {
  const folders = createRequire(import.meta.url).resolve.paths(name) ?? []
  const file = folders.map((folder) => join(folder, name, 'package.json')).find((path) => existsSync(path))
  return file && (JSON.parse(readFileSync(file, 'utf8')) as Package).version
}

/** Our ranges have a lowest version and no highest one: `>=20.19`. */
function isOlder(version: string, range: string): boolean {
  const [found, lowest] = [version, range.replace(/^>=/, '')].map((text) =>
    text.split('.').map((part) => Number.parseInt(part, 10)),
  ) as [number[], number[]]
  for (const [i, least] of lowest.entries()) {
    const part = found[i] ?? 0
    if (part !== least) return part < least
  }
  return false
}
