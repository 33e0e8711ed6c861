import type { HttpRequest } from '../request.ts'
import { header, hostOf } from '../request.ts'
import { ProofError } from './proof.ts'

/** Only a page of the site itself may have the session bound. @throws ProofError */
export function checkOrigin(source: HttpRequest, origins: readonly string[] | undefined): void {
  const site = header(source, 'sec-fetch-site')
  if (site !== undefined && site !== 'same-origin') throw new ProofError(`it comes from elsewhere (${site})`)
  const origin = header(source, 'origin')
  if (origin === undefined) return
  const isOurs = origins ? origins.includes(origin) : origin === `https://${hostOf(source)}`
  if (!isOurs)
    throw new ProofError('its Origin is not the site; behind a proxy that changes Host, set origins')
}
