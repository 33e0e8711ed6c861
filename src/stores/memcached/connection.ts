import { isIP, type Socket, connect as tcpConnect } from 'node:net'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import { lasting, passing, type Remedy } from '../store-error.ts'
import { type Reply, ReplyReader } from './protocol.ts'
import { type MemcachedServer, nameOf } from './servers.ts'

export interface ConnectionSettings {
  /** Milliseconds that a command may take, connecting included. */
  readonly timeout: number
  readonly tls?: ConnectionOptions
  readonly username?: string
  readonly password?: string
}

export interface Command {
  /** With its value and all line ends. */
  readonly text: string
  readonly isWrite: boolean
  /** The room that its value takes in the memory of the server. Only for writes. */
  readonly itemBytes?: number
}

/** Why a command failed. The message names the server, the problem and the cure. */
export class MemcachedError extends Error {
  override readonly name = 'MemcachedError'
  /** Whether it was a write that the server may have carried out, or may still. */
  readonly maybeApplied: boolean
  /** False if it fails until somebody acts. */
  readonly retryable: boolean

  constructor({ problem, cause, retryable }: Failure, maybeApplied: boolean) {
    super(maybeApplied ? `${problem} The write may have been applied.` : problem, { cause })
    this.maybeApplied = maybeApplied
    this.retryable = retryable
  }
}

/** A problem, with its cure. */
interface Failure {
  readonly problem: string
  readonly retryable: boolean
  readonly cause?: unknown
}

interface Pending {
  readonly command: Command
  readonly deadline: number
  isSent: boolean
  resolve(reply: Reply): void
  reject(error: MemcachedError): void
}

/** Commands find the connection down for so long after a failure, and fail at once; doubled by each failure that follows. */
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 500
const KEEP_ALIVE_MS = 30_000
const ANSWERS = new Set(['HD', 'VA', 'EN', 'NF', 'NS', 'EX'])

/**
 * One socket to one server. Commands are sent as they come, and answered in their order. It is opened by the first command and,
 * after a failure, by the first one that comes when the pause is over, so nothing runs that nobody waits for. Without a
 * command under way it does not keep the process alive.
 */
export class Connection {
  /** Counts the connections that were made; undefined while there is none. What a server says holds for that time only. */
  get epoch(): number | undefined {
    return this.#isReady ? this.#epoch : undefined
  }

  readonly #server: Required<MemcachedServer>
  readonly #name: string
  readonly #settings: ConnectionSettings
  readonly #pending: Pending[] = []
  #socket: Socket | undefined
  #isReady = false
  #isCorked = false
  #isClosed = false
  #epoch = 0
  #itemSizeMax = 0
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #pauseUntil = 0
  #lastFailure: Failure | undefined

  constructor(server: Required<MemcachedServer>, settings: ConnectionSettings) {
    this.#server = server
    this.#name = nameOf(server)
    this.#settings = settings
  }

