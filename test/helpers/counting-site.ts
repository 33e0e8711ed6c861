import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler } from 'express'
import { createSessions, type SessionEvents, type Store, StoreUnavailableError } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { SECRET } from './browser.ts'

/** A site that counts for each visitor, and has every kind of route that needs no session. */
export interface CountingSite {
  readonly url: string
  /** Events of the store, by name. */
  readonly events: readonly (keyof SessionEvents)[]
  close(): Promise<void>
}

export async function startCountingSite(store: Store, onOutage?: () => void): Promise<CountingSite> {
  const sessions = createSessions<{ count?: number }>({ secret: SECRET, store, merge: { count: 'sum' } })
  const events: (keyof SessionEvents)[] = []
  for (const name of ['outage', 'recovered', 'error'] as const) sessions.on(name, () => events.push(name))
  if (onOutage) sessions.on('outage', onOutage)

  const app = express()
  app.get('/mounted-before', (_req, res) => void res.send('ok'))
  app.use(expressSessions(sessions, { skip: ({ url }) => url === '/skipped' }))
  app.get('/skipped', (_req, res) => void res.send('ok'))
  app.get('/without-session', (_req, res) => void res.send('ok'))
  app.get('/me', (req, res) => {
    const { userId = 'nobody', data } = sessions.of(req)
    res.send(`${userId} ${data.count ?? 0}`)
  })
  app.post('/count', (req, res) => {
    const { data } = sessions.of(req)
    data.count = ((data as { count?: number }).count ?? 0) + 1
    res.send(String(data.count))
  })
  app.post('/login/:user', async (req, res) => {
    await sessions.of(req).login(req.params.user)
    res.send('welcome')
  })
  const failed: ErrorRequestHandler = (error, _req, res, _next) => {
    const maybeApplied = error instanceof StoreUnavailableError && error.maybeApplied
    res.status(error.status ?? 500).json({ maybeApplied, error: String(error.cause ?? error) })
  }
  app.use(failed)

  const server = createServer(app).listen(0, '127.0.0.1')
  await new Promise((ready) => server.once('listening', ready))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    events,
    async close() {
      server.closeAllConnections()
      server.close()
      await sessions.close()
    },
  }
}
