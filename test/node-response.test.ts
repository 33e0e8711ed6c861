import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import * as http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
// @ts-expect-error: types come under the name of version 5
import express4 from 'express4'
import Koa from 'koa'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { HeaderChange } from '../src/cookie.ts'
import type { Gate } from '../src/frameworks/node-response.ts'
import { holdResponse } from '../src/frameworks/node-response.ts'

const NO_CHANGES: readonly HeaderChange[] = []
const COOKIE: readonly HeaderChange[] = [
  ['Set-Cookie', 'id=1; HttpOnly', 'append'],
  ['Vary', 'Cookie', 'append'],
  ['Cache-Control', 'no-store', 'set'],
]

const servers: Server[] = []
const crashes: unknown[] = []
const noteCrash = (error: unknown) => crashes.push(error)
let folder: string
let file: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'node-response-'))
  file = join(folder, 'page.txt')
  await writeFile(file, 'the page\n'.repeat(20_000))
  process.on('uncaughtException', noteCrash)
  process.on('unhandledRejection', noteCrash)
})

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  }
  expect(crashes.splice(0)).toEqual([])
})

afterAll(async () => {
  process.off('uncaughtException', noteCrash)
  process.off('unhandledRejection', noteCrash)
  await rm(folder, { recursive: true })
})

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener)
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A client that sees every byte. */
class Wire {
  readonly socket: Socket
  readonly ended: Promise<unknown>
  text = ''

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.setEncoding('latin1').on('data', (text: string) => {
      this.text += text
    })
    this.socket.on('error', () => {})
    this.ended = new Promise((resolve) => this.socket.on('close', resolve))
  }

  send(method = 'GET', headers = 'Connection: close\r\n', version = '1.1'): this {
    this.socket.write(`${method} / HTTP/${version}\r\nHost: x\r\n${headers}\r\n`)
    return this
  }

  async until(done: (text: string) => boolean): Promise<string> {
    while (!done(this.text)) await once(this.socket, 'data')
    return this.text
  }

  async all(): Promise<string> {
    await this.ended
    return this.text
  }
}

const fetchRaw = async (port: number, method?: string, headers?: string, version?: string) =>
  new Wire(port).send(method, headers, version).all()

/** What two runs have in common. */
const undated = (text: string) => text.replace(/\r\nDate: [^\r]*/, '')

function parse(text: string) {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [line = '', ...fields] = head.split('\r\n')
  const values = (name: string) =>
    fields
      .filter((field) => field.toLowerCase().startsWith(`${name}:`))
      .map((field) => field.slice(name.length + 2))
  const isChunked = values('transfer-encoding').includes('chunked')
  const payload = rest.join('\r\n\r\n')
  return {
    status: Number(line.split(' ')[1]),
    head,
    line,
    values,
    ...(isChunked && payload ? unchunked(payload) : { body: payload, trailers: '' }),
  }
}

/** Where one chunk ends and the next begins is Node's business, and differs by version. */
function unchunked(payload: string): { body: string; trailers: string } {
  const [size = '', ...rest] = payload.split('\r\n')
  const after = rest.join('\r\n')
  const length = Number.parseInt(size, 16)
  if (length === 0) return { body: '', trailers: after }
  expect(after.slice(length, length + 2)).toBe('\r\n')
  const { body, trailers } = unchunked(after.slice(length + 2))
  return { body: after.slice(0, length) + body, trailers }
}

function withResolvers<T>() {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((...both) => {
    ;[resolve, reject] = both
  })
  return { promise, resolve, reject }
}

/** A gate that is opened by hand, and its log. */
function gateFor(res: ServerResponse) {
  const { promise, resolve, reject } = withResolvers<readonly HeaderChange[]>()
  const log: string[] = []
  const gate: Gate = {
    beforeHeaders(status) {
      log.push(`asked ${status}`)
      return promise
    },
    failed(error) {
      log.push(`failed ${(error as Error).message}`)
      answerError(res, error)
    },
    closed() {
      log.push('closed')
    },
  }
  return { res, gate, log, open: resolve, fail: reject }
}

function answerError(res: ServerResponse, error: unknown): void {
  res.statusCode = 503
  res.setHeader('Content-Type', 'text/plain')
  res.end(`Sorry: ${(error as Error).message}`)
}

/** A server whose answer waits until the test opens the gate, or fails it. */
async function serveHeld(answer: (res: ServerResponse, req: IncomingMessage) => unknown) {
  const { promise, resolve } = withResolvers<ReturnType<typeof gateFor>>()
  const port = await serve((req, res) => {
    const held = gateFor(res)
    holdResponse(res, held.gate)
    Promise.resolve(answer(res, req)).catch(() => {})
    resolve(held)
  })
  return { port, held: promise }
}

interface Way {
  name: string
  answer: (res: ServerResponse, req: IncomingMessage) => unknown
  method?: string
  version?: string
  headers?: string
  status?: number
}