  /** @throws MemcachedError */
  send(command: Command): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const now = performance.now()
      if (this.#isClosed) {
        const problem = 'the store has been closed. Close it after the last request.'
        return reject(new MemcachedError({ problem, retryable: false }, false))
      }
      if (this.#socket === undefined && this.#lastFailure !== undefined && now < this.#pauseUntil) {
        return reject(new MemcachedError(this.#lastFailure, false))
      }
      const pending = { command, deadline: now + this.#settings.timeout, isSent: false, resolve, reject }
      this.#pending.push(pending)
      if (this.#pending.length === 1) {
        this.#socket?.ref()
        this.#watch(this.#settings.timeout)
      }
      if (this.#socket === undefined) this.#connect()
      else if (this.#isReady) this.#write(pending)
    })
  }

  close(): void {
    this.#isClosed = true
    this.#drop({ problem: 'the store was closed meanwhile.', retryable: false })
  }

  #connect(): void {
    const { host, port } = this.#server
    const { tls } = this.#settings
    const socket = tls
      ? tlsConnect({ ...(isIP(host) === 0 && { servername: host }), ...tls, host, port })
      : tcpConnect({ host, port })
    this.#socket = socket
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    const handshake = this.#handshake()
    const onReply = (reply: Reply) => {
      // What follows the reply that ended the connection is nobody's.
      if (this.#socket !== socket) return
      if (this.#isReady) this.#answer(reply)
      else handshake.answer(reply)
    }
    const reader = new ReplyReader(onReply)
    const ifCurrent = (body: () => void) => {
      if (this.#socket === socket) body()
    }
    socket.on(tls ? 'secureConnect' : 'connect', () => ifCurrent(() => socket.write(handshake.request)))
    socket.on('data', (chunk: Buffer) => {
      ifCurrent(() => {
        try {
          reader.push(chunk)
        } catch (cause) {
          this.#drop(this.#foreign((cause as Error).message, cause))
        }
      })
    })
    socket.on('error', (cause: NodeJS.ErrnoException) =>
      ifCurrent(() => {
        const { cure, retryable } = remedyFor(cause) ?? passing(`${cause.message}. ${this.#closingHint()}`)
        this.#drop({ problem: `${this.#name}: ${cure}`, retryable, cause })
      }),
    )
    socket.on('close', () =>
      ifCurrent(() => {
        const problem = `${this.#name} closed the connection. ${this.#closingHint()}`
        this.#drop({ problem, retryable: true })
      }),
    )
  }

  /** Who we are, whether the server can do what the store needs, and what it takes: in one round trip. */
  #handshake(): { readonly request: string; answer(reply: Reply): void } {
    const { username, password } = this.#settings
    const hasCredentials = username !== undefined
    const login = `${username} ${password}`
    const settings = new Map<string, string>()
    return {
      // Already expired: a server that asks for no password would keep it as a value.
      request: `${hasCredentials ? `set auth 0 -1 ${Buffer.byteLength(login)}\r\n${login}\r\n` : ''}stats settings\r\nmn\r\n`,
      answer: ({ status, line }) => {
        if (status === 'STAT') {
          const [, name, value] = line.split(' ')
          settings.set(name as string, value as string)
        } else if (status === 'MN') this.#begin(settings)
        else if (status === 'CLIENT_ERROR' && line.includes('auth')) {
          const cure = hasCredentials
            ? 'Check { username, password } against the file of its -Y.'
            : 'It was started with -Y: pass { username, password }.'
          this.#refuse(`refuses ${hasCredentials ? 'this password' : 'us without a password'}. ${cure}`)
        } else if (line.includes('Too many open connections')) {
          const problem = `${this.#name} has too many connections. Start it with a larger -c.`
          this.#drop({ problem, retryable: true })
        } else if (status === 'ERROR') {
          this.#refuse('does not know the meta commands. memcached 1.6 or newer is needed.')
        } else if (status !== 'STORED' && status !== 'END') {
          this.#drop(this.#foreign(`it answered ${JSON.stringify(line.slice(0, 80))}`))
        }
      },
    }
  }

  #begin(settings: ReadonlyMap<string, string>): void {
    if (settings.get('cas_enabled') !== 'yes') {
      this.#refuse(
        'was started with -C, and without its CAS tokens concurrent changes are lost. Start it without.',
      )
      return
    }
    this.#itemSizeMax = Number(settings.get('item_size_max'))
    this.#failures = 0
    this.#epoch++
    this.#isReady = true
    for (const pending of [...this.#pending]) this.#write(pending)
  }

  #write(pending: Pending): void {
    const { text, itemBytes = 0 } = pending.command
    if (itemBytes > this.#itemSizeMax) {
      // The server would not only refuse it but also drop what it has under the key.
      this.#pending.splice(this.#pending.indexOf(pending), 1)
      const problem =
        `the session takes ${itemBytes} bytes, and ${this.#name} stores at most ${this.#itemSizeMax}. ` +
        'Keep less in it, or start the server with a larger -I. Nothing was written.'
      pending.reject(new MemcachedError({ problem, retryable: false }, false))
      this.#rest()
      return
    }
    const socket = this.#socket as Socket
    if (!this.#isCorked) {
      this.#isCorked = true
      socket.cork()
      process.nextTick(() => {
        this.#isCorked = false
        socket.uncork()
      })
    }
    pending.isSent = true
    socket.write(text)
  }

  #answer(reply: Reply): void {
    const pending = this.#pending[0]
    if (pending === undefined) {
      this.#drop(this.#foreign('it answered what nobody asked'))
    } else if (ANSWERS.has(reply.status)) {
      this.#pending.shift()
      pending.resolve(reply)
      this.#rest()
    } else if (reply.status === 'SERVER_ERROR') {
      this.#pending.shift()
      const { cure, retryable } = remedyForServerError(reply.line)
      const problem = `${this.#name} answered ${reply.line}. ${cure}`
      // One that is full, or finds a value too large, has refused it.
      const maybeApplied = pending.command.isWrite && retryable
      pending.reject(new MemcachedError({ problem, retryable }, maybeApplied))
      this.#rest()
    } else {
      // It did not understand the command, so it may take its value for commands.
      const problem = `${this.#name} answered ${JSON.stringify(reply.line.slice(0, 80))}.`
      this.#drop({ problem, retryable: true })
    }
  }

  /** Nobody waits: neither does the process. */
  #rest(): void {
    if (this.#pending.length > 0) return
    clearTimeout(this.#timer)
    this.#socket?.unref()
  }

  /** One timer, for the command that waits longest: the others were sent later and have as long. */
  #watch(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      // If this process itself was busy, the answer has come already: it is read before the next immediate.
      setImmediate(() => {
        const oldest = this.#pending[0]
        if (oldest === undefined) return
        const left = oldest.deadline - performance.now()
        if (left > 0) this.#watch(left)
        else {
          const problem = `${this.#name} did not answer within ${this.#settings.timeout} ms. Is it overloaded or unreachable?`
          this.#drop({ problem, retryable: true })
        }
      })
    }, ms)
  }

  #closingHint(): string {
    if (this.#isReady) return 'Was it stopped?'
    return 'Check the network, and whether it expects TLS (memcacheds://) or SASL (-S, for which use -Y).'
  }

  #foreign(what: string, cause?: unknown): Failure {
    return { problem: `${this.#name} does not speak as memcached: ${what}.`, retryable: false, cause }
  }

  /** It will say so to every connection. */
  #refuse(what: string): void {
    this.#drop({ problem: `${this.#name} ${what}`, retryable: false })
  }

  /** Ends the connection. Answers could no longer be told apart, so all that waits for one fails. */
  #drop(failure: Failure): void {
    const socket = this.#socket
    const wasResting = this.#isReady && this.#pending.length === 0
    this.#socket = undefined
    this.#isReady = false
    socket?.destroy()
    clearTimeout(this.#timer)
    // A server may end a connection that nobody uses; the next command makes another.
    if (!wasResting) {
      this.#lastFailure = failure
      this.#pauseUntil =
        performance.now() + Math.min(FIRST_PAUSE_MS * 2 ** this.#failures++, LONGEST_PAUSE_MS)
    }
    for (const { command, isSent, reject } of this.#pending.splice(0)) {
      reject(new MemcachedError(failure, command.isWrite && isSent))
    }
  }
}

function remedyFor(cause: NodeJS.ErrnoException): Remedy | undefined {
  const code = cause.code ?? ''
  if (code === 'ECONNREFUSED')
    return passing('nobody listens there. Start memcached, or correct the address.')
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return passing('no such host. Correct the name, or the name server.')
  if (/CERT|ALTNAME|SIGNATURE/.test(code)) {
    return lasting(
      `its certificate is not accepted (${cause.message}). Pass the authority that signed it as { tls: { ca } }.`,
    )
  }
  if (code.startsWith('ERR_SSL') || code === 'EPROTO') {
    return lasting(`no TLS connection (${cause.message}). Is the server started with -Z?`)
  }
  return undefined
}

function remedyForServerError(line: string): Remedy {
  if (line.includes('too large')) return lasting('Start it with a larger -I. It has dropped the session.')
  if (line.includes('memory')) return lasting('Give it more (-m). It may have dropped the session.')
  return passing('Look into its log.')
}
