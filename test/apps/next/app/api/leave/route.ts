import { redirect } from 'next/navigation'
import { route } from '../../../sessions.ts'

export const GET = route(async (_request, session) => {
  await session.logout()
  redirect('/')
})

export const POST = route(async (_request, session) => {
  await session.logout({ clearSiteData: true })
  return new Response('Signed out')
})
