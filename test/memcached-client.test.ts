import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { Connection, type MemcachedError } from '../src/stores/memcached/connection.ts'
import { flagOf, type Reply, ReplyReader } from '../src/stores/memcached/protocol.ts'
import { startMemcached } from './servers/memcached.ts'

const opened: { close(): unknown }[] = []

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})

describe('the reader of replies', () => {
  const odd = Buffer.from([0, 13, 10, 255, 86, 65, 32, 49, 13, 10, 0xe2, 0x82, 13])
  const bytes = Buffer.concat([
    Buffer.from('HD c7\r\nVA 13 c18446744073709551615\r\n'),
    odd,
    Buffer.from('\r\nEN\r\nVA 0 c1\r\n\r\nNF\r\nSERVER_ERROR out of memory\r\n'),
  ])
  const expected = [
    ['HD c7', undefined],
    ['VA 13 c18446744073709551615', odd],
    ['EN', undefined],
    ['VA 0 c1', Buffer.alloc(0)],
    ['NF', undefined],
    ['SERVER_ERROR out of memory', undefined],
  ]

  it('reads several replies from one chunk, values of any bytes included', () => {
    expect(read([bytes])).toEqual(expected)
  })

  it('reads the same wherever they are cut', () => {
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        const chunks = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)]
        expect(read(chunks)).toEqual(expected)
      }
    }
  })

  it('reads the same byte by byte', () => {
    expect(read([...bytes].map((byte) => Buffer.from([byte])))).toEqual(expected)
  })

  it('puts a value of megabytes together once, not once a chunk', () => {
    const value = Buffer.alloc(32 * 1024 * 1024, 'x')
    const whole = Buffer.concat([Buffer.from(`VA ${value.length} c1\r\n`), value, Buffer.from('\r\n')])
    const chunks = []
    for (let at = 0; at < whole.length; at += 4096) chunks.push(whole.subarray(at, at + 4096))
    const begin = performance.now()
    const [[, found] = []] = read(chunks)
    expect(performance.now() - begin).toBeLessThan(2000)
    expect(value.equals(found as Buffer)).toBe(true)
  })

  it.each([
    ['a value without a size', 'VA\r\n'],
    ['a size that is no number', 'VA x c1\r\n'],
    ['a negative size', 'VA -1\r\n'],
    ['a value that is longer than its size', 'VA 1 c1\r\nabc\r\n'],
    ['a line without an end', 'x'.repeat(20_000)],
  ])('refuses %s', (_, text) => {
    expect(() => read([Buffer.from(text)])).toThrow(/^it sent/)
  })

  it('finds the flags of a line', () => {
    const reply = { status: 'VA', line: 'VA 2 c123 t-1 s' }
    expect(['c', 't', 's', 'f'].map((flag) => flagOf(reply, flag))).toEqual(['123', '-1', '', undefined])
  })

  function read(chunks: Buffer[]): [string, Buffer | undefined][] {
    const replies: [string, Buffer | undefined][] = []
    const reader = new ReplyReader(({ status, line, value }: Reply) => {
      expect(status).toBe(line.split(' ')[0])
      replies.push([line, value && Buffer.from(value)])
    })
    for (const chunk of chunks) reader.push(chunk)
    return replies
  }
})

