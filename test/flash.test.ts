import fc from 'fast-check'
import { expect, it } from 'vitest'
import { browser, manager } from './helpers/browser.ts'

it('every message that was saved is delivered, whatever fails, and in whatever order parallel requests end', async () => {
  const request = fc.record({
    does: fc.constantFrom('add', 'take', 'both'),
    status: fc.constantFrom(200, 200, 302, 500),
    opensBefore: fc.nat(3),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 25 }), async (requests) => {
      const { sessions } = manager()
      const jar = browser(sessions)
      await jar.visit((session) => session.login('ann'))
      const saved = new Set<string>()
      const delivered = new Set<string>()
      let begun: (() => Promise<void>)[] = []
      for (const [i, { does, status, opensBefore }] of requests.entries()) {
        const session = await sessions.open(jar.header)
        begun.push(async () => {
          const taken = does === 'add' ? [] : session.takeFlashes().map(({ message }) => message)
          if (does !== 'take') session.flash('info', `message ${i}`)
          await sessions.commit(session, { status })
          if (status >= 500) return
          if (does !== 'take') saved.add(`message ${i}`)
          for (const message of taken) delivered.add(message)
        })
        // So many requests are open at once; then they end, the latest first.
        if (begun.length > opensBefore) {
          for (const end of begun.reverse()) await end()
          begun = []
        }
      }
      for (const end of begun) await end()
      await jar.visit((session) => {
        for (const { message } of session.takeFlashes()) delivered.add(message)
      })
      expect([...delivered].sort()).toEqual([...saved].sort())
      expect(await jar.visit((session) => session.peekFlashes())).toEqual([])
    }),
    { numRuns: 300 },
  )
})
