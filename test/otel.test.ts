/** Spans and metrics over a real Express application and a real Redis, by the real SDK, with the driver's own instrumentation below. */
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { context, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { RedisInstrumentation } from '@opentelemetry/instrumentation-redis'
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import express from 'express'
import { createSessions, type Sessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { instrument } from 'holdfast/otel'
import { memoryStore } from 'holdfast/stores/memory'
import { redisStore } from 'holdfast/stores/redis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { errorType } from '../src/otel/names.ts'
import { browser, manager, SECRET } from './helpers/browser.ts'
import { type Client, client } from './helpers/client.ts'
import { counting } from './helpers/counting-store.ts'
import { faulty } from './helpers/faults.ts'
import { type RedisServer, startRedis } from './servers/redis.ts'

interface Data {
  visits?: number
}

const spans = new InMemorySpanExporter()
const tracing = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 })
const meters = new MeterProvider({ readers: [reader] })
const tracer = tracing.getTracer('test')

let stop: () => void
beforeAll(() => void context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()))
beforeEach(() => {
  spans.reset()
  stop = instrument({ tracer, meter: meters.getMeter('test') })
})
afterEach(() => {
  vi.useRealTimers()
  stop()
})
afterAll(async () => {
  context.disable()
  await Promise.all([tracing.shutdown(), meters.shutdown()])
})

const spansNamed = (name: string) => spans.getFinishedSpans().filter((span) => span.name === name)
const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId
const parentOf = (span: ReadableSpan | undefined) => span?.parentSpanContext?.spanId

/** The data points of a metric with such attributes. */
async function points(name: string, attributes: Record<string, unknown> = {}): Promise<DataPoint<unknown>[]> {
  measured.reset()
  await reader.forceFlush()
  const metrics = measured
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((one) => one.metrics))
  return metrics
    .filter(({ descriptor }) => descriptor.name === name)
    .flatMap(({ dataPoints }) => dataPoints as DataPoint<unknown>[])
    .filter((point) => Object.entries(attributes).every(([key, value]) => point.attributes[key] === value))
}

/** Counters and histograms only ever grow, also over the tests before. */
async function total(name: string, attributes?: Record<string, unknown>): Promise<number> {
  const values = (await points(name, attributes)).map(({ value }) =>
    typeof value === 'number' ? value : (value as Histogram).count,
  )
  return values.reduce((sum, value) => sum + value, 0)
}

