import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

/** Scripts, styles and data of this origin alone, and nothing that could be written into the page as markup. */
const POLICY = [
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'",
  "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  "require-trusted-types-for 'script'; trusted-types 'none'",
].join('; ')

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}

export function answer(
  status: number,
  body: string | Uint8Array<ArrayBuffer> | undefined,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(body, { status, headers: { ...HEADERS, ...headers } })
}

export function text(status: number, line: string, headers?: Readonly<Record<string, string>>): Response {
  return answer(status, `${line}\n`, { 'Content-Type': 'text/plain; charset=utf-8', ...headers })
}

const compress = promisify(gzip)

/** Compressed if the client takes that: nothing in it is secret, so that its length tells nothing. */
export async function json(status: number, value: unknown, accepted: string): Promise<Response> {
  const body = Buffer.from(JSON.stringify(value))
  const headers = { 'Content-Type': 'application/json', Vary: 'Accept-Encoding' }
  if (body.length < 1_000 || !takes('gzip', accepted)) return answer(status, new Uint8Array(body), headers)
  return answer(status, new Uint8Array(await compress(body)), { ...headers, 'Content-Encoding': 'gzip' })
}

/** Whether Accept-Encoding names it, and not to forbid it. */
export function takes(encoding: string, accepted: string): boolean {
  return accepted
    .split(',')
    .map((one) =>
      one
        .trim()
        .toLowerCase()
        .split(/\s*;\s*/),
    )
    .some(([name, quality]) => name === encoding && !/^q=0(\.0*)?$/.test(quality ?? ''))
}
