// What a session costs without a server around it: open, handler, commit, in one process, for Holdfast and the floor (floor.mjs).
// Rounds of each are interleaved, so that whatever slows the machine down slows both; CPU time is counted, which other processes do not
// take away; the result is the median of the rounds. First it is checked that both count right and refuse a forged cookie.
//
//   node bench/in-process.mjs [rounds]
//
// prints JSON: microseconds of CPU time of each, and the median of the differences within a round.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSessions } from 'holdfast'
import { createFloor } from './floor.mjs'
import { visitor } from './payload.mjs'
import { median } from './statistics.mjs'

const SESSIONS = 1_000
const REQUESTS = 5_000
const rounds = Number(process.argv[2] ?? 25)

const secret = randomBytes(32)
const floor = createFloor(secret)
const sessions = createSessions({ secret })

function request(cookie) {
  const headers = { host: 'localhost', accept: '*/*', connection: 'keep-alive' }
  if (cookie !== undefined) headers.cookie = cookie
  return { method: 'GET', url: '/', headers }
}

/** Each takes a request through its library and gives what the handler saw and the Set-Cookie of the answer. */
const contenders = {
  holdfast: {
    async none(req) {
      const session = await sessions.open(req)
      await sessions.commit(session)
    },
    async read(req) {
      const session = await sessions.open(req)
      const visits = session.data.visits ?? 0
      await sessions.commit(session)
      return visits
    },
    async write(req) {
      const session = await sessions.open(req)
      const visits = ++session.data.visits
      await sessions.commit(session)
      return visits
    },
    async create(data) {
      const session = await sessions.open(request())
      session.data = data
      const { cookie } = await sessions.commit(session)
      return `${cookie.name}=${cookie.value}`
    },
  },
  floor: {
    none: (req) => floor.read(req.headers.cookie),
    read: (req) => floor.read(req.headers.cookie),
    write: (req) => floor.write(req.headers.cookie),
    async create(data) {
      return (await floor.create(data)).split(';', 1)[0]
    },
  },
}

async function checkThatItCounts({ read, write, create }) {
  const cookie = await create({ visits: 1 })
  assert.equal(await write(request(cookie)), 2)
  assert.equal(await write(request(cookie)), 3)
  assert.equal(await read(request(cookie)), 3)
  const forged = cookie.slice(0, -1) + (cookie.endsWith('A') ? 'B' : 'A')
  assert.equal(await read(request(forged)), 0)
}

async function time(handle, cookies) {
  const start = process.cpuUsage()
  for (let i = 0; i < REQUESTS; i++) await handle(request(cookies[i % cookies.length]))
  const { user, system } = process.cpuUsage(start)
  return (user + system) / REQUESTS
}

const cases = []
for (const [contender, { create, ...handlers }] of Object.entries(contenders)) {
  await checkThatItCounts({ create, ...handlers })
  for (const [payload, data] of Object.entries({ counter: { visits: 0 }, visitor: visitor() })) {
    const cookies = []
    for (let i = 0; i < SESSIONS; i++) cookies.push(await create(structuredClone(data)))
    cases.push({ contender, name: `read ${payload}`, handle: handlers.read, cookies })
    cases.push({ contender, name: `write ${payload}`, handle: handlers.write, cookies })
  }
  cases.push({ contender, name: 'none', handle: handlers.none, cookies: [undefined] })
}

const samples = cases.map(() => [])
for (let round = -2; round < rounds; round++) {
  const turn = [...cases.entries()]
  if (round % 2 === 1) turn.reverse()
  for (const [i, { handle, cookies }] of turn) {
    const took = await time(handle, cookies)
    if (round >= 0) samples[i].push(took) // the first rounds are for the compiler
  }
}

const result = {}
for (const name of new Set(cases.map((one) => one.name))) {
  const [floors, own] = ['floor', 'holdfast'].map(
    (contender) => samples[cases.findIndex((one) => one.contender === contender && one.name === name)],
  )
  result[name] = {
    floor: median(floors),
    holdfast: median(own),
    difference: median(own.map((took, round) => took - floors[round])),
  }
}
await sessions.close()
console.log(JSON.stringify(result))