describe('on Express and Redis', () => {
  let redis: RedisServer
  let driver: { close(): Promise<void>; connect(): Promise<unknown> }
  let instrumentation: RedisInstrumentation
  let sessions: Sessions<Data>
  let server: Server
  let visitor: Client
  const freshVisitor = (cookie?: string) =>
    client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, cookie)

  beforeAll(async () => {
    redis = await startRedis()
    instrumentation = new RedisInstrumentation()
    instrumentation.setTracerProvider(tracing)
    // What instruments drivers hooks `require`, so the driver is required after it.
    const { createClient } = createRequire(import.meta.url)('redis') as typeof import('redis')
    const redisClient = createClient({ url: `redis://127.0.0.1:${redis.port}` })
    driver = redisClient
    await redisClient.connect()
    sessions = createSessions<Data>({
      secret: SECRET,
      store: redisStore(redisClient),
      merge: { visits: 'sum' },
    })
    const app = express()
    app.use((req, res, next) => {
      const span = tracer.startSpan(`${req.method} ${req.path}`, { kind: SpanKind.SERVER })
      res.on('finish', () => span.end())
      context.with(trace.setSpan(context.active(), span), next)
    })
    app.use(expressSessions(sessions))
    app.get('/', async (req, res) => {
      const { data } = sessions.of(req)
      data.visits = (data.visits ?? 0) + 1
      res.send(String(data.visits))
    })
    app.post('/login', async (req, res) => {
      await sessions.of(req).login('ann')
      res.send('in')
    })
    server = createServer(app).listen(0, '127.0.0.1')
    await new Promise((ready) => server.once('listening', ready))
  })
  beforeEach(() => {
    visitor = freshVisitor()
  })
  afterAll(async () => {
    server.close()
    server.closeAllConnections()
    await sessions.close()
    await driver.close()
    instrumentation.disable()
    await redis.stop()
  })

  it("puts opening, commit and store below the request's span, and the driver's below the store's", async () => {
    for (const n of [1, 2]) {
      await visitor.get('/')
      await vi.waitFor(() => expect(spansNamed('GET /')).toHaveLength(n))
    }
    spans.reset()
    expect((await visitor.get('/')).text).toBe('3')
    await vi.waitFor(() => expect(spansNamed('GET /')).toHaveLength(1))

    const [request] = spansNamed('GET /')
    const [opening] = spansNamed('holdfast open')
    const [commit] = spansNamed('holdfast commit')
    const [load] = spansNamed('load')
    const [update] = spansNamed('update')
    expect(parentOf(opening)).toBe(idOf(request))
    expect(parentOf(commit)).toBe(idOf(request))
    expect(parentOf(load)).toBe(idOf(opening))
    expect(parentOf(update)).toBe(idOf(commit))
    const fromDriver = spans
      .getFinishedSpans()
      .filter(({ instrumentationScope }) => instrumentationScope.name.includes('redis'))
    expect(fromDriver.map(parentOf)).toEqual([idOf(load), idOf(update)])

    expect(opening?.attributes).toEqual({ 'holdfast.sessions': 'id', 'holdfast.outcome': 'live' })
    const handle = load?.attributes['holdfast.handle']
    expect(handle).toMatch(/^[\w-]{20,}$/)
    expect(commit?.attributes).toEqual({
      'holdfast.sessions': 'id',
      'holdfast.handle': handle,
      'holdfast.commit.kind': 'update',
      'holdfast.commit.attempts': 1,
      'holdfast.commit.conflicts': 0,
      'holdfast.commit.bytes': 12,
    })
    expect(load?.kind).toBe(SpanKind.CLIENT)
    expect(load?.attributes).toEqual({
      'db.system.name': 'redis',
      'db.operation.name': 'load',
      'holdfast.sessions': 'id',
      'holdfast.handle': handle,
    })
  })

  it('keeps the spans of parallel requests apart, also where their commits wait for each other', async () => {
    await visitor.get('/')
    spans.reset()
    await Promise.all(Array.from({ length: 8 }, () => visitor.copy().get('/')))
    await vi.waitFor(() => expect(spansNamed('GET /')).toHaveLength(8))
    const all = spans.getFinishedSpans()
    const trailOf = (span: ReadableSpan) => span.spanContext().traceId
    const requests = new Set(spansNamed('GET /').map(trailOf))
    expect(requests.size).toBe(8)
    for (const trail of requests) {
      const names = all.filter((span) => trailOf(span) === trail).map(({ name }) => name)
      expect(names.filter((name) => name === 'holdfast commit')).toHaveLength(1)
      expect(names.filter((name) => name === 'update').length).toBeGreaterThan(0)
    }
    expect(all.filter((span) => span.parentSpanContext === undefined)).toHaveLength(8)
  })

  it('counts events, times operations, and names no session and no user in any metric', async () => {
    const logins = await total('holdfast.events', { 'holdfast.event': 'login' })
    const loads = await total('db.client.operation.duration', { 'db.operation.name': 'load' })
    const opened = await total('holdfast.opens', { 'holdfast.outcome': 'none' })
    await visitor.get('/')
    await visitor.post('/login')
    await vi.waitFor(() => expect(spansNamed('POST /login')).toHaveLength(1))
    expect(await total('holdfast.events', { 'holdfast.event': 'login' })).toBe(logins + 1)
    expect(await total('db.client.operation.duration', { 'db.operation.name': 'load' })).toBe(loads + 1)
    expect(await total('holdfast.opens', { 'holdfast.outcome': 'none' })).toBe(opened + 1)
    const [load] = await points('db.client.operation.duration', { 'db.operation.name': 'load' })
    expect(load?.attributes).toEqual({ 'db.system.name': 'redis', 'db.operation.name': 'load' })
    const { buckets, sum } = load!.value as Histogram
    expect(buckets.boundaries).toEqual([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10])
    expect(sum).toBeGreaterThan(0)
    expect(sum).toBeLessThan(60)
    expect(await points('holdfast.store.outage')).toMatchObject([
      { value: 0, attributes: { 'db.system.name': 'redis', 'holdfast.sessions': 'id' } },
    ])

    const everything = JSON.stringify(measured.getMetrics())
    const handle = spansNamed('load')[0]?.attributes['holdfast.handle']
    expect([handle, visitor.cookie, '"ann"'].filter((text) => everything.includes(String(text)))).toEqual([])
  })
})

