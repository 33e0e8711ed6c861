import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { SECRET } from './browser.ts'
import { type Client, client, type Reply } from './client.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const next = `${root}node_modules/next/dist/bin/next`

/** A production build of test/apps/next, with the built package in its node_modules, as users have it. */
export interface NextApp {
  /** `next start` on a free port. */
  start(env?: Record<string, string>): Promise<RunningNext>
  remove(): Promise<void>
}

export interface RunningNext {
  readonly url: string
  /** What the server has printed so far. */
  output(): string
  stop(): Promise<void>
}

export async function buildNextApp(): Promise<NextApp> {
  await mkdir(`${root}.cache`, { recursive: true })
  const folder = await mkdtemp(`${root}.cache/next-app-`)
  await cp(`${root}test/apps/next`, folder, { recursive: true })
  await mkdir(`${folder}/node_modules/holdfast`, { recursive: true })
  for (const part of ['dist', 'package.json']) {
    await cp(root + part, `${folder}/node_modules/holdfast/${part}`, { recursive: true })
  }
  await writeFile(`${folder}/package.json`, '{ "private": true, "type": "module" }')
  const building = run(folder, ['build'], {})
  const [code] = await once(building.process, 'exit')
  if (code !== 0) throw new Error(`next build has failed:\n${building.output()}`)
  return {
    async start(env = {}) {
      // Secure cookies need https, or localhost.
      const server = run(folder, ['start', '--port', '0', '--hostname', 'localhost'], {
        SESSION_SECRET: SECRET,
        SESSION_STORE: `file:${folder}/sessions`,
        ...env,
      })
      return {
        url: await server.said(/Local: +(http:\S+)[\s\S]*Ready/),
        output: server.output,
        async stop() {
          const exited = once(server.process, 'exit')
          server.process.kill('SIGTERM')
          await exited
        },
      }
    },
    remove: () => rm(folder, { recursive: true, force: true, maxRetries: 10 }),
  }
}

function run(folder: string, args: readonly string[], env: Record<string, string>) {
  const process: ChildProcess = spawn(globalThis.process.execPath, [next, ...args], {
    cwd: folder,
    env: {
      ...globalThis.process.env,
      NODE_ENV: 'production',
      NEXT_TELEMETRY_DISABLED: '1',
      NO_COLOR: '1',
      APP_ROOT: root,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  const heard = new EventTarget()
  for (const stream of [process.stdout!, process.stderr!]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk
      heard.dispatchEvent(new Event('text'))
    })
  }
  return {
    process,
    output: () => text,
    /** Resolves with what is in the brackets, once it has said that. */
    async said(pattern: RegExp): Promise<string> {
      for (;;) {
        const found = pattern.exec(text)?.[1]
        if (found !== undefined) return found
        if (process.exitCode !== null) throw new Error(`it has ended:\n${text}`)
        await new Promise<void>((resume) => {
          heard.addEventListener('text', () => resume(), { once: true })
          process.once('exit', () => resume())
        })
      }
    },
  }
}

/** A browser without JavaScript: forms are sent as they stand in the page. */
export interface Tab extends Client {
  submit(form: string, fields?: Record<string, string>): Promise<Reply>
  /** The form as it stands in the page now, to be sent later. */
  form(form: string, fields?: Record<string, string>): Promise<FormData>
  /** What the page says of the session. */
  state(): Promise<Record<string, unknown>>
}

export function tab(url: string, cookie?: string): Tab {
  const browser = client(url, cookie)
  async function form(id: string, fields: Record<string, string> = {}): Promise<FormData> {
    const { text } = await browser.get('/')
    const inside = new RegExp(`<form id="${id}".*?</form>`).exec(text)
    if (!inside) throw new Error(`there is no form ${id}: ${text}`)
    const body = new FormData()
    for (const [, name, value] of inside[0].matchAll(/<input[^>]* name="([^"]*)"(?: value="([^"]*)")?/g)) {
      body.set(name!, value ?? '')
    }
    for (const [name, value] of Object.entries(fields)) body.set(name, value)
    return body
  }
  return Object.assign(browser, {
    form,
    submit: async (id: string, fields?: Record<string, string>) =>
      browser.post('/', { body: await form(id, fields) }),
    state: async () => stateIn((await browser.get('/')).text),
  })
}

/** The JSON that a page shows. */
export function stateIn(html: string, id = 'state'): Record<string, unknown> {
  const shown = new RegExp(`<pre id="${id}">(.*?)</pre>`).exec(html)?.[1]
  if (shown === undefined) throw new Error(`the page shows no ${id}: ${html}`)
  const plain = shown
    .replaceAll('&quot;', '"')
    .replaceAll('&#x27;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
  return JSON.parse(plain)
}
