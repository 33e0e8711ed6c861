import express from 'express'
import { createSessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'

const sessions = createSessions<{ visits?: number }>({
  secret: process.env.SESSION_SECRET,
  merge: { visits: 'sum' },
})

const app = express()
app.use(expressSessions(sessions))
app.get('/', (req, res) => {
  const { data } = sessions.of(req)
  data.visits = (data.visits ?? 0) + 1
  res.send(`Total visits: ${data.visits}`)
})
app.listen(Number(process.env.PORT ?? 3000))
