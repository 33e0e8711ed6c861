import type { JsonWebKey, KeyObject } from 'node:crypto'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

const BOUND = '__Host-id-bound'

export interface ProofParts {
  jti?: string
  jwk?: unknown
  key?: KeyObject
  alg?: string
  typ?: string
  encoding?: 'ieee-p1363' | 'der'
}

export interface Reply {
  readonly status: number
  readonly text: string
  readonly headers: Headers
  readonly setCookies: readonly string[]
}

/** A browser with a key of its own, as far as the protocol goes: what it does by itself, a test does step by step. */
export class Device {
  readonly #url: string
  readonly jar: Map<string, string>
  readonly keys: Keys
  id = ''

  constructor(url: string, jar: Iterable<readonly [string, string]> = [], keys = newKeys()) {
    this.keys = keys
    this.#url = url
    this.jar = new Map(jar)
  }

  /** Every cookie and no key. */
  thief(): Device {
    const thief = new Device(this.#url, this.jar)
    thief.id = this.id
    return thief
  }

  /** The same device, sent to another process. What that one sets goes into a jar of its own. */
  movedTo(url: string): Device {
    const moved = new Device(url, this.jar, this.keys)
    moved.id = this.id
    return moved
  }

  async ask(method: string, path: string, headers: Record<string, string> = {}): Promise<Reply> {
    const cookie = Array.from(this.jar, ([name, value]) => `${name}=${value}`).join('; ')
    const response = await send(method, this.#url + path, { ...(cookie && { cookie }), ...headers })
    const { setCookies } = response
    for (const line of setCookies) {
      const [pair = ''] = line.split(';', 1)
      const at = pair.indexOf('=')
      if (/; Max-Age=0(;|$)/.test(line)) this.jar.delete(pair.slice(0, at))
      else this.jar.set(pair.slice(0, at), pair.slice(at + 1))
    }
    return response
  }

  me(): Promise<Reply> {
    return this.ask('GET', '/me')
  }

  /** @returns the challenge of the registration that the answer offers */
  async login(): Promise<string> {
    const { headers } = await this.ask('POST', '/login')
    return /challenge="([^"]+)"/.exec(headers.get('secure-session-registration') ?? '')?.[1] ?? ''
  }

  /** Logs in and binds the session. @returns the challenge for the first refresh */
  async bind(): Promise<string> {
    const reply = await this.register({ jti: await this.login() })
    if (reply.status !== 200) throw new Error(`the registration failed: ${reply.status} ${reply.text}`)
    this.id = JSON.parse(reply.text).session_identifier
    return challengeIn(reply)
  }

  get jwk(): JsonWebKey {
    return this.keys.publicKey.export({ format: 'jwk' })
  }

  register(parts: ProofParts, headers: Record<string, string> = {}): Promise<Reply> {
    return this.sendRegistration(this.proof({ jwk: this.jwk, ...parts }), headers)
  }

  sendRegistration(proof: string, headers: Record<string, string> = {}): Promise<Reply> {
    return this.ask('POST', '/dbsc/register', {
      origin: this.#url.replace('http:', 'https:'),
      'secure-session-response': proof,
      ...headers,
    })
  }

  refresh(proof?: string, id = this.id): Promise<Reply> {
    return this.ask('POST', '/dbsc/refresh', {
      'sec-secure-session-id': id,
      ...(proof !== undefined && { 'secure-session-response': proof }),
    })
  }

  /** A challenge, as the browser gets one that has none: by asking without a proof. */
  async challenge(): Promise<string> {
    return challengeIn(await this.refresh())
  }

  proof({
    jti,
    jwk,
    key = this.keys.privateKey,
    alg = 'ES256',
    typ = 'dbsc+jwt',
    encoding = 'ieee-p1363',
  }: ProofParts): string {
    const signed = `${encode({ alg, typ, ...(jwk !== undefined && { jwk }) })}.${encode({ jti })}`
    return `${signed}.${signatureOf(signed, alg, key, encoding, this.jwk)}`
  }

  get boundCookie(): string | undefined {
    return this.jar.get(BOUND)
  }

  forgetBoundCookie(): void {
    this.jar.delete(BOUND)
  }
}

/** Not by `fetch`, which has ideas of its own about Sec-Fetch headers. */
async function send(method: string, url: string, headers: Record<string, string>): Promise<Reply> {
  const sent = request(url, { method, headers }).end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const { statusCode, headersDistinct } = response
  return {
    status: statusCode!,
    text: await text(response),
    headers: new Headers(Object.entries(headersDistinct).map(([name, values]) => [name, values!.join(', ')])),
    setCookies: headersDistinct['set-cookie'] ?? [],
  }
}

type Keys = ReturnType<typeof newKeys>

function newKeys() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

export function challengeIn({ headers }: Reply): string {
  return (
    /^"([A-Za-z0-9_-]{22,})";id="[A-Za-z0-9_-]+"$/.exec(headers.get('secure-session-challenge') ?? '')?.[1] ??
    ''
  )
}

export function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function signatureOf(
  text: string,
  alg: string,
  key: KeyObject,
  dsaEncoding: 'ieee-p1363' | 'der',
  jwk: JsonWebKey,
): string {
  if (alg === 'none') return ''
  if (alg === 'HS256') return createHmac('sha256', JSON.stringify(jwk)).update(text).digest('base64url')
  return sign('sha256', Buffer.from(text), { key, dsaEncoding }).toString('base64url')
}
