// The visit counter on Express, whose sessions can be watched or not: `observed-server.mjs <backing> <url>`. Its parent sends the name of an
// observer, which replaces the one before, or `cpu`; what comes back is the port first, then the CPU time of this process.
import { randomBytes } from 'node:crypto'
import { channel, tracingChannel } from 'node:diagnostics_channel'
import { context } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base'
import { instrument } from 'holdfast/otel'
import { listen } from './apps/express.mjs'
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
const tracer = new BasicTracerProvider({ spanProcessors: spanProcessors() }).getTracer('holdfast')
const sampled = new BasicTracerProvider({
  sampler: new TraceIdRatioBasedSampler(0.01),
  spanProcessors: spanProcessors(),
}).getTracer('holdfast')
const meter = new MeterProvider({
  readers: [new PeriodicExportingMetricReader({ exporter: nowhere, exportIntervalMillis: 10_000 })],
}).getMeter('holdfast')

const observers = {
  nobody: () => () => {},
  /** One listener that does nothing at each end. */
  channels() {
    const hear = () => {}
    const channels = ['open', 'commit', 'store'].map((name) => tracingChannel(`holdfast:${name}`).asyncEnd)
    channels.push(channel('holdfast:event'))
    for (const one of channels) one.subscribe(hear)
    return () => {
      for (const one of channels) one.unsubscribe(hear)
    }
  },
  metrics: () => instrument({ tracer: false, meter }),
  'metrics, and spans of 1 % of the requests': () => instrument({ tracer: sampled, meter }),
  'metrics, and spans of all requests': () => instrument({ tracer, meter }),
}

let stop = observers.nobody()
process.on('message', (name) => {
  if (name !== 'cpu') {
    stop()
    stop = observers[name]()
  }
  const { user, system } = process.cpuUsage()
  process.send(user + system)
})
process.on('disconnect', () => process.exit())
const port = await listen('holdfast', randomBytes(32).toString('base64url'), await openBacking(backing, url))
process.send({ port, observers: Object.keys(observers) })
