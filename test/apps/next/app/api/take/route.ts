import { route } from '../../../sessions.ts'

/** As the way back from another site that logs people in: a GET, behind the proxy. */
export const GET = route(async (request, session) => {
  await session.login(new URL(request.url).searchParams.get('user') ?? 'ann')
  return new Response('logged in')
})
