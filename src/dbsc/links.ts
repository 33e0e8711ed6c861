import { readCookies } from '../cookie.ts'
import type { RequestSource } from '../request.ts'
import { cookieHeader, viewOf } from '../request.ts'
import * as answers from './answers.ts'
import type { EndpointParts } from './endpoints.ts'
import type { Enforcement } from './enforcement.ts'

/**
 * Browsers do not refresh for a link on another site, which could tell from the time it takes who is logged in. So that whoever follows one,
 * ten minutes after the last page, is not met as a stranger, the page asks for itself again: for that they do.
 *
 * @returns nothing, where the application is to answer
 */
export async function answerLink(
  source: RequestSource,
  { core, opener, settings }: EndpointParts,
  { isProven }: Enforcement,
): Promise<Response | undefined> {
  if (!isFromElsewhere(source)) return undefined
  if (readCookies(cookieHeader(source), settings.cookie.name, 1).length > 0) return undefined
  try {
    const visit = await core.work.run(() => opener.open(source))
    return visit.standing === 'live' && !isProven(visit, visit.record) ? answers.askAgain() : undefined
  } catch {
    return undefined // the application opens the session as well, and fails with the same
  }
}

function isFromElsewhere(source: RequestSource): boolean {
  const { header } = viewOf(source)
  const site = header('sec-fetch-site')
  return (
    (source as { method: string }).method === 'GET' &&
    (site === 'cross-site' || site === 'same-site') &&
    header('sec-fetch-mode') === 'navigate' &&
    header('sec-fetch-dest') === 'document'
  )
}
