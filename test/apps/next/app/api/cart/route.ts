import { getSession, route } from '../../../sessions.ts'

export const POST = route(async (request, session) => {
  const { item, after } = (await request.json()) as { item: string; after: number }
  await new Promise((resume) => setTimeout(resume, after))
  session.data.cart ??= {}
  session.data.cart[item] = 1
  const { data } = await getSession() // the same session, elsewhere in the request
  return Response.json(data.cart)
})
