/** Stands for test/frameworks/servers.ts: the web adapter on the server that the runtime has of its own. */

import type { AddressInfo, Server } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type { Sessions } from 'holdfast'
import type { Data, Routes } from '../frameworks/app.ts'
import type { Running } from '../frameworks/servers.ts'
import { webHandler } from '../frameworks/web.ts'

export type { Running }

type Handler = (request: Request) => Promise<Response>

interface Runtimes {
  readonly Bun?: {
    serve(options: { port: number; hostname: string; fetch: Handler }): {
      readonly port: number
      stop(closeActive: boolean): Promise<void>
    }
  }
  readonly Deno?: {
    serve(
      options: { port: number; hostname: string; onListen(): void },
      handler: Handler,
    ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> }
  }
  /** Set by worker.ts: makes requests to a host of this worker, each of them one of its own as from outside. */
  readonly serveInWorker?: (handler: Handler) => Running
}

export const servers = {
  web: (sessions: Sessions<Data>, table?: Routes) => serve(webHandler(sessions, table)),
}

async function serve(handler: Handler): Promise<Running> {
  const { Bun, Deno, serveInWorker } = globalThis as Runtimes
  if (serveInWorker) return serveInWorker(handler)
  if (Bun) {
    const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: handler })
    return { url: `http://127.0.0.1:${server.port}`, close: () => server.stop(true) }
  }
  if (Deno) {
    const server = Deno.serve({ port: 0, hostname: '127.0.0.1', onListen() {} }, handler)
    return { url: `http://127.0.0.1:${server.addr.port}`, close: () => server.shutdown() }
  }
  const server = createAdaptorServer({ fetch: handler }) as unknown as Server
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => new Promise((done) => server.close(() => done())),
  }
}
