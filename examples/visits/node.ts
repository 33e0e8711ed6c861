import { createServer } from 'node:http'
import { createSessions } from 'holdfast'
import { nodeSessions } from 'holdfast/node'

const sessions = createSessions<{ visits?: number }>({
  secret: process.env.SESSION_SECRET,
  merge: { visits: 'sum' },
})

const server = createServer(
  nodeSessions(sessions, (request, response, { data }) => {
    if (request.url !== '/') return response.writeHead(404).end()
    data.visits = (data.visits ?? 0) + 1
    response.end(`Total visits: ${data.visits}`)
  }),
)
server.listen(Number(process.env.PORT ?? 3000))
