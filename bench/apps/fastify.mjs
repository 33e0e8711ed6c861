import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import Fastify from 'fastify'
import { createSessions } from 'holdfast'
import { fastifySessions } from 'holdfast/fastify'
import { createFloor } from '../floor.mjs'

export const layers = {
  async bare(app) {
    routes(app, {
      read: (_request, reply) => reply.send('0'),
      write: (_request, reply) => reply.send('1'),
    })
  },

  async floor(app, secret, { kept }) {
    const floor = createFloor(secret, kept)
    routes(app, {
      read: async (request) => String(await floor.read(request.headers.cookie)),
      write: async (request, reply) =>
        String(await floor.write(request.headers.cookie, (cookie) => reply.header('Set-Cookie', cookie))),
    })
  },

  async holdfast(app, secret, { store }) {
    await app.register(fastifySessions, { sessions: createSessions({ secret, store }) })
    routes(app, {
      read: (request, reply) => reply.send(String(request.session.data.visits ?? 0)),
      write(request, reply) {
        const { data } = request.session
        data.visits = (data.visits ?? 0) + 1
        reply.send(String(data.visits))
      },
    })
  },

  async '@fastify/session'(app, secret, { express }) {
    await app.register(fastifyCookie)
    await app.register(fastifySession, {
      ...{ secret, saveUninitialized: false, cookie: { secure: false } },
      ...(express && { store: express() }),
    })
    routes(app, {
      read: (request, reply) => reply.send(String(request.session.visits ?? 0)),
      write(request, reply) {
        request.session.visits = (request.session.visits ?? 0) + 1
        reply.send(String(request.session.visits))
      },
    })
  },
}

function routes(app, { read, write }) {
  app.get('/none', (_request, reply) => reply.send('none'))
  app.get('/read', read)
  app.get('/write', write)
}

export async function listen(layer, secret, backing) {
  const app = Fastify()
  await layers[layer](app, secret, backing)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server.address().port
}