describe('a connection', () => {
  it('sends what comes in one turn at once, and answers in its order', async () => {
    const chunks: string[] = []
    const server = await fakeServer((commands, socket) => {
      chunks.push(commands)
      socket.write(answersTo(commands))
    })
    const connection = connectTo(server)
    await connection.send(get('first'))
    chunks.length = 0
    const replies = await Promise.all([1, 2, 3].map((n) => connection.send(get(`k${n}`))))
    expect(replies.map(({ value }) => String(value))).toEqual(['k1', 'k2', 'k3'])
    expect(chunks).toEqual(['mg k1 v\r\nmg k2 v\r\nmg k3 v\r\n'])
  })

  it('understands replies that come byte by byte', async () => {
    const server = await fakeServer(async (commands, socket) => {
      for (const byte of Buffer.from(answersTo(commands))) {
        socket.write(Buffer.from([byte]))
        await sleep(0)
      }
    })
    const connection = connectTo(server)
    const replies = await Promise.all(['a', 'b'].map((key) => connection.send(get(key))))
    expect(replies.map(({ value }) => String(value))).toEqual(['a', 'b'])
  })

  it('is made once, however many commands wait for it', async () => {
    const server = await fakeServer((commands, socket) => socket.write(answersTo(commands)))
    const connection = connectTo(server)
    await Promise.all(Array.from({ length: 50 }, (_, i) => connection.send(get(`k${i}`))))
    expect(server.connections()).toBe(1)
  })

  it('that ends amid a reply fails what waits, at once, and says what may have been applied', async () => {
    let isBroken = true
    const server = await fakeServer((commands, socket) => {
      if (commands.startsWith('stats') || !isBroken) socket.write(answersTo(commands))
      else socket.end('VA 10 c1\r\nhal')
    })
    const connection = connectTo(server, 5000)
    const begin = performance.now()
    const [read, write] = await failures(connection.send(get('a')), connection.send(set('b')))
    expect(performance.now() - begin).toBeLessThan(1000)
    expect(read?.message).toMatch(/closed the connection. Was it stopped\?$/)
    expect(read?.maybeApplied).toBe(false)
    expect(write?.message).toMatch(/The write may have been applied\.$/)
    expect(write?.maybeApplied).toBe(true)
    isBroken = false
    await sleep(60)
    expect(String((await connection.send(get('a'))).value)).toBe('a')
  })

  it('to a server that accepts and says nothing fails by the deadline, and nothing was sent', async () => {
    const connection = connectTo(await fakeServer(() => {}), 150)
    const begin = performance.now()
    const [read, write] = await failures(connection.send(get('a')), connection.send(set('b')))
    expect(performance.now() - begin).toBeGreaterThan(140)
    expect(performance.now() - begin).toBeLessThan(600)
    expect(read?.message).toMatch(/did not answer within 150 ms/)
    expect(write?.maybeApplied).toBe(false)
  })

  it('that stops answering fails every command by its deadline, those that come meanwhile too', async () => {
    const server = await fakeServer((commands, socket) => {
      if (commands.startsWith('stats')) socket.write(answersTo(commands))
    })
    const connection = connectTo(server, 200)
    const took: number[] = []
    const commands = Array.from({ length: 100 }, async (_, i) => {
      await sleep(i * 8)
      const begin = performance.now()
      await expect(connection.send(set(`k${i}`))).rejects.toThrow(/did not answer within 200 ms/)
      took.push(performance.now() - begin)
    })
    await Promise.all(commands)
    expect(took).toHaveLength(100)
    expect(Math.max(...took)).toBeLessThan(600)
  })

  it('counts the time of each command from its own start', async () => {
    const server = await fakeServer(async (commands, socket) => {
      if (commands.startsWith('mg slow')) await sleep(150)
      if (!commands.startsWith('mg never')) socket.write(answersTo(commands))
    })
    const connection = connectTo(server, 300)
    await connection.send(get('first'))
    const slow = connection.send(get('slow'))
    await sleep(100)
    const begin = performance.now()
    const never = failures(connection.send(get('never')))
    expect(String((await slow).value)).toBe('slow')
    expect((await never)[0]?.message).toMatch(/did not answer within 300 ms/)
    expect(performance.now() - begin).toBeGreaterThan(290)
    expect(performance.now() - begin).toBeLessThan(600)
  })

  it('does not take for slowness of the server what was slowness of this process', async () => {
    const server = await startMemcached()
    opened.push({ close: () => server.stop() })
    const connection = connectTo(server, 100)
    await connection.send(get('first'))
    const answer = connection.send(set('a'))
    // The command leaves, and the deadline passes before this process comes to read the answer.
    process.nextTick(() => {
      const end = performance.now() + 300
      while (performance.now() < end);
    })
    expect((await answer).status).toBe('HD')
  })

  it('pauses after a failure: commands fail at once with its reason, and longer each time', async () => {
    let connections = 0
    const server = createServer((socket) => {
      connections++
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    opened.push(server)
    const connection = connectTo({ port: (server.address() as AddressInfo).port })
    const end = performance.now() + 800
    let failed = 0
    while (performance.now() < end) {
      await expect(connection.send(get('a'))).rejects.toThrow(/closed the connection|ECONNRESET/)
      failed++
      await sleep(2)
    }
    expect(failed).toBeGreaterThan(50)
    // After 50, 100, 200 and 400 ms.
    expect(connections).toBeGreaterThan(2)
    expect(connections).toBeLessThan(7)
  })

  it('that a server ends while nobody waits is made again without an error', async () => {
    const sockets: Socket[] = []
    const server = await fakeServer((commands, socket) => {
      sockets.push(socket)
      socket.write(answersTo(commands))
    })
    const connection = connectTo(server)
    await connection.send(get('a'))
    const before = connection.epoch
    for (const socket of sockets) socket.end()
    await sleep(30)
    expect(connection.epoch).toBeUndefined()
    expect(String((await connection.send(get('b'))).value)).toBe('b')
    expect(connection.epoch).toBe((before ?? 0) + 1)
  })

  it.each([
    ['an HTTP server', 'HTTP/1.1 400 Bad Request\r\n\r\n', /does not speak as memcached: it answered "HTTP/],
    ['a server without meta commands', 'END\r\nERROR\r\n', /memcached 1\.6 or newer is needed/],
    ['a server without settings', 'END\r\nMN\r\n', /was started with -C/],
    ['a full server', 'ERROR Too many open connections\r\n', /larger -c/],
    ['a stream of noise', 'x'.repeat(20_000), /a line without an end/],
  ])('refuses %s', async (_, answer, message) => {
    const connection = connectTo(await fakeServer((_, socket) => socket.write(answer)))
    await expect(connection.send(get('a'))).rejects.toThrow(message)
  })

  it.each([
    ['a command that is not understood', 'CLIENT_ERROR bad token\r\n', /answered "CLIENT_ERROR bad token"/],
    ['a value of another length', 'VA 3 c1\r\nabcdef\r\n', /not 3 bytes long/],
  ])('ends at %s', async (_, answer, message) => {
    const server = await fakeServer((commands, socket) => {
      socket.write(commands.startsWith('stats') ? answersTo(commands) : answer)
    })
    const connection = connectTo(server)
    await expect(connection.send(get('a'))).rejects.toThrow(message)
    expect(connection.epoch).toBeUndefined()
  })

  it('does not hear what still comes on a connection that it has ended', async () => {
    let isBroken = true
    const server = await fakeServer((commands, socket) => {
      const late = 'CLIENT_ERROR bad token\r\nSTAT cas_enabled yes\r\nEND\r\nMN\r\n'
      socket.write(commands.startsWith('mg') && isBroken ? late : answersTo(commands))
    })
    const connection = connectTo(server)
    await expect(connection.send(get('a'))).rejects.toThrow(/bad token/)
    expect(connection.epoch).toBeUndefined()
    isBroken = false
    await sleep(60)
    expect(String((await connection.send(get('b'))).value)).toBe('b')
  })

  it('ends at an answer that nobody asked for, before it is taken for that to the next command', async () => {
    let isStray = true
    const server = await fakeServer((commands, socket) => {
      socket.write(
        commands.startsWith('mg') && isStray ? 'VA 1 c1\r\na\r\nVA 5 c1\r\nstray\r\n' : answersTo(commands),
      )
    })
    const connection = connectTo(server)
    expect(String((await connection.send(get('a'))).value)).toBe('a')
    isStray = false
    expect(String((await connection.send(get('b'))).value)).toBe('b')
    expect(server.connections()).toBe(2)
  })

  it.each([
    ['out of memory storing object', /larger|more \(-m\)/, false],
    ['object too large for cache', /-I/, false],
    ['something else', /The write may have been applied/, true],
  ])('reports SERVER_ERROR %s and goes on', async (problem, message, maybeApplied) => {
    const server = await fakeServer((commands, socket) => {
      socket.write(commands.startsWith('ms') ? `SERVER_ERROR ${problem}\r\n` : answersTo(commands))
    })
    const connection = connectTo(server)
    const [error] = await failures(connection.send(set('a')))
    expect(error?.message).toMatch(message)
    expect(error?.maybeApplied).toBe(maybeApplied)
    expect(String((await connection.send(get('b'))).value)).toBe('b')
    expect(server.connections()).toBe(1)
  })

  it('that is closed fails what waits and what comes', async () => {
    const server = await fakeServer((commands, socket) => {
      if (commands.startsWith('stats')) socket.write(answersTo(commands))
    })
    const connection = connectTo(server)
    const waiting = connection.send(set('a'))
    await sleep(30)
    const failed = failures(waiting)
    connection.close()
    expect((await failed)[0]?.message).toMatch(/closed meanwhile.*may have been applied/)
    await expect(connection.send(get('b'))).rejects.toThrow(/Close it after the last request/)
  })
})

interface FakeServer {
  readonly port: number
  connections(): number
}

/** Answers each chunk that arrives as `onCommands` says. */
async function fakeServer(onCommands: (commands: string, socket: Socket) => unknown): Promise<FakeServer> {
  let connections = 0
  const server: Server = createServer((socket) => {
    connections++
    opened.push({ close: () => socket.destroy() })
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (chunk) => onCommands(String(chunk), socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push(server)
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

/** What a memcached answers that has under each key the key. */
function answersTo(commands: string): string {
  return commands
    .split('\r\n')
    .map((line) => {
      const [command, key = ''] = line.split(' ')
      if (command === 'stats') return 'STAT cas_enabled yes\r\nSTAT item_size_max 1048576\r\nEND\r\n'
      if (command === 'mn') return 'MN\r\n'
      if (command === 'mg') return `VA ${key.length} c1\r\n${key}\r\n`
      return command === 'ms' ? 'HD c1\r\n' : ''
    })
    .join('')
}

function connectTo({ port }: { port: number }, timeout = 1000): Connection {
  const connection = new Connection({ host: '127.0.0.1', port, weight: 1 }, { timeout })
  opened.push(connection)
  return connection
}

const get = (key: string) => ({ text: `mg ${key} v\r\n`, isWrite: false })
const set = (key: string) => ({ text: `ms ${key} 1 c\r\nx\r\n`, isWrite: true, itemBytes: 60 })

async function failures(...sent: Promise<unknown>[]): Promise<(MemcachedError | undefined)[]> {
  const settled = await Promise.allSettled(sent)
  return settled.map((each) => (each.status === 'rejected' ? (each.reason as MemcachedError) : undefined))
}
