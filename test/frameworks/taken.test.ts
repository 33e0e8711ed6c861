import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { createSessions, type Sessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { honoSessions } from 'holdfast/hono'
import { koaSessions } from 'holdfast/koa'
import { Hono } from 'hono'
import Koa from 'koa'
import { afterEach, describe, expect, it } from 'vitest'
import { SECRET } from '../helpers/browser.ts'

interface Listening {
  address(): unknown
  close(done?: () => void): unknown
}

let servers: Listening[] = []
let reached = 0

afterEach(async () => {
  for (const server of servers) await new Promise<void>((done) => void server.close(() => done()))
  servers = []
  reached = 0
})

async function ask(server: Listening): Promise<{ status: number; text: string }> {
  servers.push(server)
  const { port } = server.address() as AddressInfo
  const response = await fetch(`http://127.0.0.1:${port}/`)
  return { status: response.status, text: await response.text() }
}

/** `foreign`: what another library has put where the session is to be. */
type Start = (mounted: readonly Sessions[], foreign?: object) => Promise<Listening>

const frameworks: Record<string, Start> = {
  async express(mounted, foreign) {
    const app = express()
    app.use((req, _res, next) => {
      if (foreign) Object.assign(req, { session: foreign })
      next()
    })
    for (const sessions of mounted) app.use(expressSessions(sessions))
    app.use((_req, res) => void res.send(`reached ${++reached}`))
    app.use(
      (error: Error, _req: unknown, res: express.Response, _next: unknown) =>
        void res.status(500).send(error.message),
    )
    return new Promise((done) => {
      const server = app.listen(0, '127.0.0.1', () => done(server))
    })
  },
  async koa(mounted, foreign) {
    const app = new Koa()
    app.use(async (ctx, next) => {
      if (foreign) Object.assign(ctx, { session: foreign })
      try {
        await next()
      } catch (error) {
        ctx.status = 500
        ctx.body = (error as Error).message
      }
    })
    for (const sessions of mounted) app.use(koaSessions(sessions))
    app.use((ctx) => void (ctx.body = `reached ${++reached}`))
    return new Promise((done) => {
      const server = app.listen(0, '127.0.0.1', () => done(server))
    })
  },
  async hono(mounted, foreign) {
    const app = new Hono<{ Variables: { session: unknown } }>()
    if (foreign) {
      app.use(async (c, next) => {
        c.set('session', foreign)
        await next()
      })
    }
    for (const sessions of mounted) app.use(honoSessions(sessions))
    app.get('/', (c) => c.text(`reached ${++reached}`))
    app.onError((error, c) => c.text(error.message, 500))
    const server = createAdaptorServer({ fetch: app.fetch })
    return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)))
  },
}

const make = (name = 'id') => createSessions({ secret: SECRET, name, csrf: true })

describe.each(Object.entries(frameworks))('%s', (_name, start) => {
  it('a second mount of the same sessions does nothing', async () => {
    const sessions = make()
    expect(await ask(await start([sessions, sessions]))).toEqual({ status: 200, text: 'reached 1' })
  })

  it.each([
    ['another manager', [make(), make('admin')], undefined],
    ['another session library', [make()], { cookie: {} }],
  ] as const)(
    'what %s has put there is an error, and no request gets past it',
    async (_who, mounted, foreign) => {
      const { status, text } = await ask(await start(mounted, foreign))
      expect(status).toBe(500)
      expect(text).toMatch(/there is a 'session' already.*\{ property: 'visit' \}/)
      expect(reached).toBe(0)
    },
  )
})

it('fastify: who registers a second session is told at the start', async () => {
  for (const second of ['manager', 'library'] as const) {
    const app = fastify()
    if (second === 'library') app.decorateRequest('session', null as never)
    else await app.register(fastifySessions, { sessions: make() })
    await expect(async () => app.register(fastifySessions, { sessions: make('admin') })).rejects.toThrow(
      /fastifySessions: there is a 'session' already.*\{ property: 'visit' \}/,
    )
    await app.close()
  }
})
