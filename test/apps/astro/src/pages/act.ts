import type { APIRoute } from 'astro'

const pause = (milliseconds: number) => new Promise((resume) => setTimeout(resume, milliseconds))

/** What scripts do. */
export const POST: APIRoute = async ({ locals: { visitor }, url }) => {
  const act = url.searchParams.get('act')
  if (act === 'rotate') return Response.json(await visitor.rotate())
  if (act === 'slow') {
    await pause(600)
    visitor.data.cart = ['late']
    return Response.json('saved')
  }
  const { visits = 0 } = visitor.data
  await pause(20)
  visitor.data.visits = visits + 1
  return Response.json('counted', { status: act === 'fail' ? 500 : 200 })
}
