import { getSession } from '../../../sessions.ts'

export async function GET() {
  const { userId, data, generation } = await getSession()
  return Response.json({ user: userId ?? 'nobody', generation, ...data })
}
