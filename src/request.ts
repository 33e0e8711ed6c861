import type { IncomingMessage } from 'node:http'

/** A web `Request`, or a Node request, also of an upgrade. */
export type HttpRequest = Request | Pick<IncomingMessage, 'headers' | 'method' | 'url'>

/** What a session can be opened from: a request, a Cookie header, or nothing. */
export type RequestSource = HttpRequest | string | undefined

/** A request as `describe` sees it, whatever the framework. */
export interface RequestView {
  /** The value of a header, by its name in lower case. */
  header(name: string): string | undefined
  readonly userAgent: string | undefined
  /** Of the other end of the connection, which is a proxy if there is one. A web `Request` does not tell. */
  readonly address: string | undefined
}

export function viewOf(source: RequestSource): RequestView {
  const view = { header: (name: string) => (typeof source === 'string' ? undefined : header(source, name)) }
  return {
    ...view,
    get userAgent() {
      return view.header('user-agent')
    },
    get address() {
      return (source as { socket?: { remoteAddress?: string } } | undefined)?.socket?.remoteAddress
    },
  }
}

export function cookieHeader(source: RequestSource): string {
  if (typeof source === 'string') return source
  return header(source, 'cookie') ?? ''
}

/** Where the request went, for events: method and path, without the query. Whatever the URL is, to be told of a request fails none. */
export function routeOf(source: RequestSource): string | undefined {
  if (source === undefined || typeof source === 'string' || !source.url) return undefined
  const isAbsolute = isWebRequest(source) && URL.canParse(source.url)
  const path = isAbsolute ? new URL(source.url).pathname : source.url.split('?', 1)[0]
  return `${source.method} ${path}`
}

/**
 * Whether the browser kept the cookie back: another site sent its visitor here with a POST (a payment, a SAML answer), and
 * SameSite=Lax lets no cookie come along. The visitor may well have a session.
 */
export function withholdsCookies(source: RequestSource): boolean {
  if (source === undefined || typeof source === 'string') return false
  const isUnsafe = !SAFE_METHODS.has(source.method ?? 'GET')
  return isUnsafe && header(source, 'sec-fetch-site') === 'cross-site'
}

/** Whether the browser could not have been sent a Secure cookie; false when a proxy makes that impossible to tell. */
export function isPlainHttp(source: RequestSource): boolean {
  if (source === undefined || typeof source === 'string') return false
  if (header(source, 'x-forwarded-proto') !== undefined || header(source, 'forwarded') !== undefined)
    return false
  const host = header(source, 'host') ?? ''
  if (/^(localhost|127\.0\.0\.1|\[::1\])(:|$)/.test(host) || host === '') return false
  if (isWebRequest(source)) return source.url.startsWith('http:')
  return !(source as { socket?: { encrypted?: boolean } }).socket?.encrypted
}

/**
 * Whether the request can only read (RFC 9110, section 9.2.1). One that upgrades its connection, to a WebSocket, can do anything afterwards;
 * of one whose method is not told, nobody knows.
 */
export function isSafe(source: HttpRequest): boolean {
  return SAFE_METHODS.has(source.method ?? '') && header(source, 'upgrade') === undefined
}

/** The host, and port, that the client asked for. What a proxy says beside it (`X-Forwarded-Host`) anybody can say. */
export function hostOf(source: HttpRequest): string | undefined {
  if (isWebRequest(source)) return header(source, 'host') ?? new URL(source.url).host
  return header(source, ':authority') ?? header(source, 'host') // the first is HTTP/2's, and counts if both are there
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

export function header(source: HttpRequest | undefined, name: string): string | undefined {
  if (source === undefined) return undefined
  if (isWebRequest(source)) return source.headers.get(name) ?? undefined
  const value = source.headers[name]
  return Array.isArray(value) ? value.join('; ') : value
}

function isWebRequest(source: object): source is Request {
  return typeof (source as Request).headers?.get === 'function'
}