const ways: Way[] = [
  { name: 'end without a body', answer: (res) => res.end() },
  { name: 'end with a body', answer: (res) => res.setHeader('X-App', '1').end('hello') },
  { name: 'end with an encoding', answer: (res) => res.end('68656c6c6f', 'hex') },
  {
    name: 'write and end',
    answer: (res) => {
      res.write('a')
      res.write(Buffer.from('b'))
      res.end('c')
    },
  },
  {
    name: 'an empty write',
    answer: (res) => {
      res.write('')
      res.end('c')
    },
  },
  {
    name: 'writes over time',
    answer: async (res) => {
      res.write('a')
      await sleep(5)
      res.write('b')
      await sleep(5)
      res.end()
    },
  },
  {
    name: 'statusCode and statusMessage',
    status: 404,
    answer: (res) => {
      res.statusCode = 404
      res.statusMessage = 'Gone fishing'
      res.end('x')
    },
  },
  { name: 'writeHead', status: 201, answer: (res) => res.writeHead(201).end('x') },
  {
    name: 'writeHead with a message',
    status: 201,
    answer: (res) => res.writeHead(201, 'Made', { 'X-App': '1' }).end('x'),
  },
  {
    name: 'writeHead with an object',
    answer: (res) => res.writeHead(200, { 'X-App': ['1', '2'], 'Content-Length': 1 }).end('x'),
  },
  {
    name: 'writeHead with a flat list',
    answer: (res) => res.writeHead(200, ['X-App', '1', 'X-App', '2']).end('x'),
  },
  {
    name: 'writeHead with pairs',
    answer: (res) =>
      res
        .writeHead(200, [
          ['X-App', '1'],
          ['X-App', '2'],
        ] as never)
        .end('x'),
  },
  {
    name: 'writeHead over setHeader',
    answer: (res) =>
      res.setHeader('X-App', '1').setHeader('X-Other', '1').writeHead(200, { 'x-app': '2' }).end('x'),
  },
  {
    name: 'flushHeaders, then write',
    answer: (res) => {
      res.flushHeaders()
      res.write('a')
      res.end('b')
    },
  },
  { name: 'pipe', answer: (res) => void createReadStream(file).pipe(res) },
  { name: 'pipeline', answer: (res) => pipeline(createReadStream(file), res) },
  { name: 'an async iterator', answer: (res) => pipeline(Readable.from(['a', 'b', 'c']), res) },
  { name: 'HEAD', method: 'HEAD', answer: (res) => res.setHeader('Content-Length', '5').end('hello') },
  {
    name: 'HEAD with writes',
    method: 'HEAD',
    answer: (res) => {
      res.write('a')
      res.end('b')
    },
  },
  { name: '204', status: 204, answer: (res) => res.writeHead(204).end() },
  { name: '304', status: 304, answer: (res) => res.writeHead(304, { ETag: '"a"' }).end() },
  { name: 'a redirect', status: 302, answer: (res) => res.writeHead(302, { Location: '/next' }).end() },
  {
    name: 'HTTP/1.0',
    version: '1.0',
    headers: '',
    answer: (res) => {
      res.write('a')
      res.end('b')
    },
  },
  {
    name: 'trailers',
    answer: (res) => {
      res.writeHead(200, { Trailer: 'X-Sum' })
      res.write('a')
      res.addTrailers({ 'X-Sum': '97' })
      res.end()
    },
  },
  {
    name: 'cork and uncork',
    answer: (res) => {
      res.cork()
      res.write('a')
      res.write('b')
      process.nextTick(() => {
        res.uncork()
        res.end('c')
      })
    },
  },
  {
    name: 'a strict Content-Length',
    answer: (res) => {
      res.strictContentLength = true
      res.setHeader('Content-Length', 3)
      res.write('a')
      res.end('bc')
    },
  },
  {
    name: 'no Date, no keep-alive',
    answer: (res) => {
      res.sendDate = false
      res.shouldKeepAlive = false
      res.end('x')
    },
  },
]

describe.each(ways)('answering by $name', ({ answer, method, version, headers, status = 200 }) => {
  const ask = async (port: number) => undated(await fetchRaw(port, method, headers, version))
  const plain = async () => ask(await serve((req, res) => void answer(res, req)))

  test('a gate that does not wait changes no byte', async () => {
    const asked: number[] = []
    const port = await serve((req, res) => {
      holdResponse(res, {
        beforeHeaders(status) {
          asked.push(status)
          return NO_CHANGES
        },
        failed: () => {},
      })
      answer(res, req)
    })
    expect(await ask(port)).toBe(await plain())
    expect(asked).toEqual([status])
  })

  test('nothing leaves before the commit, and then all of it, with the cookie', async () => {
    const server = await serveHeld(answer)
    const wire = new Wire(server.port).send(method, headers, version)
    const held = await server.held
    await sleep(15)
    expect(wire.text).toBe('')
    held.open(COOKIE)
    const { values, ...sent } = parse(undated(await wire.all()))
    const { values: _, ...expected } = parse(await plain())
    expect({ ...sent, head: sent.head.replace(/\r\n(Set-Cookie|Vary|Cache-Control): [^\r]*/g, '') }).toEqual(
      expected,
    )
    expect(values('set-cookie')).toEqual(['id=1; HttpOnly'])
    expect(held.log).toEqual([`asked ${status}`, 'closed'])
  })

  test('a failed commit sends the error page and nothing of the application', async () => {
    const server = await serveHeld(answer)
    const wire = new Wire(server.port).send(method, headers, version)
    const held = await server.held
    await sleep(15)
    held.fail(new Error('down'))
    const { line, values, body } = parse(await wire.all())
    expect(line).toBe('HTTP/1.1 503 Service Unavailable')
    expect(body).toBe(method === 'HEAD' ? '' : 'Sorry: down')
    expect([
      ...values('x-app'),
      ...values('set-cookie'),
      ...values('location'),
      ...values('trailer'),
    ]).toEqual([])
    expect(held.log).toEqual([`asked ${status}`, 'failed down', 'closed'])
  })
})

