import { redirect } from '@sveltejs/kit'
import type { PageServerLoad } from './$types'

const pause = (milliseconds: number) => new Promise((resume) => setTimeout(resume, milliseconds))

/** What is promised here is made after the headers have left. */
export const load: PageServerLoad = ({ locals: { session }, url }) => {
  session.data.cart = ['begun']
  if (url.searchParams.has('away')) redirect(303, '/')
  const late = async () => {
    await pause(200)
    const refused = await session.login('late').then(
      () => 'logged in',
      (error: Error) => error.name,
    )
    await session.update((data) => void data.cart?.push('late'))
    return refused
  }
  return { late: late() }
}
