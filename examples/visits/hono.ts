import { serve } from '@hono/node-server'
import { createSessions } from 'holdfast'
import { honoSessions } from 'holdfast/hono'
import { Hono } from 'hono'

const sessions = createSessions<{ visits?: number }>({
  secret: process.env.SESSION_SECRET,
  merge: { visits: 'sum' },
})

const app = new Hono()
app.use(honoSessions(sessions))
app.get('/', (c) => {
  const { data } = sessions.of(c)
  data.visits = (data.visits ?? 0) + 1
  return c.text(`Total visits: ${data.visits}`)
})
serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000) })
