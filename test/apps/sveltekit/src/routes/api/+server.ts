import { json, type RequestHandler } from '@sveltejs/kit'
import { sessions } from '$lib/server/sessions'

const pause = (milliseconds: number) => new Promise((resume) => setTimeout(resume, milliseconds))

export const GET: RequestHandler = async ({ locals: { session } }) => {
  const { userId, handle, data } = session
  return json({ userId, handle, data, devices: userId ? (await sessions.list(userId)).length : 0 })
}

/** What scripts do. */
export const POST: RequestHandler = async ({ locals: { session }, url }) => {
  const act = url.searchParams.get('act')
  if (act === 'rotate') return json(await session.rotate())
  if (act === 'slow') {
    await pause(600)
    session.data.cart = ['late']
    return json('saved')
  }
  const { visits = 0 } = session.data
  await pause(20)
  session.data.visits = visits + 1
  if (act === 'fail') return json('failed', { status: 500 })
  return json('counted')
}
