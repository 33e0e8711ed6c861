/** NIST SP 800-63B-4, section 5.3: signals of a stolen session, off unless asked for, and never more than an event. */
import { request } from 'node:http'
import { createSessions, type SessionEvents, type SessionOptions } from 'holdfast'
import { memoryStore } from 'holdfast/stores/memory'
import { afterEach, describe, expect, it } from 'vitest'
import { browserOf, networkOf } from '../src/client-watch.ts'
import type { Data } from './frameworks/app.ts'
import { servers } from './frameworks/servers.ts'
import { SECRET } from './helpers/browser.ts'

const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'
const NEWER_FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36'
const EDGE = `${CHROME} Edg/138.0.0.0`
const IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1'

interface From {
  agent?: string | undefined
  address?: string
  headers?: Record<string, string>
}

const running: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const stop of running.splice(0)) await stop().catch(() => {}) // some have been stopped already
})

async function site(
  options: SessionOptions<Data> = {},
  framework = 'express 5',
  store = memoryStore(),
  cookie?: string,
) {
  const sessions = createSessions<Data>({ secret: SECRET, store, ...options })
  const events: SessionEvents['clientChanged'][] = []
  sessions.on('clientChanged', (event) => events.push(event))
  const server = await servers[framework]!(sessions)
  const stop = async () => {
    await server.close()
    await sessions.close()
  }
  running.push(stop)
  const get = (path: string, { agent = FIREFOX, address = '127.0.0.1', headers = {} }: From = {}) =>
    new Promise<string>((resolve, reject) => {
      const sent = { ...headers, ...(agent && { 'user-agent': agent }), ...(cookie && { cookie }) }
      request(server.url + path, { localAddress: address, headers: sent, agent: false }, (response) => {
        cookie = response.headers['set-cookie']?.[0]?.split(';')[0] ?? cookie
        let text = ''
        response.on('data', (chunk) => (text += chunk)).on('end', () => resolve(text))
      })
        .on('error', reject)
        .end()
    })
  const idle = () => new Promise((resume) => setTimeout(resume, 20))
  const handleIs = async () => (await sessions.list('ann'))[0]!.handle
  return { sessions, store, events, get, idle, handleIs, stop, cookie: () => cookie }
}

const frameworks = Object.keys(servers).filter((name) => !/web|hono/.test(name))

it.each(frameworks)(
  'on %s: another browser, another network, both: an event each, once, and nobody is stopped',
  async (framework) => {
    const { events, get, idle, handleIs } = await site({ watchClient: true }, framework)
    await get('/login?user=ann')
    const handle = await handleIs()
    const told = async (from: From) => {
      events.length = 0
      expect(await get('/me', from)).toBe('ann')
      await idle()
      expect(await get('/me', from)).toBe('ann')
      await idle()
      return [...events]
    }
    const event = (...changed: string[]) => [{ handle, userId: 'ann', changed, route: 'GET /me' }]
    expect(await told({ agent: NEWER_FIREFOX })).toEqual([])
    expect(await told({ address: '127.0.0.77' })).toEqual([])
    expect(await told({ agent: CHROME })).toEqual(event('browser'))
    expect(await told({ agent: CHROME, address: '127.0.9.1' })).toEqual(event('network'))
    expect(await told({ agent: FIREFOX, address: '127.0.0.1' })).toEqual(event('browser', 'network'))
  },
)

it('a visitor without a login, and a client that does not say what it is, are not watched', async () => {
  const { events, get } = await site({ watchClient: true })
  await get('/visits')
  await get('/visits', { agent: CHROME, address: '127.0.9.1' })
  await get('/login?user=ann')
  await get('/visits', { agent: '' })
  expect(events).toEqual([])
})

it('a login begins anew, and the next user is not held against the one before', async () => {
  const { events, get } = await site({ watchClient: true })
  await get('/login?user=ann')
  await get('/login?user=bob', { agent: CHROME, address: '127.0.9.1' })
  events.length = 0
  await get('/me', { agent: CHROME, address: '127.0.9.1' })
  expect(events).toEqual([])
})

