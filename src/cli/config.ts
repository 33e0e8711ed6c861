import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { messageOf, UsageError } from './command.ts'

/** What a file in the current folder may say in place of options. The secret is in the environment alone. */
export interface Config {
  readonly store?: string
  readonly name?: string
}

const FILES = ['holdfast.config.ts', 'holdfast.config.js', 'holdfast.config.json']
const FIELDS = ['store', 'name']

/** The first of these files that is there, or nothing. @throws UsageError naming the file */
export async function readConfig(): Promise<Config> {
  const file = FILES.find((name) => existsSync(name))
  if (file === undefined) return {}
  const config = file.endsWith('.json') ? await parseJson(file) : await importModule(file)
  if (typeof config !== 'object' || config === null) {
    throw new UsageError(
      `${file}: it holds no object; make it like { "store": "redis://localhost", "name": "id" }`,
    )
  }
  for (const [field, value] of Object.entries(config)) {
    if (!FIELDS.includes(field)) {
      throw new UsageError(
        `${file}: there is no field ${JSON.stringify(field)}; there are: ${FIELDS.join(', ')}`,
      )
    }
    if (value !== undefined && typeof value !== 'string') {
      throw new UsageError(
        `${file}: ${field} is no text; give ${field === 'store' ? 'a URL' : 'the name of the manager'}`,
      )
    }
  }
  return config
}

/** The message of JSON.parse quotes what it read, and that may be a password. */
async function parseJson(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8')
  try {
    return JSON.parse(text)
  } catch {
    throw new UsageError(`${file}: it is no JSON; look for a missing quote, or a comma too many`)
  }
}

async function importModule(file: string): Promise<unknown> {
  try {
    return (await import(pathToFileURL(resolve(file)).href)).default
  } catch (error) {
    const isTypeScript = (error as NodeJS.ErrnoException).code === 'ERR_UNKNOWN_FILE_EXTENSION'
    const problem = isTypeScript
      ? 'this Node reads no TypeScript; use Node 22.18 or newer, or name it holdfast.config.js'
      : messageOf(error)
    throw new UsageError(`${file}: ${problem}`, { cause: error })
  }
}
