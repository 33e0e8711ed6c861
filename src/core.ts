import type { Codec } from './codec.ts'
import { SchemaError } from './errors.ts'
import type { Events } from './events.ts'
import type { Operation } from './operations.ts'
import { apply } from './operations.ts'
import { newRecord } from './record.ts'
import { validate } from './schema.ts'
import type { Settings } from './settings.ts'
import type { TokenSigner } from './token.ts'
import type { Vault } from './vault.ts'
import type { Visit } from './visit.ts'
import { putData } from './visit.ts'
import type { Work } from './work.ts'

/** What the parts of a manager share. */
export interface Core {
  readonly settings: Settings
  readonly vault: Vault
  readonly signer: TokenSigner
  readonly events: Events
  readonly work: Work
}

/** What a new session starts with: the schema's output for `{}`, or nothing. */
export function initialData({ settings: { schema, codec } }: Core): InitialData | Promise<InitialData> {
  if (!schema) return { data: {}, text: codec.encode({}) }
  return validate(schema, {}).then(
    (data) => detached(data, codec),
    (cause: Error) => {
      throw new SchemaError(
        `a new session starts as what the schema makes of {}, so each field needs a default or must be optional: ${cause.message}`,
        { cause },
      )
    },
  )
}

export interface InitialData {
  readonly data: object
  readonly text: string
}

/**
 * A copy that is this visit's alone. What a schema or `onInvalid` gives may hold constants (zod hands out the very object of a
 * default), and a handler that adds to them would add to every visitor's session.
 */
export function detached(data: object, codec: Codec): InitialData {
  const text = codec.encode(data)
  return { data: codec.decode(text), text }
}

/** Makes the visit one to no session at all, which a write turns into a new one. */
export function startAnew(
  visit: Visit,
  core: Core,
  initial: string,
  operations: readonly Operation[] = [],
): void {
  const now = core.settings.clock()
  visit.standing = 'new'
  visit.id = undefined
  visit.handle = undefined
  visit.generation = 1
  visit.kept = undefined
  visit.unresolved = undefined
  visit.lost = []
  visit.carried = undefined
  // What an earlier commit made due was for the session that is over.
  if (visit.cookie === 'send') visit.cookie = 'none'
  visit.operations = operations
  visit.record = operations.reduce(
    (record, operation) => apply(record, operation, { presented: 1, now, policy: core.settings.lifetime }),
    newRecord(now),
  )
  visit.base = initial
}

/** Puts other data in the handler's hands, in the object that it may already hold. */
export function replaceData(visit: Visit, core: Core, text: string): void {
  putData(visit, core.settings.codec.decode(text))
  visit.base = text
}
