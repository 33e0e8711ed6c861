/** Runs the suites in a worker: the answer to `/files` is their names, that to `/run?file=` is the outcome of one. */
import type { Running } from '../frameworks/servers.ts'
import { exceptions, files } from './files.ts'
import { runTests } from './run.ts'

interface Env {
  /** This worker, as others see it. */
  readonly SELF: { fetch: typeof fetch }
}
/** What the bundle makes of a test file. */
interface TestFile {
  default(): Promise<void>
}
type Handler = (request: Request) => Promise<Response>

const handlers = new Map<string, Handler>()
let env: Env

Object.assign(globalThis, {
  serveInWorker(handler: Handler): Running {
    const host = `server-${handlers.size + 1}.test`
    handlers.set(host, handler)
    return { url: `http://${host}`, close: async () => void handlers.set(host, gone) }
  },
})
const gone: Handler = async () => new Response('closed', { status: 502 })

const outside = globalThis.fetch
globalThis.fetch = (input, init) => {
  const request = new Request(input, init)
  return handlers.has(new URL(request.url).host) ? env.SELF.fetch(request) : outside(request)
}

export default {
  async fetch(request: Request, bindings: Env): Promise<Response> {
    env = bindings
    const url = new URL(request.url)
    const handler = handlers.get(url.host)
    if (handler) return handler(request)
    if (url.pathname === '/files')
      return Response.json({ files: Object.keys(files), exceptions: exceptions.workerd })
    const file = url.searchParams.get('file')!
    const load = async () => ((await files[file]!()) as TestFile).default()
    return Response.json(await runTests({ [file]: load }, exceptions.workerd!))
  },
}
