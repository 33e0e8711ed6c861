import type { PageServerLoad } from './$types'

/** Asks a route of the same application, as another request. */
export const load: PageServerLoad = async ({ locals: { session }, fetch }) => {
  session.data.cart = ['of the page']
  await session.commit()
  const { data } = await (await fetch('/api')).json()
  await fetch('/api', { method: 'POST' })
  await session.reload()
  return { seen: data.cart, visits: session.data.visits }
}
