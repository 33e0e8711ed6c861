import {
  add,
  addAndFail,
  addAndMiss,
  addAndMove,
  addTwice,
  leave,
  leaveCleanly,
  login,
  loginHere,
  logout,
} from '../actions.ts'
import { getSession } from '../sessions.ts'
import { Shown } from './shown.tsx'

export async function generateMetadata() {
  const { userId } = await getSession()
  return { title: userId ?? 'nobody' }
}

async function Messages() {
  const session = await getSession()
  return session.peekFlashes().map(({ message }) => <p key={message}>{message}</p>)
}

export default async function Page() {
  const { userId, data, generation } = await getSession()
  return (
    <main>
      <Messages />
      <Shown data={data} />
      <pre id="state">{JSON.stringify({ user: userId ?? 'nobody', generation, ...data })}</pre>
      {Object.entries({ login, loginHere }).map(([name, act]) => (
        <form key={name} id={name} action={act}>
          <input name="user" defaultValue="ann" />
          <button type="submit">{name}</button>
        </form>
      ))}
      {Object.entries({ logout, leave, add, addTwice, addAndMiss, addAndMove, addAndFail, leaveCleanly }).map(
        ([name, act]) => (
          <form key={name} id={name} action={act}>
            <button type="submit">{name}</button>
          </form>
        ),
      )}
    </main>
  )
}
