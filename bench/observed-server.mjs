// The visit counter on Express, watched or not: `observed-server.mjs <observer> <backing> <url>`. It sends its port, and ends
// when its parent lets go of it.
import { randomBytes } from 'node:crypto'
import { channel, tracingChannel } from 'node:diagnostics_channel'
import { context, SpanKind, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base'
import express from 'express'
import { instrument } from 'holdfast/otel'
import { memoryStore } from 'holdfast/stores/memory'
import { layers } from './apps/express.mjs'
import { openBacking } from './backing.mjs'
import { observers } from './observers.mjs'

process.env.NODE_ENV = 'production'
const [observer, backing, url] = process.argv.slice(2)
const { channels, metrics, sampled, spans } = observers[observer]

/** What an exporter does with what it is given, which is in other threads or processes for the most part, is no cost of ours. */
const nowhere = {
  export: (_, done) => done({ code: 0 }),
  forceFlush: async () => {},
  shutdown: async () => {},
}

const app = express()
if (sampled) {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  const sampler = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampled) })
  const provider = new BasicTracerProvider({ sampler, spanProcessors: [new BatchSpanProcessor(nowhere)] })
  trace.setGlobalTracerProvider(provider)
  // As the instrumentation of the server makes it.
  const tracer = provider.getTracer('http')
  app.use((_req, res, next) => {
    const span = tracer.startSpan('request', { kind: SpanKind.SERVER })
    res.on('finish', () => span.end())
    context.with(trace.setSpan(context.active(), span), next)
  })
}
if (channels) {
  for (const name of ['open', 'commit', 'store'])
    tracingChannel(`holdfast:${name}`).asyncEnd.subscribe(() => {})
  channel('holdfast:event').subscribe(() => {})
}
if (metrics || spans) {
  const readers = [new PeriodicExportingMetricReader({ exporter: nowhere, exportIntervalMillis: 10_000 })]
  instrument({
    meter: metrics ? new MeterProvider({ readers }).getMeter('holdfast') : false,
    ...(spans ? { tracesPerSecond: spans } : { tracer: false }),
  })
}

process.on('disconnect', () => process.exit())

const opened = await openBacking(backing, url)
const store = opened.store ?? memoryStore()
layers.holdfast(app, randomBytes(32).toString('base64url'), { store })
const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port))
