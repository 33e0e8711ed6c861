import { redirect } from 'next/navigation'
import { getSession } from '../../sessions.ts'

export default async function Account() {
  const { userId, data } = await getSession()
  if (userId === undefined) redirect('/')
  return (
    <p id="account">
      {userId} since {data.since?.toISOString()}
    </p>
  )
}
