import type { Session } from 'holdfast'
import { add } from '../../actions.ts'
import { getSession, type Visitor } from '../../sessions.ts'

const ATTEMPTS: Record<string, (session: Session<Visitor>) => unknown> = {
  value: ({ data }) => (data.visits = 5),
  nested: ({ data }) => (data.cart!.tea = 5),
  removed: ({ data }) => delete data.visits,
  date: ({ data }) => data.since!.setFullYear(1999),
  whole: (session) => (session.data = {}),
  login: (session) => session.login('eve'),
  flash: (session) => session.flash('info', 'hello'),
}

/** What a component gets that gets round the types. */
export default async function Write() {
  const session = (await getSession()) as unknown as Session<Visitor>
  const results = Object.entries(ATTEMPTS).map(([name, attempt]) => {
    try {
      attempt(session)
      return [name, 'done']
    } catch (error) {
      return [name, String(error)]
    }
  })
  return (
    <form id="add" action={add}>
      <pre id="results">{JSON.stringify(Object.fromEntries(results))}</pre>
    </form>
  )
}
