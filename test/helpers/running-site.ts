import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { SessionEvents, SessionOptions, Sessions } from 'holdfast'
import { createSessions } from 'holdfast'
import { deviceBinding } from 'holdfast/dbsc'
import { boundSites, type Data } from './bound-sites.ts'
import { SECRET } from './browser.ts'
import { Device } from './device.ts'

/** A site whose sessions are bound to devices, with a clock that the test moves. */
export interface RunningSite {
  readonly url: string
  readonly sessions: Sessions<Data>
  readonly clock: { now: number }
  /** What happened to sessions, by the name of the event. */
  readonly events: { readonly [Name in keyof SessionEvents]?: SessionEvents[Name][] }
  /** A first browser. */
  readonly device: Device
  stop(): Promise<void>
}

const HEARD = ['bound', 'unproven', 'refusedProof', 'revoked', 'reuse', 'error'] as const

/** On a store in memory, unless another is given. */
export async function startBoundSite(
  framework: string,
  options: SessionOptions<Data> = {},
  clock = { now: 1_800_000_000_000 },
): Promise<RunningSite> {
  const sessions = createSessions<Data>({
    secret: SECRET,
    clock: () => clock.now,
    sweepEvery: false,
    // Or a token that the owner's rotation has replaced would give a thief away before his time is over.
    lifetime: { rotateEvery: false },
    ...options,
  })
  const events: { [Name in keyof SessionEvents]?: SessionEvents[Name][] } = {}
  for (const name of HEARD) {
    sessions.on(name, (event) => void ((events[name] ??= []) as unknown[]).push(event))
  }
  const listener = await boundSites[framework]!(sessions, deviceBinding(sessions))
  const server = createServer(listener).listen(0, '127.0.0.1')
  await new Promise((listening) => server.once('listening', listening))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    sessions,
    clock,
    events,
    device: new Device(url),
    async stop() {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
      await sessions.close()
    },
  }
}
