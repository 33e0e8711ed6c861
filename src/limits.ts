import { checkSize } from './codec.ts'
import { DataError } from './errors.ts'
import type { SessionRecord } from './record.ts'
import { validate } from './schema.ts'
import type { Settings } from './settings.ts'

/** Whether data may be kept, which with a schema takes a promise. @throws DataError or SchemaError */
export function checkData(
  text: string,
  data: object,
  { maxBytes, schema }: Settings,
): Promise<object> | undefined {
  checkSize(text, data, maxBytes)
  return schema && validate(schema, data)
}

/** Messages that nobody takes add up. @throws DataError */
export function checkFlashes({ flashes }: SessionRecord, { maxBytes }: Settings): void {
  const size = flashes.reduce((sum, { category, message }) => sum + category.length + message.length + 24, 0)
  if (size <= maxBytes) return
  throw new DataError(
    `${flashes.length} flash messages take about ${size} bytes, over the limit of ${maxBytes} (maxBytes): ` +
      'show them with takeFlashes()',
  )
}
