import { createSessions } from 'holdfast'
import { koaSessions } from 'holdfast/koa'
import Koa from 'koa'

const sessions = createSessions<{ visits?: number }>({
  secret: process.env.SESSION_SECRET,
  merge: { visits: 'sum' },
})

const app = new Koa()
app.use(koaSessions(sessions))
app.use((ctx) => {
  if (ctx.path !== '/') return
  const { data } = sessions.of(ctx)
  data.visits = (data.visits ?? 0) + 1
  ctx.body = `Total visits: ${data.visits}`
})
app.listen(Number(process.env.PORT ?? 3000))