describe('headers', () => {
  async function answerWith(changes: readonly HeaderChange[], answer: (res: ServerResponse) => unknown) {
    const texts: string[] = []
    for (const result of [changes, sleep(5).then(() => changes)]) {
      const port = await serve((_req, res) => {
        holdResponse(res, { beforeHeaders: () => result, failed: (error) => answerError(res, error) })
        answer(res)
      })
      texts.push(undated(await fetchRaw(port)))
    }
    expect(texts[0]).toBe(texts[1])
    return parse(texts[0]!)
  }

  const cookies: [string, string[], (res: ServerResponse) => unknown][] = [
    ['setHeader', ['a=1'], (res) => res.setHeader('Set-Cookie', 'a=1').end()],
    ['setHeader with several', ['a=1', 'b=2'], (res) => res.setHeader('set-cookie', ['a=1', 'b=2']).end()],
    [
      'appendHeader',
      ['a=1', 'b=2'],
      (res) => res.appendHeader('Set-Cookie', 'a=1').appendHeader('Set-Cookie', 'b=2').end(),
    ],
    ['writeHead with an object', ['a=1'], (res) => res.writeHead(200, { 'set-cookie': 'a=1' }).end()],
    [
      'writeHead with an array in an object',
      ['a=1', 'b=2'],
      (res) => res.writeHead(200, 'OK', { 'Set-Cookie': ['a=1', 'b=2'] }).end(),
    ],
    [
      'writeHead with no message',
      ['a=1'],
      (res) => res.writeHead(200, undefined, { 'Set-Cookie': 'a=1' }).end(),
    ],
    [
      'writeHead with a flat list',
      ['a=1', 'b=2'],
      (res) => res.writeHead(200, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']).end(),
    ],
    [
      'writeHead with pairs',
      ['a=1', 'b=2'],
      (res) =>
        res
          .writeHead(200, [
            ['Set-Cookie', 'a=1'],
            ['Set-Cookie', 'b=2'],
          ] as never)
          .end(),
    ],
    [
      'writeHead over setHeader',
      ['b=2'],
      (res) => res.setHeader('Set-Cookie', 'a=1').writeHead(200, { 'set-cookie': 'b=2' }).end(),
    ],
    [
      'writeHead without any, after setHeader',
      ['a=1'],
      (res) => res.setHeader('Set-Cookie', 'a=1').writeHead(200, { 'X-App': '1' }).end(),
    ],
    [
      'writeHead with a flat list without any, after setHeader',
      ['a=1'],
      (res) => res.setHeader('Set-Cookie', 'a=1').writeHead(200, ['X-App', '1']).end(),
    ],
    ['nothing', [], (res) => res.end()],
  ]
  test.each(cookies)('our cookies stand beside those of %s', async (_how, own, answer) => {
    const ours: HeaderChange[] = [
      ['Set-Cookie', 'id=1', 'append'],
      ['Set-Cookie', 'old=; Max-Age=0', 'append'],
    ]
    const { values } = await answerWith(ours, answer)
    expect(values('set-cookie')).toEqual([...own, 'id=1', 'old=; Max-Age=0'])
  })

  test.each([
    [undefined, 'Cookie'],
    ['Accept', 'Accept, Cookie'],
    ['Accept, cookie', 'Accept, cookie'],
    ['*', '*'],
    [['Accept', 'Origin'], 'Accept, Origin, Cookie'],
  ])('Vary %s becomes %s', async (own, expected) => {
    const set = await answerWith(COOKIE, (res) => (own ? res.setHeader('Vary', own) : res).end())
    const given = await answerWith(COOKIE, (res) =>
      res.writeHead(200, own ? { vary: own as string } : {}).end(),
    )
    expect([set.values('vary'), given.values('vary')]).toEqual([[expected], [expected]])
  })

  test.each([
    [undefined, 'no-store'],
    ['private, max-age=60', 'no-store'],
    ['no-store', 'no-store'],
    ['No-Store, no-cache', 'No-Store, no-cache'],
  ])('Cache-Control %s becomes %s', async (own, expected) => {
    const set = await answerWith(COOKIE, (res) => (own ? res.setHeader('Cache-Control', own) : res).end())
    const given = await answerWith(COOKIE, (res) =>
      res.writeHead(200, own ? { 'cache-control': own } : {}).end(),
    )
    expect([set.values('cache-control'), given.values('cache-control')]).toEqual([[expected], [expected]])
  })

  test('they survive a writeHead that throws and go out once, with the error page', async () => {
    const { status, values } = await answerWith(COOKIE, (res) => {
      res.setHeader('Set-Cookie', 'a=1')
      try {
        res.writeHead(200, { 'X-Bad': 'a\nb' }).end()
      } catch (error) {
        for (const name of res.getHeaderNames()) res.removeHeader(name)
        res.statusMessage = ''
        answerError(res, error)
      }
    })
    expect(status).toBe(503)
    expect(values('set-cookie')).toEqual(['id=1; HttpOnly'])
  })

  test('they go out once too if the error page keeps them', async () => {
    const port = await serve((_req, res) => {
      holdResponse(res, { beforeHeaders: () => COOKIE, failed: () => {} })
      expect(() => res.writeHead(200, 'a\nb')).toThrow('statusMessage')
      res.statusMessage = ''
      res.end()
    })
    expect(parse(await fetchRaw(port)).values('set-cookie')).toEqual(['id=1; HttpOnly'])
  })

  test('the headers that writeHead got may be changed afterwards', async () => {
    const { values } = await answerWith(COOKIE, (res) => {
      const headers = { 'X-App': 'before' }
      res.writeHead(200, headers)
      headers['X-App'] = 'after'
      res.end()
    })
    expect(values('x-app')).toEqual(['before'])
  })

  test('informational answers pass at once, without the cookie', async () => {
    const server = await serveHeld((res) => {
      res.writeProcessing()
      res.writeEarlyHints({ link: '</a.css>; rel=preload' })
      res.end('x')
    })
    const wire = new Wire(server.port).send()
    const held = await server.held
    const early =
      'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n'
    await wire.until((text) => text.length >= early.length)
    await sleep(10)
    expect(wire.text).toBe(early)
    held.open(COOKIE)
    expect(parse((await wire.all()).slice(early.length)).values('set-cookie')).toHaveLength(1)
  })

  test('Expect: 100-continue is answered before the commit', async () => {
    const server = await serveHeld((res, req) => req.pipe(res))
    const wire = new Wire(server.port).send(
      'POST',
      'Connection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n',
    )
    const held = await server.held
    await wire.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n')
    wire.socket.write('ping')
    await sleep(10)
    expect(wire.text).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    held.open(COOKIE)
    expect(await wire.all()).toContain('ping')
  })
})

describe('while the commit is under way', () => {
  /** Runs `script` inside a handler whose gate stays shut until `open` or `fail`, and waits for the answer. */
  async function within<T>(
    script: (res: ServerResponse, held: ReturnType<typeof gateFor>) => Promise<T> | T,
    keepAlive = false,
  ) {
    const { promise, resolve, reject } = withResolvers<T>()
    const port = await serve((_req, res) => {
      const held = gateFor(res)
      holdResponse(res, held.gate)
      Promise.resolve(script(res, held)).then(resolve, reject)
    })
    const wire = new Wire(port).send('GET', keepAlive ? '' : undefined)
    const result = await promise
    return { result, wire, text: keepAlive ? '' : await wire.all() }
  }

  test('the response looks as after the call, and as new in none of its parts afterwards', async () => {
    const look = (res: ServerResponse) => ({
      headersSent: res.headersSent,
      ended: res.writableEnded,
      finished: res.finished,
      flushed: res.writableFinished,
      status: res.statusCode,
    })
    const { result, text } = await within(async (res, held) => {
      const seen = [look(res)]
      res.writeHead(201)
      seen.push(look(res))
      res.end('x')
      seen.push(look(res))
      held.open(NO_CHANGES)
      await once(res, 'finish')
      seen.push(look(res))
      return seen
    })
    const fresh = { headersSent: false, ended: false, finished: false, flushed: false, status: 200 }
    const headed = { ...fresh, headersSent: true, status: 201 }
    const ended = { ...headed, ended: true, finished: true }
    expect(result).toEqual([fresh, headed, ended, { ...ended, flushed: true }])
    expect(parse(text).status).toBe(201)
  })

  test('headers and a second writeHead are refused as after sending', async () => {
    const code = (call: () => unknown) => {
      try {
        return call()
      } catch (error) {
        return (error as NodeJS.ErrnoException).code
      }
    }
    const calls = (res: ServerResponse) => [
      code(() => res.setHeader('X-Late', '1')),
      code(() => res.setHeaders(new Headers({ 'X-Late': '1' }))),
      code(() => res.appendHeader('X-Late', '1')),
      code(() => res.removeHeader('X-App')),
      code(() => res.writeHead(500)),
    ]
    const { result, text } = await within(async (res, held) => {
      res.setHeader('X-App', '1')
      res.flushHeaders()
      const refused = calls(res)
      const seen = [res.getHeader('X-App'), res.hasHeader('X-Late')]
      held.open(NO_CHANGES)
      await sleep(5)
      const native = calls(res)
      res.end()
      return { refused, seen, native }
    })
    expect(result.refused).toEqual(Array(5).fill('ERR_HTTP_HEADERS_SENT'))
    expect(result.refused).toEqual(result.native)
    expect(result.seen).toEqual(['1', false])
    expect(parse(text).values('x-app')).toEqual(['1'])
  })

  test('a status set later changes nothing', async () => {
    const { text } = await within((res, held) => {
      res.statusCode = 201
      res.end('x')
      res.statusCode = 500
      res.statusMessage = 'Late'
      held.open(NO_CHANGES)
    })
    expect(parse(text).line).toBe('HTTP/1.1 201 Created')
  })

  test('write says false, and drain follows', async () => {
    const { result, text } = await within(async (res, held) => {
      const said = res.write('a')
      const needsDrain = res.writableNeedDrain
      held.open(NO_CHANGES)
      await once(res, 'drain')
      res.end('b')
      return [said, needsDrain]
    })
    expect(result).toEqual([false, true])
    expect(parse(text).body).toBe('ab')
  })

  test('drain waits for a client that reads slowly', async () => {
    const server = await serveHeld((res) => res.write(Buffer.alloc(16_000_000)))
    const wire = new Wire(server.port).send()
    wire.socket.pause()
    const held = await server.held
    let drains = 0
    held.res.on('drain', () => drains++)
    held.open(NO_CHANGES)
    await sleep(30)
    expect(drains).toBe(0)
    wire.socket.resume()
    await once(held.res, 'drain')
    held.res.destroy()
    await wire.ended
  })

  test('callbacks and events come in order, after the bytes', async () => {
    const { result } = await within(async (res, held) => {
      const events: string[] = []
      res.on('finish', () => events.push('finish'))
      res.write('a', () => events.push('a'))
      res.write('b', 'utf8', () => events.push('b'))
      res.end('c', () => events.push('end'))
      await sleep(10)
      events.push('commit')
      held.open(NO_CHANGES)
      await once(res, 'close')
      return events
    })
    expect(result.slice(0, 3)).toEqual(['commit', 'a', 'b'])
    expect(result.slice(3).sort()).toEqual(['end', 'finish'])
  })

  test('a write after end is the error that Node makes of it', async () => {
    const { result, text } = await within(async (res, held) => {
      res.end('x')
      const heard = new Promise<NodeJS.ErrnoException>((resolve) => res.on('error', resolve))
      const called = new Promise<NodeJS.ErrnoException | null | undefined>((resolve) =>
        res.write('y', resolve),
      )
      res.end()
      held.open(NO_CHANGES)
      return [(await heard).code, (await called)?.code]
    })
    expect(result).toEqual(['ERR_STREAM_WRITE_AFTER_END', 'ERR_STREAM_WRITE_AFTER_END'])
    expect(parse(text).body).toBe('x')
  })

  test('a pipe of 10 MB holds no more than one chunk in memory', async () => {
    const chunk = Buffer.alloc(64 * 1024, 'x')
    let made = 0
    const server = await serveHeld((res) => {
      res.setHeader('Content-Length', 160 * chunk.length)
      const source = Readable.from(
        (function* () {
          for (; made < 160; made++) yield chunk
        })(),
        { objectMode: false, highWaterMark: chunk.length },
      )
      source.pipe(res)
    })
    const wire = new Wire(server.port).send()
    const held = await server.held
    await sleep(50)
    expect(wire.text).toBe('')
    expect(made).toBeLessThan(5)
    held.open(COOKIE)
    expect(parse(await wire.all()).body).toHaveLength(160 * chunk.length)
  })

  test('an answer that Node refuses becomes the error page, with the cookie', async () => {
    const { text } = await within((res, held) => {
      held.gate.stillDue = () => NO_CHANGES
      res.writeHead(200, { 'X-Bad': 'a\nb' })
      res.end('x')
      held.open(COOKIE)
    })
    expect(parse(text)).toMatchObject({ status: 503 })
    expect(parse(text).values('set-cookie')).toEqual(['id=1; HttpOnly'])
  })

  test('what was due before the commit failed leaves with the error page', async () => {
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed: (error) => answerError(res, error),
        stillDue: () => COOKIE,
      })
      res.setHeader('Set-Cookie', 'a=1').end('x')
    })
    const { status, values } = parse(await fetchRaw(port))
    expect([status, values('set-cookie')]).toEqual([503, ['id=1; HttpOnly']])
  })

  test('what Node refuses once the head is out closes the connection', async () => {
    const { result, text } = await within(async (res, held) => {
      res.strictContentLength = true
      res.writeHead(200, { 'Content-Length': 2 })
      res.write('ab')
      res.end('c')
      held.open(NO_CHANGES)
      await once(res, 'close')
      return held.log
    })
    expect(result).toEqual(['asked 200', 'closed'])
    expect(text).not.toContain('c\r\n')
  })
})

