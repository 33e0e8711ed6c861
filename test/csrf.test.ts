import { once } from 'node:events'
import { connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { CrossOriginError, type CsrfOptions, createSessions, OptionsError, type Sessions } from 'holdfast'
import { nodeSessions } from 'holdfast/node'
import { webSessions } from 'holdfast/web'
import { beforeEach, describe, expect, it } from 'vitest'
import { manager, SECRET } from './helpers/browser.ts'
import { requests, TRUSTED, upgrades } from './helpers/cross-origin-requests.ts'

const guarded = (csrf: boolean | CsrfOptions = true) => manager({ csrf }).sessions
const posted = (headers: Record<string, string>, method: string | undefined = 'POST') => ({
  url: '/order?id=7',
  headers,
  method,
})

describe('the guard', () => {
  let sessions: Sessions
  beforeEach(() => {
    sessions = guarded()
  })

  it('judges requests as the table says', async () => {
    const trusting = guarded({ trustedOrigins: [TRUSTED] })
    const judge = async (method: string, headers: Record<string, string | undefined>) => {
      const opened = trusting.open({ method, url: '/', headers })
      return opened.then(
        () => 200,
        ({ status }) => status,
      )
    }
    for (const [method, site, origin, host, status] of requests) {
      const headers = { 'sec-fetch-site': site, origin, host }
      expect(await judge(method, headers), `${method} ${site} ${origin} ${host}`).toBe(status)
    }
    for (const [site, origin, status] of upgrades) {
      const headers = { 'sec-fetch-site': site, origin, host: 'shop.example', upgrade: 'websocket' }
      expect(await judge('GET', headers), `upgrade ${site} ${origin}`).toBe(status)
    }
  })

  it('refuses in strict mode a cookie of ours that comes without any word of its page', async () => {
    const strict = guarded({ strict: true })
    await strict.open(posted({}))
    await strict.open(posted({ cookie: 'theme=dark' }))
    await strict.open(posted({ cookie: '__Host-id=x', 'sec-fetch-site': 'same-origin' }))
    await expect(strict.open(posted({ cookie: 'theme=dark; __Host-id=x' }))).rejects.toThrow(
      'POST /order: refused, since it brings a session cookie, and neither Sec-Fetch-Site nor Origin to say where it comes from (csrf.strict)',
    )
    await sessions.open(posted({ cookie: '__Host-id=x' }))
  })

  it('tells what was refused, and the cure', async () => {
    const refused = sessions.open(
      posted({ 'sec-fetch-site': 'same-site', origin: 'https://blog.shop.example' }),
    )
    await expect(refused).rejects.toThrow(CrossOriginError)
    await expect(refused).rejects.toMatchObject({
      status: 403,
      statusCode: 403,
      code: 'HOLDFAST_CROSS_ORIGIN',
    })
    await expect(refused).rejects.toThrow(
      'POST /order: refused, since a page of another origin sent it (Sec-Fetch-Site: same-site, Origin: https://blog.shop.example). ' +
        'If that origin is yours, and be it this one, to which a proxy gave another Host, put it into csrf.trustedOrigins.',
    )
    await expect(sessions.open(posted({ origin: 'null', host: 'null' }))).rejects.toThrow(
      '(Sec-Fetch-Site: absent, Origin: null). Origin is null for sandboxed frames',
    )
    await expect(sessions.open(posted({ 'sec-fetch-site': 'cross-site' }))).rejects.toThrow('Origin: absent')
  })

  it('judges a web Request by its Host header, and by its URL where there is none', async () => {
    const request = (origin: string, headers: Record<string, string> = {}) =>
      sessions.open(
        new Request('http://shop.example:8080/order', { method: 'POST', headers: { origin, ...headers } }),
      )
    await request('http://shop.example:8080')
    await request('https://shop.example', { host: 'shop.example' })
    await expect(request('http://shop.example')).rejects.toThrow(CrossOriginError)
    await expect(request('http://shop.example:8080', { host: 'inner' })).rejects.toThrow(CrossOriginError)
  })

  it('reads any spelling of an address, and takes nothing beside the host for it', async () => {
    const from = (origin: string, host: string) => sessions.open(posted({ origin, host }))
    await from('http://[::1]:3000', '[0:0:0:0:0:0:0:1]:3000')
    await from('https://xn--bcher-kva.example', 'bücher.example')
    for (const host of [
      'ann@shop.example',
      'shop.example/x',
      'shop.example?',
      'shop.example#x',
      '',
      '%',
      ' ',
    ]) {
      await expect(from('https://shop.example', host), host).rejects.toThrow(CrossOriginError)
    }
    for (const origin of ['https://shop.example', 'https://undefined'])
      await expect(sessions.open(posted({ origin }))).rejects.toThrow(CrossOriginError)
  })

  it('takes a method that nobody told, and one that it does not know, for one that writes', async () => {
    for (const method of [undefined, 'QUERY', 'get', 'CONNECT']) {
      const source = { ...posted({ 'sec-fetch-site': 'cross-site' }), method }
      await expect(sessions.open(source as never), method).rejects.toThrow(CrossOriginError)
    }
  })

  it('names a request of which only headers were given as what it is', async () => {
    await expect(sessions.open({ headers: { 'sec-fetch-site': 'cross-site' } })).rejects.toThrow(
      /^this request: refused/,
    )
  })

  it('holds for lazy sessions, and whenever the same request is opened again', async () => {
    const source = posted({ 'sec-fetch-site': 'cross-site' })
    await expect(sessions.open(source, { lazy: true })).rejects.toThrow(CrossOriginError)
    await expect(sessions.open(source)).rejects.toThrow(CrossOriginError)
    expect(() => sessions.of(source)).toThrow(TypeError)
  })

  it('has nothing to say of a mere Cookie header, and of no request at all', async () => {
    expect((await sessions.open('theme=dark')).isNew).toBe(true)
    expect((await sessions.open(undefined)).isNew).toBe(true)
  })

  it('accepts no origin but that of Host, whatever stands in the headers, and trips over nothing', async () => {
    const near = [
      'shop.example',
      'https://shop.example',
      'http://shop.example:80',
      'null',
      ':',
      '[::1]',
      '//',
      '@',
      '\\',
      '%',
      '*',
    ]
    const text = fc.oneof(fc.constantFrom(...near), fc.string({ maxLength: 30 }), fc.webUrl())
    const texts = fc.array(text, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(''))
    await fc.assert(
      fc.asyncProperty(texts, texts, async (origin, host) => {
        const refused = await sessions.open(posted({ origin, host })).then(
          () => undefined,
          (error) => error,
        )
        if (refused) {
          expect(refused).toBeInstanceOf(CrossOriginError)
          return
        }
        const { protocol, host: own } = new URL(origin)
        expect(own).toBe(new URL(`${protocol}//${host}`).host)
        expect(origin).toMatch(/^https?:\/\/[^/?#@\\]+$/)
      }),
      { numRuns: 5_000, examples: [['https://shop.example', 'shop.example']] },
    )
  })

  it('is answered by adapters of their own accord', async () => {
    const request = new Request('https://shop.example/', {
      method: 'POST',
      headers: { 'sec-fetch-site': 'same-site' },
    })
    const answer = await webSessions(sessions, () => new Response('ok'))(request)
    expect(answer.status).toBe(403)
    expect(await answer.text()).toContain('a page of another origin sent it')
  })

  it('goes by :authority over HTTP/2', async () => {
    const server = createServer(
      nodeSessions(guarded(), (_request, response) => response.end('ok')) as never,
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const connection = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const post = async (headers: Record<string, string>) => {
      const stream = connection.request({ ':method': 'POST', ':path': '/', ...headers }).end()
      const [answer] = await once(stream, 'response')
      stream.resume()
      return answer[':status']
    }
    expect(await post({ ':authority': 'shop.example', origin: 'https://shop.example' })).toBe(200)
    expect(await post({ ':authority': 'shop.example', origin: 'https://evil.example' })).toBe(403)
    expect(
      await post({ ':authority': 'shop.example', host: 'evil.example', origin: 'https://evil.example' }),
    ).toBe(403)
    connection.close()
    await new Promise<void>((closed) => server.close(() => closed()))
  })
})

describe('csrf.trustedOrigins', () => {
  it('takes origins as browsers send them, those of packaged apps too', async () => {
    const origins = [
      'https://a.example',
      'http://[::1]:3000',
      'capacitor://localhost',
      'chrome-extension://abcdefgh',
      'my-app://localhost:8100',
    ]
    const sessions = guarded({ trustedOrigins: origins })
    for (const origin of origins)
      await sessions.open(posted({ origin, 'sec-fetch-site': 'cross-site', host: 'shop.example' }))
  })

  it.each([
    [
      'https://a.example/',
      '"https://a.example/" is not an origin as browsers send it',
      'Say "https://a.example"',
    ],
    ['https://a.example:443', '"https://a.example:443" is not', 'Say "https://a.example"'],
    ['https://A.example', '"https://A.example" is not', 'Say "https://a.example"'],
    ['https://a.example/path', 'is not an origin', 'Say "https://a.example"'],
    ['https://ann@a.example', 'is not an origin', 'Say "https://a.example"'],
    ['https://*.a.example', '"https://*.a.example" is not an origin', 'such as "https://shop.example"'],
    ['capacitor://localhost/', '"capacitor://localhost/" is not an origin', 'such as "https://shop.example"'],
    ['capacitor://localhost:80a', 'is not an origin', 'such as "https://shop.example"'],
    [' capacitor://localhost', 'is not an origin', 'such as "https://shop.example"'],
    ['capacitor://*', 'is not an origin', 'such as "https://shop.example"'],
    ['a.example', '"a.example" is not an origin', 'such as "https://shop.example"'],
    ['*', '"*" is not an origin', 'such as "https://shop.example"'],
    ['null', '"null" is not an origin', 'such as "https://shop.example"'],
    ['', '"" is not an origin', 'such as "https://shop.example"'],
    [7, '7 is not an origin', 'such as "https://shop.example"'],
    [undefined, 'undefined is not an origin', 'such as "https://shop.example"'],
  ])('refuses %s', (origin, problem, cure) => {
    const create = () => guarded({ trustedOrigins: [origin as string] })
    expect(create).toThrow(OptionsError)
    expect(create).toThrow(`csrf.trustedOrigins: `)
    expect(create).toThrow(problem)
    expect(create).toThrow(cure)
  })
})

it('csrf: refuses what is no option by name', async () => {
  const create = (csrf: unknown) => () => createSessions({ secret: SECRET, csrf: csrf as boolean })
  expect(create({ trusted: [] })).toThrow(
    'csrf.trusted: there is no such option. There are: trustedOrigins, strict',
  )
  expect(create({ trustedOrigins: 'https://a.example' })).toThrow(
    'csrf.trustedOrigins: must be a list of origins',
  )
  expect(create({ strict: 1 })).toThrow('csrf.strict: 1 must be a boolean')
  await manager({ csrf: false }).sessions.open(posted({ 'sec-fetch-site': 'cross-site', cookie: 'a=b' }))
  expect(create('on')).toThrow('csrf')
  expect(create(null)).toThrow('csrf')
})
