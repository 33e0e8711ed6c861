import type { SessionEvents } from './events.ts'
import { EVENT_NAMES } from './events.ts'
import type { Logger } from './options.ts'
import type { Sessions } from './sessions.ts'

type EventName = keyof SessionEvents
type Level = 'debug' | 'info' | 'warn' | 'error'

/** A logger that takes fields and then a message: pino, Fastify's `app.log`, bunyan. */
export type StructuredLogger = { [One in Level]: (fields: object, message: string) => void }

const WARNINGS: readonly EventName[] = ['reuse', 'clientChanged', 'unproven', 'invalid', 'uncommitted']
const LEVELS: { readonly [Name in EventName]?: Level } = {
  created: 'debug',
  rotated: 'debug',
  expired: 'debug',
  swept: 'debug',
  outage: 'error',
  error: 'error',
  ...Object.fromEntries(WARNINGS.map((name) => [name, 'warn'])),
}

/**
 * One line for each event of these sessions: `{ sessions, event, … }` with what the event has, an error under `err`, and `session login` for a message. No
 * line holds a token or a value of `data`; handles and user ids are in them, so treat logs as personal data.
 *
 * `levels`: `false` for no line. Default: `debug` for what happens all the time (`created`, `rotated`, `expired`, `swept`), `warn` for what somebody
 * should look at (`reuse`, `clientChanged`, `unproven`, `invalid`, `uncommitted`), `error` for `outage` and `error`, `info` for the rest. The result ends it.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { logEvents, loggerOver } from 'holdfast/log'
 * import pino from 'pino'
 *
 * const log = pino()
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, logger: loggerOver(log) })
 * logEvents(sessions, log, { rotated: false })
 * ```
 */
export function logEvents(
  sessions: Pick<Sessions<object>, 'name' | 'on'>,
  log: StructuredLogger,
  levels: { readonly [Name in EventName]?: Level | false } = {},
): () => void {
  const stops = EVENT_NAMES.map((name) => {
    const level = levels[name] ?? LEVELS[name] ?? 'info'
    return sessions.on(name, (event) => {
      if (level === false) return
      const { error, ...fields } = event as { error?: unknown }
      const line = {
        sessions: sessions.name,
        event: name,
        ...fields,
        ...(error !== undefined && { err: error }),
      }
      log[level](line, `session ${name}`)
    })
  })
  return () => {
    for (const stop of stops) stop()
  }
}

/** What the option `logger` takes, over such a logger. Given to it as it is, it would take the error for something to put into the message, and drop it. */
export function loggerOver(log: Pick<StructuredLogger, 'warn' | 'error'>): Logger {
  return {
    warn: (message) => log.warn({}, message),
    error: (message, error) => log.error(error === undefined ? {} : { err: error }, message),
  }
}
