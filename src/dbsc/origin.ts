import type { RequestSource } from '../request.ts'
import { viewOf } from '../request.ts'
import { ProofError } from './proof.ts'

/** Only a page of the site itself may have the session bound. @throws ProofError */
export function checkOrigin(source: RequestSource, origins: readonly string[] | undefined): void {
  const { header } = viewOf(source)
  const site = header('sec-fetch-site')
  if (site !== undefined && site !== 'same-origin') throw new ProofError(`it comes from elsewhere (${site})`)
  const origin = header('origin')
  if (origin === undefined) return
  const isOurs = origins ? origins.includes(origin) : origin === `https://${hostOf(source)}`
  if (!isOurs)
    throw new ProofError('its Origin is not the site; behind a proxy that changes Host, set origins')
}

/** In HTTP/2 Node has it under another name; a web request may have it in its URL only. */
function hostOf(source: RequestSource): string | undefined {
  const { header } = viewOf(source)
  if (source instanceof Request) return header('host') ?? new URL(source.url).host
  return header(':authority') ?? header('host')
}
