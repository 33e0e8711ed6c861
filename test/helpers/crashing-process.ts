/**
 * A process that uses two sessions, act by act, and kills itself at the step that it was told. It keeps a journal, so that others know what it
 * had been told itself. Arguments: the place, the number of the step, and the file of the journal.
 */
import { openSync, writeSync } from 'node:fs'
import type { Session } from '../../src/index.ts'
import type { Place } from '../openers/crashing.ts'
import { ACTS, type Act, BEGINNING, type Entry, SECRET } from './crashing-acts.ts'
import { beforeEachChange } from './stepping-files.ts'

// After that, so that the stores make their changes through it.
const { createSessions } = await import('../../src/index.ts')
const { open } = await import('../openers/crashing.ts')

interface Data {
  visits?: number
}

const [place = '', last = '', journal = ''] = process.argv.slice(2)
let steps = 0
let isCounting = false
const step = () => {
  if (isCounting && ++steps === Number(last)) process.kill(process.pid, 'SIGKILL')
}
beforeEachChange(step)
const file = openSync(journal, 'a')
const note = (entry: Entry) => writeSync(file, `${JSON.stringify(entry)}\n`)

const opened = open(JSON.parse(place) as Place, step)
const cookies: { phone?: string; laptop?: string } = {}
let ahead = 0

/** A manager for each act, since its end waits for what no answer waits for. */
async function use(work: (sessions: ReturnType<typeof manage>) => Promise<unknown>, store = opened.store) {
  const sessions = manage(store)
  await work(sessions)
  await sessions.close()
}

function manage(store: typeof opened.store) {
  const kept = new Proxy(store, {
    get(target, name) {
      if (name === 'close') return undefined
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return createSessions<Data>({
    secret: SECRET,
    store: kept,
    sweepEvery: false,
    clock: () => Date.now() + ahead,
  })
}

function visit(
  device: keyof typeof cookies,
  handle: (session: Session<Data>) => unknown,
  store = opened.store,
) {
  return use(async (sessions) => {
    const session = await sessions.open(cookies[device])
    await handle(session)
    const { cookie } = await sessions.commit(session)
    if (cookie) cookies[device] = cookie.value ? `${cookie.name}=${cookie.value}` : ''
  }, store)
}

const count = ({ data }: Session<Data>) => void (data.visits = (data.visits ?? 0) + 1)

const perform: Record<Act, () => Promise<unknown>> = {
  begin: () => visit('phone', count, opened.first),
  'log in on another device': () => visit('laptop', (session) => session.login('ada'), opened.first),
  write: () => visit('phone', count),
  'log in': () => visit('phone', (session) => session.login('ada')),
  'write as a user': () => visit('phone', count),
  touch: () => visit('phone', ({ data }) => data.visits),
  rotate: () => visit('phone', count),
  'log in as somebody else': () => visit('phone', (session) => session.login('bob')),
  'log out': () => visit('phone', (session) => session.logout()),
  revoke: () => use((sessions) => sessions.revoke({ userId: 'ada' })),
}

for (const act of ACTS) {
  if (opened.first === opened.store || !BEGINNING.includes(act)) isCounting = true
  if (act === 'touch') ahead += 5 * 60_000
  if (act === 'rotate') ahead += 16 * 60_000
  note({ act, ahead })
  await perform[act]()
  note({ done: act, cookies })
}
note({ steps })
await opened.close()