describe('what goes wrong', () => {
  it('counts conflicts, and what was overwritten', async () => {
    const store = memoryStore()
    const here = manager<Data>({ store: counting(store) }).sessions
    const there = manager<Data>({ store: counting(store) }).sessions
    const jar = browser(here)
    await jar.visit((session) => void (session.data.visits = 1))
    const before = await total('holdfast.commit.conflicts')
    const late = await here.open(jar.header)
    await browser(there, jar.cookie).visit((session) => void (session.data.visits = 2))
    late.data.visits = 3
    await here.commit(late)
    expect(await total('holdfast.commit.conflicts')).toBe(before + 1)
    expect(await total('holdfast.events', { 'holdfast.event': 'overwritten' })).toBe(1)
    expect(spansNamed('holdfast commit').at(-1)?.attributes).toMatchObject({
      'holdfast.commit.attempts': 2,
      'holdfast.commit.conflicts': 1,
    })
    expect(spansNamed('load').at(-1)?.kind).toBe(SpanKind.INTERNAL)
  })

  it('has a zero for each event of a manager before the first', async () => {
    const { sessions } = manager<Data>({ name: 'quiet' })
    await sessions.open(undefined)
    const found = await points('holdfast.events', { 'holdfast.sessions': 'quiet' })
    expect(found.length).toBeGreaterThan(15)
    expect(new Set(found.map(({ value }) => value))).toEqual(new Set([0]))
    expect(found.map(({ attributes }) => attributes['holdfast.event'])).toContain('reuse')
  })

  it('counts each session that is revoked', async () => {
    const { sessions } = manager<Data>()
    for (let i = 0; i < 3; i++) await browser(sessions).visit((session) => session.login('bob'))
    await sessions.revoke({ userId: 'bob' })
    expect(await total('holdfast.events', { 'holdfast.event': 'revoked' })).toBe(3)
  })

  it('says with what an operation failed, but not in the words of a driver', async () => {
    const store = faulty(memoryStore())
    const { sessions } = manager<Data>({ store })
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    store.error = Object.assign(new Error("cannot store 'his secret'"), { code: 'ECONNREFUSED' })
    await expect(sessions.open(jar.header)).rejects.toThrow()
    const [load] = spansNamed('load')
    expect(load?.status).toEqual({ code: SpanStatusCode.ERROR })
    expect(load?.attributes['error.type']).toBe('ECONNREFUSED')
    const [, opening] = spansNamed('holdfast open')
    expect(opening?.status).toEqual({
      code: SpanStatusCode.ERROR,
      message: 'load failed in the memory store',
    })
    expect(opening?.attributes).toMatchObject({ 'error.type': 'HOLDFAST_STORE_UNAVAILABLE' })
    expect(await total('db.client.operation.duration', { 'error.type': 'ECONNREFUSED' })).toBe(1)
    expect(
      JSON.stringify(
        spans.getFinishedSpans().map(({ attributes, status, events }) => [attributes, status, events]),
      ),
    ).not.toContain('his secret')
  })

  it('shows an outage for as long as it lasts', async () => {
    const store = faulty(memoryStore())
    const { sessions } = manager<Data>({
      store,
      name: 'late',
      deadlines: { load: 50 },
      logger: { warn() {}, error() {} },
    })
    const jar = browser(sessions, undefined, '__Host-late')
    await jar.visit((session) => void (session.data.visits = 1))
    const outage = async () =>
      (await points('holdfast.store.outage', { 'holdfast.sessions': 'late' }))[0]?.value
    expect(await outage()).toBe(0)
    store.freeze()
    await expect(sessions.open(jar.header)).rejects.toThrow()
    expect(await outage()).toBe(1)
    store.thaw()
    await vi.waitFor(async () => expect(await outage()).toBe(0))
    expect(await total('db.client.operation.duration', { 'error.type': 'NoAnswerError' })).toBe(1)
  })

  it('names an error by its code, else by its name, and by its cause where a store has only wrapped it', () => {
    const wrapped = Object.assign(new Error('x', { cause: Object.assign(new Error(), { code: '57P01' }) }), {
      name: 'StoreError',
    })
    expect([new TypeError('x'), wrapped, 'x'].map(errorType)).toEqual(['TypeError', '57P01', '_OTHER'])
  })
})

