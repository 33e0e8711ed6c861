import { Readable } from 'node:stream'
import type { Session, Sessions } from 'holdfast'
import { webSessions } from 'holdfast/web'
import type { Data, Io, Routes } from './app.ts'
import { routes } from './app.ts'

export function run(table: Routes, path: string, session: Session<Data>, io: Io): unknown {
  const url = new URL(path, 'http://localhost')
  const route = table[url.pathname]
  return route ? route(session, io, url.searchParams) : io.text('not found', 404)
}

/** A stream whose first chunk is there at once, so that the headers leave before the rest is made. */
export function readable(produce: (write: (chunk: string) => void) => Promise<void>): Readable {
  const stream = new Readable({ read() {} })
  produce((chunk) => stream.push(chunk)).then(
    () => stream.push(null),
    (error) => stream.destroy(error),
  )
  return stream
}

/** The application of app.ts, or another, for whatever serves web requests. */
export function webHandler(sessions: Sessions<Data>, table: Routes = routes) {
  return webSessions(
    sessions,
    async (request, session) => {
      const headers = new Headers()
      const respond = (body: BodyInit | null, status: number) => new Response(body, { status, headers })
      const result = await run(table, request.url, session, {
        header: (name, value) => headers.append(name, value),
        text: (body, status = 200) => respond(body, status),
        redirect: (path) => Response.redirect(new URL(path, request.url), 302),
        stream: (produce) => respond(Readable.toWeb(readable(produce)) as ReadableStream, 200),
      })
      return result as Response
    },
    {
      onError: (error) =>
        new Response('error page', { status: (error as { status?: number }).status ?? 500 }),
    },
  )
}
