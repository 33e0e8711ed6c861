/** examples/prometheus as it is started, scraped as Prometheus does, and its dashboard held against what the scrape has. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { SECRET } from './helpers/browser.ts'
import { client } from './helpers/client.ts'
import { freePort } from './servers/process.ts'
import { type RedisServer, startRedis } from './servers/redis.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

interface Sample {
  readonly name: string
  readonly labels: Record<string, string>
  readonly value: number
}

/** The text format of Prometheus. @throws Error for a line that is none of it */
function parseScrape(text: string): Sample[] {
  return text.split('\n').flatMap((line) => {
    if (line === '' || line.startsWith('#')) return []
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/.exec(line)
    const value = Number(found?.[3]?.replace('+Inf', 'Infinity'))
    if (!found || Number.isNaN(value)) throw new Error(`not a line of the text format: ${line}`)
    const pairs = [...(found[2] ?? '').matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/g)]
    return [{ name: found[1]!, labels: Object.fromEntries(pairs.map(([, key, said]) => [key, said])), value }]
  })
}

/** Names of metrics and of labels in a PromQL expression. */
function namesIn(expr: string): { metrics: string[]; labels: string[] } {
  const labels = [
    ...[...expr.matchAll(/\{([^}]*)\}/g)].flatMap(([, inside]) =>
      [...inside!.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label!),
    ),
    ...[...expr.matchAll(/\b(?:by|without) \(([^)]*)\)/g)].flatMap(([, inside]) => inside!.split(/,\s*/)),
  ]
  const rest = expr
    .replace(/\{[^}]*\}/g, ' ')
    .replace(/\[[^\]]*\]/g, ' ')
    .replace(/\b(?:by|without) \([^)]*\)/g, ' ')
  const metrics = [...rest.matchAll(/[a-zA-Z_:][\w:]*(?!\w*\s*\()/g)].map(([name]) => name)
  return { metrics, labels }
}

