import { createSessions } from 'holdfast'
import { nextSessions } from 'holdfast/next'
import { openStore } from 'holdfast/stores'
import { cookies, headers } from 'next/headers'

export interface Visitor {
  visits?: number
  cart?: Record<string, number>
  since?: Date
  seen?: Set<string>
}

export const sessions = createSessions<Visitor>({
  secret: process.env.SESSION_SECRET ?? 'only while next build looks at the routes, which opens none',
  store: openStore(process.env.SESSION_STORE ?? 'file:.data/sessions'),
  merge: { visits: 'sum', cart: 'sum' },
  csrf: true,
  // On a busy machine 50 requests to one session may take longer than an application would let them.
  deadlines: { load: process.env.LOAD_DEADLINE ?? '10s', write: '10s', request: '30s' },
  lifetime: { rotateEvery: process.env.ROTATE_EVERY ?? '15m', grace: process.env.GRACE ?? '5m' },
})
for (const event of ['forged', 'reuse', 'uncommitted'] as const) {
  sessions.on(event, () => console.log(`event: ${event}`))
}

export const { getSession, action, route, proxy } = nextSessions(sessions, { cookies, headers })
