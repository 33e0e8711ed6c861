/**
 * Who watches: a listener that does nothing on each channel, or OpenTelemetry. `sampled` is the share of requests whose trace the sampler
 * records, each of which has a span already; `spans` is `tracesPerSecond`. `than`: one whom the SDK costs as much otherwise, and who comes before.
 */
export const observers = {
  nobody: {},
  'a listener': { than: 'nobody', channels: true },
  metrics: { than: 'nobody', metrics: true },
  'nobody, 1 % traced': { sampled: 0.01 },
  'metrics and spans, 1 % traced': { than: 'nobody, 1 % traced', sampled: 0.01, metrics: true, spans: 100 },
  'nobody, all traced': { sampled: 1 },
  'metrics and spans, all traced': { than: 'nobody, all traced', sampled: 1, metrics: true, spans: 100 },
  'metrics and spans, all traced, without limit': {
    than: 'nobody, all traced',
    sampled: 1,
    metrics: true,
    spans: Number.POSITIVE_INFINITY,
  },
}