describe('the example', () => {
  let redis: RedisServer
  let server: ChildProcess
  let url: string
  let printed = ''
  let before: Sample[]
  let after: Sample[]

  const scrape = async () => {
    const answer = await fetch(`${url}/metrics`)
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
    return parseScrape(await answer.text())
  }
  const value = (samples: Sample[], name: string, labels: Record<string, string>) =>
    samples
      .filter((one) => one.name === name)
      .filter((one) => Object.entries(labels).every(([key, said]) => one.labels[key] === said))
      .reduce((sum, one) => sum + one.value, 0)

  beforeAll(async () => {
    redis = await startRedis()
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    const env = {
      ...process.env,
      PORT: String(port),
      SESSION_SECRET: SECRET,
      SESSION_STORE: `redis://127.0.0.1:${redis.port}`,
    }
    const file = 'examples/prometheus/server.ts'
    server = spawn(process.execPath, ['--import', 'tsx', file], { cwd: root, env })
    for (const stream of [server.stdout!, server.stderr!]) stream.on('data', (chunk) => (printed += chunk))
    await vi.waitFor(async () => expect((await fetch(`${url}/metrics`)).status).toBe(200), {
      timeout: 20_000,
      interval: 100,
    })

    const ann = client(url)
    for (let n = 1; n <= 3; n++) expect((await ann.get('/')).text).toBe(`Total visits: ${n}`)
    await ann.post('/login')
    await client(url, '__Host-id=forged').get('/')
    before = await scrape()
    redis.freeze()
    expect((await ann.get('/')).status).toBe(503)
    after = await scrape()
    redis.thaw()
  }, 40_000)
  afterAll(async () => {
    server.kill('SIGKILL')
    await redis.stop()
  })

  it('counts what happened', () => {
    expect(value(before, 'holdfast_opens_total', { holdfast_outcome: 'live' })).toBe(3)
    expect(value(before, 'holdfast_events_total', { holdfast_event: 'login' })).toBe(1)
    expect(value(before, 'holdfast_events_total', { holdfast_event: 'forged' })).toBe(1)
    expect(before.filter(({ labels }) => labels.holdfast_event === 'reuse')).toMatchObject([{ value: 0 }])
    const ofRedis = { db_system_name: 'redis', otel_scope_name: 'holdfast' }
    const named = (operation: string) => ({ ...ofRedis, db_operation_name: operation })
    expect(value(before, 'db_client_operation_duration_count', named('load'))).toBe(3)
    expect(value(before, 'db_client_operation_duration_bucket', { ...named('load'), le: '+Inf' })).toBe(3)
    expect(before.filter(({ name }) => name === 'holdfast_store_outage')).toMatchObject([{ value: 0 }])
  })

  it('shows operations that fail, and the outage', () => {
    const failed = after.filter(
      ({ name, labels }) => name === 'db_client_operation_duration_count' && labels.error_type !== undefined,
    )
    expect(failed).toMatchObject([
      { labels: { db_operation_name: 'load', error_type: 'NoAnswerError' }, value: 1 },
    ])
    expect(after.filter(({ name }) => name === 'holdfast_store_outage')).toMatchObject([{ value: 1 }])
  })

  it('holds no series for a session or a user', () => {
    const values = new Set(after.flatMap(({ labels }) => Object.values(labels)))
    expect([...values].filter((said) => said === 'ann' || /^[\w-]{43}$/.test(said))).toEqual([])
    expect(values.size).toBeGreaterThan(20)
  })

  it('ends on SIGTERM', async () => {
    server.kill('SIGTERM')
    expect(await once(server, 'exit')).toEqual([0, null])
    expect(printed).not.toContain('Error: ')
  })

  const dashboard = JSON.parse(
    readFileSync(`${root}examples/prometheus/grafana-dashboard.json`, 'utf8'),
  ) as Dashboard
  const queries = dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => [title, expr] as const),
  )

  it.each(queries)('has what the panel "%s" asks for', (_, expr) => {
    const { metrics, labels } = namesIn(expr)
    expect(metrics.length).toBeGreaterThan(0)
    const names = new Set(after.map(({ name }) => name))
    expect(metrics.filter((metric) => !names.has(metric))).toEqual([])
    const found = after.filter(({ name }) => metrics.includes(name))
    const known = new Set(found.flatMap((sample) => Object.keys(sample.labels)))
    expect(labels.filter((label) => !known.has(label))).toEqual([])
    const events = /holdfast_event=~"([^"]*)"/.exec(expr)?.[1]?.split('|') ?? []
    const told = new Set(found.map((sample) => sample.labels.holdfast_event))
    expect(events.filter((event) => !told.has(event))).toEqual([])
  })

  it('has what the alerts of docs/metrics.md ask for', () => {
    const docs = readFileSync(`${root}docs/metrics.md`, 'utf8')
    const alerts = [...docs.matchAll(/alert: \w+, expr: (?:'([^']+)'|([^,]+))/g)].map(
      ([, quoted, plain]) => quoted ?? plain!,
    )
    expect(alerts.length).toBeGreaterThan(2)
    const names = new Set(after.map(({ name }) => name))
    expect(alerts.flatMap((expr) => namesIn(expr).metrics).filter((name) => !names.has(name))).toEqual([])
    const failed = { error_type: 'HOLDFAST_STORE_UNAVAILABLE' }
    expect(docs).toContain(`holdfast_opens_total{error_type="${failed.error_type}"}`)
    expect(value(after, 'holdfast_opens_total', failed)).toBe(1)
  })

  it('has a dashboard with a panel for every metric', () => {
    expect(queries.length).toBeGreaterThan(12)
    const asked = new Set(queries.flatMap(([, expr]) => namesIn(expr).metrics))
    const family = (name: string) => name.replace(/_(bucket|count|sum)$/, '')
    const shown = new Set([...asked].map(family))
    const all = new Set(after.map(({ name }) => family(name)).filter((name) => name !== 'target_info'))
    expect([...all].filter((name) => !shown.has(name))).toEqual([])
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
  })
})

interface Dashboard {
  readonly panels: readonly {
    readonly id: number
    readonly title: string
    readonly targets?: readonly { readonly expr: string }[]
  }[]
}
