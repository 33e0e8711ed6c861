import { createSessions } from 'holdfast'
import { koaSessions } from 'holdfast/koa'
import Koa from 'koa'
import koaSession from 'koa-session'
import { createFloor } from '../floor.mjs'

export const layers = {
  bare(app) {
    routes(app, {
      read: () => 0,
      write: () => 1,
    })
  },

  floor(app, secret, { kept }) {
    const floor = createFloor(secret, kept)
    routes(app, {
      read: (ctx) => floor.read(ctx.headers.cookie),
      write: (ctx) => floor.write(ctx.headers.cookie, (cookie) => ctx.set('Set-Cookie', cookie)),
    })
  },

  holdfast(app, secret, { store }) {
    app.use(koaSessions(createSessions({ secret, store })))
    routes(app, {
      read: ({ session }) => session.data.visits ?? 0,
      write: ({ session }) => (session.data.visits = (session.data.visits ?? 0) + 1),
    })
  },

  'koa-session'(app, secret, { koa = mapStore() }) {
    app.keys = [secret]
    app.use(koaSession({ store: koa }, app))
    routes(app, {
      read: ({ session }) => session.visits ?? 0,
      write: ({ session }) => (session.visits = (session.visits ?? 0) + 1),
    })
  },
}

/** koa-session keeps everything in the cookie unless it is given a store, and brings none. */
function mapStore() {
  const kept = new Map()
  return {
    async get(key) {
      const text = kept.get(key)
      return text && JSON.parse(text)
    },
    async set(key, data) {
      kept.set(key, JSON.stringify(data))
    },
    async destroy(key) {
      kept.delete(key)
    },
  }
}

function routes(app, { read, write }) {
  app.use(async (ctx) => {
    if (ctx.path === '/read') ctx.body = String(await read(ctx))
    else if (ctx.path === '/write') ctx.body = String(await write(ctx))
    else ctx.body = 'none'
  })
}

export async function listen(layer, secret, backing) {
  const app = new Koa()
  layers[layer](app, secret, backing)
  return new Promise((resolve) => {
    const server = app.listen(0, '127.0.0.1', () => resolve(server.address().port))
  })
}
