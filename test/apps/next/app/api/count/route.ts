import { route } from '../../../sessions.ts'

export const POST = route((_request, session) => {
  session.data.visits = (session.data.visits ?? 0) + 1
  return Response.json(session.data.visits)
})
