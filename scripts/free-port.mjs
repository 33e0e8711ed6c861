import { createServer } from 'node:net'

/** A port of 127.0.0.1 that nobody used a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address()
  await new Promise((done) => server.close(done))
  return port
}