describe('a failed commit', () => {
  test.each(['throw', 'reject'])('by %s', async (how) => {
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders() {
          if (how === 'throw') throw new Error('down')
          return Promise.reject(new Error('down'))
        },
        failed: (error) => answerError(res, error),
      })
      res.setHeader('Set-Cookie', 'a=1')
      expect(res.end('x')).toBe(res)
    })
    const { status, values, body } = parse(await fetchRaw(port))
    expect([status, body, values('set-cookie')]).toEqual([503, 'Sorry: down', []])
  })

  test('leaves the response as new', async () => {
    let seen: unknown
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed() {
          seen = [
            res.headersSent,
            res.writableEnded,
            res.writableFinished,
            res.statusCode,
            res.statusMessage,
            res.getHeaders(),
          ]
          res.end('sorry')
        },
      })
      res.writeHead(404, 'Nope', { 'X-App': '1' })
      res.end('x')
    })
    const { line, values, body } = parse(await fetchRaw(port))
    expect(seen).toEqual([false, false, false, 200, undefined, {}])
    expect([line, body, values('date').length]).toEqual(['HTTP/1.1 200 OK', 'sorry', 1])
  })

  test('calls the callbacks of writes with the error, and never that of end', async () => {
    const calls: unknown[] = []
    const error = new Error('down')
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(error),
        failed: (error) => answerError(res, error),
      })
      res.write('a', (error) => calls.push(error))
      res.end('b', () => calls.push('end'))
    })
    expect(parse(await fetchRaw(port)).body).toBe('Sorry: down')
    expect(calls).toEqual([error])
  })

  test('drops what a handler goes on to write, before and after a late error page', async () => {
    let isOver = false
    const port = await serve(async (_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed: (error) => void setTimeout(() => answerError(res, error), 20),
      })
      res.write('a')
      await sleep(10)
      res.write('b')
      await sleep(30)
      res.write('c')
      res.end('d')
      isOver = true
    })
    const { status, body } = parse(await fetchRaw(port))
    expect([status, body]).toEqual([503, 'Sorry: down'])
    await sleep(30)
    expect(isOver).toBe(true)
  })

  test('drops what is written right after the error page', async () => {
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed(error) {
          answerError(res, error)
          queueMicrotask(() => res.end('more'))
        },
      })
      res.write('a')
    })
    expect(parse(await fetchRaw(port)).body).toBe('Sorry: down')
  })

  test('may be answered at once with nothing but a body', async () => {
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed: () => void res.end('sorry'),
      })
      res.write('a')
    })
    expect(parse(await fetchRaw(port)).body).toBe('sorry')
  })

  test('lets no pipe into an error page that takes its time, and no trailer after it', async () => {
    const source = new PassThrough()
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed() {
          res.statusCode = 503
          res.write('Sorry')
          source.write('b')
          setTimeout(() => res.end('.'), 10)
        },
      })
      res.setHeader('Trailer', 'X-Sum')
      res.addTrailers({ 'X-Sum': '97' })
      source.pipe(res)
      res.flushHeaders()
    })
    const { body, trailers } = parse(await fetchRaw(port))
    expect([body, trailers.trim()]).toEqual(['Sorry.', ''])
  })

  test('drops a handler that only ends', async () => {
    const port = await serve(async (_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed: (error) => void setTimeout(() => answerError(res, error), 20),
      })
      res.flushHeaders()
      await sleep(5)
      res.end()
    })
    expect(parse(await fetchRaw(port)).status).toBe(503)
  })

  test.each(['pipe', 'pipeline'])('closes the source of a %s', async (how) => {
    const source = createReadStream(file)
    const closed = once(source, 'close')
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => sleep(10).then(() => Promise.reject(new Error('down'))),
        failed: (error) => answerError(res, error),
      })
      if (how === 'pipe') source.pipe(res)
      else pipeline(source, res).catch(() => {})
    })
    expect(parse(await fetchRaw(port)).body).toBe('Sorry: down')
    await closed
  })

  test('leaves a source alone that others read', async () => {
    const source = new PassThrough()
    source.on('data', () => {})
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed: (error) => answerError(res, error),
      })
      source.pipe(res)
      source.write('x')
    })
    expect(parse(await fetchRaw(port)).body).toBe('Sorry: down')
    await sleep(10)
    expect(source.destroyed).toBe(false)
  })

  test.each(['throws', 'rejects'])('whose error path %s closes the connection', async (how) => {
    const port = await serve((_req, res) => {
      holdResponse(res, {
        beforeHeaders: () => Promise.reject(new Error('down')),
        failed() {
          if (how === 'throws') throw new Error('no template')
          return Promise.reject(new Error('no template'))
        },
      })
      res.end('x')
    })
    expect(await fetchRaw(port)).toBe('')
  })

  test('keeps the connection usable', async () => {
    let count = 0
    const port = await serve((_req, res) => {
      const isDown = count++ === 0
      holdResponse(res, {
        beforeHeaders: () => (isDown ? Promise.reject(new Error('down')) : Promise.resolve(NO_CHANGES)),
        failed: (error) => answerError(res, error),
      })
      res.setHeader('Content-Length', 6)
      res.setHeader('Date', 'never')
      res.end('answer')
    })
    const wire = new Wire(port).send('GET', '')
    await wire.until((text) => text.endsWith('Sorry: down'))
    expect(wire.text).toMatch(/Date: \w{3},/)
    wire.send()
    expect(await wire.all()).toMatch(/answer$/)
  })
})

