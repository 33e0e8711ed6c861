/** What an application cannot show, since Next.js makes its requests: actions that share one. The rest is in `test/apps/next.test.ts`. */
import { HeadersSentError } from 'holdfast'
import { type NextCookie, nextSessions } from 'holdfast/next'
import { expect, it } from 'vitest'
import { manager } from '../helpers/browser.ts'

/** One request, and what is stored afterwards. */
function request() {
  const { sessions } = manager<Record<string, unknown>>()
  const set: NextCookie[] = []
  const headers = new Headers()
  const next = nextSessions(sessions, {
    cookies: async () => ({ set: (cookie) => set.push(cookie) }),
    headers: async () => headers,
  })
  const stored = async () => (await sessions.open(`${set[0]!.name}=${set[0]!.value}`)).data
  return { ...next, set, stored }
}

it('saves each of the actions that something else calls one after the other', async () => {
  const { action, set, stored } = request()
  const put = action(async (session, name: string) => void (session.data[name] = true))
  const leave = action(async (session) => {
    session.data.left = true
    throw Object.assign(new Error(), { digest: 'NEXT_REDIRECT;push;/;303;' })
  })
  await put('one')
  await put('two')
  expect(await stored()).toEqual({ one: true, two: true })
  await expect(leave()).rejects.toMatchObject({ digest: expect.anything() })
  expect(await stored()).toEqual({ one: true, two: true, left: true })
  expect(set).toHaveLength(1)
  await expect(action((session) => session.login('ann'))()).rejects.toThrow(HeadersSentError)
})

it('saves those that go on when the first is over', async () => {
  const { action, stored } = request()
  let goOn = () => {}
  const first = action(async (session) => void (session.data.first = true))
  const later = action(async (session) => {
    await new Promise<void>((resolve) => (goOn = resolve))
    session.data.later = true
  })
  const both = [first(), later()]
  await both[0]
  goOn()
  await both[1]
  expect(await stored()).toEqual({ first: true, later: true })
})
