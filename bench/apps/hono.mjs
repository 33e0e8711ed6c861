import { serve } from '@hono/node-server'
import { createSessions } from 'holdfast'
import { honoSessions } from 'holdfast/hono'
import { Hono } from 'hono'
import { MemoryStore, sessionMiddleware } from 'hono-sessions'
import { createFloor } from '../floor.mjs'

export const layers = {
  bare(app) {
    routes(app, {
      read: (c) => c.text('0'),
      write: (c) => c.text('1'),
    })
  },

  floor(app, secret, { kept }) {
    const floor = createFloor(secret, kept)
    routes(app, {
      read: async (c) => c.text(String(await floor.read(c.req.header('cookie')))),
      write: async (c) =>
        c.text(String(await floor.write(c.req.header('cookie'), (cookie) => c.header('Set-Cookie', cookie)))),
    })
  },

  holdfast(app, secret, { store }) {
    app.use(honoSessions(createSessions({ secret, store })))
    routes(app, {
      read: (c) => c.text(String(c.var.session.data.visits ?? 0)),
      write(c) {
        const { data } = c.var.session
        data.visits = (data.visits ?? 0) + 1
        return c.text(String(data.visits))
      },
    })
  },

  'hono-sessions'(app, _secret, { hono = new MemoryStore() }) {
    app.use('*', sessionMiddleware({ store: hono, expireAfterSeconds: 86_400 }))
    routes(app, {
      read: (c) => c.text(String(c.var.session.get('visits') ?? 0)),
      write(c) {
        const visits = (c.var.session.get('visits') ?? 0) + 1
        c.var.session.set('visits', visits)
        return c.text(String(visits))
      },
    })
  },
}

function routes(app, { read, write }) {
  app.get('/none', (c) => c.text('none'))
  app.get('/read', read)
  app.get('/write', write)
}

export async function listen(layer, secret, backing) {
  const app = new Hono()
  layers[layer](app, secret, backing)
  return new Promise((resolve) => {
    serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port))
  })
}