it('behind a proxy the application says where the address is; and a failure to say costs nothing but an event', async () => {
  const address: NonNullable<Exclude<SessionOptions<object>['watchClient'], boolean>>['address'] = (view) => {
    const given = view.header('x-real-ip')
    if (given === 'broken') throw new Error('not an address')
    return given === 'list' ? ([given] as unknown as string) : given
  }
  const { sessions, events, get } = await site({ watchClient: { address } })
  const errors: string[] = []
  sessions.on('error', ({ operation }) => errors.push(operation))
  const by = (ip: string) => ({ headers: { 'x-real-ip': ip } })
  await get('/login?user=ann', by('2001:db8:aa::1'))
  await get('/me', by('2001:db8:aa:ffff::2'))
  expect(events).toEqual([])
  expect(await get('/me', by('broken'))).toBe('ann')
  expect(await get('/me', by('list'))).toBe('ann')
  expect(errors).toEqual(['watchClient.address', 'watchClient.address'])
  await get('/me', by('2001:db8:bb::1'))
  expect(events.map(({ changed }) => changed)).toEqual([['network']])
})

it('the words of a session hold through a change of secrets, and lead back to nothing', async () => {
  const store = memoryStore()
  const first = await site({ watchClient: true }, 'express 5', store)
  await first.get('/login?user=ann')
  const kept = JSON.stringify((await store.scan(undefined, 10)).items)
  expect(kept).toContain('cl')
  for (const fact of ['127.0.0', 'Firefox', 'firefox', 'linux', 'Mozilla']) expect(kept).not.toContain(fact)
  await first.stop()

  const other = Buffer.from('vG1gYb0tWm7cXo4nRk2hLzQe9sJd5pUa')
  const secret = [other, SECRET]
  const next = await site({ secret, watchClient: true }, 'express 5', store, first.cookie())
  expect(await next.get('/me')).toBe('ann')
  expect(next.events).toEqual([])
  await next.get('/me', { agent: CHROME })
  expect(next.events).toHaveLength(1)
})

it('is off by default: nothing is kept, nothing told', async () => {
  const { store, events, get } = await site()
  await get('/login?user=ann')
  await get('/me', { agent: CHROME, address: '127.0.9.1' })
  expect(events).toEqual([])
  expect((await store.scan(undefined, 10)).items[0]![1].text).not.toContain('"cl"')
})

describe('what is remembered', () => {
  it('of a browser is its maker and system', () => {
    const families = [FIREFOX, NEWER_FIREFOX, CHROME, EDGE, IPHONE, 'curl/8.5.0', 'my app'].map(browserOf)
    expect(families).toEqual([
      'firefox on linux',
      'firefox on linux',
      'chrome on windows',
      'edge on windows',
      'safari on ios',
      'curl on anything',
      'my on anything',
    ])
    expect(browserOf(undefined)).toBeUndefined()
    expect(browserOf('')).toBeUndefined()
  })

  it('of an address is its network', () => {
    const networks = {
      '192.0.2.77': '192.0.2/24',
      '::ffff:192.0.2.1': '192.0.2/24',
      '2001:db8:aa:bb::1': '2001:db8:aa/48',
      '2001:0DB8:00aa::': '2001:db8:aa/48',
      '2001:db8::1': '2001:db8:0/48',
      '2001::5:6': '2001:0:0/48',
      '::1': '0:0:0/48',
      'fe80::1%eth0': 'fe80:0:0/48',
    }
    for (const [address, network] of Object.entries(networks))
      expect([address, networkOf(address)]).toEqual([address, network])
    for (const none of [undefined, '', 'unknown', '1.2.3', '192.0.2.1, 192.0.2.2'])
      expect(networkOf(none)).toBeUndefined()
  })
})

it('the option takes a boolean or a way to the address', () => {
  const made = (watchClient: unknown) => () =>
    createSessions({ secret: SECRET, watchClient: watchClient as boolean })
  expect(made('yes')).toThrow(/watchClient: takes an object/)
  expect(made({ adress: () => '' })).toThrow(/watchClient.adress: there is no such option/)
  expect(made({})).toThrow(/watchClient.address: null must be a function/)
})
