import { logEvents, loggerOver } from 'holdfast/log'
import { memoryStore } from 'holdfast/stores/memory'
import pino from 'pino'
import { afterEach, expect, it, vi } from 'vitest'
import { EVENT_NAMES } from '../src/events.ts'
import { browser, manager } from './helpers/browser.ts'
import { faulty } from './helpers/faults.ts'

interface Data {
  visits?: number
}

interface Line {
  level: number
  msg: string
  err?: { type: string; message: string; stack: string }
  [field: string]: unknown
}

/** The real pino, and what it wrote. */
function logger(level: pino.Level = 'info') {
  const lines: Line[] = []
  const log = pino(
    { level, base: null, timestamp: false },
    { write: (line: string) => void lines.push(JSON.parse(line)) },
  )
  return { log, lines }
}

const { debug, info, warn, error } = pino.levels.values
afterEach(() => vi.restoreAllMocks())

it('writes a line for each event, with its fields', async () => {
  const { log, lines } = logger('debug')
  const { sessions } = manager<Data>()
  logEvents(sessions, log)
  const jar = browser(sessions)
  const handle = await jar.visit(async (session) => {
    await session.login('ann')
    return session.handle
  })
  await sessions.open('__Host-id=forged')
  await jar.visit((session) => session.logout())
  expect(lines).toEqual([
    { level: debug, sessions: 'id', event: 'created', handle, userId: 'ann', msg: 'session created' },
    { level: info, sessions: 'id', event: 'login', handle, userId: 'ann', msg: 'session login' },
    { level: info, sessions: 'id', event: 'forged', msg: 'session forged' },
    { level: info, sessions: 'id', event: 'logout', handle, userId: 'ann', msg: 'session logout' },
  ])
})

it('keeps the stack of an error, and says of an outage once what it is', async () => {
  const { log, lines } = logger()
  const printed = vi.spyOn(console, 'error')
  const store = faulty(memoryStore())
  const { sessions } = manager<Data>({ store, deadlines: { load: 50 } })
  logEvents(sessions, log)
  const jar = browser(sessions)
  await jar.visit((session) => void (session.data.visits = 1))
  store.freeze()
  await expect(sessions.open(jar.header)).rejects.toThrow()
  store.thaw()
  await vi.waitFor(() => expect(lines.map(({ event }) => event)).toEqual(['outage', 'recovered']))
  expect(lines[0]).toMatchObject({ level: error, store: 'memory', err: { type: 'NoAnswerError' } })
  expect(lines[0]?.err?.stack).toContain('breaker')
  expect(lines[1]).toMatchObject({ level: info, milliseconds: expect.any(Number) })
  expect(printed).not.toHaveBeenCalled()
})

it('takes other levels, and leaves events out', async () => {
  const { log, lines } = logger()
  const { sessions } = manager<Data>()
  logEvents(sessions, log, { forged: false, duplicate: 'warn' })
  const [ann, bob] = [browser(sessions), browser(sessions)]
  for (const jar of [ann, bob]) await jar.visit((session) => void (session.data.visits = 1))
  await sessions.open('__Host-id=forged')
  await sessions.open(`${ann.header}; ${bob.header}`)
  expect(lines).toMatchObject([{ level: warn, event: 'duplicate' }])
})

it('hears every event there is, and ends', () => {
  const heard: string[] = []
  const ended: string[] = []
  const sessions = {
    name: 'id',
    on: (name: string) => {
      heard.push(name)
      return () => void ended.push(name)
    },
  }
  const stop = logEvents(sessions, logger().log)
  expect(heard).toEqual(EVENT_NAMES)
  expect(ended).toEqual([])
  stop()
  expect(ended).toEqual(EVENT_NAMES)
})

it('gives pino what goes to the option `logger`, with the error', async () => {
  const { log, lines } = logger()
  const { sessions } = manager<Data>({ secret: undefined, logger: loggerOver(log) })
  expect(lines).toMatchObject([{ level: warn, msg: expect.stringContaining('no secret given') }])
  sessions.on('created', () => {
    throw new RangeError('of the listener')
  })
  await browser(sessions).visit((session) => void (session.data.visits = 1))
  expect(lines[1]).toMatchObject({
    level: error,
    msg: "holdfast: a listener of 'created' threw",
    err: { type: 'RangeError', message: 'of the listener' },
  })
})
