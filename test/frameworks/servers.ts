import { createServer } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { Readable } from 'node:stream'
import { createAdaptorServer } from '@hono/node-server'
import express5 from 'express'
// @ts-expect-error: types come under the name of version 5
import express4 from 'express4'
import fastify from 'fastify'
import type { Sessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { honoSessions } from 'holdfast/hono'
import { koaSessions } from 'holdfast/koa'
import { nodeSessions } from 'holdfast/node'
import { Hono } from 'hono'
import Koa from 'koa'
import type { Data, Io, Routes } from './app.ts'
import { routes } from './app.ts'
import { readable, run, webHandler } from './web.ts'

export interface Running {
  readonly url: string
  close(): Promise<void>
}

/** Serves the application of app.ts, or another. */
type Start = (sessions: Sessions<Data>, table?: Routes) => Promise<Running>

async function listen(
  server: Server,
  close = () => new Promise<unknown>((done) => server.close(done)),
): Promise<Running> {
  if (!server.listening) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      ;(server as { closeAllConnections?(): void }).closeAllConnections?.()
      await close()
    },
  }
}

const web: Start = (sessions, table) =>
  listen(createAdaptorServer({ fetch: webHandler(sessions, table) }) as unknown as Server)

const node: Start = (sessions, table = routes) =>
  listen(
    createServer(
      nodeSessions(
        sessions,
        (request, response, session) =>
          run(table, request.url!, session, {
            header: (name, value) => void response.appendHeader(name, value),
            text: (body, status = 200) =>
              response.writeHead(status, { 'Content-Type': 'text/plain' }).end(body),
            redirect: (path) => response.writeHead(302, { Location: path }).end(),
            stream: (produce) => readable(produce).pipe(response),
          }),
        {
          onError(error, _request, response) {
            response.statusCode = (error as { status?: number }).status ?? 500
            response.end('error page')
          },
        },
      ),
    ),
  )

const express =
  (create: typeof express5): Start =>
  (sessions, table = routes) => {
    const app = create()
    app.use(expressSessions(sessions))
    app.use((req, res, next) => {
      const io: Io = {
        header: (name, value) => void res.append(name, value),
        text: (body, status = 200) => res.status(status).send(body),
        redirect: (path) => res.redirect(path),
        stream: (produce) => readable(produce).pipe(res),
      }
      Promise.resolve()
        .then(() => run(table, req.url, sessions.of(req), io))
        .catch(next)
    })
    app.use(((error, _req, res, _next) => {
      res.status(error.status ?? 500).send('error page')
    }) as express5.ErrorRequestHandler)
    return listen(createServer(app))
  }

const fastify5: Start = async (sessions, table = routes) => {
  const app = fastify()
  app.register(fastifySessions, { sessions })
  app.setErrorHandler((error: { status?: number }, _request, reply) =>
    reply.code(error.status ?? 500).send('error page'),
  )
  app.all('/*', async (request, reply) => {
    const result = await run(table, request.url, sessions.of(request), {
      header: (name, value) => void reply.header(name, value),
      text: (body, status = 200) => reply.code(status).send(body),
      redirect: (path) => reply.redirect(path),
      stream: (produce) => reply.send(readable(produce)),
    })
    return result
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return listen(app.server, () => app.close())
}

const koa: Start = (sessions, table = routes) => {
  const app = new Koa()
  app.silent = true
  app.use(koaSessions(sessions))
  app.use(async (ctx) => {
    await run(table, ctx.url, sessions.of(ctx), {
      header: (name, value) => ctx.append(name, value),
      text(body, status = 200) {
        ctx.status = status
        ctx.body = body
      },
      redirect: (path) => ctx.redirect(path),
      stream(produce) {
        ctx.body = readable(produce)
      },
    })
  })
  return listen(createServer(app.callback()))
}

const hono: Start = (sessions, table = routes) => {
  const app = new Hono()
  app.use(honoSessions(sessions))
  app.onError((error, c) => c.text('error page', ((error as { status?: number }).status ?? 500) as 500))
  app.all('*', async (c) => {
    const result = await run(table, c.req.url, sessions.of(c), {
      header: (name, value) => c.header(name, value, { append: true }),
      text: (body, status = 200) => c.text(body, status as 200),
      redirect: (path) => c.redirect(path),
      stream: (produce) => c.body(Readable.toWeb(readable(produce)) as ReadableStream),
    })
    return result as Response
  })
  return listen(createAdaptorServer({ fetch: app.fetch }) as unknown as Server)
}

export const servers: Record<string, Start> = {
  web,
  node,
  'express 4': express(express4 as unknown as typeof express5),
  'express 5': express(express5),
  fastify: fastify5,
  koa,
  hono,
}