describe('a client that is gone', () => {
  async function abandoned(
    script: (
      res: ServerResponse,
      held: ReturnType<typeof gateFor>,
      leave: () => Promise<unknown>,
    ) => Promise<unknown>,
  ) {
    const { promise, resolve, reject } = withResolvers<unknown>()
    let wire: Wire | undefined
    const port = await serve((_req, res) => {
      const held = gateFor(res)
      holdResponse(res, held.gate)
      const leave = () => {
        const closed = once(res, 'close')
        wire!.socket.destroy()
        return closed
      }
      script(res, held, leave).then(() => resolve(held.log), reject)
    })
    wire = new Wire(port).send()
    return promise
  }

  test('is committed for by end', async () => {
    const log = await abandoned(async (res, held, leave) => {
      await leave()
      res.statusCode = 201
      res.end('x')
      held.open(COOKIE)
      await sleep(5)
    })
    expect(log).toEqual(['closed', 'asked 201'])
  })

  test('is committed for by end alone, and once', async () => {
    const log = await abandoned(async (res, held, leave) => {
      await leave()
      res.writeHead(201, { 'X-App': '1' })
      res.write('x')
      res.flushHeaders()
      held.log.push('wrote')
      res.end()
      res.end()
      held.open(COOKIE)
      await sleep(5)
    })
    expect(log).toEqual(['closed', 'wrote', 'asked 201'])
  })

  test('commits nothing without end', async () => {
    const log = await abandoned(async (res, _held, leave) => {
      await leave()
      res.write('x')
      await pipeline(Readable.from(['a']), res).catch(() => {})
    })
    expect(log).toEqual(['closed'])
  })

  test('because the application hung up is committed for by end alone', async () => {
    const log = await abandoned(async (res, held) => {
      res.destroy()
      res.write('x')
      held.log.push('wrote')
      await once(res, 'close')
      res.end()
      held.open(COOKIE)
      await sleep(5)
    })
    expect(log).toEqual(['wrote', 'closed', 'asked 200'])
  })

  test('while the commit is under way does not disturb it', async () => {
    const errors: unknown[] = []
    const log = await abandoned(async (res, held, leave) => {
      res.write('x', (error) => errors.push((error as NodeJS.ErrnoException).code))
      await leave()
      res.end('y')
      held.open(COOKIE)
      await sleep(5)
    })
    expect(log).toEqual(['asked 200', 'closed'])
    expect(errors).toEqual(['ERR_STREAM_DESTROYED'])
  })

  test('is told to the error path when the commit then fails', async () => {
    const log = await abandoned(async (res, held, leave) => {
      res.end('x')
      await leave()
      held.fail(new Error('down'))
      await sleep(5)
    })
    expect(log).toEqual(['asked 200', 'closed', 'failed down'])
  })

  test('before the response was held is told at once', async () => {
    const log: string[] = []
    let wire: Wire | undefined
    const done = new Promise<void>((resolve) => {
      serve(async (_req, res) => {
        const closed = once(res, 'close')
        wire!.socket.destroy()
        await closed
        holdResponse(res, {
          beforeHeaders(status) {
            log.push(`asked ${status}`)
            return NO_CHANGES
          },
          failed: () => {},
          closed: () => log.push('closed'),
        })
        res.end()
        await sleep(5)
        resolve()
      }).then((port) => {
        wire = new Wire(port).send()
      })
    })
    await done
    expect(log).toEqual(['asked 200', 'closed'])
  })
})

