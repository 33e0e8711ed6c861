import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'

/** A headless Chromium (Debian's package) with a profile of its own. */
export interface Chromium {
  newPage(): Promise<Page>
  /** All cookies of the browser, as its own store has them. */
  cookies(): Promise<BrowserCookie[]>
  stop(): Promise<void>
}

export interface Page {
  /** Resolves when the page has been loaded. @throws when it cannot be */
  goto(url: string): Promise<void>
  /** The value of an expression in the page, awaited there if it is a promise. @throws what it throws */
  evaluate<T>(expression: string): Promise<T>
  /** Any command of the DevTools protocol. */
  send(method: string, params?: object): Promise<Record<string, unknown>>
  /** Calls `listener` at each event of that name in this page. */
  on(method: string, listener: (params: Record<string, unknown>) => void): void
}

export interface BrowserCookie {
  readonly name: string
  readonly value: string
  readonly domain: string
  readonly path: string
  readonly httpOnly: boolean
  readonly secure: boolean
  readonly sameSite?: 'Strict' | 'Lax' | 'None'
  /** Seconds since 1970; -1 until the browser closes. */
  readonly expires: number
}

export interface ChromiumOptions {
  /** Accepted besides those that the system trusts. To ignore errors of certificates altogether would turn device binding off. */
  spki: readonly string[]
  features?: readonly string[]
  /** Names that lead to this machine, such as `*.app.test`. */
  hosts?: readonly string[]
}

export async function startChromium({ spki, features = [], hosts = [] }: ChromiumOptions): Promise<Chromium> {
  const profile = await mkdtemp(join(tmpdir(), 'holdfast-chromium-'))
  const browser = spawn(
    'chromium',
    [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ...['--remote-debugging-port=0', `--user-data-dir=${profile}`],
      `--ignore-certificate-errors-spki-list=${spki.join(',')}`,
      ...(features.length > 0 ? [`--enable-features=${features.join(',')}`] : []),
      ...(hosts.length > 0
        ? [`--host-resolver-rules=${hosts.map((host) => `MAP ${host} 127.0.0.1`).join(',')}`]
        : []),
      'about:blank',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const stop = async (devTools?: DevTools) => {
    devTools?.close()
    if (browser.pid !== undefined && browser.exitCode === null && browser.signalCode === null) {
      browser.kill('SIGKILL')
      await once(browser, 'exit')
    }
    // Its helpers end a moment later, and may write until then.
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
  try {
    const devTools = await connect(await addressOf(browser))
    return {
      newPage: () => newPage(devTools),
      async cookies() {
        return (await devTools.send('Storage.getCookies')).cookies as BrowserCookie[]
      },
      stop: () => stop(devTools),
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** What it says on the standard error when it is ready. */
async function addressOf(browser: ChildProcess): Promise<string> {
  const said: string[] = []
  const failed = once(browser, 'error').then(([error]) => Promise.reject(error))
  const found = (async () => {
    for await (const line of createInterface(browser.stderr!)) {
      const address = /^DevTools listening on (ws:\S+)/.exec(line)?.[1]
      if (address) return address
      said.push(line)
    }
    throw new Error(`Chromium has not started: ${said.join('\n')}`)
  })()
  const address = await Promise.race([found, failed])
  failed.catch(() => {})
  browser.stderr!.resume()
  return address
}

/** The DevTools protocol: numbered commands, their answers, and events. */
interface DevTools {
  send(method: string, params?: object, sessionId?: string): Promise<Record<string, unknown>>
  /** Resolves with the next event of that name, in that session. */
  next(method: string, sessionId: string): Promise<Record<string, unknown>>
  on(method: string, sessionId: string, listener: (params: Record<string, unknown>) => void): void
  close(): void
}

interface Message {
  readonly id?: number
  readonly result?: Record<string, unknown>
  readonly error?: { message: string }
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly sessionId?: string
}

async function connect(address: string): Promise<DevTools> {
  const socket = new WebSocket(address)
  await once(socket, 'open')
  let last = 0
  const answers = new Map<number, (message: Message) => void>()
  const listeners = new Set<(message: Message) => boolean>()
  socket.on('message', (text: Buffer) => {
    const message = JSON.parse(text.toString()) as Message
    if (message.id === undefined) {
      for (const listener of listeners) if (listener(message)) listeners.delete(listener)
      return
    }
    answers.get(message.id)?.(message)
    answers.delete(message.id)
  })
  socket.on('close', () => {
    for (const answer of answers.values()) answer({ error: { message: 'Chromium has ended' } })
  })
  return {
    send(method, params = {}, sessionId) {
      const id = ++last
      return new Promise((resolve, reject) => {
        answers.set(id, ({ result, error }) =>
          error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result!),
        )
        socket.send(JSON.stringify({ id, method, params, sessionId }))
      })
    },
    next(method, sessionId) {
      return new Promise((resolve) =>
        listeners.add((message) => {
          if (message.method !== method || message.sessionId !== sessionId) return false
          resolve(message.params!)
          return true
        }),
      )
    },
    on(method, sessionId, listener) {
      listeners.add((message) => {
        if (message.method === method && message.sessionId === sessionId) listener(message.params!)
        return false
      })
    },
    close: () => socket.close(),
  }
}

async function newPage(devTools: DevTools): Promise<Page> {
  const { targetId } = await devTools.send('Target.createTarget', { url: 'about:blank' })
  const attached = await devTools.send('Target.attachToTarget', { targetId, flatten: true })
  const sessionId = attached.sessionId as string
  const send = (method: string, params?: object) => devTools.send(method, params, sessionId)
  await send('Page.enable')
  return {
    send,
    on: (method, listener) => devTools.on(method, sessionId, listener),
    async goto(url) {
      const loaded = devTools.next('Page.loadEventFired', sessionId)
      const { errorText } = await send('Page.navigate', { url })
      if (errorText !== undefined) throw new Error(`${url}: ${errorText}`)
      await loaded
    },
    async evaluate<T>(expression: string) {
      const { result, exceptionDetails } = (await send('Runtime.evaluate', {
        expression,
        awaitPromise: true,
        returnByValue: true,
      })) as { result: { value: T }; exceptionDetails?: { exception?: { description?: string } } }
      if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`)
      return result.value
    },
  }
}
