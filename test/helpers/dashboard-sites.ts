import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import type { Sessions } from 'holdfast'
import type { Dashboard } from 'holdfast/dashboard'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { honoSessions } from 'holdfast/hono'
import { koaSessions } from 'holdfast/koa'
import { nodeSessions } from 'holdfast/node'
import { webSessions } from 'holdfast/web'
import { Hono } from 'hono'
import Koa from 'koa'

/** A site with a dashboard behind its sessions, mounted as each framework does it; all else is answered with `the site`. */
export type DashboardSite = (sessions: Sessions<object>, board: Dashboard) => Promise<Listener>

export type Listener = (request: IncomingMessage, response: ServerResponse) => unknown

const SITE = 'the site'

export const dashboardSites: Record<string, DashboardSite> = {
  async Express(sessions, board) {
    const app = express()
    app.use(expressSessions(sessions))
    app.use(express.json(), express.urlencoded({ extended: false }))
    app.use(board.node)
    app.use((_req, res) => res.send(SITE))
    return app
  },

  async 'an Express router'(sessions, board) {
    const app = express()
    const router = express.Router()
    router.use(board.node)
    app.use(expressSessions(sessions))
    app.use('/admin', router)
    app.use((_req, res) => res.send(SITE))
    return app
  },

  async Fastify(sessions, board) {
    const app = fastify()
    await app.register(fastifySessions, { sessions })
    app.addHook('onRequest', async (request, reply) => {
      const own = await board.handle(request.raw)
      if (own) return reply.send(own)
    })
    app.all('/*', async () => SITE)
    await app.ready()
    return app.routing
  },

  async Koa(sessions, board) {
    const app = new Koa()
    app.use(koaSessions(sessions))
    app.use(async (ctx, next) => {
      const own = await board.handle(ctx.req)
      if (own) ctx.body = own
      else await next()
    })
    app.use((ctx) => {
      ctx.body = SITE
    })
    return app.callback()
  },

  async Hono(sessions, board) {
    const app = new Hono()
    app.use(honoSessions(sessions))
    app.use(async (c, next) => (await board.handle(c.req.raw)) ?? next())
    app.all('*', (c) => c.text(SITE))
    return getRequestListener(app.fetch)
  },

  async node(sessions, board) {
    return nodeSessions(sessions, (request, response) =>
      board.node(request, response, () => response.end(SITE)),
    )
  },

  async web(sessions, board) {
    const handle = webSessions(
      sessions,
      async (request) => (await board.handle(request)) ?? new Response(SITE),
    )
    return getRequestListener(handle)
  },
}
