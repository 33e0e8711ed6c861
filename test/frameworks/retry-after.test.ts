import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import express5 from 'express'
// @ts-expect-error: types come under the name of version 5
import express4 from 'express4'
import fastify from 'fastify'
import { createSessions, type Sessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { honoSessions } from 'holdfast/hono'
import { koaSessions } from 'holdfast/koa'
import { nodeSessions } from 'holdfast/node'
import { memoryStore } from 'holdfast/stores/memory'
import { webSessions } from 'holdfast/web'
import { Hono } from 'hono'
import Koa from 'koa'
import { expect, it, vi } from 'vitest'
import { SECRET } from '../helpers/browser.ts'
import { faulty } from '../helpers/faults.ts'

/** Each framework's own error path: nobody has written an error handler. */
const bare: Record<string, (sessions: Sessions) => RequestListener | Promise<RequestListener>> = {
  'express 5': (sessions) => express(express5, sessions),
  'express 4': (sessions) => express(express4, sessions),
  async fastify(sessions) {
    const app = fastify()
    app.register(fastifySessions, { sessions })
    app.get('/', async (request) => String(sessions.of(request).data.visits))
    await app.ready()
    return app.routing.bind(app) as RequestListener
  },
  koa(sessions) {
    const app = new Koa()
    app.silent = true
    app.use(koaSessions(sessions))
    app.use((context) => {
      context.body = String(sessions.of(context).data.visits)
    })
    return app.callback()
  },
  hono(sessions) {
    const app = new Hono()
    app.use(honoSessions(sessions))
    app.get('/', (context) => context.text(String(sessions.of(context).data.visits)))
    return createAdaptorServer({ fetch: app.fetch }).listeners('request')[0] as RequestListener
  },
  node: (sessions) =>
    nodeSessions(sessions, (_request, response, session) => response.end(String(session.data.visits))),
  web(sessions) {
    const fetch = webSessions(sessions, (_request, session) => new Response(String(session.data.visits)))
    return createAdaptorServer({ fetch }).listeners('request')[0] as RequestListener
  },
}

function express(create: typeof express5, sessions: Sessions): RequestListener {
  const app = create()
  app.set('env', 'test') // which prints no stack
  app.use(expressSessions(sessions))
  app.get('/', (request, response) => void response.send(String(sessions.of(request).data.visits)))
  return app
}

it.each(Object.keys(bare))('%s answers 503 and says when to come again, by itself', async (framework) => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {})
  const store = faulty(memoryStore())
  const sessions = createSessions({ secret: SECRET, store })
  const session = await sessions.open(undefined)
  session.data.visits = 1
  const { cookie } = await sessions.commit(session)
  const server = createServer(await bare[framework]!(sessions))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const get = () =>
    fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
      headers: { cookie: `${cookie!.name}=${cookie!.value}` },
    })
  try {
    expect(await (await get()).text()).toBe('1')
    store.error = new Error('connection refused')
    const { status, headers } = await get()
    expect([status, headers.get('retry-after'), headers.get('set-cookie')]).toEqual([503, '1', null])
    store.error = Object.assign(new Error('wrong password'), { retryable: false })
    const refused = await get()
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, null])
    // The others hand the error to their framework, which logs as it is set up to.
    if (framework === 'node' || framework === 'web') expect(log).toHaveBeenCalledTimes(2)
  } finally {
    log.mockRestore()
    server.close()
    await sessions.close()
  }
})
