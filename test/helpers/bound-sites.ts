import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import type { Session, Sessions } from 'holdfast'
import type { DeviceBinding } from 'holdfast/dbsc'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { honoSessions } from 'holdfast/hono'
import { koaSessions } from 'holdfast/koa'
import { nodeSessions } from 'holdfast/node'
import { webSessions } from 'holdfast/web'
import { Hono } from 'hono'
import Koa from 'koa'

/** One application whose sessions are bound to devices, mounted as each framework does it. */
export type BoundSite = (sessions: Sessions<Data>, binding: DeviceBinding) => Promise<Listener>

export type Listener = (request: IncomingMessage, response: ServerResponse) => unknown

export interface Data {
  note?: string
}

interface Page {
  readonly status: number
  readonly text: string
}

const pages: Record<string, (session: Session<Data>) => Promise<Page>> = {
  async 'POST /login'(session) {
    await session.login('ann')
    return { status: 200, text: 'welcome' }
  },
  async 'POST /elevate'(session) {
    await session.elevate('mfa')
    return { status: 200, text: 'welcome' }
  },
  async 'POST /login-mfa'(session) {
    await session.login('ann')
    await session.elevate('mfa')
    return { status: 200, text: 'welcome' }
  },
  async 'POST /rotate'(session) {
    return { status: 200, text: String(await session.rotate()) }
  },
  async 'POST /remember'(session) {
    session.setLifetime({ persistent: true })
    return { status: 200, text: 'remembered' }
  },
  async 'POST /logout'(session) {
    await session.logout()
    return { status: 200, text: 'bye' }
  },
  async 'GET /me'(session) {
    const { userId, data } = session
    return { status: userId === undefined ? 401 : 200, text: `${userId}: ${data.note}` }
  },
  async 'POST /note'(session) {
    session.data.note = 'written'
    return { status: 200, text: 'noted' }
  },
}

async function show(method: string | undefined, url: string, session: Session<Data>): Promise<Page> {
  const page = pages[`${method} ${new URL(url, 'http://localhost').pathname}`]
  return page ? await page(session) : { status: 404, text: 'not found' }
}

const onExpress: BoundSite = async (sessions, binding) => {
  const app = express()
  app.use(binding.node)
  app.use(expressSessions(sessions))
  app.use(async (req, res) => {
    const { status, text } = await show(req.method, req.url, sessions.of(req))
    res.status(status).send(text)
  })
  app.use(((error, _req, res, _next) => {
    res.status(error.status ?? 500).send('error page')
  }) as express.ErrorRequestHandler)
  return app
}

const onFastify: BoundSite = async (sessions, binding) => {
  const app = fastify()
  app.addHook('onRequest', async (request, reply) => {
    const own = await binding.handle(request.raw)
    if (own) return reply.send(own)
  })
  app.register(fastifySessions, { sessions })
  app.all('/*', async (request, reply) => {
    const { status, text } = await show(request.method, request.url, sessions.of(request))
    return reply.code(status).send(text)
  })
  await app.ready()
  return app.routing
}

const onKoa: BoundSite = async (sessions, binding) => {
  const app = new Koa()
  app.silent = true
  app.use(async (ctx, next) => {
    const own = await binding.handle(ctx.req)
    if (own) ctx.body = own
    else await next()
  })
  app.use(koaSessions(sessions))
  app.use(async (ctx) => {
    const { status, text } = await show(ctx.method, ctx.url, sessions.of(ctx))
    ctx.status = status
    ctx.body = text
  })
  return app.callback()
}

const onHono: BoundSite = async (sessions, binding) => {
  const app = new Hono()
  app.use(async (c, next) => (await binding.handle(c.req.raw)) ?? next())
  app.use(honoSessions(sessions))
  app.all('*', async (c) => {
    const { status, text } = await show(c.req.method, c.req.url, sessions.of(c))
    return c.text(text, status as 200)
  })
  return getRequestListener(app.fetch)
}

const onNode: BoundSite = async (sessions, binding) => {
  const app = nodeSessions(sessions, async (request, response, session) => {
    const { status, text } = await show(request.method, request.url!, session)
    response.writeHead(status).end(text)
  })
  return (request, response) => binding.node(request, response, () => app(request, response))
}

const onWeb: BoundSite = async (sessions, binding) => {
  const app = webSessions(sessions, async (request, session) => {
    const { status, text } = await show(request.method, request.url, session)
    return new Response(text, { status })
  })
  return getRequestListener(async (request) => (await binding.handle(request)) ?? app(request))
}

export const boundSites: Record<string, BoundSite> = {
  Express: onExpress,
  Fastify: onFastify,
  Hono: onHono,
  web: onWeb,
  Koa: onKoa,
  node: onNode,
}