describe('a connection', () => {
  test('with several requests in a row', async () => {
    let count = 0
    const closed: number[] = []
    const port = await serve((_req, res) => {
      const n = ++count
      holdResponse(res, {
        beforeHeaders: () => (n % 2 ? NO_CHANGES : sleep(2).then(() => COOKIE)),
        failed: () => {},
        closed: () => closed.push(n),
      })
      res.end(`answer ${n}.`)
    })
    const wire = new Wire(port)
    for (let n = 1; n <= 6; n++) {
      wire.send('GET', n === 6 ? undefined : '')
      await wire.until((text) => text.endsWith(`answer ${n}.`))
    }
    await wire.ended
    expect(wire.text.match(/Set-Cookie/g)).toHaveLength(3)
    expect(closed).toEqual([1, 2, 3, 4, 5, 6])
  })

  test('with pipelined requests answers in order, whichever commit is done first', async () => {
    let count = 0
    const port = await serve((_req, res) => {
      const n = ++count
      const delay = [30, 1, 10, 60][n - 1]!
      holdResponse(res, { beforeHeaders: () => sleep(delay).then(() => COOKIE), failed: () => {} })
      res.write('answer ')
      res.end(`${n}.`)
    })
    const wire = new Wire(port).send('GET', '').send('GET', '').send('GET', '').send()
    const text = await wire.all()
    expect(text.match(/\d\./g)!.filter((part) => part !== '1.')).toEqual(['2.', '3.', '4.'])
    expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(4)
    expect(text.match(/Set-Cookie/g)).toHaveLength(4)
  })
})

