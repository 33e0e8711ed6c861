import type { AddressInfo } from 'node:net'
import { createShop } from './app.ts'
import { ADMIN, DASHBOARD, demoLogins } from './users.ts'

// PORT says where to listen; HTTPS=1 that a proxy in front speaks https, so that cookies can be Secure.
const port = Number(process.env.PORT ?? 3000)
const secure = process.env.HTTPS === '1'
if (!Number.isInteger(port) || port < 0 || port > 65_535) fail(`PORT=${process.env.PORT} is no port.`)

const { app, sessions, adminPassword } = open()

const server = app.listen(port, (error) => {
  if (error) fail(reasonOf(error))
  const address = `http://localhost:${(server.address() as AddressInfo).port}/`
  console.log(`Holdfast Tea is open at ${address}\n\nSign in as`)
  for (const { name, password } of demoLogins) console.log(`  ${name.padEnd(8)}${password}`)
  console.log(
    `  ${ADMIN.id.padEnd(8)}${adminPassword}    for the dashboard at ${address.slice(0, -1)}${DASHBOARD}`,
  )
})

// Takes no more requests, answers those it has, and then closes the database. Whoever has no answer by then is cut off.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.close(() => sessions.close())
    setTimeout(() => server.closeAllConnections(), 10_000).unref()
  })
}

function open() {
  try {
    return createShop({ folder: '.data', secure })
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'EADDRINUSE') return `Port ${port} is taken. Choose another: PORT=${port + 1} npm start`
  return `Cannot listen on port ${port}: ${error.message}`
}

function fail(message: string): never {
  console.error(message)
  process.exit(1)
}
