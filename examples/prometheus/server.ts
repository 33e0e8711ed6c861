// Visits, logins and a page for Prometheus: http://localhost:3000/metrics. grafana-dashboard.json shows what it says.
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import express from 'express'
import { createSessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { instrument } from 'holdfast/otel'
import { openStore } from 'holdfast/stores'

const exporter = new PrometheusExporter({ preventServerStart: true })
const meters = new MeterProvider({ readers: [exporter] })
instrument({ meter: meters.getMeter('holdfast'), tracer: false })

const sessions = createSessions<{ visits?: number }>({
  secret: process.env.SESSION_SECRET,
  store: openStore(process.env.SESSION_STORE ?? 'memory:'),
  merge: { visits: 'sum' },
})

const app = express()
// Before the sessions: Prometheus has none. Where others could reach it, give it a port of its own.
app.get('/metrics', (req, res) => exporter.getMetricsRequestHandler(req, res))
app.use(expressSessions(sessions))
app.get('/', (req, res) => {
  const { data } = sessions.of(req)
  data.visits = (data.visits ?? 0) + 1
  res.send(`Total visits: ${data.visits}`)
})
app.post('/login', async (req, res) => {
  await sessions.of(req).login('ann')
  res.send('Logged in')
})
app.post('/logout', async (req, res) => {
  await sessions.of(req).logout()
  res.send('Logged out')
})

const server = app.listen(Number(process.env.PORT ?? 3000))
process.once('SIGTERM', () => server.close(() => sessions.close()))
