import Fastify from 'fastify'
import { createSessions } from 'holdfast'
import { fastifySessions } from 'holdfast/fastify'

const sessions = createSessions<{ visits?: number }>({
  secret: process.env.SESSION_SECRET,
  merge: { visits: 'sum' },
})

const app = Fastify()
await app.register(fastifySessions, { sessions })
app.get('/', (request) => {
  const { data } = sessions.of(request)
  data.visits = (data.visits ?? 0) + 1
  return `Total visits: ${data.visits}`
})
await app.listen({ port: Number(process.env.PORT ?? 3000) })
