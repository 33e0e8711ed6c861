// The visit counter on Express, whose sessions can be watched or not: `observed-server.mjs <backing> <url>`. Its parent sends the name of an
// observer, with `watched` or without, or `cpu`; what comes back is the port first, then the CPU time of this process.
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

process.env.NODE_ENV = 'production'
const [backing, url] = process.argv.slice(2)
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())

/** What an exporter does with what it is given, which is in other threads or processes for the most part, is no cost of ours. */
const nowhere = {
  export: (_, done) => done({ code: 0 }),
  forceFlush: async () => {},
  shutdown: async () => {},
}
const spanProcessors = () => [new BatchSpanProcessor(nowhere)]
const tracerFor = (ratio) => {
  const sampler = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) })
  return new BasicTracerProvider({ sampler, spanProcessors: spanProcessors() }).getTracer('bench')
}
const [few, all] = [tracerFor(0.01), tracerFor(1)]
const meter = new MeterProvider({
  readers: [new PeriodicExportingMetricReader({ exporter: nowhere, exportIntervalMillis: 10_000 })],
}).getMeter('holdfast')

/** `tracer`: of the span that a request has either way, as the instrumentation of its server makes it. */
const observers = {
  /** One listener that does nothing at each end. */
  channels: {
    watch() {
      const hear = () => {}
      const channels = ['open', 'commit', 'store'].map((name) => tracingChannel(`holdfast:${name}`).asyncEnd)
      channels.push(channel('holdfast:event'))
      for (const one of channels) one.subscribe(hear)
      return () => {
        for (const one of channels) one.unsubscribe(hear)
      }
    },
  },
  metrics: { watch: () => instrument({ tracer: false, meter }) },
  'metrics, and spans of 1 % of the requests': {
    tracer: few,
    watch: () => instrument({ tracer: few, meter }),
  },
  'metrics, and spans of all requests': { tracer: all, watch: () => instrument({ tracer: all, meter }) },
}

let stop = () => {}
let tracer
process.on('message', ({ observer, watched }) => {
  if (observer) {
    stop()
    tracer = observers[observer].tracer
    stop = watched ? observers[observer].watch() : () => {}
  }
  const { user, system } = process.cpuUsage()
  process.send(user + system)
})
process.on('disconnect', () => process.exit())

const opened = await openBacking(backing, url)
const store = opened.store ?? memoryStore()
const app = express()
app.use((_req, res, next) => {
  if (!tracer) return next()
  const span = tracer.startSpan('request', { kind: SpanKind.SERVER })
  res.on('finish', () => span.end())
  context.with(trace.setSpan(context.active(), span), next)
})
layers.holdfast(app, randomBytes(32).toString('base64url'), { store })
const server = app.listen(0, '127.0.0.1', () =>
  process.send({ port: server.address().port, observers: Object.keys(observers) }),
)