describe('several at the same methods', () => {
  test('two gates wait for each other, the latest first', async () => {
    const order: string[] = []
    const port = await serve((_req, res) => {
      for (const name of ['inner', 'outer']) {
        holdResponse(res, {
          beforeHeaders: (status) =>
            sleep(5).then(() => {
              order.push(`${name} ${status}`)
              return [['Set-Cookie', `${name}=1`, 'append']]
            }),
          failed: () => {},
        })
      }
      res.setHeader('Set-Cookie', 'a=1')
      res.write('x')
      res.end('y')
    })
    const { values, body } = parse(await fetchRaw(port))
    expect(order).toEqual(['outer 200', 'inner 200'])
    expect(values('set-cookie')).toEqual(['a=1', 'outer=1', 'inner=1'])
    expect(body).toBe('xy')
  })

  /** What compression does: changes the headers at the last moment, and takes its time over the body. */
  function shout(res: ServerResponse) {
    const { writeHead, write, end } = res as unknown as Record<string, (...args: unknown[]) => unknown>
    const upper = new PassThrough()
    let isOver = false
    const asOldMiddlewareAsks = () => (res as unknown as { _header: unknown })._header
    upper.on('data', (chunk: Buffer) => setTimeout(() => write!.call(res, chunk.toString().toUpperCase()), 5))
    upper.on('end', () => setTimeout(() => end!.call(res), 10))
    Object.assign(res, {
      writeHead(...args: unknown[]) {
        res.setHeader('X-Shouting', '1')
        return writeHead!.apply(res, args)
      },
      write(chunk: string) {
        if (!asOldMiddlewareAsks()) res.writeHead(res.statusCode)
        return upper.write(chunk)
      },
      end(chunk: string) {
        if (isOver) return res
        isOver = true
        if (!asOldMiddlewareAsks()) res.writeHead(res.statusCode)
        upper.end(chunk)
        return res
      },
    })
  }

  describe.each(['before', 'after'])('a body changed by middleware put on %s us', (when) => {
    async function ask(gate: (res: ServerResponse) => Gate) {
      const port = await serve((_req, res) => {
        if (when === 'before') shout(res)
        holdResponse(res, gate(res))
        if (when === 'after') shout(res)
        res.write('hello ')
        res.end('world')
      })
      return parse(await fetchRaw(port))
    }

    test.each(['at once', 'later'])('when committed %s', async (time) => {
      const { values, body } = await ask(() => ({
        beforeHeaders: () => (time === 'later' ? sleep(20).then(() => COOKIE) : COOKIE),
        failed: () => {},
      }))
      expect(body).toBe('HELLO WORLD')
      expect([values('x-shouting'), values('set-cookie')]).toEqual([['1'], ['id=1; HttpOnly']])
    })

    test('when the commit fails', async () => {
      const { status, body } = await ask((res) => ({
        beforeHeaders: () => sleep(20).then(() => Promise.reject(new Error('down'))),
        failed: (error) => answerError(res, error),
      }))
      expect(status).toBe(503)
      expect(body.toLowerCase()).toContain('sorry: down')
      expect(body.toLowerCase()).not.toContain('world')
    })
  })
})

const expresses = [
  { name: 'Express 5', make: express },
  { name: 'Express 4', make: express4 as typeof express },
]

