import { serve } from '@hono/node-server'
import { createSessions } from 'holdfast'
import { webSessions } from 'holdfast/web'

const sessions = createSessions<{ visits?: number }>({
  secret: process.env.SESSION_SECRET,
  merge: { visits: 'sum' },
})

/** What Next.js, Remix, Bun.serve or Deno.serve would be given. */
const visits = webSessions(sessions, (request, { data }) => {
  if (new URL(request.url).pathname !== '/') return new Response(null, { status: 404 })
  data.visits = (data.visits ?? 0) + 1
  return new Response(`Total visits: ${data.visits}`)
})
serve({ fetch: (request) => visits(request), port: Number(process.env.PORT ?? 3000) })
