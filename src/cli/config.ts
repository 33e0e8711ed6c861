import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Secret, SessionOptions } from '../options.ts'
import { OPTION_NAMES } from '../settings.ts'
import type { Store } from '../store.ts'
import { messageOf, UsageError } from './command.ts'

/**
 * What a file in the current folder may say in place of options: what the site gives to `createSessions`, but that `store` may be a URL.
 * Commands use `store`, `name` and `secret`; `doctor` looks at all of it.
 */
export interface Config {
  /** None, if there is no such file. */
  readonly file: string | undefined
  readonly store: string | Store | undefined
  readonly name: string | undefined
  /** The newest first. */
  readonly secrets: readonly Secret[]
  /** Where they are from, for messages. */
  readonly secretsFrom: string
  /** What else there is. */
  readonly options: SessionOptions<object>
}

const FILES = ['holdfast.config.ts', 'holdfast.config.js', 'holdfast.config.json']

/** The first of the files that is there, and what the environment says of secrets, which goes first. @throws UsageError naming the file */
export async function readConfig(): Promise<Config> {
  const file = FILES.find((name) => existsSync(name))
  const { store, name, secret, ...options } = file === undefined ? ({} as Given) : await read(file)
  // None of those that we say how to make has a comma in it.
  const fromEnvironment = (process.env.HOLDFAST_SECRET ?? '').split(',').flatMap((each) => each.trim() || [])
  const isFromFile = fromEnvironment.length === 0 && secret !== undefined
  return {
    file,
    store,
    name,
    secrets: isFromFile ? (Array.isArray(secret) ? secret : [secret as Secret]) : fromEnvironment,
    secretsFrom: isFromFile ? file! : 'HOLDFAST_SECRET',
    options,
  }
}

type Given = Omit<SessionOptions<object>, 'store'> & { readonly store?: string | Store }

async function read(file: string): Promise<Given> {
  const isJson = file.endsWith('.json')
  const config = isJson ? await parseJson(file) : await importModule(file)
  if (typeof config !== 'object' || config === null) {
    throw new UsageError(
      `${file}: it holds no object; make it like { "store": "redis://localhost", "name": "id" }`,
    )
  }
  const given = config as Given
  for (const field of Object.keys(given)) {
    if (OPTION_NAMES.includes(field)) continue
    throw new UsageError(
      `${file}: there is no field ${JSON.stringify(field)}; there are the options of createSessions: ${OPTION_NAMES.join(', ')}`,
    )
  }
  if (isJson && given.secret !== undefined) {
    throw new UsageError(
      `${file}: a secret in it would be committed; put it into HOLDFAST_SECRET, or name the file holdfast.config.js and read it from the environment there`,
    )
  }
  if (given.name !== undefined && typeof given.name !== 'string') {
    throw new UsageError(`${file}: name is no text; give the name of the manager`)
  }
  const { store } = given
  if (store !== undefined && typeof store !== 'string' && typeof store?.load !== 'function') {
    throw new UsageError(`${file}: store is neither a URL nor a store; give one of them`)
  }
  return given
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
