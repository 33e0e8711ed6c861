import type { Request as ExpressRequest } from 'express'
import { createSessions, type Session, type SessionOptions, type Sessions } from 'holdfast'
import { describe, expectTypeOf, it } from 'vitest'

interface Visitor {
  visits?: number
  cart?: Record<string, number>
}
declare const session: Session<Visitor>
declare const sessions: Sessions<Visitor>

describe('the types', () => {
  it('give data the shape that the application declared', () => {
    const compiled = () => {
      expectTypeOf(session.data).toEqualTypeOf<Visitor>()
      // @ts-expect-error: no such key
      session.data.visit = 1
      // @ts-expect-error: of another type
      session.data.visits = 'many'
    }
    expectTypeOf(compiled).toBeFunction()
  })

  it('refuse an update that is asynchronous, and give back what it returns', () => {
    const compiled = () => {
      expectTypeOf(session.update((data) => data.visits)).resolves.toEqualTypeOf<number | undefined>()
      // @ts-expect-error: the change may run again, so it must not wait for anything
      session.update(async (data) => data.visits)
    }
    expectTypeOf(compiled).toBeFunction()
  })

  it('protect what only a method may change', () => {
    const compiled = () => {
      // @ts-expect-error: login() does
      session.userId = 'admin'
      // @ts-expect-error: elevate() does
      session.level = 'aal3'
      // @ts-expect-error: which of the names would it be?
      sessions.revoke('ann')
    }
    expectTypeOf(compiled).toBeFunction()
  })

  it('know the session of a request without any declaration', () => {
    expectTypeOf<ReturnType<Sessions<Visitor>['of']>>().toEqualTypeOf<Session<Visitor>>()
    const compiled = (request: ExpressRequest) =>
      expectTypeOf(sessions.of(request).data).toEqualTypeOf<Visitor>()
    expectTypeOf(compiled).toBeFunction()
  })

  it('know that a new session is empty, whatever its data are declared to be', () => {
    const compiled = () => {
      const { data } = createSessions<{ visits: number; cart: Record<string, number> }>().of({})
      expectTypeOf(data).toEqualTypeOf<{ visits?: number; cart?: Record<string, number> }>()
      // @ts-expect-error: NaN at the first visit
      data.visits++
    }
    expectTypeOf(compiled).toBeFunction()
  })

  it('take data of any shape where none is declared', () => {
    const compiled = () => {
      const untyped = createSessions()
      expectTypeOf(untyped.of({}).data).toEqualTypeOf<Record<string, unknown>>()
      // @ts-expect-error: there is no such option
      createSessions({ secrets: [] })
      const options: SessionOptions = { seal: true }
      expectTypeOf(createSessions(options)).toEqualTypeOf<typeof untyped>()
    }
    expectTypeOf(compiled).toBeFunction()
  })
})
