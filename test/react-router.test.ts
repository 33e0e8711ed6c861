import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Session, Sessions } from 'holdfast'
import { createRequestHandler, type RouterContext, type ServerBuild } from 'react-router'
import { beforeAll, describe, expect, it } from 'vitest'

type Module = ServerBuild['routes'][string] extends infer Route
  ? Extract<Route, { module: unknown }>['module']
  : never
type Answer = (request: Request) => Promise<Response>
interface Visitor {
  cart?: Record<string, number>
}
interface Samples {
  readonly byMiddleware: Module & { sessions: Sessions<Visitor> }
  readonly inServer: { server(build: ServerBuild): Answer; sessionContext: RouterContext<Session<Visitor>> }
}

const root = fileURLToPath(new URL('..', import.meta.url))
const site = 'https://shop.example'

/** The samples of docs/react-router.md as they stand. */
async function samples(): Promise<Samples> {
  const folder = `${root}.cache/react-router`
  mkdirSync(folder, { recursive: true })
  const page = readFileSync(`${root}docs/react-router.md`, 'utf8')
  const [first, second] = [...page.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code!)
  writeFileSync(`${folder}/by-middleware.ts`, first!)
  writeFileSync(`${folder}/in-server.ts`, second!)
  return {
    byMiddleware: await import(`${folder}/by-middleware.ts`),
    inServer: await import(`${folder}/in-server.ts`),
  }
}

/** What `react-router build` makes of a root, a page of the cart, and one that fails; pages show what their loaders gave. */
function buildOf(rootModule: object, cart: Pick<Module, 'loader' | 'action'>): ServerBuild {
  const page = { default: () => null }
  const broken = {
    ...page,
    async action(args: Parameters<NonNullable<Module['action']>>[0]) {
      await cart.action!(args)
      throw new Error('the printer is on fire')
    },
  }
  const modules = { root: { ...page, ...rootModule }, cart: { ...page, ...cart }, broken }
  const route = (id: string) => ({
    id,
    path: id === 'root' ? '' : id,
    ...(id === 'root' ? {} : { parentId: 'root' }),
  })
  const entries = Object.entries(modules).map(([id, module]) => [id, { ...route(id), module }])
  return {
    entry: {
      module: {
        default: (
          _request: Request,
          status: number,
          headers: Headers,
          context: { staticHandlerContext: { loaderData: object } },
        ) => new Response(JSON.stringify(context.staticHandlerContext.loaderData), { status, headers }),
        handleError: () => {},
      },
    },
    routes: Object.fromEntries(entries),
    assets: { entry: { imports: [], module: '' }, routes: {}, url: '', version: '1' },
    publicPath: '/',
    assetsBuildDirectory: 'build',
    future: { v8_middleware: true },
    ssr: true,
    isSpaMode: false,
    prerender: [],
    routeDiscovery: { mode: 'initial', manifestPath: '/__manifest' },
  } as unknown as ServerBuild
}

describe.each(['middleware', 'a server of your own'])('sessions in React Router, by %s', (way) => {
  let answer: Answer
  beforeAll(async () => {
    process.env.SESSION_SECRET = 'wJ4qT9nB2xV6kR8mZ3cL7pF5hD1gS0yA'
    const { byMiddleware, inServer } = await samples()
    const { loader, action, middleware } = byMiddleware
    if (way === 'middleware') {
      const handler = createRequestHandler(
        buildOf({ middleware }, { loader: loader!, action: action! }),
        'test',
      )
      answer = (request) => handler(request)
    } else {
      answer = inServer.server(
        buildOf({}, {
          loader: ({ context }) => context.get(inServer.sessionContext).data.cart ?? {},
          action({ context }) {
            const { data } = context.get(inServer.sessionContext)
            data.cart = { ...data.cart, tea: (data.cart?.tea ?? 0) + 1 }
            return Response.redirect(`${site}/cart`)
          },
        } as Module),
      )
    }
  })

  const get = (path: string, cookie?: string) =>
    answer(new Request(`${site}${path}`, { headers: cookie === undefined ? {} : { cookie } }))
  const add = (path: string, cookie?: string) =>
    answer(
      new Request(`${site}${path}`, {
        method: 'POST',
        headers: {
          'Sec-Fetch-Site': 'same-origin',
          origin: site,
          host: 'shop.example',
          ...(cookie === undefined ? {} : { cookie }),
        },
        body: new URLSearchParams({ item: 'tea' }),
      }),
    )
  const cookieOf = (response: Response) => response.headers.getSetCookie()[0]!.split(';')[0]!

  it('has no cookie for who only looks', async () => {
    const response = await get('/cart')
    expect(await response.json()).toEqual({ cart: {} })
    expect(response.headers.getSetCookie()).toEqual([])
    expect(response.headers.get('vary')).toContain('Cookie')
  })

  it('keeps what an action changed, and sends its cookie with the redirect', async () => {
    const response = await add('/cart')
    expect(response.status).toBe(302)
    expect(await (await get('/cart', cookieOf(response))).json()).toEqual({ cart: { tea: 1 } })
  })

  it('sends it with the data requests of the client too', async () => {
    const response = await add('/cart.data')
    expect(response.status).toBe(202)
    expect(await (await get('/cart.data', cookieOf(response))).text()).toContain('"tea",1')
  })

  it('saves nothing of an action that failed', async () => {
    const cookie = cookieOf(await add('/cart'))
    expect((await add('/broken', cookie)).status).toBe(500)
    expect(await (await get('/cart', cookie)).json()).toEqual({ cart: { tea: 1 } })
  })

  if (way !== 'middleware') return

  it('counts 50 of 50 parallel actions', async () => {
    const cookie = cookieOf(await add('/cart'))
    await Promise.all(Array.from({ length: 50 }, () => add('/cart', cookie)))
    expect(await (await get('/cart', cookie)).json()).toEqual({ cart: { tea: 51 } })
  })

  it('refuses what a page of another site sends', async () => {
    const request = new Request(`${site}/cart`, {
      method: 'POST',
      headers: { 'Sec-Fetch-Site': 'cross-site' },
      body: 'item=tea',
    })
    expect((await answer(request)).status).toBe(403)
  })

  it('answers 503 where the store is not to be had', async () => {
    const cookie = cookieOf(await add('/cart'))
    const { byMiddleware } = await samples()
    await byMiddleware.sessions.close()
    const response = await get('/cart', cookie)
    expect(response.status).toBe(503)
    expect(response.headers.getSetCookie()).toEqual([])
  })
})