describe.each(expresses)('$name', ({ make }) => {
  type Handler = (req: express.Request, res: express.Response) => unknown

  async function app(commit: () => Promise<readonly HeaderChange[]>, handler: Handler) {
    const app = make()
    app.use((_req, res, next) => {
      holdResponse(res, { beforeHeaders: commit, failed: next })
      next()
    })
    app.get('/', handler)
    app.use(((error, _req, res, _next) => {
      res.status(503).json({ error: (error as Error).message })
    }) satisfies express.ErrorRequestHandler)
    return serve(app)
  }

  const answers: [string, number, string, Handler][] = [
    ['send', 200, 'hello', (_req, res) => res.send('hello')],
    ['json', 201, '{"a":1}', (_req, res) => res.status(201).json({ a: 1 })],
    ['redirect', 302, 'Found. Redirecting to /next', (_req, res) => res.redirect('/next')],
    ['sendStatus', 404, 'Not Found', (_req, res) => res.sendStatus(404)],
    ['sendFile', 200, 'the page\n'.repeat(20_000), (_req, res) => res.sendFile(file)],
    ['a promise', 200, 'later', async (_req, res) => sleep(5).then(() => res.send('later'))],
  ]

  test.each(answers)('%s carries the cookie', async (_how, status, body, handler) => {
    const port = await app(() => sleep(10).then(() => COOKIE), handler)
    const got = parse(await fetchRaw(port))
    expect([got.status, got.body, got.values('set-cookie')]).toEqual([status, body, ['id=1; HttpOnly']])
  })

  test.each(answers)('%s gives way to the error handler', async (_how, _status, _body, handler) => {
    const port = await app(() => sleep(10).then(() => Promise.reject(new Error('down'))), handler)
    const got = parse(await fetchRaw(port))
    expect([got.status, got.body, got.values('location')]).toEqual([503, '{"error":"down"}', []])
  })

  test("Express's own error page is sent", async () => {
    const app = make().set('env', 'test')
    app.use((_req, res, next) => {
      const error = Object.assign(new Error('down'), { status: 503 })
      holdResponse(res, { beforeHeaders: () => Promise.reject(error), failed: next })
      res.cookie('a', '1').send('x')
    })
    const { status, values } = parse(await fetchRaw(await serve(app)))
    expect([status, values('set-cookie')]).toEqual([503, []])
  })
})

describe('Koa', () => {
  async function app(commit: () => Promise<readonly HeaderChange[]>, handler: (ctx: Koa.Context) => unknown) {
    const app = new Koa()
    app.silent = true
    app.use(async (ctx, next) => {
      holdResponse(ctx.res, { beforeHeaders: commit, failed: (error) => ctx.onerror(error as Error) })
      await next()
    })
    app.use(async (ctx) => void (await handler(ctx)))
    return serve(app.callback())
  }

  const answers: [string, number, string, (ctx: Koa.Context) => unknown][] = [
    [
      'text',
      200,
      'hello',
      (ctx) => {
        ctx.body = 'hello'
      },
    ],
    [
      'JSON',
      201,
      '{"a":1}',
      (ctx) => {
        ctx.status = 201
        ctx.body = { a: 1 }
      },
    ],
    ['a redirect', 302, 'Redirecting to /next.', (ctx) => ctx.redirect('/next')],
    [
      'no content',
      204,
      '',
      (ctx) => {
        ctx.status = 204
      },
    ],
    ['nothing', 404, 'Not Found', () => {}],
    [
      'a stream',
      200,
      'the page\n'.repeat(20_000),
      (ctx) => {
        ctx.length = 180_000
        ctx.body = createReadStream(file)
      },
    ],
    [
      'the raw response',
      200,
      'raw',
      (ctx) => {
        ctx.respond = false
        ctx.res.writeHead(200, { 'Content-Length': 3 }).end('raw')
      },
    ],
  ]

  test.each(answers)('%s carries the cookie', async (_how, status, body, handler) => {
    const port = await app(() => sleep(10).then(() => COOKIE), handler)
    const got = parse(await fetchRaw(port))
    expect([got.status, got.body, got.values('set-cookie')]).toEqual([status, body, ['id=1; HttpOnly']])
  })

  test.each(answers)('%s gives way to the error', async (_how, _status, _body, handler) => {
    const error = Object.assign(new Error('down'), { status: 503, expose: true })
    const port = await app(() => sleep(10).then(() => Promise.reject(error)), handler)
    const got = parse(await fetchRaw(port))
    expect([got.status, got.body, got.values('location')]).toEqual([503, 'down', []])
  })
})

describe('HTTP/2, through the compatible API', () => {
  async function ask(
    gate: (res: ServerResponse) => Gate,
    answer: (res: http2.Http2ServerResponse) => unknown,
  ) {
    const server = http2.createServer((_req, res) => {
      const like = res as unknown as ServerResponse
      holdResponse(like, gate(like))
      answer(res)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const stream = session.request({ ':path': '/' })
    let isAnswered = false
    const [headers] = await once(stream, 'response').finally(() => {
      isAnswered = true
    })
    const body = (await stream.setEncoding('utf8').toArray()).join('')
    session.close()
    await new Promise((done) => server.close(done))
    return { headers: headers as http2.IncomingHttpHeaders, body, isAnswered }
  }

  test.each(['at once', 'later'])('carries the cookie when committed %s', async (when) => {
    const gate = {
      beforeHeaders: () => (when === 'later' ? sleep(20).then(() => COOKIE) : COOKIE),
      failed: () => {},
    }
    const { headers, body } = await ask(
      () => gate,
      (res) => {
        res.setHeader('set-cookie', ['a=1'])
        res.writeHead(201, { 'x-app': '1' })
        res.write('a')
        res.end('b')
      },
    )
    expect(headers).toMatchObject({
      ':status': 201,
      'x-app': '1',
      'set-cookie': ['a=1', 'id=1; HttpOnly'],
      vary: 'Cookie',
    })
    expect(body).toBe('ab')
  })

  test('sends the error page when the commit fails', async () => {
    const { headers, body } = await ask(
      (res) => ({
        beforeHeaders: () => sleep(5).then(() => Promise.reject(new Error('down'))),
        failed: (error) => answerError(res, error),
      }),
      (res) => {
        res.setHeader('x-app', '1')
        res.end('x')
      },
    )
    expect([headers[':status'], headers['x-app'], body]).toEqual([503, undefined, 'Sorry: down'])
  })
})