it('has no span below a request that the sampler has passed over, and has its metrics', async () => {
  const { sessions } = manager<Data>({ name: 'rare' })
  const before = await total('holdfast.opens', { 'holdfast.sessions': 'rare' })
  const below = (traceFlags: TraceFlags) => {
    const parent = { traceId: '1'.repeat(32), spanId: '2'.repeat(16), traceFlags, isRemote: true }
    return context.with(trace.setSpanContext(context.active(), parent), async () => {
      await sessions.open(undefined)
      return trace.getSpanContext(context.active())?.spanId
    })
  }
  expect(await below(TraceFlags.NONE)).toBe('2'.repeat(16))
  expect(spans.getFinishedSpans()).toEqual([])
  await below(TraceFlags.SAMPLED)
  expect(spans.getFinishedSpans().map(parentOf)).toEqual(['2'.repeat(16)])
  expect(await total('holdfast.opens', { 'holdfast.sessions': 'rare' })).toBe(before + 2)
})

describe('of more requests than `tracesPerSecond`', () => {
  const hex = (length: number) =>
    Array.from({ length }, () => Math.floor(Math.random() * 16).toString(16)).join('')
  const requestSpan = () => ({ traceId: hex(32), spanId: hex(16), traceFlags: TraceFlags.SAMPLED })

  it.each([
    ['with a span of its own', () => trace.setSpanContext(context.active(), requestSpan())],
    ['without one', () => context.active()],
  ])('about so many have spans, and each of these has all: a request %s', async (_kind, requestContext) => {
    stop()
    stop = instrument({ tracer, meter: false, tracesPerSecond: 100 })
    vi.useFakeTimers({ toFake: ['performance'] })
    const { sessions } = manager<Data>({ merge: { visits: 'sum' } })
    const jar = browser(sessions)
    await jar.visit((session) => void (session.data.visits = 1))
    const requests = async (count: number) => {
      spans.reset()
      for (let i = 0; i < count; i++) {
        await context.with(requestContext(), () =>
          jar.visit(async (session) => void (await session.update((data) => void data.visits!++))),
        )
      }
      return spans.getFinishedSpans()
    }
    const named = (recorded: ReadableSpan[], name: string) =>
      recorded.filter((span) => span.name === name).map((span) => span.spanContext().traceId)

    vi.advanceTimersByTime(5_000)
    expect(named(await requests(500), 'holdfast open')).toHaveLength(500)
    vi.advanceTimersByTime(1_000)
    await requests(1) // the share is that of a second in which 500 came
    const recorded = await requests(2_000)
    const opened = named(recorded, 'holdfast open')
    expect(opened.length).toBeGreaterThan(300)
    expect(opened.length).toBeLessThan(500)
    expect(named(recorded, 'load').toSorted()).toEqual(opened.toSorted())
    vi.advanceTimersByTime(2_500)
    expect(named(await requests(100), 'holdfast open')).toHaveLength(100)
  })

  it('refuses a number of them that is none', () => {
    for (const tracesPerSecond of [0, -1, Number.NaN]) {
      expect(() => instrument({ tracesPerSecond })).toThrow(
        `instrument: tracesPerSecond is ${tracesPerSecond}; it must be a positive number`,
      )
    }
  })
})

it('times each operation once, whether many come between two collections or none, and those before stop()', async () => {
  const { sessions } = manager<Data>()
  const jar = browser(sessions)
  await jar.visit((session) => void (session.data.visits = 1))
  const loads = () => total('db.client.operation.duration', { 'db.operation.name': 'load' })
  const before = await loads()
  for (let i = 0; i < 600; i++) await jar.visit(() => {})
  expect(await loads()).toBe(before + 600)
  expect(await loads()).toBe(before + 600)
  await jar.visit(() => {})
  stop()
  await jar.visit(() => {})
  expect(await loads()).toBe(before + 601)
})

it('ends with stop()', async () => {
  stop()
  const before = await total('holdfast.events')
  const { sessions } = manager<Data>()
  await browser(sessions).visit((session) => session.login('ann'))
  expect(spans.getFinishedSpans()).toEqual([])
  expect(await total('holdfast.events')).toBe(before)
})

it('records only what it is asked for', async () => {
  stop()
  stop = instrument({ tracer: false, meter: meters.getMeter('test') })
  const before = await total('holdfast.events')
  const { sessions } = manager<Data>()
  await browser(sessions).visit((session) => session.login('ann'))
  expect(spans.getFinishedSpans()).toEqual([])
  expect(await total('holdfast.events')).toBeGreaterThan(before)
})
