import { type } from 'arktype'
import { createSessions, SchemaError } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import * as v from 'valibot'
import { describe, expect, expectTypeOf, it, vi } from 'vitest'
import { z } from 'zod'
import { type SchemaResult, type StandardSchema, validate } from '../src/schema.ts'
import { browser, SECRET } from './helpers/browser.ts'

const schemas = {
  zod: z.object({ visits: z.number().default(0), theme: z.enum(['light', 'dark']).default('light') }),
  valibot: v.object({
    visits: v.optional(v.number(), 0),
    theme: v.optional(v.picklist(['light', 'dark']), 'light'),
  }),
  arktype: type({ visits: 'number = 0', theme: "'light' | 'dark' = 'light'" }),
}

describe.each(Object.entries(schemas))('a schema of %s', (_name, schema) => {
  const start = (options = {}) =>
    createSessions({ secret: SECRET, schema: schema as typeof schemas.zod, ...options })

  it('gives a new session its output for {}, which alone is no data', async () => {
    const jar = browser(start())
    expect(await jar.visit((session) => session.data)).toEqual({ visits: 0, theme: 'light' })
    expect(jar.setCookies).toEqual([])
  })

  it('refuses to save what does not fit, and names the path', async () => {
    const jar = browser(start())
    await jar.visit((session) => void (session.data.visits = 1))
    const wrong = jar.visit((session) => void ((session.data as { visits: unknown }).visits = 'many'))
    await expect(wrong).rejects.toThrow(SchemaError)
    await expect(wrong).rejects.toThrow(/data\.visits: /)
    expect(await jar.visit((session) => session.data.visits)).toBe(1)
  })

  it('merges what parallel requests did, and validates the result', async () => {
    const jar = browser(start({ merge: { visits: 'sum' } }))
    await jar.visit((session) => void (session.data.theme = 'dark'))
    await Promise.all(
      Array.from({ length: 20 }, () =>
        jar.visit(async (session) => {
          const { visits } = session.data
          await new Promise((resume) => setTimeout(resume, 2))
          session.data.visits = visits + 1
        }),
      ),
    )
    expect(await jar.visit((session) => session.data)).toEqual({ visits: 20, theme: 'dark' })
  })
})

it('types data by its output', () => {
  const byZod = createSessions({ secret: SECRET, schema: schemas.zod })
  const byValibot = createSessions({ secret: SECRET, schema: schemas.valibot })
  const byArktype = createSessions({ secret: SECRET, schema: schemas.arktype })
  type DataOf<S extends { find(handle: string): Promise<{ data: unknown } | undefined> }> = NonNullable<
    Awaited<ReturnType<S['find']>>
  >['data']
  expectTypeOf<DataOf<typeof byZod>>().toEqualTypeOf<{ visits: number; theme: 'light' | 'dark' }>()
  expectTypeOf<DataOf<typeof byValibot>>().toEqualTypeOf<{ visits: number; theme: 'light' | 'dark' }>()
  expectTypeOf<DataOf<typeof byArktype>>().toEqualTypeOf<{ visits: number; theme: 'light' | 'dark' }>()
})

describe('a stored session that no longer fits', () => {
  const old = z.object({ visits: z.string().optional() })
  const current = z.object({ visits: z.number().default(0), name: z.string().default('') })

  async function withOldSession() {
    const store = memoryStore()
    const before = createSessions({ secret: SECRET, store, schema: old })
    const jar = browser(before)
    await jar.visit(async (session) => {
      session.data.visits = '7'
      await session.login('ann')
    })
    await before.close()
    return { store, cookie: jar.cookie }
  }

  it('is anonymous by default, with an event, and is kept', async () => {
    const { store, cookie } = await withOldSession()
    const sessions = createSessions({ secret: SECRET, store, schema: current })
    const invalid = vi.fn()
    sessions.on('invalid', invalid)
    expect(await browser(sessions, cookie).visit((session) => [session.userId, session.data])).toEqual([
      undefined,
      { visits: 0, name: '' },
    ])
    expect(invalid).toHaveBeenCalledExactlyOnceWith({
      handle: expect.any(String),
      error: expect.any(SchemaError),
    })
    expect((await store.scan(undefined, 9)).items).toHaveLength(1)
  })

  it('is an error with onInvalid: error', async () => {
    const { store, cookie } = await withOldSession()
    const sessions = createSessions({ secret: SECRET, store, schema: current, onInvalid: 'error' })
    await expect(sessions.open(`__Host-id=${cookie}`)).rejects.toThrow(/data\.visits/)
  })

  it('can be repaired, and the repair is saved with the next change', async () => {
    const { store, cookie } = await withOldSession()
    const repair = (data: unknown) => ({ visits: Number((data as { visits: string }).visits), name: 'old' })
    const sessions = createSessions({ secret: SECRET, store, schema: current, onInvalid: repair })
    const jar = browser(sessions, cookie)
    expect(await jar.visit((session) => [session.userId, session.data])).toEqual([
      'ann',
      { visits: 7, name: 'old' },
    ])
    await jar.visit((session) => void session.data.visits++)
    await sessions.close()
    const later = createSessions({ secret: SECRET, store, schema: current, onInvalid: 'error' })
    expect(await browser(later, cookie).visit((session) => session.data)).toEqual({ visits: 8, name: 'old' })
  })

  it('takes a default for a new field for no change', async () => {
    const store = memoryStore()
    const before = createSessions<{ visits: number }>({ secret: SECRET, store })
    const jar = browser(before)
    await jar.visit((session) => void (session.data.visits = 7))
    await before.close()
    const sessions = createSessions({ secret: SECRET, store, schema: current })
    const update = vi.spyOn(store, 'update')
    expect(await browser(sessions, jar.cookie).visit((session) => session.data)).toEqual({
      visits: 7,
      name: '',
    })
    expect(update).not.toHaveBeenCalled()
  })
})

it('an asynchronous schema works as well', async () => {
  const schema = z.object({ n: z.number().default(0) }).refine(async ({ n }) => n < 10, 'too many')
  const sessions = createSessions({ secret: SECRET, schema })
  const jar = browser(sessions)
  await jar.visit((session) => void (session.data.n = 9))
  await expect(jar.visit((session) => void (session.data.n = 10))).rejects.toThrow(/too many/)
})

describe('any Standard Schema', () => {
  const schemaOf = (result: SchemaResult<object>): StandardSchema<object> => ({
    '~standard': { version: 1, vendor: 'own', validate: () => result },
  })

  it('names each path that does not fit, be its steps keys or objects that hold one', async () => {
    const issues = [
      { message: 'is missing', path: ['cart', { key: 'tea' }, 0] },
      { message: 'is odd', path: undefined },
      { message: 'is late', path: [Symbol('s')] },
    ]
    await expect(validate(schemaOf({ issues }), {})).rejects.toThrow(
      new SchemaError(
        'data does not fit its schema: data.cart.tea.0: is missing; data: is odd; data.Symbol(s): is late',
      ),
    )
  })

  it.each(['text', null, undefined, 7])('must give an object, not %s', async (value) => {
    await expect(validate(schemaOf({ value: value as never }), {})).rejects.toThrow(
      new SchemaError(`the schema of data must give an object, but gave ${value}`),
    )
  })
})

it('a schema that has no output for {} says so at the first session', async () => {
  const sessions = createSessions({ secret: SECRET, schema: z.object({ name: z.string() }) })
  await expect(sessions.open(undefined)).rejects.toThrow(/new session.*data\.name/s)
})
