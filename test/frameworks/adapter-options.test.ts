import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { createSessions, NotLoadedError, type Session, type Sessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { honoSessions } from 'holdfast/hono'
import { koaSessions } from 'holdfast/koa'
import { memoryStore } from 'holdfast/stores/memory'
import { Hono } from 'hono'
import Koa from 'koa'
import { describe, expect, it, vi } from 'vitest'
import { SECRET } from '../helpers/browser.ts'
import { signIn } from '../helpers/sign-in.ts'

interface Listening {
  address(): unknown
  close(done?: () => void): unknown
}
type Answer = (carrier: object) => Promise<string>
type Start = (sessions: Sessions, answer: Answer) => Promise<Listening>

/** Each mounts its adapter with a property of its own, lazily, and not below /static. */
const servers: Record<string, Start> = {
  async express(sessions, answer) {
    const app = express()
    app.use(
      expressSessions(sessions, {
        property: 'own',
        lazy: true,
        skip: ({ url }) => url!.startsWith('/static'),
      }),
    )
    app.use(async (req, res) => void res.send(await answer(req)))
    return new Promise((done) => {
      const server = app.listen(0, '127.0.0.1', () => done(server))
    })
  },
  async fastify(sessions, answer) {
    const app = fastify()
    app.register(fastifySessions, {
      sessions,
      property: 'own',
      lazy: true,
      skip: ({ raw }) => raw.url!.startsWith('/static'),
    })
    app.get('/*', (request) => answer(request))
    await app.listen({ port: 0, host: '127.0.0.1' })
    return app.server
  },
  async koa(sessions, answer) {
    const app = new Koa()
    app.use(
      koaSessions(sessions, {
        property: 'own',
        lazy: true,
        skip: ({ req }) => req.url!.startsWith('/static'),
      }),
    )
    app.use(async (ctx) => {
      ctx.body = await answer(ctx)
    })
    return new Promise((done) => {
      const server = app.listen(0, '127.0.0.1', () => done(server))
    })
  },
  async hono(sessions, answer) {
    const app = new Hono<{ Variables: { own: Session } }>()
    app.use(
      honoSessions(sessions, {
        property: 'own',
        lazy: true,
        skip: (c) => new URL(c.req.raw.url).pathname.startsWith('/static'),
      }),
    )
    app.get('*', async (c) => c.text(await answer(c.var)))
    const server = createAdaptorServer({ fetch: app.fetch })
    return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)))
  },
}

describe.each(Object.entries(servers))('the adapter for %s', (_name, start) => {
  it('keeps the session under the property, loads it when asked, and leaves what is skipped alone', async () => {
    const store = memoryStore()
    const sessions = createSessions({ secret: SECRET, store })
    const cookie = await signIn(sessions, 'ann')
    const load = vi.spyOn(store, 'load')
    const server = await start(sessions, async (carrier) => {
      const { own } = carrier as { own?: Session | null }
      if (!own) return 'skipped'
      expect(() => own.data).toThrow(NotLoadedError)
      expect(load).not.toHaveBeenCalled()
      await own.load()
      return own.userId!
    })
    const get = async (path: string) => {
      const { port } = server.address() as AddressInfo
      return (
        await fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie, connection: 'close' } })
      ).text()
    }
    expect(await get('/static/logo')).toBe('skipped')
    expect(await get('/')).toBe('ann')
    expect(load).toHaveBeenCalledOnce()
    await new Promise<void>((done) => void server.close(() => done()))
  })
})
