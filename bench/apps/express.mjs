import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express from 'express'
import session from 'express-session'
import { createSessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import fileStore from 'session-file-store'
import { createFloor } from '../floor.mjs'

export const layers = {
  bare(app) {
    routes(app, {
      read: (_req, res) => res.send('0'),
      write: (_req, res) => res.send('1'),
    })
  },

  floor(app, secret, { kept }) {
    const floor = createFloor(secret, kept)
    routes(app, {
      read: async (req, res) => res.send(String(await floor.read(req.headers.cookie))),
      write: async (req, res) =>
        res.send(
          String(await floor.write(req.headers.cookie, (cookie) => res.setHeader('Set-Cookie', cookie))),
        ),
    })
  },

  holdfast(app, secret, { store }) {
    app.use(expressSessions(createSessions({ secret, store })))
    routes(app, {
      read: (req, res) => res.send(String(req.session.data.visits ?? 0)),
      write(req, res) {
        const { data } = req.session
        data.visits = (data.visits ?? 0) + 1
        res.send(String(data.visits))
      },
    })
  },

  'express-session'(app, secret, { express }) {
    const store = express?.() ?? new session.MemoryStore()
    app.use(session({ secret, resave: false, saveUninitialized: false, store }))
    routes(app, counter)
  },

  'session-file-store'(app, secret) {
    const path = mkdtempSync(join(tmpdir(), 'bench-'))
    process.on('exit', () => rmSync(path, { recursive: true, force: true }))
    const FileStore = fileStore(session)
    const store = new FileStore({ path, logFn() {} })
    app.use(session({ secret, resave: false, saveUninitialized: false, store }))
    routes(app, counter)
  },
}

const counter = {
  read: (req, res) => res.send(String(req.session.visits ?? 0)),
  write(req, res) {
    req.session.visits = (req.session.visits ?? 0) + 1
    res.send(String(req.session.visits))
  },
}

function routes(app, { read, write }) {
  app.get('/none', (_req, res) => res.send('none'))
  app.get('/read', read)
  app.get('/write', write)
}

export async function listen(layer, secret, backing) {
  const app = express()
  layers[layer](app, secret, backing)
  return new Promise((resolve) => {
    const server = app.listen(0, '127.0.0.1', () => resolve(server.address().port))
  })
}
