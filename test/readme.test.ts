import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { client } from './helpers/client.ts'
import { freePort } from './servers/process.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The counters of the README as they stand, but for the port, by the name above each. */
const counters = [
  ...readFileSync(`${root}README.md`, 'utf8').matchAll(/^\*\*([^*]+)\*\*.*?\n+```ts\n(.*?)^```/gms),
]
  .map(([, name, code]) => [name!, code!] as const)
  .filter(([, code]) => code.includes('Total visits') && code.includes('3000'))

describe.each(counters)('the counter for %s in the README', (name, code) => {
  let child: ChildProcess | undefined
  afterEach(() => void child?.kill('SIGKILL'))

  it('counts 200 of 200 parallel visits', async () => {
    const port = await freePort()
    const folder = `${root}.cache/readme`
    mkdirSync(folder, { recursive: true })
    const file = `${folder}/${name.replace(/\W/g, '-')}.ts`
    writeFileSync(file, code.replaceAll('3000', String(port)))
    child = spawn(process.execPath, ['--import', 'tsx', file], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
    })

    const url = `http://127.0.0.1:${port}`
    const visitor = client(url)
    await untilItAnswers(() => visitor.get('/'))
    const before = Number((await visitor.get('/')).text.split(': ')[1])
    await Promise.all(Array.from({ length: 200 }, () => visitor.copy().get('/')))
    expect((await visitor.get('/')).text).toBe(`Total visits: ${before + 201}`)
  }, 60_000)
})

it('has a counter for each framework', () => {
  expect(counters.map(([name]) => name)).toEqual(['Express', 'Fastify', 'Koa', 'Hono', 'node:http'])
})

async function untilItAnswers(ask: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const isUp = await ask().then(
      () => true,
      () => false,
    )
    if (isUp) return
    await new Promise((resume) => setTimeout(resume, 100))
  }
  throw new Error('the server did not come up')
}
