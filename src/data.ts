import type { Codec } from './codec.ts'
import type { Core } from './core.ts'
import { InvalidRecordError, SchemaError } from './errors.ts'
import { validate } from './schema.ts'
import type { Kept } from './vault.ts'

/** What a handler is given as `data`, and the same encoded: what tells later whether it has changed. */
export interface EncodedData {
  readonly data: object
  readonly text: string
}

/** Times the limit: room for those who have lowered it. */
const FAR_TOO_MUCH = 8

/** What a new session starts with: the schema's output for `{}`, or nothing. */
export function initialData({ settings: { schema, codec } }: Core): EncodedData | Promise<EncodedData> {
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

/** The kept state's data; with a schema, validated and encoded again. @throws InvalidRecordError or SchemaError */
export function readData(kept: Kept, core: Core): EncodedData | Promise<EncodedData> {
  const { schema, codec } = core.settings
  const data = decode(kept.data, core)
  if (!schema) return { data, text: kept.data }
  // What the schema adds by itself (a default for a new field) is no change of this request.
  return validate(schema, data).then((output) => detached(output, codec))
}

/**
 * A copy that is this visit's alone. What a schema or `onInvalid` gives may hold constants (zod hands out the very object of a
 * default), and a handler that adds to them would add to every visitor's session.
 */
export function detached(data: object, codec: Codec): EncodedData {
  const text = codec.encode(data)
  return { data: codec.decode(text), text }
}

function decode(text: string, { settings: { codec, maxBytes } }: Core): object {
  // Nobody wrote that under these settings, and reading it would hold up everybody else.
  if (text.length > maxBytes * FAR_TOO_MUCH) {
    throw new InvalidRecordError(
      `the data of the record has ${text.length} characters, far over the limit of ${maxBytes} bytes (maxBytes)`,
    )
  }
  try {
    return codec.decode(text)
  } catch (cause) {
    // The message of JSON.parse quotes what it read, which may be personal and has no place in an event.
    const told = cause instanceof SyntaxError ? undefined : { cause }
    throw new InvalidRecordError('the data of the record cannot be decoded', told)
  }
}
